"""The scripts' pure parts, run by Node; and what both sides say must be the same words."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
from pathlib import Path

import pytest

from actors.gateway.pages import present
from actors.gateway.pages.render import HERE
from actors.gateway.views import CellView, points
from contracts.scoring import BoardRules, Entry, Row, Rules, fold
from contracts.verdicts import Verdict

NODE = shutil.which("node")
pytestmark = pytest.mark.skipif(NODE is None, reason="node is not installed: the browser's scripts cannot be run here")
SUITES = Path(__file__).parent / "js"


@pytest.fixture
def modules(tmp_path: Path) -> Path:
    """A folder in which Node takes .js files for modules, as browsers do."""
    (tmp_path / "package.json").write_text('{"type": "module"}')
    shutil.copytree(HERE / "static" / "js", tmp_path / "js")
    shutil.copytree(SUITES, tmp_path / "tests")
    return tmp_path


def node(folder: Path, *arguments: str, given: object = None) -> str:
    done = subprocess.run(
        [NODE or "node", *arguments],
        cwd=folder,
        input=json.dumps(given),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("suite", sorted(SUITES.glob("*.test.js")), ids=lambda path: path.stem)
def test_the_scripts_own_tests_pass(modules: Path, suite: Path) -> None:
    node(modules, "--test", f"tests/{suite.name}")


def test_every_script_can_be_parsed(modules: Path) -> None:
    for script in sorted((modules / "js").glob("*.js")):
        node(modules, "--check", str(script))


def test_cells_read_the_same_before_and_after_the_scripts_take_over(modules: Path) -> None:
    rng = random.Random(1)
    cases = []
    for _ in range(400):
        solved, attempts, pending = rng.random() < 0.5, rng.randrange(4), rng.randrange(3)
        cell = CellView(
            solved,
            max(attempts, int(solved)),
            pending,
            rng.randrange(20_000_000) if solved else -1,
            rng.choice((0, 33.5, 100)),
        )
        cases.append((rng.choice(list(Rules)), cell, rng.random() < 0.3))
    ours = [present.cell_text(rules, cell, is_first=first) for rules, cell, first in cases]
    given = [
        {"rules": rules, "cell": {name: getattr(cell, name) for name in CellView.__struct_fields__}, "first": first}
        for rules, cell, first in cases
    ]
    script = (
        "import { describe } from './js/board.js'; import { readFileSync } from 'node:fs';"
        "const cases = JSON.parse(readFileSync(0, 'utf8'));"
        "console.log(JSON.stringify(cases.map(({ rules, cell, first }) => describe(rules, cell, { first }))));"
    )
    theirs = json.loads(node(modules, "--input-type=module", "-e", script, given=given))
    expected = [
        None if text is None else {name: getattr(text, name) for name in text.__struct_fields__} for text in ours
    ]
    assert theirs == expected


@pytest.mark.parametrize("rules", list(Rules))
def test_ranks_are_those_of_the_scoring_rules_after_every_merge(modules: Path, rules: Rules) -> None:
    """Rows arrive one by one; after each, the browser's board must equal the fold of the log so far."""
    rng = random.Random(rules.value)
    users = [f"u{number}" for number in range(12)]
    board = BoardRules(rules, 0, 18_000_000)
    log: list[Entry] = []
    first = fold(board, users, log)
    steps, expected = [], []
    for number in range(80):
        verdict = rng.choice((Verdict.AC, Verdict.WA, Verdict.CE))
        user, at = rng.choice(users), number * 200_000 + rng.randrange(1500)
        log.append(Entry(f"s{number:03}", 1, user, f"p{rng.randrange(4)}", at, verdict, rng.choice((0, 3350, 10000))))
        rows = fold(board, users, log)
        steps.append(next(_row(row, rules) for row in rows if row.user_id == user))
        expected.append([[row.user_id, row.rank] for row in rows])
    given = {"rules": rules, "rows": [_row(row, rules) for row in first], "steps": steps}
    script = (
        "import { merge } from './js/board.js'; import { readFileSync } from 'node:fs';"
        "const { rules, rows, steps } = JSON.parse(readFileSync(0, 'utf8'));"
        "const board = { rules, rows, offset: 0, limit: 100, total: rows.length };"
        "console.log(JSON.stringify(steps.map((step) => {"
        " const merged = merge(board, step); if (!merged.complete) throw new Error('incomplete');"
        " board.rows = merged.rows; return merged.rows.map((row) => [row.user_id, row.rank]); })));"
    )
    assert json.loads(node(modules, "--input-type=module", "-e", script, given=given)) == expected


def _row(row: Row, rules: Rules) -> dict[str, object]:
    score = points(row.total.score) if rules is Rules.IOI else row.total.score
    return {
        "rank": row.rank,
        "user_id": row.user_id,
        "username": row.user_id,
        "score": score,
        "penalty": row.total.penalty,
        "last_ms": row.total.last_ms,
        "cells": {},
    }
