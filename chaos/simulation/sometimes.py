"""What must happen somewhere in a large batch: every fault, every way back from one, every point in our code. A batch without one proves less than it says.

The counters are raised by ``World.saw``; whoever adds one says here what it means, and whether a batch must see it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from chaos.simulation.faults import Fault

SEEDS_ENOUGH = 300  # a batch of so many seeds must have seen everything that is required
SEEDS_ENOUGH_FOR_RARE = 3_000  # and one of so many, what is rare as well

FAULTS: dict[str, str] = {
    "latency": "a message took up to seconds",
    "error": "a connection broke before the request arrived",
    "ambiguous": "the effect was there and the answer was lost",
    "duplicate": "a request or a message arrived twice",
    "reorder": "a message may have been overtaken by a later one",
    "loss": "a request or its answer vanished, and only a time-out told",
    "partition": "two could not reach each other for a while",
    "process_crash": "a process died as in a power cut",
    "stall": "a process stood still for a while, and went on as if nothing had been",
    "actor_crash": "an actor failed at the checkpoint where it waited",
    "buggify": "a pause, a crash or a death at a point in our own code",
    "lost_ack": "an acknowledgement did not reach the broker, and its connection broke",
    "broker_restart": "the broker was away and came back with its messages",
    "redis_restart": "Redis was away and came back with its data",
    "redis_wipe": "Redis came back empty",
    "database_restart": "the database was away, and what was under way was undone",
    "listen_lost": "the listening connection died in silence",
    "news_lost": "a Redis subscription died in silence",
    "clock_skew": "a process lived with a clock that was wrong by up to two seconds",
    "slow_consumer": "a browser hardly read its stream",
    "full_mailbox": "a process began with mailboxes that had room for very few",
    "sandbox_hang": "a sandbox hung until its own limit ended it",
    "sandbox_death": "a sandbox died",
    "operator": "somebody restarted, stopped, drained or scaled an actor",
}

RECOVERIES: dict[str, str] = {
    "actor_restarted": "an actor crashed and its supervisor started it again",
    "crash_loop": "an actor crashed at each start, as of a bug that comes back",
    "rejected": "a message went to the dead letters",
    "redelivered": "the broker gave a message to somebody a second time",
    "published_twice": "the outbox published a row again, because nobody knew whether it had",
    "submission_retried": "somebody pressed again, with the same key",
    "submission_reloaded": "somebody left the stream of a submission and came back",
    "rush": "more came at once than judges could take, in calm",
    "backlog": "the broker was away in calm, and what was committed meanwhile left the outbox at once",
    "still_within_lease": "a judge stood still in the middle of a test, for less than its lease",
    "still_beyond_lease": "a judge stood still in the middle of a test, and its lease was over when it went on",
    "stale_verdict": "a verdict came too late, from a judge that was not the newest, and changed nothing",
    "recovered": "everything that was older than the healing was judged in time",
    "swept": "at the healing nobody had a request any more, and the sweeper found what it was for",
    "rejudged": "staff had something judged again",
    "contest_changed": "staff moved the freeze in the middle of the contest",
    "slow_fold": "a board took its time to fold, in calm, while verdicts went on to come in",
    "deaf_to_a_commit": "who listened to the database came back after a commit that nobody told them of",
    "requests_lost": "the broker came back without the requests to judge",
    "stream_reset": "a browser was told to begin anew",
    "too_slow": "a browser that read too slowly lost what waited for it, and was told so",
    "stream_ended": "the stream of a board ended, and its reader came back",
}

RARE: dict[str, str] = {
    "escalated": "a supervisor gave up, and its own supervisor took over",
    "process_gave_up": "supervisors gave up, and the whole process began anew",
    "quarantined": "a message that crashed its actor again and again was put aside",
    "judge_error": "a submission ended as a judge error, after its sandboxes had died",
}
"""What only a very large batch must see."""

RARE_POINTS = frozenset({"sweeper.found"})
"""Points in our code that are hardly passed while things go wrong: what waits for the sweeper has waited for half a minute."""

POSSIBLE: dict[str, str] = {
    "would_not_stop": "an actor did not end when it was told to",
    "wedged": "an actor made no progress, and the watchdog ended it",
}
"""What a batch may see and need not."""

POINT = "at "  # begins the counter of a point in our code


def required(points: Iterable[str], seeds: int = SEEDS_ENOUGH_FOR_RARE) -> dict[str, str]:
    """Return every counter that a batch of so many seeds must raise, with what it means; ``points`` are the names in our code."""
    if seeds < SEEDS_ENOUGH:
        return {}
    return (
        {str(fault): FAULTS.get(fault, "") for fault in Fault}
        | RECOVERIES
        | (RARE if seeds >= SEEDS_ENOUGH_FOR_RARE else {})
        | {
            f"{POINT}{name}": meaning(POINT)
            for name in points
            if seeds >= SEEDS_ENOUGH_FOR_RARE or name not in RARE_POINTS
        }
    )


def meaning(counter: str) -> str:
    """Say in words what a counter counts."""
    if counter.startswith(POINT):
        return "something went wrong at this point in our code"
    return (FAULTS | RECOVERIES | RARE | POSSIBLE).get(counter, "")


def never_fired(counts: Mapping[str, int], points: Iterable[str], seeds: int) -> dict[str, str]:
    """Return what had to happen in so many seeds and did not, with what it means."""
    return {name: text for name, text in required(points, seeds).items() if not counts.get(name)}
