"""What a sandboxed run costs, beside the bare cost of the same program on the same machine in the same minute."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Awaitable, Callable

import trio

from contracts.verdicts import Verdict
from sandbox import languages
from sandbox.bwrap import BwrapProvider
from sandbox.judging import judge
from sandbox.languages import Language
from sandbox.package import Limits, ProblemPackage, Test
from sandbox.provider import BoxLimits, Command, RunLimits

_TRUE = "/bin/true"
_HELLO = {
    "c": '#include <stdio.h>\nint main(void){int a,b;if(scanf("%d %d",&a,&b)==2)printf("%d\\n",a+b);return 0;}\n',
    "cpp": "#include <iostream>\nint main(){int a,b;std::cin>>a>>b;std::cout<<a+b<<std::endl;}\n",
    "python": "print(sum(map(int, input().split())))\n",
}
_TESTS = 10
_PAUSE_S = 0.003


async def measure(runs: int = 300, submissions: int = 5) -> dict[str, dict[str, float]]:
    """Return {figures, references, ratios}, times in milliseconds.

    ``run_true``: one warm run of /bin/true, round trip, one right after the other; ``run_true_paused``: with three milliseconds between them, in which the
    next init gets ready, as when a test's output is compared or somebody else's turn comes. ``bare_true``: fork, exec and wait for it from Python, nothing
    else. ``judge_*``: a whole submission of ten tests in a warm box, and ``overhead_*`` what of it was neither compiling nor the programs' own wall time,
    per test.
    """
    found = await trio.to_thread.run_sync(languages.detect)
    provider = BwrapProvider(extra=languages.binds(found.values()))
    figures: dict[str, float] = {}
    references = {"run_true_isolate": 4.3, "run_go_judge_published": 2.06, "run_true_bwrap_before": 1.9}
    figures["box_start"], figures["box_end"] = await _starts(provider)
    box = await provider.open(BoxLimits())
    try:
        command = Command(argv=(_TRUE,), limits=RunLimits())

        async def sandboxed() -> None:
            outcome = await box.run(command)
            assert outcome.exit_code == 0

        await _median(sandboxed, 20)
        rounds = [
            (
                await _median(sandboxed, runs // 3),
                await _median(sandboxed, runs // 3, _PAUSE_S),
                await _median(_bare, runs // 3),
            )
            for _ in range(3)
        ]
    finally:
        await box.close()
    best = [min(column) for column in zip(*rounds, strict=True)]
    figures["run_true"], figures["run_true_paused"], references["bare_true"] = best
    for name, source in _HELLO.items():
        if name in found:
            figures |= await _judging(provider, found[name], source, submissions)
    ratios = {
        f"{figure} / {name}": round(figures[figure] / value, 2)
        for figure in ("run_true", "run_true_paused")
        for name, value in references.items()
    }
    return {
        "figures": {key: round(value, 2) for key, value in figures.items()},
        "references": references,
        "ratios": ratios,
    }


async def _median(call: Callable[[], Awaitable[None]], count: int, pause_s: float = 0.0) -> float:
    times = []
    for _ in range(count):
        if pause_s:
            await trio.sleep(pause_s)
        began = time.perf_counter()
        await call()
        times.append(time.perf_counter() - began)
    return statistics.median(times) * 1000


async def _bare() -> None:
    pid = os.fork()
    if pid == 0:
        os.execv(_TRUE, [_TRUE])
    os.waitpid(pid, 0)  # noqa: ASYNC222 - the bare cost is what is measured
    await trio.lowlevel.checkpoint()


async def _starts(provider: BwrapProvider, count: int = 10) -> tuple[float, float]:
    starts, ends = [], []
    for _ in range(count):
        began = time.perf_counter()
        box = await provider.open(BoxLimits())
        started = time.perf_counter()
        await box.close()
        starts.append(started - began)
        ends.append(time.perf_counter() - started)
    return statistics.median(starts) * 1000, statistics.median(ends) * 1000


async def _judging(provider: BwrapProvider, language: Language, source: str, count: int) -> dict[str, float]:
    tests = tuple(Test(name=str(n), input=b"%d %d\n" % (n, n), answer=b"%d\n" % (2 * n)) for n in range(_TESTS))
    package = ProblemPackage(
        slug="sums", title="Sums", format="2023-07", statements=(), tests=tests, limits=Limits(time_ms=5_000)
    )
    wholes, overheads = [], []
    for _ in range(count):
        box = await provider.open(BoxLimits())
        try:
            began = time.perf_counter()
            judged = await judge(box, package, language, source)
            whole = (time.perf_counter() - began) * 1000
        finally:
            await box.close()
        assert judged.verdict is Verdict.AC, judged
        wholes.append(whole)
        overheads.append((whole - judged.compile_ms - sum(test.wall_ms for test in judged.tests)) / _TESTS)
    return {f"judge_{language.id}": statistics.median(wholes), f"overhead_{language.id}": statistics.median(overheads)}
