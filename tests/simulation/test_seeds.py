"""Some hundred seeds, with everything that the batch itself looks at: no violation, every twentieth the same twice, and nothing that never happened."""

from __future__ import annotations

import json

from typer.testing import CliRunner

from chaos.simulation.batch import is_twice
from chaos.simulation.cli import app
from chaos.simulation.sometimes import SEEDS_ENOUGH

SEEDS = 300  # within two minutes on two quiet cores; not below SEEDS_ENOUGH, so that "sometimes" counts
JOBS = 2


def test_hundreds_of_seeds_hold_every_promise() -> None:
    assert SEEDS >= SEEDS_ENOUGH
    assert sum(map(is_twice, range(SEEDS))) == SEEDS // 20
    result = CliRunner().invoke(app, ["--seeds", f"0..{SEEDS - 1}", "--jobs", str(JOBS), "-o", "json"])
    report = json.loads(result.stdout)
    said = "\n\n".join(
        f"{each['invariant']}: {each['detail']}\n  {each['replay']}" for each in report["violations"][:10]
    )
    assert not report["violations"], said
    assert result.exit_code == 0
    assert len(report["traces"]) == SEEDS
    assert len(set(report["traces"].values())) == SEEDS, "two seeds are two runs"
    assert report["submissions"] > 10 * SEEDS
