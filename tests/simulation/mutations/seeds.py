"""Run in a mutated copy of the house, never imported: seeds one after the other, a JSON line for each, until one sees something."""

from __future__ import annotations

import sys
import traceback

from chaos.simulation import buggify

buggify.install()

import msgspec  # noqa: E402 - the points must be installed before anything of the house is imported
import structlog  # noqa: E402

import actors  # noqa: E402
from chaos.simulation.faults import options  # noqa: E402
from chaos.simulation.run import run  # noqa: E402

SILENT = 50  # critical: nothing of the house is
MOST = 600  # letters of a detail


def main(words: list[str]) -> None:
    """Run the seeds that the words name."""
    is_whole, here = "--whole" in words, sys.path[0]
    if not str(actors.__file__).startswith(here):
        raise SystemExit(f"the house of {actors.__file__} was imported and not the one in {here}")
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(SILENT))
    for seed in (int(word) for word in words if word.isdigit()):
        line = _run(seed)
        sys.stdout.write(msgspec.json.encode(line).decode() + "\n")
        sys.stdout.flush()
        if line["seen"] != "nothing" and not is_whole:
            return


def _run(seed: int) -> dict[str, object]:
    try:
        result, _ = run(options(seed))
    except BaseException as error:  # noqa: BLE001 - it is what this process has to tell
        return {"seed": seed, "seen": "accident", "detail": "".join(traceback.format_exception(error))[-MOST:]}
    if not result.violations:
        return {"seed": seed, "seen": "nothing"}
    first = result.violations[0]
    return {"seed": seed, "seen": "violation", "invariant": first.invariant, "detail": first.detail[:MOST]}


if __name__ == "__main__":
    main(sys.argv[1:])
