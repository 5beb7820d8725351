"""A house with people, contests and verdicts in it, for pages to show: real tables, real boards, the real doorkeeper."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import cast

import msgspec
from quart_trio import QuartTrio
from werkzeug.datastructures import Headers

from actors.boards import Boards, BoardView, Contest
from actors.gateway.app import make_app
from actors.gateway.identity import ACCESS_COOKIE, ACCESS_TTL_S, Keys
from actors.gateway.services import Services
from actors.gateway.sse import Hub
from actors.languages import announce
from actors.problems import Sample, Summary, statement_to_html
from contracts.messages import Offer, Role, User
from contracts.ports import Database, Passwords, Redis
from contracts.scoring import BoardRules, Entry, Rules
from contracts.verdicts import TestResult, Verdict
from edge.rpc import LocalRpc
from tests.conftest import Clock, NoMeter

HOUR_MS = 3_600_000
MINUTE_MS = 60_000
SECRET = b"s" * 32
OPEN, POINTS, NEXT, PAST = "open", "points", "next", "past"
NAMES = [
    "ada", "bob", "carol", "dmitri", "eun-ji", "farid", "grace", "heidi",
    "ivan_the_unstoppable_33", "judy", "kai", "lin", "mallory", "niaj", "olivia", "peggy",
]  # fmt: skip
TITLES = (
    "Warm-up",
    "Longest run",
    "Ferry tickets",
    "Two lighthouses",
    "A very long title that has to wrap somewhere",
    "Tides",
)
COLOURS = ("#e5484d", "#3e63dd", "#30a46c", "#f5d90a", "white", "#2b2f38")
STATEMENT = """
The harbour of Lanternmouth has $n$ ferries in a row. Ferry $i$ is painted in colour $c_i$.
Find the length of the **longest run** of neighbouring ferries that share one colour.

## Input

The first line holds $n$ ($1 \\le n \\le 2 \\cdot 10^5$). The second holds $n$ integers $c_1, \\dots, c_n$ ($0 \\le c_i \\le 10^9$).

## Output

Print one integer: the length of the longest run.

- A run may be a single ferry.
- Colours are compared as numbers, so `7` and `07` are the same.
"""
SOURCE = """import sys


def longest_run(values):
    \"\"\"Length of the longest run of equal neighbours.\"\"\"
    best = run = 1
    for a, b in zip(values, values[1:]):  # one pass
        run = run + 1 if a == b else 1
        best = max(best, run)
    return best


n, *values = map(int, sys.stdin.read().split())
print(longest_run(values))
"""


@dataclass
class House:
    """The parts, and how to look at them as somebody."""

    database: Database
    redis: Redis
    clock: Clock
    services: Services
    app: QuartTrio
    keys: Keys

    def cookie(self, user_id: str, *, role: Role = Role.CONTESTANT, age_s: int = 0) -> dict[str, str]:
        """Return the headers of a browser in which ``user_id`` signed in ``age_s`` ago."""
        user = User(id=user_id, username=user_id, email=f"{user_id}@example.org", role=role, created_at_ms=0)
        token = self.keys.access_token(user, f"session-{user_id}", self.clock.now_ms() - age_s * 1000)
        return {"Cookie": f"{ACCESS_COOKIE}={token}"}

    def expired(self, user_id: str) -> dict[str, str]:
        """Return the headers of a browser whose session wants a refresh."""
        return self.cookie(user_id, age_s=ACCESS_TTL_S + 1)

    async def get(self, path: str, headers: dict[str, str] | None = None) -> tuple[int, str, Headers]:
        """Return status, text and headers of a page."""
        answer = await self.app.test_client().get(path, headers=headers or {})
        return answer.status_code, await answer.get_data(as_text=True), answer.headers


def make_house(database: Database, redis: Redis, clock: Clock) -> House:
    """Return the application on these edges; its hub does not run, so streams are refused."""
    rng, meter = random.Random(7), NoMeter()
    services = Services(
        database=database,
        redis=redis,
        rpc=LocalRpc(),
        clock=clock,
        rng=rng,
        passwords=cast("Passwords", None),  # pages never look at a password
        secret=SECRET,
        hub=Hub(redis, clock, rng, meter),
        meter=meter,
        render_metrics=lambda: b"",
        is_ready=lambda: True,
        version="0.1.0",
    )
    return House(database, redis, clock, services, make_app(services), Keys(SECRET))


async def furnish(house: House) -> None:
    """Fill the house: a running, a frozen IOI, a coming and a past contest, six problems, sixteen people and a log of verdicts."""
    now = house.clock.now_ms()
    for name in (*NAMES, "root"):
        role = "admin" if name == "root" else "contestant"
        await house.database.execute(
            "INSERT INTO users VALUES ($1, $2, $3, $4, $5, 'x', $6, $7)",
            name,
            name,
            name.lower(),
            f"{name}@example.org",
            f"{name}@example.org",
            role,
            now,
        )
        await house.database.execute(
            "INSERT INTO sessions (id, user_id, created_at_ms) VALUES ($1, $2, $3)", f"session-{name}", name, now
        )
    for number, title in enumerate(TITLES):
        await _problem(house, f"p{number}", title)
    await _contest(house, OPEN, "Lanternmouth Open", Rules.ICPC, now - 2 * HOUR_MS - 7 * MINUTE_MS, 5, freeze_h=4)
    await _contest(house, POINTS, "Harbour Olympiad", Rules.IOI, now - 3 * HOUR_MS, 4, freeze_h=2)
    await _contest(house, NEXT, "Winter Regatta", Rules.ICPC, now + 26 * HOUR_MS, 5)
    await _contest(house, PAST, "Autumn Regatta", Rules.ICPC, now - 200 * HOUR_MS, 3)
    await announce(
        house.redis,
        "judge-1",
        [Offer("c", "C17", "gcc 13"), Offer("cpp", "C++20", "g++ 13"), Offer("python", "Python 3", "3.11")],
    )
    for contest_id, rules in ((OPEN, Rules.ICPC), (POINTS, Rules.IOI)):
        await _verdicts(house, contest_id, rules)


async def _problem(house: House, problem_id: str, title: str) -> None:
    summary = Summary(
        title=title,
        statement_html=statement_to_html(STATEMENT),
        statement_source=STATEMENT,
        samples=(Sample("1", "5\n1 1 2 2 2\n", "3\n"), Sample("2", "1\n7\n", "1\n")),
        time_limit_ms=1500,
        memory_limit_kb=262144,
        output_limit_kb=8192,
        source_limit_kb=64,
        tests_total=12,
        author="A. Keeper",
    )
    now = house.clock.now_ms()
    await house.database.execute(
        "INSERT INTO problems VALUES ($1, $2, $3, 1, $4, $5)", problem_id, problem_id, title, True, now
    )
    await house.database.execute(
        "INSERT INTO problem_versions VALUES ($1, 1, 'd', $2, $3, $4, 'root', $5)",
        problem_id,
        b"zip",
        msgspec.json.encode(summary),
        False,
        now,
    )


async def _contest(
    house: House, contest_id: str, title: str, rules: Rules, start: int, hours: int, *, freeze_h: int | None = None
) -> None:
    await house.database.execute(
        "INSERT INTO contests VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 'root', $9, 1)",
        contest_id,
        title,
        "Six problems from the harbour, of rising difficulty. Everybody is welcome.",
        rules.value,
        start,
        start + hours * HOUR_MS,
        None if freeze_h is None else start + freeze_h * HOUR_MS,
        True,
        house.clock.now_ms(),
    )
    for number, colour in enumerate(COLOURS):
        label = chr(ord("A") + number)
        await house.database.execute(
            "INSERT INTO contest_problems VALUES ($1, $2, $3, $4, 10000)", contest_id, f"p{number}", label, colour
        )
    for name in NAMES if contest_id != NEXT else NAMES[:3]:
        await house.database.execute("INSERT INTO registrations VALUES ($1, $2, $3)", contest_id, name, start)


async def _verdicts(house: House, contest_id: str, rules: Rules) -> None:
    """A deterministic log: the earlier in the alphabet, the stronger."""
    rng = random.Random(contest_id)
    row = await house.database.fetch_one("SELECT * FROM contests WHERE id = $1", contest_id)
    assert row is not None
    start, end, freeze = row["starts_at_ms"], row["ends_at_ms"], row["freezes_at_ms"]
    log: list[Entry] = []
    for strength, name in enumerate(NAMES):
        at = start + rng.randrange(3, 12) * MINUTE_MS
        for number in range(len(TITLES)):
            for verdict in _tries(rng, strength, number):
                at += rng.randrange(2, 10 + 3 * number) * MINUTE_MS
                if at >= house.clock.now_ms():
                    break
                score = rng.choice((2000, 4550, 7000)) if verdict is not Verdict.AC else 10000
                entry = Entry(f"{contest_id}-{len(log)}", 1, name, f"p{number}", at, verdict, score)
                log.append(entry)
                await add_submission(house, entry, contest_id)
    rules_ = BoardRules(rules, start, end, freeze)
    boards, names = Boards(house.redis, house.clock), {name: name for name in NAMES}
    for view in BoardView:
        assert await boards.load(Contest(contest_id, rules_, 1), view, names, log, state="", epoch="e1")


def _tries(rng: random.Random, strength: int, number: int) -> list[Verdict]:
    wrong = [rng.choice((Verdict.WA, Verdict.TLE, Verdict.RTE, Verdict.CE)) for _ in range(rng.randrange(0, 3))]
    solves = rng.random() < 1.05 - 0.045 * strength - 0.09 * number
    return [*wrong, Verdict.AC] if solves else wrong


async def add_submission(house: House, entry: Entry, contest_id: str | None, *, is_judged: bool = True) -> None:
    """Add a line of the log with its submission."""
    verdict = entry.verdict.value if is_judged else None
    await house.database.execute(
        "INSERT INTO submissions VALUES ($1, 'submission', $2, $3, $4, 1, 'python', $5, NULL, 2, 1, $6, $7, 1, $8, $8, $8, 'c')",
        entry.submission_id,
        entry.user_id,
        contest_id,
        entry.problem_id,
        SOURCE,
        verdict,
        entry.score,
        entry.submitted_at_ms,
    )
    if not is_judged:
        return
    tests = [
        TestResult(number, Verdict.AC, 20 + 9 * number, 24 + 9 * number, 9000 + 700 * number) for number in range(1, 13)
    ]
    if entry.verdict is Verdict.CE:
        tests = []
    elif entry.verdict is not Verdict.AC:
        tests = [*tests[:6], TestResult(7, entry.verdict, 812, 840, 20_480)]
    compile_output = "main.py: line 3\n    print(\n         ^\nSyntaxError: '(' was never closed" if not tests else ""
    await house.database.execute(
        "INSERT INTO verdicts VALUES ($1, 1, $2, $3, 1, 'judge-1', $4, $5, $6, '', '')",
        entry.submission_id,
        verdict,
        entry.score,
        entry.submitted_at_ms + 900,
        msgspec.json.encode(tests),
        compile_output,
    )
