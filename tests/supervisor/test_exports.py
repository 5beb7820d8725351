"""The public surface, so that a change of it is a decision."""

import ast
import pkgutil
from pathlib import Path

import supervisor

PUBLIC = [
    "Actor",
    "Address",
    "AskTimeout",
    "Backoff",
    "Context",
    "ControlError",
    "Delivery",
    "DidNotStart",
    "EndOfInbox",
    "Event",
    "Inbox",
    "Intensity",
    "IntensityExceeded",
    "IntensityUse",
    "Kind",
    "LoopWatch",
    "Mailbox",
    "MailboxClosed",
    "MailboxError",
    "MailboxFull",
    "MailboxStatistics",
    "MessageConflated",
    "MessageQuarantined",
    "NotAPool",
    "NotPossible",
    "NothingRunning",
    "OperatorError",
    "Overflow",
    "Pool",
    "Quarantined",
    "QuarantinedRow",
    "Refused",
    "Restart",
    "Row",
    "SpecError",
    "StartTimeout",
    "StopReport",
    "Strategy",
    "Stuck",
    "Supervisor",
    "SupervisorError",
    "Tree",
    "TreeStatus",
    "UnknownPath",
    "Wedged",
    "WouldNotStop",
    "add_verbs",
    "make_app",
    "request",
    "serve_control",
]


def test_the_public_surface_is_this() -> None:
    assert sorted(supervisor.__all__) == sorted(PUBLIC)
    assert all(hasattr(supervisor, name) for name in PUBLIC)


def test_everything_public_says_what_it_promises() -> None:
    assert [name for name in PUBLIC if not (getattr(supervisor, name).__doc__ or "").strip()] == []


def test_it_imports_nothing_of_ours_and_takes_no_time_or_chance_of_its_own() -> None:
    """Time for durations is Trio's; wall time, ids and randomness are given. The command line may sleep between looks."""
    forbidden = {"contracts", "edge", "actors", "sandbox", "asyncio", "uuid", "secrets", "time"}
    folder = Path(supervisor.__file__).parent
    for module in pkgutil.iter_modules([str(folder)]):
        imported = set()
        for node in ast.walk(ast.parse((folder / f"{module.name}.py").read_text())):
            if isinstance(node, ast.Import):
                imported |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                imported.add((node.module or "").partition(".")[0])
        assert imported & (forbidden - ({"time"} if module.name == "cli" else set())) == set(), module.name
