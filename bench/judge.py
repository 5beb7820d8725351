"""Submissions through the whole house, beside the same programs compiled and run bare.

The programs are the accepted submissions of the demo problems. *Bare* is what nobody can beat: the same compiler with the same flags, then the program
on the same tests with its output read, without a sandbox, a queue, a database or a checker. *Alone* sends one submission at a time, so that what it takes
beyond bare is the price of everything CodeWarz does; *together* sends all at once to as many workers as there are cores.
"""

from __future__ import annotations

import itertools
import os
import random
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec
import trio
from pydantic import SecretStr

from actors.demo.contest import PROBLEMS, load_plan
from actors.house import House, open_house
from actors.progress import PROGRESS_PREFIX
from actors.settings import Settings
from bench.report import Report, machine, median, quantile
from contracts.ids import make_id
from contracts.messages import CreateUser, Progress, Submit
from sandbox.languages import Language, detect
from sandbox.package_reader import load_package
from supervisor.control import Handler

_decode = msgspec.json.Decoder(Progress).decode


@dataclass(frozen=True)
class Program:
    """One accepted submission and the problem it solves."""

    slug: str
    path: str
    language: str
    source: bytes
    inputs: tuple[bytes, ...]


def programs(languages: dict[str, Language]) -> list[Program]:
    """Return the accepted submissions of the demo problems that this machine can judge."""
    found = []
    for entry in load_plan()["problems"]:
        package = load_package(PROBLEMS / entry["slug"])
        for each in package.submissions:
            if each.expected.verdicts == ("AC",) and each.language in languages and len(each.sources) == 1:
                inputs = tuple(test.input for test in package.tests)
                found.append(Program(package.slug, each.path, str(each.language), each.sources[0].content, inputs))
    return found


def bare(program: Program, language: Language) -> float:
    """Compile and run a program without anything around it; return the seconds that took."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / language.source_file).write_bytes(program.source)
        environment = {**os.environ, **language.env, "HOME": folder}
        run = [part.replace("/box", folder) for part in language.run]
        began = time.perf_counter()
        subprocess.run(language.compile, cwd=folder, env=environment, check=True, capture_output=True)
        for each in program.inputs:
            subprocess.run(run, cwd=folder, env=environment, input=each, check=True, capture_output=True)
        return time.perf_counter() - began


@asynccontextmanager
async def house(workers: int) -> AsyncIterator[House]:
    """Run a whole house in a folder of its own for the length of the block."""
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(
            http="127.0.0.1:0",
            data=Path(folder) / "data",
            workers=workers,
            demo_contestants=0,
            admin_password=SecretStr("bench-bench-bench"),
        )
        opened = await open_house(settings, tell=lambda _text: None)
        started = trio.Event()

        def no_verbs(_house: House) -> dict[str, Handler]:
            return {}

        async with trio.open_nursery() as nursery:
            nursery.start_soon(opened.run, no_verbs, lambda _house: started.set())
            await started.wait()
            yield opened
            await opened.tree.shutdown()
            nursery.cancel_scope.cancel()


class Client:
    """Submits as contestants would, below HTTP: the figures are of judging, not of the web server."""

    def __init__(self, opened: House) -> None:
        self._with = opened.neighbours
        self._users = itertools.count()

    async def send(self, program: Program) -> str:
        """Submit once, as a new user; return the submission."""
        rng, now_ms = random.SystemRandom(), self._with.clock.now_ms()
        contest = await self._with.database.fetch_one("SELECT id FROM contests")
        problem = await self._with.database.fetch_one("SELECT id FROM problems WHERE slug = $1", program.slug)
        assert contest is not None
        assert problem is not None
        name = f"bench{next(self._users)}"
        user_id, submission_id = make_id(now_ms, rng), make_id(now_ms, rng)
        user = CreateUser(user_id=user_id, username=name, email=f"{name}@example.org", password_hash="!")
        await self._with.rpc.call("core", user, timeout=30)
        request = Submit(
            submission_id=submission_id,
            user_id=user_id,
            contest_id=contest["id"],
            problem_id=problem["id"],
            language=program.language,
            source=program.source.decode(),
            correlation_id=submission_id,
        )
        await self._with.rpc.call("core", request, timeout=30)
        return submission_id

    async def verdicts(self, chosen: list[Program], *, together: bool) -> list[float]:
        """Submit all, one after the other or at once; return the seconds from each accepted submission to its verdict on the stream."""
        sent: dict[str, float] = {}
        took: list[float] = []
        async with self._with.redis.subscribe(f"{PROGRESS_PREFIX}*") as steps:
            waiting = list(chosen)
            for program in waiting if together else waiting[:1]:
                sent[await self.send(program)] = time.perf_counter()
            following = iter([] if together else waiting[1:])
            async for _, payload in steps:
                step = _decode(payload)
                if step.verdict is None or step.submission_id not in sent:
                    continue
                assert step.verdict == "AC", step
                took.append(time.perf_counter() - sent.pop(step.submission_id))
                if len(took) == len(chosen):
                    return took
                for program in itertools.islice(following, 1):
                    sent[await self.send(program)] = time.perf_counter()
        raise AssertionError("the stream ended")


async def measure(rounds: int, say: Callable[[str], None]) -> Report:
    """Return submissions per second and the overhead of one, beside bare."""
    languages = await trio.to_thread.run_sync(detect)
    chosen = programs(languages) * rounds
    cores = len(os.sched_getaffinity(0))
    # One pass of everything first, so that no compiler is read from a cold disk in what is measured.
    for program in chosen[: len(chosen) // rounds]:
        await trio.to_thread.run_sync(bare, program, languages[program.language])
    say(f"{len(chosen)} submissions, bare …")
    bare_s = [await trio.to_thread.run_sync(bare, program, languages[program.language]) for program in chosen]
    say(f"alone, one after the other through the house with {cores} workers …")
    async with house(cores) as opened:
        client = Client(opened)
        await client.verdicts(chosen[:3], together=False)  # warm: packages, validators, caches
        alone_s = await client.verdicts(chosen, together=False)
    say(f"together, with {cores} workers …")
    async with house(cores) as opened:
        client = Client(opened)
        await client.verdicts(chosen[:3], together=False)
        began = time.perf_counter()
        together_s = await client.verdicts(chosen, together=True)
        whole_s = time.perf_counter() - began
    tests = sum(len(program.inputs) for program in chosen)
    overhead_ms = [(one - other) * 1000 for one, other in zip(alone_s, bare_s, strict=True)]
    figures = {
        "submissions": float(len(chosen)),
        "tests_per_submission": tests / len(chosen),
        "submissions_per_s": len(chosen) / whole_s,
        "verdict_alone_p50_ms": median(alone_s) * 1000,
        "verdict_alone_p99_ms": quantile(alone_s, 0.99) * 1000,
        "verdict_together_p50_ms": median(together_s) * 1000,
        "overhead_p50_ms": median(overhead_ms),
        "overhead_mean_ms": sum(overhead_ms) / len(overhead_ms),
        "overhead_per_test_ms": sum(overhead_ms) / tests,
    }
    references = {
        "bare_p50_ms": median(bare_s) * 1000,
        "bare_mean_ms": sum(bare_s) / len(bare_s) * 1000,
        "bare_per_s_on_all_cores": cores * len(bare_s) / sum(bare_s),
    }
    ratios = {
        "alone / bare": sum(alone_s) / sum(bare_s),
        "submissions_per_s / bare_per_s_on_all_cores": figures["submissions_per_s"]
        / references["bare_per_s_on_all_cores"],
    }
    return Report("judge", _rounded(figures), _rounded(references), _rounded(ratios), machine())


def _rounded(values: dict[str, float]) -> dict[str, float]:
    return {name: round(value, 3) for name, value in values.items()}
