"""What a batch came to: as the JSON that programs read, and which lines of a trace belong to a failure."""

from __future__ import annotations

import re
from collections.abc import Sequence

import msgspec

from chaos.invariants import INVARIANTS, Violation
from chaos.simulation import sometimes
from chaos.simulation.batch import Tally
from chaos.simulation.faults import Fault, Options
from chaos.simulation.job import Done, command
from chaos.simulation.timeline import unjudged

SUBMITTED = "submitted"  # a counter that has its own place in the report
LOOKING = (
    "→ redis LRANGE progress:",
    "GET /api/v1/submissions/",
)  # somebody looks at a submission, which changes nothing
VIOLATED = " VIOLATED: "  # marks its place in the trace
UNJUDGED_MOST = 2
LINES_MOST = 30  # shown of a failure
ID = re.compile(r"\b[0-9A-HJKMNP-TV-Z]{26}\b")

OTHERS = {
    "replay": "the same seed gives the same run, in any process",
    "worker": "a run ends, in real time too",
    "error": "no exception leaves a run",
    "scenario": "what a scenario asserts is true",
    "sometimes": "in a large batch every fault, every recovery and every point in our code is seen",
}
"""What else may be violated, besides the invariants."""


class Shrunk(msgspec.Struct, frozen=True):
    """The smallest options that still violate the same invariant, and how they were found."""

    options: Options
    replay: str
    runs: int


class Found(msgspec.Struct, omit_defaults=True):
    """A violation, and how to see it again. Seed, options and replay are null for one that is of the whole batch; ``shrunk`` is there with ``--shrink``."""

    seed: int | None
    invariant: str
    detail: str
    at_s: float | None
    options: Options | None
    replay: str | None
    shrunk: Shrunk | None = None


class Report(msgspec.Struct, kw_only=True):
    """A batch. ``faults`` and ``sometimes`` count what was seen, 0 for what might have been; ``traces`` is the hash of each seed's run."""

    seeds: str
    violations: list[Found]
    submissions: int
    faults: dict[str, int]
    sometimes: dict[str, int]
    simulated_s: float
    wall_s: float
    submissions_per_s: float
    simulated_per_wall_s: float
    traces: dict[int, str]


def make_report(seeds: str, tally: Tally, *, is_complete: bool = False) -> Report:
    """Sum up; ``is_complete`` says that these were seeds as they come, none left out: then what never happened is a violation, if they were enough."""
    violations = [found for done in tally.failures for found in found_in(done)]
    if is_complete:
        violations += [
            Found(None, "sometimes", f"{name} never happened in {tally.seeds} seeds: {text}", None, None, None)
            for name, text in sometimes.never_fired(tally.counts, sorted(tally.points), tally.seeds).items()
        ]
    faults = {str(fault): tally.counts[fault] for fault in Fault}
    others = dict.fromkeys(sometimes.required(sorted(tally.points)), 0) | tally.counts
    wall_s = tally.wall_s
    return Report(
        seeds=seeds,
        violations=violations,
        submissions=tally.submissions,
        faults=highest_first(faults),
        sometimes=highest_first({name: n for name, n in others.items() if name not in faults and name != SUBMITTED}),
        simulated_s=round(tally.simulated_s, 3),
        wall_s=round(wall_s, 3),
        submissions_per_s=round(tally.submissions / wall_s, 2),
        simulated_per_wall_s=round(tally.simulated_s / wall_s, 2),
        traces=dict(sorted(tally.traces.items())),
    )


def found_in(done: Done) -> list[Found]:
    """Return a run's violations, each with the command that shows it again."""
    return [
        Found(done.job.seed, each.invariant, each.detail, each.at_s, done.options, command(done.job))
        for each in done.violations
    ]


def promise(invariant: str) -> str:
    """Return what an invariant says."""
    return INVARIANTS.get(invariant) or OTHERS.get(invariant, "")


def highest_first(counts: dict[str, int]) -> dict[str, int]:
    """Sort by count, falling, then by name."""
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def named_in(detail: str, lines: Sequence[str]) -> list[str]:
    """Return who is named in a violation: processes, people and engines that have lines, and ids of submissions."""
    who = dict.fromkeys(line[13:].split(" ", 1)[0] for line in lines)
    words = set(re.findall(r"[\w-]+", detail))
    return [name for name in who if name in words] + list(dict.fromkeys(ID.findall(detail)))


def suspects(violations: Sequence[Violation], lines: Sequence[str]) -> list[str]:
    """Return who has to do with the violations: those who are named, and if no submission is, some that nobody has judged."""
    names = list(dict.fromkeys(name for each in violations for name in named_in(each.detail, lines)))
    if not any(map(ID.fullmatch, names)):
        names += unjudged(lines)[:UNJUDGED_MOST]
    return names


def last_events(names: Sequence[str], lines: Sequence[str], most: int = LINES_MOST) -> list[str]:
    """Choose the newest lines up to the violation in which a name occurs, with the newest of all where these are few."""
    at = next((number for number, line in enumerate(lines) if VIOLATED in line), len(lines) - 1)
    lines = lines[: at + 1]
    about = [
        number
        for number, line in enumerate(lines)
        if any(name in line for name in names) and not any(words in line for words in LOOKING)
    ][-most:]
    chosen = set(about)
    for number in range(len(lines) - 1, -1, -1):
        if len(chosen) >= most:
            break
        chosen.add(number)
    return [lines[number] for number in sorted(chosen)]
