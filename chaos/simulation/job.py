"""What a worker is asked for and what it answers, and options as people write them."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

import msgspec

from chaos.invariants import Violation
from chaos.simulation.faults import Options
from contracts.errors import Invalid
from contracts.scoring import Rules

READY = b"ready"
"""A worker's first line: it has imported everything."""


class Job(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One run. Without ``options`` they are what the seed stands for, or what the scenario declares."""

    seed: int
    options: Options | None = None
    scenario: str = ""  # path.py or path.py:name
    is_kept: bool = False  # whether the answer brings the whole trace


class Done(msgspec.Struct, kw_only=True, omit_defaults=True):
    """What became of a job; ``lines`` is the whole trace where the job keeps it, ``refused`` the sentence that says why it cannot be run."""

    job: Job
    options: Options | None = None
    violations: tuple[Violation, ...] = ()
    submissions: int = 0
    sometimes: dict[str, int] = {}
    simulated_s: float = 0.0
    wall_s: float = 0.0
    healed_s: float = 0.0
    trace: str = ""
    lines: tuple[str, ...] = ()
    points: tuple[str, ...] = ()
    refused: str = ""


WHOLE = ("users", "submissions", "watchers", "gateways", "cores", "leaderboards", "judges", "workers")
MAY_BE_NONE = ("submissions", "watchers")
MOST = 1_000
HURT_S_MOST = 600.0
INTENSITY_MOST = 100.0


def read_options(text: str) -> Options:
    """Read options as a failure prints them; Invalid, with what is wrong, for anything that cannot be run."""
    try:
        found = msgspec.json.decode(text)
    except msgspec.DecodeError as error:
        raise Invalid(f"the options are not JSON: {error}") from None
    if not isinstance(found, dict):
        raise Invalid('the options are an object, for example {"seed": 7, "faults": ["lost_ack"]}')
    return make_options(found)


def make_options(fields: Mapping[str, Any]) -> Options:
    """Make options of fields; Invalid, with what is wrong, when a run cannot have them."""
    known = Options.__struct_fields__
    unknown = [name for name in fields if name not in known]
    if unknown:
        raise Invalid(f"there is no option {', '.join(map(repr, unknown))}: there are {', '.join(known)}")
    try:
        options = msgspec.convert(dict(fields), Options)
    except msgspec.ValidationError as error:
        raise Invalid(f"the options cannot be read: {error}") from None
    for name in WHOLE:
        least = 0 if name in MAY_BE_NONE else 1
        if not least <= getattr(options, name) <= MOST:
            raise Invalid(f"{name} is {getattr(options, name)}: it goes from {least} to {MOST}")
    if options.seed < 0:
        raise Invalid(f"the seed is {options.seed}: seeds begin at 0")
    if not 0 < options.hurt_s <= HURT_S_MOST:
        raise Invalid(f"hurt_s is {options.hurt_s:g}: it is above 0 and at most {HURT_S_MOST:g} (simulated seconds)")
    if not 0 < options.intensity <= INTENSITY_MOST:
        raise Invalid(f"intensity is {options.intensity:g}: it is above 0 and at most {INTENSITY_MOST:g}")
    if options.rules not in tuple(Rules):
        raise Invalid(f"rules is {options.rules!r}: it is {' or '.join(Rules)}")
    return options


def brief(options: Options) -> str:
    """Return options as JSON without what is as usual: short enough for a command."""
    usual = msgspec.to_builtins(Options(seed=options.seed))
    fields = msgspec.to_builtins(options)
    return msgspec.json.encode(
        {name: value for name, value in fields.items() if name == "seed" or value != usual[name]}
    ).decode()


def command(job: Job) -> str:
    """Return the command that runs a job again."""
    words = ["codewarz", "simulate"]
    if job.scenario:
        words += ["--scenario", job.scenario]
    words += ["--replay", str(job.seed)] if job.options is None else ["--options", brief(job.options)]
    return shlex.join(words)
