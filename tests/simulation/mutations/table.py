"""The mutations."""

from __future__ import annotations

from tests.simulation.mutations.trial import Mutation, Replace

OUTBOX = "actors/outbox.py"
INTAKE = "actors/judge/intake.py"
WORKER = "actors/judge/worker.py"
SUBMISSIONS = "actors/core/submissions.py"
CORE = "actors/core/actor.py"
ACCEPTING = "actors/core/accepting.py"
SWEEPER = "actors/sweeper.py"
PROJECTOR = "actors/projector.py"
APPLY = "contracts/lua/board_apply.lua"
LOAD = "contracts/lua/board_load.lua"
TOPICS = "actors/gateway/topics.py"
SOURCES = "actors/gateway/sources.py"
HUB = "actors/gateway/sse.py"
MAILBOX = "supervisor/mailbox.py"
NODE = "supervisor/node.py"
INCARNATION = "supervisor/incarnation.py"
SYSTEM = "actors/system.py"
BROKER = "edge/memory_broker.py"

MUTATIONS: tuple[Mutation, ...] = (
    Mutation(
        name="reply_before_commit",
        breaks="core answers a request before its transaction is committed",
        by=("I1",),
        patch=(
            Replace(
                CORE,
                "                answers = await self._transact([delivery.message for delivery in batch])\n",
                "                answers = await self._transact([delivery.message for delivery in batch], batch)\n",
            ),
            Replace(
                CORE,
                "    async def _transact(self, requests: list[Request[Any]]) -> list[Any]:\n",
                "    async def _transact(self, requests: list[Request[Any]], batch: list[Any]) -> list[Any]:\n",
            ),
            Replace(
                CORE,
                "            # buggify at core.before_commit\n",
                "            for delivery, answer in zip(batch, answers, strict=True):\n"
                "                if not isinstance(answer, CodeWarzError):\n"
                "                    delivery.reply(answer)\n"
                "            # buggify at core.before_commit\n",
            ),
        ),
        caught_by=0,
    ),
    Mutation(
        name="ack_before_judging",
        breaks="the judges' intake acknowledges a request and only then has it judged",
        by=("I1", "I9"),
        patch=(
            Replace(
                INTAKE,
                "        outcome = await self._ask_until_clear(request)\n",
                "        await delivery.ack()\n        await self._ask_until_clear(request)\n        return\n",
            ),
        ),
        caught_by=0,
    ),
    Mutation(
        name="ack_before_projection",
        breaks="the verdict intake acknowledges an event and only then has it applied to the board",
        by=("I4", "I9"),
        patch=(
            Replace(
                PROJECTOR,
                "            await self._apply(event)\n",
                "            await delivery.ack()\n            await self._apply(event)\n            return\n",
            ),
        ),
        caught_by=0,
    ),
    Mutation(
        name="no_catch_up_scan",
        breaks="a listener that is connected again does not ask for a scan, so what was committed meanwhile waits for the next commit",
        by=("I2", "I9"),
        patch=(
            Replace(
                OUTBOX,
                "            while True:\n                # Full:",
                "            while True:\n                await wakeups.wait()\n                # Full:",
            ),
            Replace(
                OUTBOX,
                "                    self.relay.tell_nowait(Scan())\n                await wakeups.wait()\n",
                "                    self.relay.tell_nowait(Scan())\n",
            ),
        ),
        caught_by=2,
    ),
    Mutation(
        name="notify_lost",
        breaks="commits wake nobody: the listener scans when it connects and never again",
        by=("I2", "I9"),
        patch=(
            Replace(OUTBOX, "                await wakeups.wait()\n", "                await trio.sleep_forever()\n"),
        ),
        caught_by=0,
    ),
    Mutation(
        name="marked_before_published",
        breaks="the relay marks rows as sent before the broker has them",
        by=("I2",),
        patch=(
            Replace(
                OUTBOX,
                "        async with trio.open_nursery() as nursery:\n            for row in rows:\n",
                '        await self._mark([row["id"] for row in rows])\n'
                "        async with trio.open_nursery() as nursery:\n            for row in rows:\n",
            ),
        ),
        caught_by=0,
    ),
    Mutation(
        name="published_past_the_outbox",
        breaks="the sweeper publishes from inside its transaction, before anything is committed",
        by=("I2",),
        patch=(
            Replace(
                SWEEPER,
                "                if waiting:\n",
                "                if waiting:\n"
                "                    from contracts.messages import Topic\n"
                "                    from contracts.ports import BrokerMessage\n"
                "                    import msgspec\n"
                '                    early = JudgeRequested(submission_id=row["id"], attempt=row["attempt"])\n'
                "                    await self.broker.publish(Topic.SUBMISSION, BrokerMessage(body=msgspec.json.encode(early), message_id=desk.new_id()))\n",
            ),
        ),
        caught_by=8,
    ),
    Mutation(
        name="claim_for_ever",
        breaks="what a relay has claimed and not published when it dies is hidden from the others for hours",
        by=("I2", "I9"),
        patch=(Replace(OUTBOX, "CLAIM_MS = 8_000 ", "CLAIM_MS = 30_000_000 "),),
        caught_by=5,
    ),
    Mutation(
        name="plain_setnx",
        breaks="a lease has no time to live, as a plain SETNX: a judge that dies keeps it",
        by=("I1", "I9"),
        patch=(
            Replace(
                "contracts/lua/lease_acquire.lua",
                "redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])",
                "redis.call('SET', KEYS[1], ARGV[1])",
            ),
            # and what lasts for ever counts as a lease
            Replace("contracts/lua/lease_acquire.lua", "is_lease = left_ms >= 0 and ", "is_lease = left_ms < 0 or "),
            Replace("actors/judge/lease.py", "[0 <= left <= 2000 * TTL_S for", "[left != -2 for"),
        ),
        caught_by=6,
    ),
    Mutation(
        name="no_fencing",
        breaks="a verdict counts whatever its fencing number",
        by=("I3",),
        patch=(
            Replace(SUBMISSIONS, '        " AND fencing = $6 RETURNING *",\n', '        " AND $6 = $6 RETURNING *",\n'),
        ),
        caught_by=8,
    ),
    Mutation(
        name="same_fencing_for_all",
        breaks="every judge of an attempt gets the same fencing number",
        by=("I3",),
        patch=(Replace(SUBMISSIONS, "SET fencing = fencing + 1 WHERE id = $1", "SET fencing = 1 WHERE id = $1"),),
        caught_by=6,
    ),
    Mutation(
        name="no_compare_and_set",
        breaks="a verdict is written over whatever is there",
        by=("I1", "I3"),
        patch=(
            Replace(
                SUBMISSIONS, 'WHERE id = $4 AND attempt = $5 AND verdict IS NULL"\n', 'WHERE id = $4 AND $5 = $5"\n'
            ),
            Replace(SUBMISSIONS, '        " AND fencing = $6 RETURNING *",\n', '        " AND $6 = $6 RETURNING *",\n'),
            Replace(
                SUBMISSIONS,
                '        " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",\n        [\n            (\n                request.submission_id,\n',
                '        " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) ON CONFLICT (submission_id, attempt) DO UPDATE SET verdict = excluded.verdict",\n'
                "        [\n            (\n                request.submission_id,\n",
            ),
        ),
        caught_by=7,
    ),
    Mutation(
        name="idempotency_key_ignored",
        breaks="a repeated request with the same idempotency key makes a second submission",
        by=("I1", "I8"),
        patch=(
            Replace(ACCEPTING, '    if facts["result_id"] is not None:\n', '    if facts["result_id"] == "":\n'),
            Replace(
                ACCEPTING,
                'result_id, created_at_ms) VALUES ($1, $2, $3, $4, $5, $6)",\n',
                'result_id, created_at_ms) VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING",\n',
            ),
        ),
        caught_by=0,
    ),
    Mutation(
        name="sweeper_asleep",
        breaks="the sweeper never looks for lost submissions",
        by=("I1", "I9"),
        patch=(Replace(SWEEPER, '            await self._attempt("submissions", self._sweep_waiting)\n', ""),),
        caught_by=8,
    ),
    Mutation(
        name="dead_letter_dropped",
        breaks="what the judges reject or return too often is thrown away instead of kept as a dead letter",
        by=("I1", "I2"),
        patch=(
            Replace(OUTBOX, '    dead_letter_queue="submission.dlq",\n', "    dead_letter_queue=None,\n"),
            Replace(OUTBOX, 'dead_letter_queue="verdict.dlq", ', ""),
        ),
        caught_by=3,
    ),
    Mutation(
        name="score_overwritten",
        breaks="a submission's score overwrites what the contestant did before on that problem",
        by=("I4",),
        patch=(Replace(APPLY, "row.cells[problem] or empty_cell()", "empty_cell()"),),
        caught_by=0,
    ),
    Mutation(
        name="late_line_counts_last",
        breaks="a verdict that comes after that of a later submission counts as if it were the last one",
        by=("I4",),
        patch=(Replace(APPLY, "if not attempt and comes_last(packed, line) then", "if not attempt then"),),
        caught_by=5,
    ),
    Mutation(
        name="freeze_ignored",
        breaks="the public board goes on after the freeze",
        by=("I4",),
        patch=(Replace(APPLY, "elseif meta.freeze and line.at >= meta.freeze then", "elseif false then"),),
        caught_by=0,
    ),
    Mutation(
        name="versions_begin_again",
        breaks="a board that was lost and rebuilt begins with version 1",
        by=("I5",),
        patch=(Replace(LOAD, "math.max(before + 1, now_ms)", "math.max(before + 1, 1)"),),
        caught_by=11,
    ),
    Mutation(
        name="news_outside_the_script",
        breaks="a change of the board is not announced",
        by=("I5", "I9"),
        patch=(
            Replace(
                APPLY,
                "  redis.call('PUBLISH', 'leaderboard:invalidate',",
                "  redis.call('PUBLISH', 'leaderboard:nobody',",
            ),
        ),
        caught_by=0,
    ),
    Mutation(
        name="update_dropped",
        breaks="a client whose queue is full loses an event and is not told",
        by=("I5",),
        patch=(Replace(TOPICS, "            self.reset(TOO_SLOW)\n", ""),),
        caught_by=21,
    ),
    Mutation(
        name="last_event_id_ignored",
        breaks="a browser that comes back is not sent what it missed",
        by=("I5",),
        patch=(Replace(SOURCES, 'return b"".join(frame.data for frame in missed) or HEARTBEAT', "return HEARTBEAT"),),
        caught_by=7,
    ),
    Mutation(
        name="last_event_id_unread",
        breaks="Last-Event-ID is not read: whoever comes back gets everything again",
        by=("I5",),
        patch=(
            Replace(HUB, "last_event = parse_event_id(last_event_id) if last_event_id else None", "last_event = None"),
        ),
        caught_by=0,
    ),
    Mutation(
        name="no_reset_after_renewal",
        breaks="after its subscription was renewed the hub resets nobody, and does not look for gaps",
        by=("I5", "I9"),
        patch=(
            Replace(HUB, '            self.reset_everybody("the connection to the events was renewed")\n', ""),
            Replace(HUB, "                if topic.is_waiting_in_vain:\n", "                if False:\n"),
            Replace(HUB, '                    nursery.start_soon(self._check_boards, name="sse check")\n', ""),
        ),
        caught_by=2,
    ),
    Mutation(
        name="pool_unbounded",
        breaks="a judge has more workers than sandboxes, and takes as many requests",
        by=("I6",),
        patch=(
            Replace(
                SYSTEM,
                "                size=settings.workers,\n                most=settings.workers,\n",
                "                size=2 * settings.workers,\n                most=2 * settings.workers,\n",
            ),
            Replace(SYSTEM, "        prefetch=settings.workers,\n", "        prefetch=2 * settings.workers,\n"),
        ),
        caught_by=0,
    ),
    Mutation(
        name="sandbox_leaked",
        breaks="a judging that is cancelled goes on in its sandbox",
        by=("I6",),
        patch=(
            Replace(
                WORKER,
                "        return await _again_until(\n            SANDBOX_PATIENCE_S, lambda: self.judging.judge(work, blob, _Reporter(self.redis, work))\n        )\n",
                "        with trio.CancelScope(shield=True):\n            return await _again_until(\n                SANDBOX_PATIENCE_S, lambda: self.judging.judge(work, blob, _Reporter(self.redis, work))\n            )\n",
            ),
        ),
        caught_by=6,
    ),
    Mutation(
        name="old_incarnation_alive",
        breaks="a restart does not wait for the old incarnation to be gone",
        by=("I7", "I9"),
        patch=(
            Replace(
                NODE,
                "                if node.life is not None:\n                    node.life.cancel(action.reason)\n",
                "                if node.life is not None and isinstance(node, Leaf):\n"
                "                    node.end(Exit(What.CANCELLED, None, uncounted=True))\n"
                "                    self.apply(Happened(What.CANCELLED, node.name))\n"
                "                elif node.life is not None:\n                    node.life.cancel(action.reason)\n",
            ),
            Replace(
                NODE,
                "            node.end(how)\n            ended.append(how)\n",
                "            if node.life is life:\n                node.end(how)\n            ended.append(how)\n",
            ),
        ),
        caught_by=0,
    ),
    Mutation(
        name="crash_without_event",
        breaks="an actor that crashes is restarted and no event says so",
        by=("I7",),
        patch=(Replace(NODE, "            self.emit(Kind.CRASHED, how.summary, how.traceback)\n", ""),),
        caught_by=3,
    ),
    Mutation(
        name="exception_swallowed",
        breaks="an exception that leaves an actor counts as its return",
        by=("I7",),
        patch=(
            Replace(
                INCARNATION,
                "        return Exit(What.CRASHED, error, uncounted=cancelled or self._scope.cancel_called)\n",
                "        return Exit(What.RETURNED, None, uncounted=False)\n",
            ),
        ),
        caught_by=3,
    ),
    Mutation(
        name="message_lost_in_a_crash",
        breaks="what an actor held when it crashed is not delivered again",
        by=("I1", "I9"),
        patch=(
            Replace(
                MAILBOX,
                "        held, self._held = list(self._held.values()), {}\n",
                "        held, self._held = list(self._held.values())[:0], {}\n",
            ),
        ),
        caught_by=18,
    ),
    Mutation(
        name="mailbox_unbounded",
        breaks="a mailbox takes more than its capacity",
        by=("I8",),
        patch=(
            Replace(
                MAILBOX,
                "        if len(self._queue) >= self.capacity:\n            return False\n        self._admit(envelope)\n        return True\n",
                "        self._admit(envelope)\n        return True\n",
            ),
        ),
        caught_by=5,
    ),
    Mutation(
        name="overload_is_an_error",
        breaks="a full mailbox is a server's fault and not an overload",
        by=("I8", "I7", "I9"),  # a judge takes it for a refusal, and the request for a dead letter
        patch=(
            Replace(
                "actors/service.py",
                '            raise Unavailable("too many requests at once: try again in a moment", retry_after_s=1) from error\n',
                '            from contracts.errors import CodeWarzError\n            raise CodeWarzError("no room") from error\n',
            ),
        ),
        caught_by=43,
    ),
    Mutation(
        name="queue_is_a_stack",
        breaks="of one priority the newest request goes first: whoever comes early in a rush waits until it is over",
        by=("I9",),
        says="^Starvation",
        patch=(
            Replace(
                BROKER,
                "return (-self.priority, self.seq) < (-other.priority, other.seq)",
                "return (-self.priority, -self.seq) < (-other.priority, -other.seq)",
            ),
        ),
        caught_by=6,
    ),
    Mutation(
        name="no_priorities",
        breaks="judging again stands before a live contest: priorities do not reach the queue",
        by=("I9",),
        says="^Starvation",
        patch=(Replace(OUTBOX, '            priority=row["priority"],\n', "            priority=0,\n"),),
        caught_by=6,
    ),
    Mutation(
        name="newest_claimed_first",
        breaks="the relay claims what was committed last: under a lasting rush the oldest rows stay in the outbox",
        by=("I9",),
        says="^Starvation",
        patch=(
            Replace(
                OUTBOX,
                "ORDER BY priority DESC, id LIMIT",
                "ORDER BY priority DESC, id DESC LIMIT",
            ),
        ),
        caught_by=11,
    ),
    Mutation(
        name="published_in_any_order",
        breaks="the relay publishes what it has claimed in an arbitrary order: after an outage who has waited longest may be judged last",
        by=("I9",),
        says="^Starvation: after a backlog",
        patch=(
            Replace(
                OUTBOX,
                "half of the time.\n                await trio.lowlevel.checkpoint()\n",
                "half of the time.\n",
            ),
        ),
        caught_by=27,
    ),
    Mutation(
        name="put_off_each_for_itself",
        breaks="a row that the absent broker could not take is put off by chance, and goes behind whatever is due sooner",
        by=("I9",),
        says="^Starvation: after a backlog",
        patch=(
            Replace(
                OUTBOX,
                "attempts, backoff_ms = attempts - 1, 0\n",
                "attempts, backoff_ms = attempts - 1, round(AWAY_PAUSE_S * 1000)\n",
            ),
        ),
        caught_by=90,
    ),
    Mutation(
        name="claim_of_half_a_minute",
        breaks="what a relay has claimed and not published when it dies is hidden from the others for half a minute",
        by=("I9",),
        says="^recovery",
        patch=(Replace(OUTBOX, "CLAIM_MS = 8_000 ", "CLAIM_MS = 30_000 "),),
        caught_by=9,
    ),
    Mutation(
        name="lease_of_half_a_minute",
        breaks="a judge that dies keeps its lease for half a minute",
        by=("I9",),
        says="^recovery",
        patch=(Replace("actors/judge/lease.py", "TTL_S = 7.0 ", "TTL_S = 30.0 "),),
        caught_by=6,
    ),
    Mutation(
        name="early_events_passed_on",
        breaks="an event of the board that comes before an older one is passed on at once",
        by=("I5",),
        patch=(
            Replace(
                TOPICS,
                "        elif self.epoch is None or change.version > self.last + 1:\n            self._hold(change)\n"
                "        elif change.version == self.last + 1:\n",
                "        elif self.epoch is None:\n            self._hold(change)\n        elif change.version > self.last:\n",
            ),
        ),
        caught_by=3,
    ),
    Mutation(
        name="rebuilt_over_a_write",
        breaks="a rebuild replaces the board without looking whether somebody wrote to it since the log was read",
        by=("I4", "I5"),
        patch=(Replace(LOAD, "if state ~= ARGV[1] or not is_whole then", "if not is_whole then"),),
        caught_by=8,
    ),
)
