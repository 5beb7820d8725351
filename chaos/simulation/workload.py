"""A contest: people who submit, lose their connection, press again, watch. What they were told is what the checkers hold the system to."""

from __future__ import annotations

import random
from datetime import UTC, datetime
from typing import Any

import msgspec
import trio

from actors.gateway.identity import token_hash
from actors.gateway.topics import TOO_SLOW
from chaos.invariants import Onlooker
from chaos.simulation.browser import Browser, Event
from chaos.simulation.cluster import ADMIN, Cluster
from chaos.simulation.front import Answer, ConnectionFailed
from chaos.simulation.neighbours.judging import verdict_of
from chaos.simulation.neighbours.rpc import SimulatedRpc
from chaos.simulation.world import EPOCH_MS, Link, World
from contracts.messages import (
    AttachProblem,
    ContestSettings,
    CreateApiToken,
    CreateContest,
    CreateUser,
    ImportProblem,
    Request,
)
from contracts.scoring import Rules
from contracts.verdicts import Verdict

CONTEST = "contest"
PROBLEMS = ("pa", "pb", "pc")
HOUR_MS = 3_600_000
SUMMARY = (
    b'{"title":"Sum","statement_html":"","statement_source":"","samples":[],"time_limit_ms":1000,"memory_limit_kb":65536,'
    b'"output_limit_kb":64,"tests_total":3}'
)
VERDICTS = (Verdict.AC, Verdict.AC, Verdict.AC, Verdict.WA, Verdict.WA, Verdict.TLE, Verdict.RTE, Verdict.CE)
CHANGES = 0.5
NEWEST = 4  # of these staff picks one to judge again: what is said of them is still on its way
RETRY_S = (0.2, 2.5)
RUNS = 0.12  # of all that is sent
RUSH = 16  # submissions within RUSH_S: twice what the judges of a run can take
RUSH_S = 0.5
RUSH_AGAIN = 20  # what staff has judged again meanwhile, one by one, the first of them before anybody submits
RUSH_AGAIN_S = 3.0
EARLY = 12
QUEUE = 18  # submissions while the broker is away, one after the other
UNDERSTOOD = (429,)  # besides 5xx, which the browser looks at: everything that is sent here is right


class Sent(msgspec.Struct):
    """A submission as its author knows it."""

    key: str
    user: str
    source: str
    submission_id: str = ""
    is_run: bool = False  # on the samples: nothing counts, and it must be judged all the same
    last_seen: str = ""  # the verdict that the stream told
    since_s: float = 0.0  # since when it is pressed, how often that was, and what the last answer was
    presses: int = 0
    answer: str = "none"

    def deserves(self, attempt: int) -> Verdict:
        """What an attempt must get."""
        return verdict_of(self.source, attempt)

    def pressing(self) -> str:
        """Say how it stands while it is not accepted."""
        return f"{self.key} (pressed {self.presses} times since {self.since_s:.1f} s, last answer {self.answer})"


class Workload:
    """Everybody outside of the cluster."""

    def __init__(self, world: World, cluster: Cluster) -> None:
        self.world = world
        self.cluster = cluster
        self.sent: list[Sent] = []
        self.boards: dict[str, Onlooker] = {}
        self.answers: dict[int, int] = {}
        self.admin = Browser(world, cluster, ADMIN, _token(ADMIN))
        self.people = [f"user{number}" for number in range(1, world.options.users + 1)]
        self.done = trio.Event()

    def browser(self, name: str) -> Browser:
        """Return the browser of a contestant, signed in."""
        return Browser(self.world, self.cluster, name, _token(name))

    # ---- before the contest ------------------------------------------------------------------------------------------

    async def set_up(self) -> None:
        """Make people, problems and the contest, as its staff would before it begins."""
        core = next(iter(self.cluster.machines.values()))
        rpc = SimulatedRpc(self.cluster.engines.exchange, Link(self.world, core, "setup"))
        rows = await self.cluster.engines.database.fetch("SELECT id FROM users WHERE username = $1", ADMIN)
        while not rows:
            await self.world.clock.sleep(0.1)
            rows = await self.cluster.engines.database.fetch("SELECT id FROM users WHERE username = $1", ADMIN)
        root = rows[0]["id"]
        options = self.world.options
        for name in self.people:
            await rpc.call(
                "core",
                CreateUser(user_id=name, username=name, email=f"{name}@example.org", password_hash="x"),  # noqa: S106
                timeout=10,
            )
        requests: list[Request[Any]] = [
            CreateApiToken(token_id=f"token-{name}", user_id=user, name="t", token_hash=token_hash(_token(name)))
            for name, user in [(ADMIN, root), *((name, name) for name in self.people)]
        ]
        requests += [
            ImportProblem(
                problem_id=problem,
                slug=problem,
                title=problem,
                digest="d",
                package=b"p",
                summary=SUMMARY,
                imported_by=root,
            )
            for problem in PROBLEMS
        ]
        freezes_at_ms = EPOCH_MS + round(options.hurt_s * 500) if options.is_frozen else None
        settings = ContestSettings(
            title="Simulated",
            rules=Rules(options.rules),
            starts_at_ms=EPOCH_MS - HOUR_MS,
            ends_at_ms=EPOCH_MS + HOUR_MS,
            freezes_at_ms=freezes_at_ms,
        )
        requests.append(CreateContest(contest_id=CONTEST, settings=settings, created_by=root))
        requests += [AttachProblem(contest_id=CONTEST, problem_id=each, label=each[-1].upper()) for each in PROBLEMS]
        for request in requests:
            await rpc.call("core", request, timeout=10)
        while True:  # judges announce their languages; before that a form would offer none
            if await self.cluster.engines.redis.call("EXISTS", "judge:languages:"):
                return
            await self.world.clock.sleep(0.1)

    # ---- during the contest ------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Let everybody do what they do; ends when every submission was accepted."""
        options, work = self.world.options, self.world.work
        shares = [work.choice(self.people) for _ in range(options.submissions)]
        async with trio.open_nursery() as nursery:
            for name in self.people:
                nursery.start_soon(self._contestant, name, shares.count(name), name=name)
            nursery.start_soon(self._staff, name="staff")
        self.done.set()

    async def watch(self) -> None:
        """Let everybody who only watches watch, until cancelled."""
        async with trio.open_nursery() as nursery:
            for number in range(1, self.world.options.watchers + 1):
                nursery.start_soon(self._watcher, f"watcher{number}", name=f"watcher{number}")

    def fresh(self, called: str = "fresh") -> Sent:
        """Return what somebody is about to submit. ``called`` tells it from others of the same person."""
        name = self.world.work.choice(self.people)
        sent = Sent(f"{name}-{called}", name, f"{Verdict.AC} {name} {called}")
        self.sent.append(sent)
        return sent

    async def send(self, sent: Sent) -> None:
        """Submit it; ends when it is accepted."""
        await self.submit(self.browser(sent.user), sent, self.world.work.choice(PROBLEMS))

    async def queue_up(self, for_s: float) -> None:
        """Have somebody submit now and then for so long; ends when all is accepted."""
        async with trio.open_nursery() as nursery:
            for number in range(QUEUE):
                name = self.people[number % len(self.people)]
                sent = Sent(f"{name}-queue-{number}", name, f"{_verdicts(self.world.work)} {name} queue {number}")
                self.sent.append(sent)
                problem = self.world.work.choice(PROBLEMS)
                nursery.start_soon(self.submit, self.browser(name), sent, problem, name=sent.key)
                await self.world.clock.sleep(for_s / QUEUE)

    async def rush(self) -> None:
        """Have everybody submit at once, and staff judge again one by one what was judged long before; ends when all is accepted."""
        work = self.world.work
        judged = [each.submission_id for each in self.sent if each.submission_id]
        async with trio.open_nursery() as nursery:
            for number in range(RUSH):
                name = self.people[number % len(self.people)]
                sent = Sent(f"{name}-rush-{number}", name, f"{_verdicts(work)} {name} rush {number}")
                self.sent.append(sent)
                nursery.start_soon(self._a_little_later, sent, work.choice(PROBLEMS), name=sent.key)
            for number, submission_id in enumerate(work.sample(judged, min(RUSH_AGAIN, len(judged)))):
                after_s = 0.0 if number < EARLY else work.uniform(0.0, RUSH_AGAIN_S)
                nursery.start_soon(self._judge_again, submission_id, after_s, name=f"again {submission_id}")

    async def _a_little_later(self, sent: Sent, problem: str) -> None:
        await self.world.clock.sleep(self.world.work.uniform(0.0, RUSH_S))
        await self.submit(self.browser(sent.user), sent, problem)

    async def _judge_again(self, submission_id: str, after_s: float) -> None:
        await self.world.clock.sleep(after_s)
        await self._try(self.admin, "POST", "/api/v1/rejudgings", {"submission_id": submission_id})

    async def _contestant(self, name: str, many: int) -> None:
        world, work = self.world, self.world.work
        browser = self.browser(name)
        async with trio.open_nursery() as nursery:
            for number in range(many):
                await world.clock.sleep(work.uniform(0.0, world.options.hurt_s / max(1, many)))
                sent = Sent(f"{name}-{number}", name, f"{_verdicts(work)} {name} {number}", is_run=work.random() < RUNS)
                self.sent.append(sent)
                problem = work.choice(PROBLEMS)
                if work.random() < 0.1:  # an impatient finger
                    nursery.start_soon(self.submit, browser, sent, problem, name=f"{sent.key} twice")
                await self.submit(browser, sent, problem)
                if work.random() < 0.6:
                    nursery.start_soon(self._follow, browser, sent, name=f"{sent.key} follows")

    async def submit(self, browser: Browser, sent: Sent, problem: str) -> None:
        """Press until it is accepted: with one key that is one submission."""
        body = {"problem_id": problem, "language": "python", "source": sent.source, "contest_id": CONTEST}
        sent.since_s = sent.since_s or self.world.clock.elapsed_s
        while True:
            path, name = ("/api/v1/runs", "run_id") if sent.is_run else ("/api/v1/submissions", "submission_id")
            sent.presses += 1
            answer = await self._try(browser, "POST", path, body, {"Idempotency-Key": sent.key})
            sent.answer = "none" if answer is None else str(answer.status)
            if answer is not None and answer.status == 202:
                self._accepted(sent, answer.json()[name])
                return
            if answer is not None and answer.status not in UNDERSTOOD and answer.status < 500:
                self.world.violated("I8", f"{sent.key} was answered {answer.status}: {answer.body[:200]!r}")
                return
            self.world.saw("submission_retried")
            await self.world.clock.sleep(self.world.work.uniform(*RETRY_S))

    def _accepted(self, sent: Sent, submission_id: str) -> None:
        if sent.submission_id and sent.submission_id != submission_id:
            self.world.violated(
                "I1", f"one key, two submissions: {sent.submission_id} and {submission_id} for {sent.key}"
            )
        sent.submission_id = submission_id
        if submission_id not in self.cluster.engines.attempts:
            self.world.violated("I1", f"{submission_id} was acknowledged and is not committed")

    async def _try(
        self, browser: Browser, method: str, path: str, body: object = None, headers: dict[str, str] | None = None
    ) -> Answer | None:
        try:
            answer = await browser.request(method, path, body, headers=headers)
        except ConnectionFailed:
            return None
        self.answers[answer.status] = self.answers.get(answer.status, 0) + 1
        return answer

    async def _follow(self, browser: Browser, sent: Sent) -> None:
        """Watch one's submission until it has its verdict, again when the stream breaks or on a whim."""
        work, last_id = self.world.work, ""
        while not self.world.ended.is_set():
            try:
                async with browser.stream(f"/api/v1/submissions/{sent.submission_id}/stream", last_id) as events:
                    with trio.move_on_after(work.uniform(1.0, 30.0)):
                        async for event in events:
                            last_id = event.id or last_id
                            if event.name == "verdict":
                                self._told(sent, event)
                                return
                self.world.saw("submission_reloaded")
            except ConnectionFailed:
                pass
            await self.world.clock.sleep(work.uniform(*RETRY_S))

    def _told(self, sent: Sent, event: Event) -> None:
        key = (sent.submission_id, event.data["attempt"])
        if self.cluster.engines.verdicts.get(key) != event.data["verdict"]:
            self.world.violated(
                "I1", f"{key} was told as {event.data['verdict']} and is {self.cluster.engines.verdicts.get(key)}"
            )
        sent.last_seen = event.data["verdict"]

    async def _staff(self) -> None:
        """Judge something again now and then, and move the freeze."""
        world, work = self.world, self.world.work
        if not world.options.submissions:
            return  # in a scenario where nobody submits by chance, nobody meddles with what it submits
        many = work.choice((0, 1, 2, 4))
        for _ in range(many):
            await world.clock.sleep(work.uniform(1.0, world.options.hurt_s / many))
            if work.random() < 0.4:
                await self.change_the_contest()
                continue
            known = [each.submission_id for each in self.sent if each.submission_id]
            selector = (
                {"contest_id": CONTEST}
                if work.random() < 0.5 or not known
                else {"submission_id": work.choice(known[-NEWEST:])}
            )
            answer = await self._try(self.admin, "POST", "/api/v1/rejudgings", selector)
            if answer is not None and answer.status == 202:
                world.saw("rejudged")

    async def change_the_contest(self) -> None:
        """Freeze the board, or thaw it: every view is rebuilt while verdicts come in."""
        freeze = None
        if self.world.work.random() < 0.6:
            freeze = datetime.fromtimestamp(EPOCH_MS / 1000 + self.world.work.uniform(-60, 60), UTC).isoformat()
        answer = await self._try(self.admin, "PATCH", f"/api/v1/contests/{CONTEST}", {"freeze": freeze})
        if answer is not None and answer.status == 200:
            self.world.saw("contest_changed")

    async def _watcher(self, name: str) -> None:
        """Follow the board for ever; what is seen must only ever get newer."""
        world, work = self.world, self.world.work
        browser = Browser(world, self.cluster, name)
        board = self.boards[name] = Onlooker()
        while not world.ended.is_set():
            try:
                # Coming back with what one had last, or as a fresh page.
                if work.random() < 0.3:
                    board.event_id, board.epoch, board.version = "", "", 0
                async with browser.stream(f"/api/v1/leaderboard/stream/{CONTEST}", board.event_id) as events:
                    board.is_back = bool(board.event_id)
                    patience_s = work.uniform(5.0, 60.0) if world.is_hurting else 100_000.0
                    with trio.move_on_after(patience_s):
                        async for event in events:
                            self._seen(name, board, event)
                world.saw("stream_ended")
            except ConnectionFailed:
                pass
            await self.world.clock.sleep(work.uniform(*RETRY_S))

    def _seen(self, name: str, board: Onlooker, event: Event) -> None:
        world = self.world
        world.trace(name, f"{event.name} {event.id}")
        if event.name == "reset":
            world.saw("stream_reset")
            if event.data["reason"] == TOO_SLOW:
                world.saw("too_slow")
        for violation in board.sees(name, event.name, event.id, event.data):
            world.note(violation)


def _verdicts(work: random.Random) -> str:
    """Return what a source says of itself; some get another verdict when they are judged again, as after a change of the tests."""
    first: Verdict = work.choice(VERDICTS)
    return f"{first}>{work.choice(VERDICTS)}" if work.random() < CHANGES else first


def _token(name: str) -> str:
    return f"cw_{name}_simulated"
