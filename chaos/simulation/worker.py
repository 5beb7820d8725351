"""``python -m chaos.simulation.worker``, never imported: runs jobs, one JSON line in, one JSON line out, until its input ends.

A process of its own, because a run repeats itself only where texts hash the same in every process (``PYTHONHASHSEED=0``) and where the points were compiled
into the house before any of it was imported.
"""

from __future__ import annotations

import os
import signal
import sys
import traceback
from typing import IO

from chaos.simulation import buggify

buggify.install()

import msgspec  # noqa: E402 - the points come first, see above
import structlog  # noqa: E402

from chaos.invariants import Violation  # noqa: E402
from chaos.simulation import faults, scenario  # noqa: E402
from chaos.simulation.determinism import is_pinned  # noqa: E402
from chaos.simulation.job import READY, Done, Job  # noqa: E402
from chaos.simulation.run import run  # noqa: E402
from contracts.errors import Invalid  # noqa: E402

NO_LOGS = 50  # critical: nothing in the house is
ACCIDENT_MOST = 8_000  # letters of a traceback


def main() -> None:
    """Serve until the input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to the whole group; whoever started this ends it
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever prints, a scenario for example, must not come between the answers
    if not is_pinned():
        sys.exit("a worker repeats itself only with PYTHONHASHSEED=0 in its environment")
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(NO_LOGS))
    jobs = msgspec.json.Decoder(Job)
    try:
        _say(answers, READY)
        for line in sys.stdin.buffer:
            _say(answers, msgspec.json.encode(do(jobs.decode(line))))
    except BrokenPipeError:
        os._exit(1)  # nobody is there any more, and flushing at exit would only fail again


def _say(answers: IO[bytes], line: bytes) -> None:
    answers.write(line + b"\n")
    answers.flush()


def do(job: Job) -> Done:
    """Run a job; whatever goes wrong is part of the answer."""
    options = job.options
    try:
        played = scenario.load(job.scenario) if job.scenario else None
        if options is None:
            options = faults.options(job.seed) if played is None else played.options(job.seed)
    except Invalid as error:
        return Done(job=job, refused=error.detail)
    try:
        result, world = run(options, is_kept=job.is_kept, scenario=played)
    except Exception as error:  # noqa: BLE001 - it is what this process has to tell
        if played is not None and (sentence := played.refusal(error)):
            return Done(job=job, options=options, refused=sentence)
        text = "".join(traceback.format_exception(error))[-ACCIDENT_MOST:]
        return Done(job=job, options=options, violations=(Violation("error", text),), points=tuple(buggify.found))
    return Done(
        job=job,
        options=options,
        violations=result.violations,
        submissions=result.submissions,
        sometimes=result.sometimes,
        simulated_s=result.simulated_s,
        wall_s=result.wall_s,
        healed_s=result.healed_s,
        trace=result.trace,
        lines=tuple(world.trace.lines),
        points=tuple(buggify.found),
    )


if __name__ == "__main__":
    main()
