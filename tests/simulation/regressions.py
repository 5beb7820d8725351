"""What the simulation has found: the run that showed it, and what was wrong. All of them are run again by ``test_regressions.py``.

A seed finds its way again only in the code of its day: with every change of what tasks do, chance falls otherwise. So the table keeps the options, shrunk where
that was possible, and a bug that deserves a test for good gets a scenario besides (``scenarios/``), which says what happens instead of leaving it to chance.
"""

from __future__ import annotations

import msgspec

from chaos.simulation.faults import Fault, Options
from chaos.simulation.job import Job


class Regression(msgspec.Struct, frozen=True, kw_only=True):
    """A run that once broke a promise."""

    name: str  # of the bug, as a test is named
    wrong: str  # what was wrong, in a sentence or two
    broke: str  # the invariant
    seed: int | None = None  # either the seed
    options: Options | None = None  # or what it was shrunk to

    @property
    def job(self) -> Job:
        """What a worker is asked for."""
        if self.options is not None:
            return Job(seed=self.options.seed, options=self.options)
        assert self.seed is not None, f"{self.name} has neither a seed nor options"
        return Job(seed=self.seed)


REGRESSIONS: tuple[Regression, ...] = (
    Regression(
        name="a_neighbour_that_restarts_ends_the_process",
        wrong="Hub and intakes crashed of a Redis or broker that was away; after five crashes in some seconds the supervisors, and then the process, gave up.",
        broke="I9",
        seed=12,
    ),
    Regression(
        name="an_older_board_from_another_gateway",
        wrong="A browser that came back to a gateway which had heard less than the one before was sent that gateway's older snapshot.",
        broke="I5",
        seed=1343,
    ),
    Regression(
        name="an_older_board_while_the_snapshot_is_read",
        wrong="The same, when the gateway shared a snapshot that another browser had asked for a moment before.",
        broke="I5",
        seed=1384,
    ),
    Regression(
        name="a_set_aside_request_crashes_its_asker",
        wrong="Core had set a request aside after two crashes of its own; that answer crashed the worker, and the submission ended as a judge error.",
        broke="I7",
        seed=1614,
    ),
    Regression(
        name="a_change_between_subscription_and_replay_is_sent_twice",
        wrong="A browser that came back was replayed what it had missed, and then sent again what had come into its queue after it had subscribed.",
        broke="I5",
        options=Options(
            seed=5,
            faults=(
                Fault.LATENCY,
                Fault.REORDER,
                Fault.STALL,
                Fault.ACTOR_CRASH,
                Fault.BUGGIFY,
                Fault.NEWS_LOST,
            ),
            users=6,
            submissions=29,
            watchers=4,
            hurt_s=15.0,
            workers=1,
        ),
    ),
    Regression(
        name="a_board_that_falls_silent_after_late_news_of_an_older_one",
        wrong="A topic forgot its board when news of the one before came late, and from then on held every update back: whoever watched saw heartbeats only.",
        broke="I9",
        seed=28,
    ),
    Regression(
        name="copies_of_one_request_in_every_place",
        wrong="Copies of one request waited for the lease of a judge that had died, each in a place of its own, and kept everybody else's requests waiting.",
        broke="I9",
        seed=148,
    ),
    Regression(
        name="a_board_folded_before_a_loss_replaces_one_made_after_it",
        wrong="A slow rebuild saw no board before and after, and put an old fold in place: meanwhile there was one, with later verdicts, and Redis lost it.",
        broke="I4",
        seed=61728,  # of its day; scenarios/folded_before_a_loss.py plays it
    ),
    Regression(
        name="what_judges_have_hides_what_is_lost",
        wrong="The sweeper looked at the oldest without a verdict, some at a time: as long as judges had those, it never came to what was lost behind them.",
        broke="I9",
        seed=61666,
    ),
    Regression(
        name="a_judge_waits_for_the_lease_of_its_own_former_life",
        wrong="A judge that was started again waited for the leases that it had held before, in as many places as it has workers.",
        broke="I9",
        seed=61354,
    ),
    Regression(
        name="a_judge_pauses_for_longer_than_recovery_may_take",
        wrong="After five failures in a row a judge paused for 15 s, and did not notice for as long that Redis was back.",
        broke="I9",
        seed=63221,
    ),
    Regression(
        name="a_lease_of_which_nobody_knows",
        wrong="A lease was taken, and the answer lost: nobody renewed it, nobody gave it back, and the next judge waited for its end.",
        broke="I9",
        seed=64276,
    ),
)
