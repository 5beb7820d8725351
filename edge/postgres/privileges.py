"""Logins and what they may do, made as they should be: PostgreSQL's catalogs are compared with what is wanted, and only what differs is changed.

Rule 1: exact. What one of the logins, or everybody (PUBLIC), may do in the schema ``public`` and is not wanted is revoked. What others were granted,
        an operator's own login for backups for example, is theirs, and what an extension's functions are for, the extension's. A grant that one of the logins
        has on anything else of this database is not undone but refused, since nobody here knows what it was for.
Rule 2: all in one transaction, so nobody ever sees a half of it; and none when all is as it should be.
Rule 3: nothing is taken over. A name that is a superuser's, the owner's own, or that owns something, is refused: what it may do would not depend on any grant.
        What we made carries a MARK. A role without it is somebody else's: it gets grants and nothing more, and is refused where more would be needed.
Rule 4: a password goes to the server as a verifier (``scram``), and only when the server has another one; where we may not see what it has, each time.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import NamedTuple

from contracts.logins import SEQUENCES, TABLES, Access, Kind, Login
from contracts.ports import Row, Statements
from edge.migrations import MigrationError
from edge.postgres import scram

EVERYBODY = "PUBLIC"
MARK = (
    "made by codewarz migrate"  # its comment. Who may not make roles cannot set it, so no login can give it to itself
)
_ATTRIBUTES = {  # of a role, each with the word that takes it away. Superusers are refused
    "rolcreatedb": "NOCREATEDB",
    "rolcreaterole": "NOCREATEROLE",
    "rolreplication": "NOREPLICATION",
    "rolbypassrls": "NOBYPASSRLS",
}
_LEFT_TO_ITS_MAKER = {  # of a role that is not ours; without memberships, there is nothing to inherit
    "rolinherit": "NOINHERIT",
    "has_limit": "CONNECTION LIMIT -1",
    "may_end": "VALID UNTIL 'infinity'",
}
_BEYOND_GRANTS = {
    "rolsuper": "a superuser",
    "is_owner": "the one that migrates",
    "owns": "the owner of something on this server",
}
# What PostgreSQL lets everybody do that stays on its disk: make large objects, and write to its log. Only a superuser can forbid it; NOTIFY, nobody.
_EVERYBODYS_FUNCTIONS = ("lo_creat", "lo_create", "lo_from_bytea", "pg_logical_emit_message")
_ROLE = f"""
SELECT rolsuper, NOT rolcanlogin AS is_locked, {", ".join(_ATTRIBUTES)}, rolname = current_user AS is_owner,
  rolinherit, rolconnlimit <> -1 AS has_limit, coalesce(rolvaliduntil, 'infinity') <> 'infinity' AS may_end,
  shobj_description(r.oid, 'pg_authid') IS NOT DISTINCT FROM $2 AS is_ours,
  EXISTS (SELECT 1 FROM pg_shdepend d WHERE d.refclassid = 'pg_authid'::regclass AND d.refobjid = r.oid AND d.deptype = 'o') AS owns
FROM pg_roles r WHERE rolname = $1"""  # noqa: S608 - constants
_MEMBER = (
    "SELECT quote_ident(of.rolname) AS name FROM pg_auth_members JOIN pg_roles of ON of.oid = roleid"
    " JOIN pg_roles by ON by.oid = member WHERE by.rolname = $1 ORDER BY 1"
)
_SETTINGS = (  # a login may give itself some, and they are there whenever it connects
    "SELECT CASE setdatabase WHEN 0 THEN '' ELSE 'IN DATABASE ' || quote_ident(datname) || ' ' END AS place"
    " FROM pg_db_role_setting LEFT JOIN pg_database d ON d.oid = setdatabase JOIN pg_roles r ON r.oid = setrole WHERE rolname = $1 ORDER BY 1"
)
_BEYOND = """
SELECT rolname, type || ' ' || identity AS what FROM pg_shdepend d JOIN pg_roles r ON r.oid = refobjid, pg_identify_object(d.classid, d.objid, 0)
WHERE refclassid = 'pg_authid'::regclass AND deptype = 'a' AND rolname = ANY (string_to_array($1, ' ')) AND identity IS NOT NULL
  AND (dbid = (SELECT oid FROM pg_database WHERE datname = current_database()) OR dbid = 0 AND classid <> 'pg_database'::regclass)
  AND NOT (classid IN ('pg_class'::regclass, 'pg_proc'::regclass) AND schema = 'public' OR classid = 'pg_namespace'::regclass AND identity = 'public')
ORDER BY 1, 2 LIMIT 1"""
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
    WHERE pronamespace = 'pg_catalog'::regnamespace AND proname = ANY (string_to_array($1, ' '))
  UNION ALL SELECT 'ROUTINE ' || p.oid::regprocedure, '', a.*
    FROM pg_proc p, aclexplode(coalesce(proacl, acldefault('f', proowner))) a WHERE pronamespace = 'public'::regnamespace
    AND NOT (grantee = 0 AND EXISTS (SELECT 1 FROM pg_depend d WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'))
) granted LEFT JOIN pg_roles r ON r.oid = grantee WHERE grantee = 0 OR r.rolname IS NOT NULL"""
_RELATIONS = (
    "SELECT CASE relkind WHEN 'S' THEN 'SEQUENCE ' ELSE 'TABLE ' END || quote_ident(relname) AS place, relname, relkind = 'S' AS is_sequence"
    " FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p', 'v', 'm', 'f', 'S')"
)
_ME = (
    "SELECT rolname, rolsuper, rolsuper OR rolcreaterole AS may_make_roles, 'DATABASE ' || quote_ident(current_database()) AS database,"
    " pg_has_role(datdba, 'USAGE') AND pg_has_role(nspowner, 'USAGE') AS owns_database"
    " FROM pg_roles, pg_database, pg_namespace WHERE rolname = current_user AND datname = current_database() AND nspname = 'public'"
)
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
    _check_may_make(me, logins)
    done = [line for login in logins for line in await _see_to(database, login, me)]
    wanted = await _wanted(database, logins, me["database"], tables)
    functions = " ".join(_EVERYBODYS_FUNCTIONS) if me["rolsuper"] else ""
    ours = {login.name for login in logins}
    excess, _ = await _differences(database, wanted, ours, functions)
    done += await _say(database, _statements("REVOKE", excess))
    # Read again: what was revoked from a whole table is revoked from each of its columns.
    _, lacking = await _differences(database, wanted, ours, functions)
    done += await _say(database, _statements("GRANT", lacking))
    excess, lacking = await _differences(database, wanted, ours, functions)
    if excess or lacking:
        if not me["owns_database"]:
            _leave_to_its_owner(me["rolname"], excess, lacking)
        left = min(excess or lacking)
        raise MigrationError(
            f"{left.privilege} on {left.place} of {left.grantee} {'was granted' if excess else 'was withheld'} by somebody else than the schema's owner:"
            " revoke it as whoever did that, or as a superuser"
        )
    beyond = await database.fetch_one(_BEYOND, " ".join(ours))
    if beyond is not None:
        raise MigrationError(
            f"the login {beyond['rolname']} was granted something on {beyond['what']}, which is none of CodeWarz's: revoke it as whoever granted it"
        )
    return done


def _leave_to_its_owner(me: str, excess: set[Grant], lacking: set[Grant]) -> None:
    """Raise MigrationError with what the owner of the database, and of its schema, has to say in place of ours; nothing when that is not what is left."""
    theirs = [
        _statements(verb, {grant for grant in grants if grant.place.startswith(("DATABASE ", "SCHEMA "))})
        for verb, grants in (("REVOKE", excess), ("GRANT", lacking))
    ]
    if any(theirs):
        raise MigrationError(
            f"the login {me} does not own both the database and its schema public, so it cannot change what PostgreSQL lets everybody do there, or grant it."
            f" Make it their owner, or say as that: {'; '.join(f'`{each}`' for several in theirs for each in several)}"
        )


# ---- logins ----------------------------------------------------------------------------------------------------------


def _check_may_make(me: Row, logins: Sequence[Login]) -> None:
    if any(login.password for login in logins) and not me["may_make_roles"]:
        form = " ".join(f"{login.kind}={login.name}" for login in logins)
        raise MigrationError(
            f"the login {me['rolname']} may make no logins: have an administrator make them (CREATE ROLE … LOGIN PASSWORD …),"
            f" and name them without passwords: `{form}`"
        )


async def _see_to(database: Statements, login: Login, me: Row) -> list[str]:
    """Make a login, or what it is as it should be."""
    name = _quoted(login.name)
    role = await database.fetch_one(_ROLE, login.name, MARK)
    if role is None:
        if not login.password:
            raise MigrationError(f"there is no login {login.name}: make it, or give it a password here as well")
        await database.execute(
            f"CREATE ROLE {name} LOGIN NOINHERIT PASSWORD '{scram.verifier(login.password)}'"  # the defaults are no power
        )
        await database.execute(f"COMMENT ON ROLE {name} IS '{MARK}'")
        return [f"made the login {login.name}"]
    for fact, what in _BEYOND_GRANTS.items():
        if role[fact]:
            raise MigrationError(f"the login {login.name} is {what}, which no grant limits: name another one")
    if login.password and not role["is_ours"]:
        raise MigrationError(
            f"the login {login.name} was made by somebody else: name another one,"
            f" or, if it is meant for this, write {login.kind}={login.name} without a password"
        )
    done = await _mending(database, login.name, role)
    if done and not (role["is_ours"] and me["may_make_roles"]):
        whose = "is not one that this login may change" if role["is_ours"] else "was made by somebody else"
        raise MigrationError(
            f"the login {login.name} {whose}, and not as it should be: as whoever looks after it, say {'; '.join(f'`{each}`' for each in done)}"
        )
    await _say(database, done)
    for group in await database.fetch(_MEMBER, login.name):  # since PostgreSQL 16 only who granted it may revoke it
        raise MigrationError(
            f"the login {login.name} is a member of {group['name']}: revoke that as whoever granted it"
        )
    if await database.fetch(_SETTINGS, login.name) and role["is_ours"]:
        raise MigrationError(f"the login {login.name} has settings that only a superuser may reset: {done[-1]}")
    if login.password and not (me["rolsuper"] and await _has_password(database, login)):
        await database.execute(f"ALTER ROLE {name} PASSWORD '{scram.verifier(login.password)}'")
        done.append(f"set the password of {login.name}")
    return done


async def _mending(database: Statements, login: str, role: Row) -> list[str]:
    """Return the statements that make a role as it should be. One that somebody else made may have its maker's limits and settings."""
    name = _quoted(login)
    facts = {**_ATTRIBUTES, "is_locked": "LOGIN", **(_LEFT_TO_ITS_MAKER if role["is_ours"] else {})}
    words = [word for fact, word in facts.items() if role[fact]]
    mending = [f"ALTER ROLE {name} {' '.join(words)}"] if words else []
    mending += [f"REVOKE {group['name']} FROM {name}" for group in await database.fetch(_MEMBER, login)]
    if role["is_ours"]:
        mending += [f"ALTER ROLE {name} {row['place']}RESET ALL" for row in await database.fetch(_SETTINGS, login)]
    return mending


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
    database: Statements, wanted: set[Grant], logins: set[str], functions: str
) -> tuple[set[Grant], set[Grant]]:
    """Return what is granted and not wanted, and what is wanted and not granted. What may be handed on is not wanted, so it is granted anew without that."""
    granted, excess = set[Grant](), set[Grant]()
    for row in await database.fetch(_GRANTED, functions):
        grant = Grant(row["place"], row["grantee"], row["privilege"], row["column"])
        if grant.grantee in logins:
            (excess if row["is_grantable"] or grant not in wanted else granted).add(grant)
        elif grant.grantee == EVERYBODY and (grant.place.split()[0], grant.privilege) not in _LEFT_TO_EVERYBODY:
            excess.add(grant)
    return excess, wanted - granted


async def _say(database: Statements, statements: list[str]) -> list[str]:
    for statement in statements:
        await database.execute(statement)
    return statements


def _statements(verb: str, grants: Iterable[Grant]) -> list[str]:
    """Return what grants or revokes, one statement for each object and grantee."""
    statements = []
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
        statements.append(f"GRANT {what} TO {whom}" if verb == "GRANT" else f"REVOKE {what} FROM {whom} CASCADE")
    return statements


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
