"""What contestants, authors of packages and whoever reaches the broker or Redis wrote is looked at by operators: it steers no terminal and ends no verb."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import structlog
import trio
from rich.console import Console
from typer.testing import CliRunner

from actors import doctor, remote, roster, workbench
from actors.cli import app
from actors.presence import FORGOTTEN_MS, KEY, Node, nodes
from chaos.show import Teller
from chaos.verdict import Outcome, Report
from contracts.errors import Invalid
from contracts.verdicts import TestResult, Verdict
from edge.memory_redis import MemoryRedis
from edge.telemetry import configure_logs
from sandbox import verify
from sandbox.judging import Judged
from sandbox.package import ProblemPackage
from supervisor.errors import Refused
from tests.conftest import Clock
from tests.supervisor.test_visible import steers

EVIL = "[/x][bold]\x1b]0;owned\x07\x1b]52;c;ZXZpbA==\x1b\\\x9b2J\x7f\u202ereversed\u2066[/]\\"
LETTER = {
    "message_id": EVIL,
    "queue": f"verdict.dlq{EVIL}",
    "priority": 1,
    "headers": {f"x-{EVIL}": f"{EVIL}\nnext"},
    "body": f"{EVIL}\n\t{EVIL}\r\n",
}
ROW = {
    "id": "1",
    "topic": EVIL,
    "parked_at_ms": 1,
    "attempts": 1,
    "last_error": f"{EVIL}\nforged line",
    "body": EVIL,
}
DEAD = {"message_id": EVIL, "reason": EVIL, "deaths": 1, "about": f"{EVIL}\nforged line"}

# Every verb that prints what a house says: its words, and what the house says.
VERBS: list[tuple[list[str], dict[str, Any]]] = [
    (["dlq", "list"], {"queues": [{"queue": "verdict.dlq", "messages": 1, "first": [DEAD]}]}),
    (["dlq", "show", "m"], LETTER),
    (["dlq", "replay", "m"], {"queue": EVIL, "replayed": 1}),
    (["dlq", "purge", "q", "--count", "1"], {"queue": EVIL, "purged": 1}),
    (["outbox", "status"], {"waiting": 1, "parked": 1, "oldest_ms": 1}),
    (["outbox", "list"], {"items": [ROW, {**ROW, "last_error": None, "parked_at_ms": None}]}),
    (["outbox", "retry", "m"], {"changed": EVIL}),
    (["outbox", "park", "m"], {"changed": 1}),
    (["board", "verify", "c"], {"equal": False, "contestants": EVIL, "differences": {"public": {EVIL: [EVIL]}}}),
    (["board", "rebuild", "c"], {"rows": EVIL}),
    (["problem", "import", "p"], {"is_clean": False, "title": EVIL, "version": 1, "slug": EVIL}),
    (
        ["user", "create", "u", "--email", "e@x.y", "--password", "p"],
        {"username": EVIL, "role": EVIL, "user_id": EVIL},
    ),
    (
        ["contest", "create", "t", "--start", "s", "--end", "e"],
        {"title": EVIL, "problems": 1, "contest_id": EVIL},
    ),
    (["rejudge", "--submission", "s"], {"submissions": 1}),
]
IDS = [" ".join(words[:2]) for words, _ in VERBS]


def clean(text: str) -> bool:
    """Whether it has nothing but line breaks and tabs."""
    return set(steers(text)) <= {"\n", "\t"}


@pytest.fixture(autouse=True)
def logs() -> Iterator[None]:
    yield
    structlog.reset_defaults()


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., Any]:
    """Run a verb on a house that gives this answer, or raises it."""

    def run(words: list[str], answer: dict[str, Any] | Exception) -> Any:
        async def ask(*_: object) -> Any:
            await trio.lowlevel.checkpoint()
            if isinstance(answer, Exception):
                raise answer
            return answer

        monkeypatch.setattr(remote, "ask", ask)
        return CliRunner().invoke(app, words, env={"CODEWARZ_DATA": str(tmp_path)})

    return run


@pytest.mark.parametrize(("words", "answer"), VERBS, ids=IDS)
def test_a_verb_shows_it(asked: Callable[..., Any], words: list[str], answer: dict[str, Any]) -> None:
    result = asked(words, answer)
    assert result.exception is None or isinstance(result.exception, SystemExit)
    assert result.output
    assert clean(result.output)
    assert not any(line.startswith("forged") for line in result.output.splitlines())
    assert ("owned" in result.output) == any("\\u001b]0;owned" in json.dumps(shown) for shown in _shown(words, answer))


def _shown(words: list[str], answer: dict[str, Any]) -> list[Any]:
    """Return what of an answer is printed for people."""
    if words[0] == "board":
        return [answer["contestants"]] if words[1] == "verify" else []
    return [] if words[1] == "park" else [answer]


@pytest.mark.parametrize(("words", "answer"), VERBS, ids=IDS)
def test_json_stays_what_it_is(asked: Callable[..., Any], words: list[str], answer: dict[str, Any]) -> None:
    result = asked([*words, "-o", "json"], answer)
    assert json.loads(result.stdout) == answer
    assert clean(result.stdout)


@pytest.mark.parametrize("form", ["text", "json"])
def test_a_refusal_shows_it(asked: Callable[..., Any], form: str) -> None:
    result = asked(["dlq", "list", "-o", form], Refused("no", EVIL))
    assert result.exit_code == 1
    assert "owned" in result.output
    assert clean(result.output)
    assert form == "text" or json.loads(result.stdout)["ok"] is False


def node(**changes: Any) -> Node:
    fields: dict[str, Any] = {
        "name": EVIL,
        "roles": (EVIL,),
        "host": EVIL,
        "pid": 1,
        "url": EVIL,
        "started_at_ms": -(2**50),
        "at_ms": 1_800_000_000_000,
        "state": EVIL,
        "actors": 1,
        "restarts": 1,
        "waiting": 1,
        "troubles": (f"{EVIL}\nforged line",),
    }
    return Node(**{**fields, **changes})


def test_the_processes_of_a_cluster(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "500")
    roster.show(roster.Roster([node(), node(url="[/nope]")], 1_800_000_000_000))
    shown = capsys.readouterr().out
    assert "[/nope]" in shown
    assert shown.count("owned") > 5
    assert clean(shown)
    assert not any(line.startswith("forged") for line in shown.splitlines())


def test_status_of_all_as_json_is_json(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(roster, "read", lambda _settings: roster.Roster([node()], 0))
    result = CliRunner().invoke(app, ["status", "--all", "-o", "json"], env={"CODEWARZ_DATA": str(tmp_path)})
    assert json.loads(result.stdout)["processes"][0]["name"] == EVIL
    assert clean(result.stdout)


async def test_what_is_no_word_of_a_process_is_left_out_and_stays(
    redis: MemoryRedis, clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    configure_logs("text", "warning")
    now_ms = clock.now_ms()
    for key, value in {
        "empty": b"{}",
        "a": b"[]",
        EVIL: b"\xff\x1b",
        "null": b"null",
        "huge": msgspec.json.encode(node(at_ms=now_ms)).replace(b'"restarts":1', b'"restarts":' + b"9" * 30),
        "good": msgspec.json.encode(node(name="good", at_ms=now_ms)),
        "old": msgspec.json.encode(node(name="good", at_ms=now_ms - FORGOTTEN_MS - 1)),
    }.items():
        await redis.call("HSET", KEY, key, value)
    found = await nodes(redis, now_ms)
    assert [each.name for each in found] == ["good"]
    assert sorted(await redis.call("HKEYS", KEY)) == sorted([b"empty", b"a", EVIL.encode(), b"null", b"huge", b"good"])
    captured = capsys.readouterr()
    assert captured.err.count("unreadable_node") == 5
    assert captured.out == ""
    assert clean(captured.err)


def test_a_verdict_with_its_tests(capsys: pytest.CaptureFixture[str]) -> None:
    messages = (EVIL, "[/x]" * 50, "[red]\x1b[2J")
    tests = tuple(TestResult(1, Verdict.WA, 1, 1, 1, name=text, message=text) for text in messages)
    workbench.show_judged(
        Judged(verdict=Verdict.JE, tests=tests, compile_output=f"{EVIL}\n\t{EVIL}", judge_error=f"[/x]{EVIL}")
    )
    shown = capsys.readouterr().out
    assert clean(shown)
    assert "[/x]" in shown
    assert shown.count("owned") >= 3


async def test_a_verification(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    teller = workbench.VerifyTeller(is_quiet=False)
    teller.begin(ProblemPackage(slug=EVIL, title=EVIL, format="legacy", statements=(), tests=()))
    fields: dict[str, Any] = {"path": EVIL, "language": EVIL, "expected": (EVIL,)}
    reports = [
        verify.SubmissionReport(**fields, skipped=EVIL),
        verify.SubmissionReport(**fields, verdict="WA", is_as_expected=False, note=EVIL),
    ]
    for report in reports:
        await teller.submission(report)
    teller.end(
        verify.Report(
            slug=EVIL,
            title=EVIL,
            digest="d",
            tests=1,
            samples=1,
            is_good=False,
            findings=(verify.Finding(level="error", text=EVIL),),
            submissions=tuple(reports),
        )
    )
    shown = capsys.readouterr().out
    assert clean(shown)
    assert shown.count("owned") == 8


def test_a_package_that_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def refuse(*_: object) -> None:
        raise Invalid(EVIL)

    monkeypatch.setattr(workbench, "judge_file", refuse)
    monkeypatch.setattr(workbench, "verify_packages", refuse)
    for words in (["judge", "p", "s"], ["problem", "verify", "p"]):
        result = CliRunner().invoke(app, words)
        assert result.exit_code == 1
        assert clean(result.output)
        assert "owned" in result.output


def test_what_the_doctor_found(capsys: pytest.CaptureFixture[str]) -> None:
    checks = [doctor.Check("x", False, False, EVIL, EVIL), doctor.Check("x", True, True, EVIL)]
    settings = [doctor.Setting("CODEWARZ_X", EVIL, is_default, "means") for is_default in (True, False)]
    doctor.show(doctor.Examination(True, checks, {}, settings))
    assert clean(capsys.readouterr().out)


def test_a_log_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs("text", "info")
    structlog.get_logger("x").warning("said", path="\x1b]0;owned\x07", more=[EVIL])
    try:
        raise ValueError(EVIL)
    except ValueError:
        structlog.get_logger("x").exception("broke")
    shown = capsys.readouterr().err
    assert "owned" in shown
    assert clean(shown)


def test_what_chaos_came_to(monkeypatch: pytest.MonkeyPatch) -> None:
    out = io.StringIO()
    monkeypatch.setattr(sys, "stdout", out)
    teller = Teller(is_json=False)
    outcomes = [
        Outcome(scenario="kill", seed=1, violations=[EVIL]),
        Outcome(scenario="kill", seed=1, skipped=EVIL),
    ]
    with teller.open(1, 1):
        for outcome in outcomes:
            teller.done(outcome)
    teller.total(Report(outcomes))
    assert out.getvalue().count("owned") == 2
    assert clean(out.getvalue())


def test_a_tree() -> None:
    from supervisor import Event, Kind, QuarantinedRow, Row, TreeStatus
    from supervisor.render import render

    row = Row(
        f"root/{EVIL}",
        EVIL,
        1,
        "actor",
        "failed",
        0.0,
        1,
        0,
        last_error=EVIL,
        waits_at=EVIL,
        quarantined=(QuarantinedRow(EVIL, 2, EVIL),),
        stuck=True,
    )
    root = Row("root", "root", 0, "supervisor", "running", 0.0, 1, 0)
    events = (Event(1, 60.0, Kind.CRASHED, f"root/{EVIL}", 2, EVIL, "trace"),)
    console = Console(width=400, color_system=None)
    with console.capture() as capture:
        console.print(render(TreeStatus(EVIL, "running", 3700.0, (root, row), events)))
    assert capture.get().count("owned") > 6
    assert clean(capture.get())
