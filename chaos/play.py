"""One scenario on a running cluster: a contest of its own, people, the fault, the heal, the way back to rest, the checks."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import trio

from actors import languages
from actors.system import Role
from chaos.cluster import Cluster
from chaos.evidence import Boxes, Evidence, Logs
from chaos.invariants import Violation, boards_are_the_fold
from chaos.load.book import Book, Sent
from chaos.load.people import Crowd, Person, Reader, Refused
from chaos.load.programs import RIGHT_ONE, Program, offered, write_package
from chaos.proxy import Proxy
from chaos.scenarios import Scenario
from chaos.stage import NoSuchMoment, Stage
from chaos.verdict import RECOVERY_MOST_S, Outcome, Rows, judge_boxes, judge_logs, judge_pages, judge_rows
from contracts.errors import CodeWarzError

PEOPLE = 10
NEWCOMERS = 2  # who sign up in the middle of it
READERS = 6
SUBMISSIONS_MOST = 110
WARM = 5  # verdicts before anything is broken
WARM_S = 30.0
FAULT_MOST_S = 150.0
WAIT_MOST_S = (
    60.0  # for the way back; it has failed after RECOVERY_MOST_S, and how long it took in the end tells more than that
)
REST_S = 15.0
LOOK_S = 0.05

Say = Callable[[str], None]


@dataclass
class House:
    """A cluster with everything that scenarios share: people with accounts, staff, the problem."""

    cluster: Cluster
    proxy: Proxy
    evidence: Evidence
    logs: Logs
    staff: Person
    people: list[Person]
    problem_id: str
    programs: list[Program]
    number: int = 0

    @property
    def ports(self) -> list[int]:
        """Where the gateways listen."""
        return [node.port for node in self.cluster.of(Role.GATEWAY)]

    @classmethod
    async def furnish(cls, cluster: Cluster, proxy: Proxy, evidence: Evidence) -> House:
        """Make the people and the problem, in calm."""
        ports = [node.port for node in cluster.of(Role.GATEWAY)]
        crowd = Crowd(ports, random.Random(0))
        gateway = cluster.of(Role.GATEWAY)[0]
        package = write_package(cluster.folder)
        made: dict[int, Person] = {}

        async def sign_up(number: int) -> None:
            made[number] = await crowd.sign_up(f"person{number}")

        async with trio.open_nursery() as nursery:
            for number in range(PEOPLE + 1):
                nursery.start_soon(sign_up, number)
            staff = await crowd.sign_in("admin", cluster.admin_password)
            problem = await trio.to_thread.run_sync(gateway.verb, "problem", "import", str(package))
        offers = {offer.id for offer in await languages.offered(evidence.redis)}
        logs = Logs({name: node.folder for name, node in cluster.nodes.items()})
        people = [made[number] for number in sorted(made)]
        return cls(cluster, proxy, evidence, logs, staff, people, problem["problem_id"], offered(offers))


@dataclass
class Play:
    """One scenario. ``run`` returns its outcome; nothing but a bug of chaos itself raises."""

    house: House
    scenario: Scenario
    seed: int
    say: Say
    violations: list[Violation] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.house.number += 1
        self._name = f"{self.scenario.name}-{self.house.number}"
        self._rng = random.Random(f"{self.seed} {self.scenario.name}")
        self._crowd = Crowd(self.house.ports, self._rng, Book(self._name))
        self._outcome = Outcome(scenario=self.scenario.name, seed=self.seed)
        self._probe = self.house.people[-1]
        self._boxes = Boxes(self.house.cluster)
        self._readers: list[Reader] = []
        self._contest_id = ""
        self._began_ms = self.house.evidence.clock.now_ms()
        self._newcomers = NEWCOMERS  # who have not been told their verdict

    @property
    def _book(self) -> Book:
        return self._crowd.book

    async def run(self) -> Outcome:
        """Play it."""
        began = trio.current_time()
        self.house.logs.new()  # what was logged before is somebody else's
        await self._open_contest()
        try:
            async with trio.open_nursery() as watching:
                watching.start_soon(self._boxes.watch, name="boxes")
                for reader in self._readers:
                    watching.start_soon(reader.watch, name=reader.name)
                await self._break_and_heal()
                watching.cancel_scope.cancel()
        except* (NoSuchMoment, Refused, RuntimeError) as group:  # the last: something did not start again
            for error in _leaves(group):
                self._violated("I9", str(error))
        self.violations += self._book.violations
        self._outcome.violations = list(dict.fromkeys(map(str, self.violations)))
        self._outcome.readers_came_back = sum(reader.breaks for reader in self._readers)
        self._outcome.lasted_s = round(trio.current_time() - began, 1)
        return self._outcome

    def _violated(self, invariant: str, detail: str) -> None:
        self.violations.append(Violation(invariant, detail))

    # ---- before ------------------------------------------------------------------------------------------------------

    async def _open_contest(self) -> None:
        staff, crowd = self.house.staff, self._crowd
        now = datetime.now(UTC)
        settings = {
            "title": self._name,
            "rules": "icpc",
            "start": (now - timedelta(minutes=1)).isoformat(),
            "end": (now + timedelta(hours=2)).isoformat(),
        }
        made = await crowd.patiently("POST", "/api/v1/contests", settings, staff.headers)
        self._contest_id = made.json()["id"]
        placed = {"problem_id": self.house.problem_id, "label": "A"}
        await crowd.patiently("POST", f"/api/v1/contests/{self._contest_id}/problems", placed, staff.headers)
        path = f"/api/v1/leaderboard/stream/{self._contest_id}"
        self._readers = [
            Reader(f"reader{number}", path, crowd.ports, self._rng, crowd.book, number)
            for number in range(1, READERS + 1)
        ]

    # ---- during ------------------------------------------------------------------------------------------------------

    async def _break_and_heal(self) -> None:
        chance = random.Random(
            f"{self.seed} {self.scenario.name} stage"
        )  # of its own, or people's choices would change its
        stage = Stage(self.house.cluster, self.house.proxy, self._crowd, self.house.evidence, chance, self.say)
        async with trio.open_nursery() as load:
            for person in self.house.people[:-1]:
                load.start_soon(self._competes, person, name=person.name)
            await stage.until("everybody watches", self._is_watched, WARM_S)
            await stage.until("some are judged", self._is_warm, WARM_S)
            for number in range(NEWCOMERS):
                load.start_soon(self._arrives, f"{self._name}-{number}", name=f"newcomer {number}")
            with trio.move_on_after(FAULT_MOST_S) as limit:
                await self.scenario.run(stage)
            if limit.cancelled_caught:
                raise NoSuchMoment(f"the scenario itself did not end within {FAULT_MOST_S:g} s")
            healed_at = trio.current_time()
            self.say("healed")
            self._crowd.over.set()
            await self._recover(healed_at)
            await self._rest()
            await self._check()
            load.cancel_scope.cancel()

    async def _competes(self, person: Person) -> None:
        pause_s = max(0.2, self.scenario.lasts_s / 10)
        await self._crowd.compete(
            person, self.house.programs, self.house.problem_id, self._contest_id, SUBMISSIONS_MOST, pause_s
        )

    async def _arrives(self, name: str) -> None:
        """Somebody signs up in the middle of it, and submits once."""
        await trio.sleep(self._rng.uniform(0, self.scenario.lasts_s / 2))
        person = await self._crowd.sign_up(name)
        sent = self._book.new(person.name, RIGHT_ONE)
        await self._crowd.submit(person, sent, self.house.problem_id, self._contest_id)
        await self._crowd.follow(person, sent)
        self._newcomers -= 1

    async def _is_watched(self) -> bool:
        return all(reader.board.version for reader in self._readers)

    async def _is_warm(self) -> bool:
        return sum(1 for sent in self._book.sent if sent.told) >= WARM

    # ---- after -------------------------------------------------------------------------------------------------------

    async def _recover(self, healed_at: float) -> None:
        """Submit once more, and wait until that and everything older is judged, and seen by everybody who watches."""
        probe = self._book.new(self._probe.name, RIGHT_ONE)
        why, missing = "nobody has looked yet", dict[str, str]()
        with trio.move_on_at(healed_at + WAIT_MOST_S):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(
                    self._crowd.submit, self._probe, probe, self.house.problem_id, self._contest_id, name="probe"
                )
                while why := await self._unrecovered(probe):
                    kind = why.partition(":")[0]
                    missing[kind] = f"{kind} until {trio.current_time() - healed_at:.1f} s"
                    await trio.sleep(LOOK_S)
                nursery.cancel_scope.cancel()  # an impatient second request may be on its way
            self._outcome.recovered_s = round(trio.current_time() - healed_at, 2)
        if self._outcome.recovered_s is None:
            self._violated("I9", f"no recovery within {WAIT_MOST_S:g} s of the heal: {why}")
        elif self._outcome.recovered_s > RECOVERY_MOST_S:
            took = f"recovery took {self._outcome.recovered_s:g} s from the heal, {RECOVERY_MOST_S:g} are promised"
            text = f"{took} ({', '.join(missing.values())})"
            self._violated("I9", text)

    async def _unrecovered(self, probe: Sent) -> str:
        """Return what is still missing; "" when all is well."""
        if self._book.waiting:
            return f"some not accepted: {', '.join(sent.key for sent in self._book.waiting)}"
        blind = [reader.name for reader in self._readers if not self._sees(reader)]
        try:
            unjudged = await self.house.evidence.unjudged()
        except CodeWarzError as error:
            return f"the database away: {error.detail}"
        if unjudged:
            return f"some not judged: {unjudged}"
        if blind:
            return f"the last verdict not seen: {', '.join(blind)}"
        return ""

    def _sees(self, reader: Reader) -> bool:
        cell = reader.cell(self._probe.user_id, self.house.problem_id)
        return cell is not None and bool(cell["solved"])

    async def _rest(self) -> None:
        """Wait until nothing is under way any more."""
        why = ["nobody has looked yet"]
        with trio.move_on_after(REST_S):
            while why:
                try:
                    why = await self.house.evidence.unrest()
                    why += (
                        [f"{len(self._book.untold)} have not been shown their verdict"] if self._others_untold() else []
                    )
                    # Who signed up while something was away may not even have submitted by now.
                    why += [f"{self._newcomers} newcomers have not come so far"] if self._newcomers else []
                    why += await self._strange_processes()
                except CodeWarzError as error:
                    why = [error.detail]
                if why:
                    await trio.sleep(LOOK_S)
        for each in why:
            self._violated("I9", f"not at rest {REST_S:g} s after the recovery: {each}")

    def _others_untold(self) -> bool:
        return any(sent.user != self._probe.name for sent in self._book.untold)

    async def _strange_processes(self) -> list[str]:
        """Return what processes say of themselves that is not as it should be."""
        told = {node.name: node for node in await self.house.evidence.processes()}
        found = [f"{name} tells nobody of itself" for name in self.house.cluster.nodes.keys() - told.keys()]
        for name, node in told.items():
            found += [f"{name}: {trouble}" for trouble in node.troubles]
            if node.state != "running":
                found.append(f"{name} is {node.state}")
        return found

    async def _check(self) -> None:
        """Hold the cluster to its promises, now that it is at rest."""
        house, evidence, outcome = self.house, self.house.evidence, self._outcome
        self.say("checking")
        rows = Rows(
            submissions=await evidence.submissions(self._contest_id),
            verdicts=await evidence.verdicts(self._contest_id),
            effects=await evidence.effects(self._began_ms),
            outbox=await evidence.outbox(self._began_ms),
        )
        self.violations += judge_rows(outcome, self._book.acknowledged, rows)
        verdicts = {row["id"]: row["verdict"] for row in rows.submissions}
        for sent in self._book.sent:
            if sent.told and sent.told != verdicts.get(sent.submission_id):
                self._violated(
                    "I1", f"{sent.submission_id} was shown as {sent.told} and is {verdicts.get(sent.submission_id)}"
                )
        for queue, many in (await evidence.dead_letters()).items():
            if many:
                self._violated("I2", f"{many} messages lie in {queue}")
        boards = await self._check_boards()
        outcome.board_equal = not boards
        self.violations += boards
        self._boxes.look()
        self.violations += judge_boxes(self._boxes.most, house.cluster.shape.workers, self._boxes.orphans())
        self.violations += judge_logs(house.logs.new())
        for refusal in await evidence.refused():
            self._violated("I7", f"redis did not permit: {refusal}")
        outcome.breakers_recovered = await self._are_breakers_closed()

    async def _check_boards(self) -> list[Violation]:
        found = await boards_are_the_fold(self.house.evidence.boards, self.house.evidence.log, self._contest_id)
        seen = {reader.name: (reader.board.version, dict(reader.board.rows)) for reader in self._readers}
        for view in ("public", "jury"):
            path = f"/api/v1/leaderboard/{self._contest_id}?limit=500&view={view}"
            pages = {}
            for node in self.house.cluster.of(Role.GATEWAY):
                answer = await self._crowd.patiently("GET", path, headers=self.house.staff.headers, port=node.port)
                pages[node.name] = answer.json()
            found += judge_pages(pages, seen if view == "public" else {})
        gateway = self.house.cluster.of(Role.GATEWAY)[0]
        try:
            await trio.to_thread.run_sync(gateway.verb, "board", "verify", self._contest_id)
        except RuntimeError as error:
            found.append(Violation("I4", str(error)))
        return found

    async def _are_breakers_closed(self) -> bool:
        is_closed = True
        for node in self.house.cluster.of(Role.GATEWAY):
            answer = await self._crowd.patiently("GET", "/health/circuit-breakers", port=node.port)
            for breaker in answer.json()["items"]:
                if breaker["state"] != "closed":
                    is_closed = False
                    self._violated("I9", f"{node.name}: the breaker {breaker['name']} is {breaker['state']}")
        return is_closed


def _leaves(group: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    found: list[BaseException] = []
    for each in group.exceptions:
        found += _leaves(each) if isinstance(each, BaseExceptionGroup) else [each]
    return found
