"""The steps of a judging as server-sent events."""

from __future__ import annotations

from actors.gateway.frames import Frame, Steps, encode_event
from actors.gateway.views import StateEvent, TestEvent, VerdictEvent, points
from contracts.life import State
from contracts.messages import Progress
from contracts.verdicts import TestResult, Verdict

VERDICT_SEQ = 1 << 30  # after every step of its attempt


def encode_step(step: Progress) -> Frame:
    """Return the event of one step: a test's result, the verdict, or the state."""
    if step.verdict is not None:
        return _verdict(step.submission_id, step.attempt, step.verdict, step.score)
    if step.test is not None:
        return _test(step.submission_id, step.attempt, step.seq, step.test, step.tests_total)
    return _state(step.submission_id, step.attempt, step.seq, step.state, step.tests_total)


def encode_steps(submission_id: str, attempt: int, steps: list[Progress]) -> Steps:
    """Return what happened so far in the current attempt, which has no verdict; nothing yet is the state ``queued``.

    A verdict among the steps is none: it comes from the database, and who may write to Redis may write anything.
    """
    current = [step for step in steps if step.attempt == attempt and step.verdict is None]
    if not current:
        return Steps([_state(submission_id, attempt, 0, State.QUEUED, 0)], attempt, 0, is_judged=False)
    frames = [encode_step(step) for step in current]
    return Steps(frames, attempt, current[-1].seq, is_judged=False)


def encode_judged(submission_id: str, attempt: int, tests: list[TestResult], verdict: Verdict, score: int) -> Steps:
    """Return the whole judging from what the database has of it."""
    frames = [_state(submission_id, attempt, 0, State.JUDGED, len(tests))]
    frames += [_test(submission_id, attempt, number, test, len(tests)) for number, test in enumerate(tests, 1)]
    frames.append(_verdict(submission_id, attempt, verdict, score))
    return Steps(frames, attempt, VERDICT_SEQ, is_judged=True)


def _state(submission_id: str, attempt: int, seq: int, state: str, tests_total: int) -> Frame:
    return encode_event("state", str(attempt), seq, StateEvent(submission_id, attempt, state, tests_total))


def _test(submission_id: str, attempt: int, seq: int, test: TestResult, tests_total: int) -> Frame:
    body = TestEvent(
        submission_id, attempt, tests_total, test.number, test.verdict, test.cpu_ms, test.wall_ms, test.memory_kb
    )
    return encode_event("test", str(attempt), seq, body)


def _verdict(submission_id: str, attempt: int, verdict: Verdict, score: int) -> Frame:
    body = VerdictEvent(submission_id, attempt, verdict, points(score))
    return encode_event("verdict", str(attempt), VERDICT_SEQ, body)
