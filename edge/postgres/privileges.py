"""Logins and what they may do, made as they should be: PostgreSQL's catalogs are compared with what is wanted, and only what differs is changed.

Rule 1: exact. What one of the logins, or everybody (PUBLIC), may do in the schema ``public`` and is not wanted is revoked. What others were granted,
        an operator's own login for backups for example, is theirs.
Rule 2: all in one transaction, so nobody ever sees a half of it; and none when all is as it should be.
Rule 3: nothing is taken over. A name that is a superuser's, the owner's own, or that owns something, is refused: what it may do would not depend on any grant.
Rule 4: a password goes to the server as a verifier (``scram``), and only when the server has another one; where we may not see what it has, each time.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import NamedTuple

from contracts.logins import SEQUENCES, TABLES, Access, Kind, Login
from contracts.ports import Statements
from edge.migrations import MigrationError
from edge.postgres import scram

EVERYBODY = "PUBLIC"
_ATTRIBUTES = {  # of a role, each with the word that takes it away. Superusers are refused
    "rolcreatedb": "NOCREATEDB",
    "rolcreaterole": "NOCREATEROLE",
    "rolreplication": "NOREPLICATION",
    "rolbypassrls": "NOBYPASSRLS",
    "rolinherit": "NOINHERIT",
}
_BEYOND_GRANTS = {
    "rolsuper": "a superuser",
    "is_owner": "the one that migrates",
    "owns": "the owner of something in this database",
}
# Large objects are the one thing that everybody may make without a grant, and so fill a disk. Only a superuser can forbid it.
_LARGE_OBJECTS = ("lo_creat(integer)", "lo_create(oid)", "lo_from_bytea(oid,bytea)")
_ROLE = f"""
SELECT rolsuper, rolcanlogin, {", ".join(_ATTRIBUTES)}, rolname = current_user AS is_owner,
  EXISTS (SELECT 1 FROM pg_shdepend d WHERE d.refclassid = 'pg_authid'::regclass AND d.refobjid = r.oid AND d.deptype = 'o'
    AND d.dbid IN (0, (SELECT oid FROM pg_database WHERE datname = current_database()))) AS owns
FROM pg_roles r WHERE rolname = $1"""  # noqa: S608 - constants
_MEMBER = (
    "SELECT quote_ident(of.rolname) AS name FROM pg_auth_members JOIN pg_roles of ON of.oid = roleid"
    " JOIN pg_roles by ON by.oid = member WHERE by.rolname = $1 ORDER BY 1"
)
_GRANTED = """
SELECT place, "column", privilege_type AS privilege, coalesce(r.rolname, 'PUBLIC') AS grantee, is_grantable FROM (
  SELECT CASE relkind WHEN 'S' THEN 'SEQUENCE ' ELSE 'TABLE ' END || quote_ident(relname) AS place, '' AS "column", a.*
    FROM pg_class, aclexplode(relacl) a WHERE relnamespace = 'public'::regnamespace
  UNION ALL SELECT 'TABLE ' || quote_ident(relname), attname, a.*
    FROM pg_attribute JOIN pg_class c ON c.oid = attrelid, aclexplode(attacl) a WHERE relnamespace = 'public'::regnamespace AND NOT attisdropped
  UNION ALL SELECT 'SCHEMA public', '', a.*
    FROM pg_namespace, aclexplode(coalesce(nspacl, acldefault('n', nspowner))) a WHERE nspname = 'public'
  UNION ALL SELECT 'DATABASE ' || quote_ident(datname), '', a.*
    FROM pg_database, aclexplode(coalesce(datacl, acldefault('d', datdba))) a WHERE datname = current_database()
  UNION ALL SELECT 'FUNCTION pg_catalog.' || p.oid::regprocedure, '', a.*
    FROM pg_proc p, aclexplode(coalesce(proacl, acldefault('f', proowner))) a
    WHERE pronamespace = 'pg_catalog'::regnamespace AND p.oid::regprocedure::text = ANY (string_to_array($1, ' '))
) granted LEFT JOIN pg_roles r ON r.oid = grantee WHERE grantee = 0 OR r.rolname IS NOT NULL"""
_RELATIONS = (
    "SELECT CASE relkind WHEN 'S' THEN 'SEQUENCE ' ELSE 'TABLE ' END || quote_ident(relname) AS place, relname, relkind = 'S' AS is_sequence"
    " FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p', 'v', 'm', 'f', 'S')"
)
_ME = "SELECT rolsuper, 'DATABASE ' || quote_ident(current_database()) AS database FROM pg_roles WHERE rolname = current_user"
_LEFT_TO_EVERYBODY = frozenset({("SCHEMA", "USAGE"), ("DATABASE", "CONNECT")})  # neither opens a table


class Grant(NamedTuple):
    """One privilege of one grantee, on an object or (``column``) on one of a table's columns."""

    place: str  # "TABLE users", as GRANT takes it
    grantee: str
    privilege: str
    column: str = ""


async def enforce(
    database: Statements, logins: Sequence[Login], tables: Mapping[str, Mapping[Kind, Access]] = TABLES
) -> list[str]:
    """Make the logins and what they may do as they should be, in the caller's transaction, as the schema's owner; return what was changed, without passwords.

    Raises MigrationError, and what the database raises when its user may not do this.
    """
    me = await database.fetch_one(_ME)
    assert me is not None
    done = [line for login in logins for line in await _see_to(database, login, may_look=me["rolsuper"])]
    wanted = await _wanted(database, logins, me["database"], tables)
    large_objects = " ".join(_LARGE_OBJECTS) if me["rolsuper"] else ""
    ours = {login.name for login in logins}
    excess, _ = await _differences(database, wanted, ours, large_objects)
    done += await _say(database, "REVOKE", excess)
    # Read again: what was revoked from a whole table is revoked from each of its columns.
    _, lacking = await _differences(database, wanted, ours, large_objects)
    done += await _say(database, "GRANT", lacking)
    excess, lacking = await _differences(database, wanted, ours, large_objects)
    if excess or lacking:
        left = min(excess or lacking)
        raise MigrationError(
            f"{left.privilege} on {left.place} of {left.grantee} {'was granted' if excess else 'was withheld'} by somebody else than the schema's owner:"
            " revoke it as whoever did that, or as a superuser"
        )
    return done


# ---- logins ----------------------------------------------------------------------------------------------------------


async def _see_to(database: Statements, login: Login, *, may_look: bool) -> list[str]:
    """Make a login, or what it is as it should be."""
    name = _quoted(login.name)
    role = await database.fetch_one(_ROLE, login.name)
    if role is None:
        if not login.password:
            raise MigrationError(f"there is no login {login.name}: make it, or give it a password here as well")
        await database.execute(
            f"CREATE ROLE {name} LOGIN NOINHERIT PASSWORD '{scram.verifier(login.password)}'"  # the defaults are no power
        )
        return [f"made the login {login.name}"]
    for fact, what in _BEYOND_GRANTS.items():
        if role[fact]:
            raise MigrationError(f"the login {login.name} is {what}, which no grant limits: name another one")
    done = []
    words = [word for column, word in _ATTRIBUTES.items() if role[column]]
    words += [] if role["rolcanlogin"] else ["LOGIN"]
    if words:
        done.append(f"ALTER ROLE {name} {' '.join(words)}")
    done += [f"REVOKE {group['name']} FROM {name}" for group in await database.fetch(_MEMBER, login.name)]
    for statement in done:
        await database.execute(statement)
    for group in await database.fetch(_MEMBER, login.name):  # since PostgreSQL 16 only who granted it may revoke it
        raise MigrationError(
            f"the login {login.name} is a member of {group['name']}: revoke that as whoever granted it"
        )
    if login.password and not (may_look and await _has_password(database, login)):
        await database.execute(f"ALTER ROLE {name} PASSWORD '{scram.verifier(login.password)}'")
        done.append(f"set the password of {login.name}")
    return done


async def _has_password(database: Statements, login: Login) -> bool:
    """Whether the server has a verifier of this password."""
    row = await database.fetch_one("SELECT rolpassword FROM pg_authid WHERE rolname = $1", login.name)
    return row is not None and scram.is_of(row["rolpassword"], login.password)


# ---- grants ----------------------------------------------------------------------------------------------------------


async def _wanted(
    database: Statements, logins: Sequence[Login], name: str, tables: Mapping[str, Mapping[Kind, Access]]
) -> set[Grant]:
    wanted = set[Grant]()
    relations = await database.fetch(_RELATIONS)
    for login in logins:
        wanted |= {Grant(name, login.name, "CONNECT"), Grant("SCHEMA public", login.name, "USAGE")}
        if login.kind is Kind.CORE:
            wanted.add(Grant(name, login.name, "TEMPORARY"))
        for each in relations:
            decided = SEQUENCES if each["is_sequence"] else tables.get(each["relname"], {})
            for privilege, columns in decided.get(login.kind, {}).items():
                wanted |= {Grant(each["place"], login.name, privilege, column) for column in columns or ("",)}
    return wanted


async def _differences(
    database: Statements, wanted: set[Grant], logins: set[str], large_objects: str
) -> tuple[set[Grant], set[Grant]]:
    """Return what is granted and not wanted, and what is wanted and not granted. What may be handed on is not wanted, so it is granted anew without that."""
    granted, excess = set[Grant](), set[Grant]()
    for row in await database.fetch(_GRANTED, large_objects):
        grant = Grant(row["place"], row["grantee"], row["privilege"], row["column"])
        if grant.grantee in logins:
            (excess if row["is_grantable"] or grant not in wanted else granted).add(grant)
        elif grant.grantee == EVERYBODY and (grant.place.split()[0], grant.privilege) not in _LEFT_TO_EVERYBODY:
            excess.add(grant)
    return excess, wanted - granted


async def _say(database: Statements, verb: str, grants: Iterable[Grant]) -> list[str]:
    """Grant or revoke, one statement for each object and grantee; return the statements."""
    done = []
    for (place, grantee), several in groupby(sorted(grants), key=lambda grant: (grant.place, grant.grantee)):
        columns: dict[str, list[str]] = {}
        for grant in several:
            columns.setdefault(grant.privilege, []).append(grant.column)
        for_all = [privilege for privilege, names in columns.items() if "" in names]
        for_some = [
            f"{privilege} ({', '.join(map(_quoted, filter(None, names)))})"
            for privilege, names in columns.items()
            if any(names)
        ]
        whom = grantee if grantee == EVERYBODY else _quoted(grantee)
        what = f"{', '.join(for_all + for_some)} ON {place}"
        # What a login was allowed to hand on, and did, goes with it.
        statement = f"GRANT {what} TO {whom}" if verb == "GRANT" else f"REVOKE {what} FROM {whom} CASCADE"
        await database.execute(statement)
        done.append(statement)
    return done


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
