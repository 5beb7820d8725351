"""Many runs in several processes. The workers here are small programs that answer as a good or a bad worker would."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import pytest
import trio

from chaos.invariants import Violation
from chaos.simulation import batch as module
from chaos.simulation.batch import Batch, Tries, difference, environment, is_twice, workers
from chaos.simulation.faults import Options
from chaos.simulation.job import Done, Job

Command = Sequence[str]
Stub = Callable[[str], Command]

STUB = """
import json, os, sys, time
print("ready", flush=True)
def answer(job, **fields):
    print(json.dumps({"job": job, "trace": "t%d" % job["seed"], "submissions": 2, "sometimes": {"loss": 1}, **fields}), flush=True)
for line in sys.stdin:
    job = json.loads(line)
    seed = job["seed"]
"""


@pytest.fixture
def stub(tmp_path: Path) -> Stub:
    """Make a worker that does this for each job."""

    def make(body: str) -> Command:
        path = tmp_path / "stub.py"
        path.write_text(STUB + "\n".join(f"    {line}" for line in body.splitlines()))
        return (sys.executable, "-S", str(path))

    return make


async def test_every_seed_is_run_once(stub: Stub) -> None:
    command = stub("answer(job)")
    told: list[int] = []
    batch = Batch(range(1, 10), many=3, on_done=lambda done: told.append(done.job.seed), command=command)
    await batch.run()
    assert sorted(told) == list(range(1, 10))
    assert batch.tally.traces == {seed: f"t{seed}" for seed in range(1, 10)}
    assert (batch.tally.seeds, batch.tally.submissions, batch.tally.counts["loss"]) == (9, 18, 9)
    assert not batch.tally.failures
    assert batch.tally.twice == 0


async def test_every_twentieth_seed_is_run_twice_in_another_process(stub: Stub) -> None:
    command = stub("answer(job, trace='same', lines=[f'{0:11.4f}  run  by %d' % os.getpid()])")
    batch = Batch(range(15, 45), many=2, command=command)
    await batch.run()
    assert [seed for seed in range(15, 45) if is_twice(seed)] == [20, 40]
    assert batch.tally.twice == 2
    assert batch.tally.seeds == 30, "the second run of a seed is not a second seed"


async def test_a_seed_that_gives_two_traces_is_a_violation_with_the_first_line_that_differs(stub: Stub) -> None:
    command = stub(
        "answer(job, trace=str(os.getpid()), lines=['first line', 'second line', 'by %d' % os.getpid(), 'last line'])"
    )
    batch = Batch(range(20, 21), many=1, command=command)
    await batch.run()
    (violation,) = batch.tally.failures[0].violations
    assert violation.invariant == "replay"
    said = violation.detail.splitlines()
    assert said[0] == "two processes gave two traces; they differ from line 3 on, of 4 and 4"
    assert said[1:3] == ["  both    first line", "  both    second line"]
    assert said[3].startswith("  first   by ")
    assert said[4].startswith("  second  by ")
    assert said[3][10:] != said[4][10:]


def test_a_trace_that_ends_early_differs_at_its_end() -> None:
    assert difference(["a", "b"], ["a"]).splitlines()[-2:] == ["  first   b", "  second  (the trace ends)"]


async def test_a_worker_that_dies_is_a_failure_of_its_seed_and_is_replaced(stub: Stub) -> None:
    command = stub("if seed == 3: print('out of cheese', file=sys.stderr); os._exit(7)\nanswer(job)")
    batch = Batch(range(1, 7), many=1, command=command)
    await batch.run()
    (failure,) = batch.tally.failures
    assert failure.job.seed == 3
    assert failure.violations[0].invariant == "worker"
    assert "ended with status 7, it gave no answer" in failure.violations[0].detail
    assert "out of cheese" in failure.violations[0].detail
    assert sorted(batch.tally.traces) == [1, 2, 4, 5, 6]


async def test_a_worker_that_hangs_is_a_failure_of_its_seed_and_is_replaced(
    stub: Stub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SILENT_S_MOST", 5.0)  # the others answer in it, however busy the machine is
    command = stub("if seed == 2: time.sleep(60)\nanswer(job)")
    batch = Batch(range(1, 4), many=1, command=command)
    await batch.run()
    (failure,) = batch.tally.failures
    assert failure.job.seed == 2
    assert "no answer within 5 s of real time" in failure.violations[0].detail
    assert sorted(batch.tally.traces) == [1, 3]


async def test_a_worker_that_talks_nonsense_is_a_failure(stub: Stub) -> None:
    command = stub("print('what a nice day', flush=True); sys.exit()")
    batch = Batch(range(1, 2), command=command)
    await batch.run()
    assert batch.tally.failures[0].violations[0].invariant == "worker"


async def test_when_no_worker_can_begin_nothing_is_run() -> None:
    command = (sys.executable, "-c", "raise ImportError('no house here')")
    batch = Batch(range(1, 1000), many=2, command=command)
    await batch.run()
    assert "no run can begin: the worker ended with status 1" in batch.refused
    assert "no house here" in batch.refused


async def test_a_failure_is_run_again_for_its_trace(stub: Stub) -> None:
    command = stub(
        "bad = [{'invariant': 'I1', 'detail': 'lost', 'at_s': 1.5}] if seed == 2 else []\n"
        "answer(job, violations=bad, lines=['a line'] if job.get('is_kept') else [])"
    )
    batch = Batch(range(1, 4), command=command)
    await batch.run()
    (failure,) = batch.tally.failures
    assert failure.violations == (Violation("I1", "lost", 1.5),)
    assert failure.lines == ("a line",)
    assert not failure.job.is_kept, "the command that replays it is that of the first run"


async def test_a_failure_that_does_not_repeat_itself_says_so(stub: Stub) -> None:
    command = stub("answer(job, violations=[{'invariant': 'I1', 'detail': 'lost'}], trace=str(time.monotonic()))")
    batch = Batch(range(1, 2), command=command)
    await batch.run()
    assert [each.invariant for each in batch.tally.failures[0].violations] == ["I1", "replay"]


async def test_a_batch_that_is_cancelled_ends_its_processes_and_keeps_what_it_found(stub: Stub) -> None:
    command = stub("if seed > 3: time.sleep(60)\nanswer(job, trace=str(os.getpid()))")
    batch = Batch(range(1, 10), many=2, command=command)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(batch.run)
        while len(batch.tally.traces) < 3:
            await trio.sleep(0.01)
        nursery.cancel_scope.cancel()
    assert batch.tally.seeds == 3
    for pid in map(int, batch.tally.traces.values()):
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


async def test_tries_return_the_first_that_fails_however_many_run_at_a_time(stub: Stub) -> None:
    command = stub("answer(job, violations=[{'invariant': 'I4', 'detail': ''}] if seed in (4, 5) else [])")
    for many in (1, 2, 3):
        async with workers(many, command) as usual:
            tries = Tries(usual, "I4")
            found = await tries.first_failing(Options(seed=seed) for seed in range(1, 9))
            assert found is not None
            assert found.seed == 4
            assert tries.last is not None
            assert tries.last.job == Job(seed=4, options=found)
            assert await Tries(usual, "I9").first_failing(Options(seed=seed) for seed in range(1, 9)) is None


def test_what_steers_the_house_does_not_reach_a_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CODEWARZ_WORKERS", "3")
    monkeypatch.setenv("PYTHONHASHSEED", "random")
    assert not any(name.startswith("CODEWARZ_") for name in environment())
    assert environment()["PYTHONHASHSEED"] == "0"


def test_an_answer_survives_its_way() -> None:
    done = Done(job=Job(seed=7, options=Options(seed=7)), violations=(Violation("I1", "lost", 2.0),), lines=("a",))
    assert msgspec.json.decode(msgspec.json.encode(done), type=Done) == done
