"""The operator's verbs, in a process's own words: output and exit status, against a tree in another thread."""

import json
import random
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio
import typer
from typer.testing import CliRunner, Result

from supervisor import Pool, Supervisor, Tree, make_app, serve_control
from tests.supervisor.growing import actor, idle


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run" / "control.sock"


@pytest.fixture
def served(path: Path) -> Iterator[Path]:
    ready = threading.Event()
    ends: list[tuple[trio.lowlevel.TrioToken, trio.CancelScope]] = []

    async def main() -> None:
        tree = Tree(
            Supervisor("root", (actor("a"), Pool("p", idle, 1, 3))), rng=random.Random(1), wall_clock=trio.current_time
        )
        async with trio.open_nursery() as nursery:
            await nursery.start(tree.run)
            await nursery.start(serve_control, tree, path)
            ends.append((trio.lowlevel.current_trio_token(), nursery.cancel_scope))
            ready.set()

    thread = threading.Thread(target=trio.run, args=(main,))
    thread.start()
    assert ready.wait(10)
    yield path
    token, scope = ends[0]
    token.run_sync_soon(scope.cancel)
    thread.join(10)


def invoke(path: Path, *arguments: str) -> Result:
    return CliRunner().invoke(make_app(lambda: path), arguments, env={"COLUMNS": "140", "TERM": "dumb"})


def test_status_draws_the_tree(served: Path) -> None:
    result = invoke(served, "status")
    assert result.exit_code == 0
    assert "├─ a" in result.stdout
    assert "└─ p 1 of 3" in result.stdout
    assert "● running" in result.stdout


def test_status_as_json_is_the_snapshot(served: Path) -> None:
    result = invoke(served, "status", "-o", "json")
    assert [row["path"] for row in json.loads(result.stdout)["rows"]] == ["root", "root/a", "root/p", "root/p/1"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["restart", "a"], "a is running again"),
        (["stop", "a"], "a has stopped"),
        (["start", "a"], "a is running"),
        (["drain", "a"], "a has finished and stopped"),
        (["scale", "p", "2"], "p has 2 workers"),
    ],
)
def test_verbs_say_what_was_done(served: Path, arguments: list[str], says: str) -> None:
    result = invoke(served, *arguments)
    assert (result.exit_code, result.stdout.strip()) == (0, says)
    answer = json.loads(invoke(served, *arguments, "-o", "json").stdout)
    assert answer["ok"] is True
    assert answer["path"] == arguments[1]


def test_the_answer_no_is_exit_status_1(served: Path) -> None:
    result = invoke(served, "scale", "p", "4")
    assert result.exit_code == 1
    assert "can have 0 to 3 workers, not 4" in result.stderr
    result = invoke(served, "stop", "x", "-o", "json")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["error"] == "UnknownPath"


@pytest.mark.parametrize(
    "arguments", [["scale", "p"], ["scale", "p", "many"], ["restart"], ["fly"], ["status", "-o", "x"]]
)
def test_wrong_usage_is_exit_status_2(path: Path, arguments: list[str]) -> None:
    assert invoke(path, *arguments).exit_code == 2


@pytest.mark.parametrize("arguments", [["status"], ["stop", "a"], ["status", "--watch"]])
def test_nothing_running_is_exit_status_3(path: Path, arguments: list[str]) -> None:
    result = invoke(path, *arguments)
    assert result.exit_code == 3
    assert "start it first" in result.stderr


def test_the_verbs_can_be_added_to_an_application_with_others(path: Path) -> None:
    app = typer.Typer()

    @app.command()
    def other() -> None:
        """Something else."""

    app.add_typer(make_app(lambda: path), name="tree")
    result = CliRunner().invoke(app, ["tree", "status"])
    assert result.exit_code == 3
