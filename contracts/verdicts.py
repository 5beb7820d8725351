"""Verdicts and the rule that makes one out of the tests' results."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import msgspec


class Verdict(StrEnum):
    """What the judge says; stored and sent as exactly these letters, details go in fields of their own."""

    AC = "AC"
    WA = "WA"
    TLE = "TLE"
    MLE = "MLE"
    OLE = "OLE"
    RTE = "RTE"
    CE = "CE"
    JE = "JE"  # judge error: ours, never the contestant's fault, judged again

    @property
    def label(self) -> str:
        """The verdict in words."""
        return _LABELS[self]

    @property
    def is_rejected_attempt(self) -> bool:
        """Whether it counts as a wrong attempt: a compile error and a judge error do not (ICPC rules)."""
        return self not in (Verdict.AC, Verdict.CE, Verdict.JE)


_LABELS = {
    Verdict.AC: "Accepted",
    Verdict.WA: "Wrong answer",
    Verdict.TLE: "Time limit exceeded",
    Verdict.MLE: "Memory limit exceeded",
    Verdict.OLE: "Output limit exceeded",
    Verdict.RTE: "Run-time error",
    Verdict.CE: "Compile error",
    Verdict.JE: "Judge error",
}


Measured = Annotated[
    int, msgspec.Meta(ge=-(2**53), le=2**53)
]  # what can be passed on: more than that was never measured


Said = Annotated[str, msgspec.Meta(max_length=1 << 16)]  # a validator says 2000 characters at most


class TestResult(msgspec.Struct, frozen=True):
    """One test's result. Times in milliseconds, memory in KiB; ``message`` never carries hidden test data."""

    __test__ = False  # not a pytest class

    number: Measured
    verdict: Verdict
    cpu_ms: Measured
    wall_ms: Measured
    memory_kb: Measured
    name: Said = ""
    message: Said = ""


def overall(verdicts: list[Verdict]) -> Verdict:
    """Return the verdict of a submission whose tests gave ``verdicts`` in order: the first that is not AC, else AC.

    No test at all is a judge error: a problem without tests must not accept everything.
    """
    if not verdicts:
        return Verdict.JE
    return next((verdict for verdict in verdicts if verdict is not Verdict.AC), Verdict.AC)
