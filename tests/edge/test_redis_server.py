"""What is the Redis edge's own: its URL and TLS, batches, bounds, deadlines, cancellation, and that it works again after whatever happened to the server."""

from __future__ import annotations

import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import trio
import trustme
from trio.testing import wait_all_tasks_blocked

from chaos.engines import Redis
from chaos.engines.child import free_port
from chaos.engines.redis import ADMINISTRATOR
from contracts.errors import CodeWarzError, DeadlineExceeded, EdgeLost, Invalid, NotPermitted, Unavailable
from contracts.ports import RedisReply, Subscription
from edge.aio import AsyncioLoop
from edge.redis import ServerRedis
from edge.redis_error import RedisError, meaning
from edge.redis_line import Limits
from tests.edge.resp import BlockingClient

# A busy machine may keep a reply back for seconds; QUICK is for what is about servers that never answer.
PATIENT = Limits(connect_s=10.0, queue_s=10.0, reply_s=10.0, pause_s=0.02, ping_s=0.3, pong_s=10.0, messages_max=20)
QUICK = replace(PATIENT, connect_s=1.0, queue_s=1.0, reply_s=1.0, pong_s=1.0)
BOUND_S = 20.0  # for real processes to do what they should


@pytest.fixture
def engine(redis_engine: Redis) -> Iterator[Redis]:
    """The session's server, which a test may kill or freeze: others find it running and empty."""
    yield redis_engine
    redis_engine.thaw()
    if not redis_engine.is_running:
        redis_engine.start()


@pytest.fixture
def behind(engine: Redis) -> Iterator[BlockingClient]:
    """Somebody else on the same server."""
    with BlockingClient(engine) as client:
        client.call("FLUSHALL")
        client.call("SCRIPT", "FLUSH")
        yield client


@pytest.fixture
async def redis(engine: Redis, behind: BlockingClient, aio: AsyncioLoop) -> AsyncIterator[ServerRedis]:
    with trio.fail_after(4 * BOUND_S):
        async with ServerRedis(engine.url, aio, limits=PATIENT) as opened:
            yield opened


@pytest.fixture
async def quick(engine: Redis, behind: BlockingClient, aio: AsyncioLoop) -> AsyncIterator[ServerRedis]:
    with trio.fail_after(4 * BOUND_S):
        async with ServerRedis(engine.url, aio, limits=QUICK) as opened:
            yield opened


async def until_it_works(redis: ServerRedis) -> None:
    """Call until a call succeeds; only "away for now" may come before that."""
    with trio.fail_after(BOUND_S):
        while True:
            try:
                assert await redis.call("PING") == b"PONG"
            except Unavailable:
                await trio.sleep(0.01)
            else:
                return


async def result_of(call: Awaitable[RedisReply], into: list[RedisReply | CodeWarzError]) -> None:
    try:
        into.append(await call)
    except CodeWarzError as error:
        into.append(error)


async def off(function: Callable[[], None]) -> None:
    """Do something to an engine: that blocks."""
    await trio.to_thread.run_sync(function)


# ---- where it is -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        "memory://",
        "http://:secret@here:1/0",
        "redis://",
        "redis://:secret@:6379/0",
        "redis://:secret@here:99999/0",
        "redis://:secret@here:x/0",
        "redis://:secret@here/first",
        "redis://:secret@here/-1",
        "redis://:secret@here/0#secret",
        "redis://:secret@here/0?decode_responses=yes",
        "redis://:secret/more@here/0",
        "redis://me:12/secret@here/0",
        "redis://me:12?secret=x@here/0",
        "redis://me:12#secret@here/0",
        "redis://me:[secret@here/0",
        "redis://:secret@here/0?ssl_ca_certs=/etc/hosts",
        "redis://:secret@here/0?x",
        "rediss://:secret@here/0?ssl_ca_certs=/nowhere/ca.pem",
        "rediss://:secret@here/0?ssl_ca_certs=/etc/hostname",
        "rediss://:secret@here/0?ssl_cert_reqs=none",
        "rediss://:secret@here/0?ssl_check_hostname=no",
    ],
)
async def test_a_bad_url_is_invalid_and_not_repeated(aio: AsyncioLoop, url: str) -> None:
    with pytest.raises(Invalid) as caught:
        ServerRedis(url, aio)
    assert "secret" not in "".join(traceback.format_exception(caught.value, limit=0))


async def test_names_and_passwords_are_unquoted_and_shown_to_nobody(aio: AsyncioLoop) -> None:
    redis = ServerRedis("redis://a%40b:p%2Fq@here.example:7/3", aio)
    address = redis._address
    assert (address.username, address.password) == ("a@b", "p/q")
    assert (address.host, address.port, address.database) == ("here.example", 7, 3)
    assert repr(redis) == "<ServerRedis redis at here.example:7 closed commands=0>"
    assert "p/q" not in repr(address)


async def test_databases_are_apart(engine: Redis, behind: BlockingClient, aio: AsyncioLoop) -> None:
    async with ServerRedis(engine.url[:-1] + "5", aio) as redis:
        await redis.call("SET", "a", 1)
    assert behind.call("GET", "a") is None
    behind.call("FLUSHALL")


async def test_a_wrong_password_is_named_as_the_reason_and_not_shown(engine: Redis, aio: AsyncioLoop) -> None:
    url = engine.url.replace(engine.password, "not-this-one")
    async with ServerRedis(url, aio) as redis:
        for attempt in (redis.call("PING"), redis.subscribe("news").__aenter__()):
            with pytest.raises(
                Unavailable, match=r"does not take the user or the password in its URL: WRONGPASS "
            ) as caught:
                await attempt
            assert "not-this-one" not in str(caught.value)
    async with ServerRedis(url.replace(f"{ADMINISTRATOR}:not-this-one@", ""), aio) as redis:
        with pytest.raises(Unavailable, match=r"wants a password.*: NOAUTH"):
            await redis.call("PING")
    async with ServerRedis(engine.url.removesuffix("/0") + "/99999", aio) as redis:
        with pytest.raises(Unavailable, match=r"refuses what its URL says: ERR .*out of range"):
            await redis.call("PING")


async def test_a_password_that_is_changed_is_waited_for(
    redis: ServerRedis, behind: BlockingClient, engine: Redis, aio: AsyncioLoop
) -> None:
    await redis.call("PING")
    behind.call("ACL", "SETUSER", ADMINISTRATOR, "resetpass", ">another")
    try:
        await redis.call("PING")  # who is in stays in
        async with ServerRedis(engine.url, aio, limits=PATIENT) as newcomer:
            with pytest.raises(Unavailable, match="WRONGPASS"):
                await newcomer.call("PING")
            with pytest.raises(Unavailable, match="WRONGPASS"):
                await newcomer.subscribe("news").__aenter__()
            behind.call("ACL", "SETUSER", ADMINISTRATOR, "resetpass", f">{engine.password}")
            await until_it_works(newcomer)
    finally:
        behind.call("ACL", "SETUSER", ADMINISTRATOR, "resetpass", f">{engine.password}")


async def test_a_permission_that_is_taken_away_is_waited_for(redis: ServerRedis, behind: BlockingClient) -> None:
    await redis.call("PING")
    behind.call("ACL", "SETUSER", ADMINISTRATOR, "resetchannels", "-get")
    try:
        with pytest.raises(Unavailable, match="NOPERM"):
            await redis.call("GET", "a")
        with pytest.raises(Unavailable, match="NOPERM"):
            await redis.subscribe("news").__aenter__()
    finally:
        behind.call("ACL", "SETUSER", ADMINISTRATOR, "allchannels", "+@all")
    assert await redis.call("GET", "a") is None


def issued(folder: Path, name: str) -> Path:
    """An authority of its own, and a certificate of it for ``name``."""
    authority = trustme.CA()
    certificate = authority.issue_cert(name)
    folder.mkdir()
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    certificate.private_key_pem.write_to_path(str(folder / "key.pem"))
    (folder / "cert.pem").write_bytes(b"".join(each.bytes() for each in certificate.cert_chain_pems))
    return folder


async def test_tls_verifies_the_authority(engines_folder: Path, certificates: Path, aio: AsyncioLoop) -> None:
    engine = Redis(engines_folder / "redis-tls", tls=certificates)
    await off(engine.start)
    try:
        async with ServerRedis(engine.url, aio) as redis:
            assert await redis.call("ECHO", "x" * 1_000_000) == b"x" * 1_000_000
            async with redis.subscribe("news") as subscription:
                await redis.call("PUBLISH", "news", "secret")
                assert await anext(aiter(subscription)) == ("news", b"secret")
        stranger = issued(engines_folder / "stranger", "127.0.0.1")
        for url in (
            engine.url.partition("?")[0],  # the system's authorities
            engine.url.replace(str(certificates), str(stranger)),
        ):
            async with ServerRedis(url, aio) as redis:
                with pytest.raises(Unavailable, match="certificate verify failed"):
                    await redis.call("PING")
        async with ServerRedis(engine.url.replace("rediss", "redis").partition("?")[0], aio, limits=QUICK) as redis:
            with pytest.raises(Unavailable):
                await redis.call("PING")
    finally:
        await off(engine.end)


async def test_tls_verifies_the_hosts_name(engines_folder: Path, aio: AsyncioLoop) -> None:
    engine = Redis(engines_folder / "redis-elsewhere", tls=issued(engines_folder / "elsewhere", "elsewhere.test"))
    engine.is_ready = engine.is_listening  # type: ignore[method-assign] # its own look verifies the name too
    await off(engine.start)
    try:
        async with ServerRedis(engine.url, aio) as redis:
            with pytest.raises(Unavailable, match="certificate verify failed: IP address mismatch"):
                await redis.call("PING")
    finally:
        await off(engine.end)


# ---- batches and bounds ----------------------------------------------------------------------------------------------


async def test_what_waits_together_crosses_together(redis: ServerRedis) -> None:
    await redis.call("PING")
    before = redis._line.batches
    async with trio.open_nursery() as nursery:
        for number in range(200):
            nursery.start_soon(redis.call, "INCRBY", "n", number)
    assert redis._line.batches - before < 100
    assert redis._line.connections == 1
    assert await redis.call("GET", "n") == b"%d" % sum(range(200))


async def test_each_of_a_batch_gets_its_own_answer(redis: ServerRedis) -> None:
    seen: dict[int, RedisReply] = {}

    async def ask(number: int) -> None:
        if number % 7 == 0:
            with pytest.raises(RedisError, match=f"unknown command 'NOSUCH{number}'"):
                await redis.call(f"NOSUCH{number}")
        elif number % 5 == 0:
            assert await redis.pipeline([("ECHO", number), ("ECHO", -number)]) == [b"%d" % number, b"%d" % -number]
        else:
            seen[number] = await redis.script("return {ARGV[1], {err = 'MINE inside'}}", [], [number])

    async with trio.open_nursery() as nursery:
        for number in range(300):
            nursery.start_soon(ask, number)
    assert len(seen) == 206
    for number, (first, second) in seen.items():
        assert first == b"%d" % number
        assert isinstance(second, RedisError)
        assert second.detail == "MINE inside"


async def test_a_batch_is_bounded_and_a_larger_pipeline_goes_alone(engine: Redis, aio: AsyncioLoop) -> None:
    async with ServerRedis(engine.url, aio, limits=Limits(batch_max=10)) as redis:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(redis.pipeline, [("ECHO", number) for number in range(1000)])
            for number in range(100):
                nursery.start_soon(redis.call, "ECHO", number)
        assert redis._line.batches >= 11
        assert await redis.pipeline([]) == []


async def test_more_than_the_bound_is_refused_at_once(engine: Redis, aio: AsyncioLoop) -> None:
    limits = Limits(commands_max=50, bytes_max=100_000)
    async with ServerRedis(engine.url, aio, limits=limits) as redis:
        for words, fit in ((("ECHO", "x"), 50), (("ECHO", "x" * 30_000), 3)):
            results: list[RedisReply | CodeWarzError] = []
            async with trio.open_nursery() as nursery:
                for _ in range(80):
                    nursery.start_soon(result_of, redis.call(*words), results)
            refused = [each for each in results if isinstance(each, Unavailable)]
            assert len(refused) == 80 - fit
            assert all(type(each) is Unavailable and each.retry_after_s for each in refused)
        assert len(await redis.call("ECHO", "x" * 200_000)) == 200_000  # one alone may be as large as it likes
        assert repr(redis).endswith("commands=0>")


@pytest.mark.parametrize("word", ["MULTI", "select", b"BLPOP", "SUBSCRIBE", "CLIENT", "quit"])
async def test_nobody_changes_the_connection_of_others(redis: ServerRedis, word: str | bytes) -> None:
    with pytest.raises(RedisError, match="ERR unknown command"):
        await redis.call(word, "x", 0)
    with pytest.raises(RedisError, match="ERR unknown command"):
        await redis.pipeline([("SET", "a", 1), (word,)])
    with pytest.raises(RedisError, match="at least one word"):
        await redis.call()
    assert await redis.call("GET", "a") is None


# ---- scripts ---------------------------------------------------------------------------------------------------------

ADD = "return redis.call('INCRBY', KEYS[1], ARGV[1])"


async def test_a_script_is_sent_by_its_digest_and_loaded_where_it_is_unknown(
    redis: ServerRedis, behind: BlockingClient
) -> None:
    behind.call("CONFIG", "RESETSTAT")
    for _ in range(3):
        async with trio.open_nursery() as nursery:
            for _ in range(20):
                nursery.start_soon(redis.script, ADD, ["n"], [1])
        behind.call("SCRIPT", "FLUSH")
    assert await redis.call("GET", "n") == b"60"
    for _ in range(40):
        await redis.script(ADD, ["n"], [1])
    stats = behind.call("INFO", "commandstats").decode()
    evals = next(line for line in stats.splitlines() if line.startswith("cmdstat_eval:"))
    assert int(evals.partition("calls=")[2].partition(",")[0]) <= 61
    assert await redis.call("GET", "n") == b"100"


async def test_a_script_that_says_noscript_itself_is_not_run_twice(redis: ServerRedis) -> None:
    lua = "redis.call('INCR', 'n') return redis.error_reply('NOSCRIPT of mine')"
    for _ in range(2):
        with pytest.raises(RedisError, match="NOSCRIPT of mine"):
            await redis.script(lua, [], [])
    assert await redis.call("GET", "n") == b"2"


# ---- cancellation ----------------------------------------------------------------------------------------------------


async def test_a_cancelled_caller_goes_at_once_and_the_replies_stay_in_step(
    redis: ServerRedis, behind: BlockingClient
) -> None:
    await redis.call("PING")
    behind.send("DEBUG", "SLEEP", "3")
    heard: list[int] = []
    async with trio.open_nursery() as nursery:
        for number in range(30):
            nursery.start_soon(echo, redis, number, heard)
            with trio.move_on_after(0):
                await redis.call("ECHO", "never heard")
            nursery.start_soon(give_up, redis, 0.01 * (number % 4))
        await wait_all_tasks_blocked()
        started = trio.current_time()
        with trio.move_on_after(0.05):
            await redis.pipeline([("ECHO", "a"), ("ECHO", "b")])
        assert trio.current_time() - started < 2.5
    assert sorted(heard) == list(range(30))
    await redis.call("PING")  # the replies that nobody waits for come before this one
    assert redis._line.connections == 1
    assert repr(redis).endswith("commands=0>")


async def echo(redis: ServerRedis, number: int, heard: list[int]) -> None:
    assert await redis.call("ECHO", number) == b"%d" % number
    heard.append(number)


async def give_up(redis: ServerRedis, after_s: float) -> None:
    with trio.move_on_after(after_s):
        await redis.call("ECHO", "nobody waits for this")


async def test_what_was_cancelled_before_it_was_sent_is_not_sent(redis: ServerRedis, engine: Redis) -> None:
    engine.freeze()  # takes the connection and says nothing: so nothing of ours can be sent
    async with trio.open_nursery() as nursery:
        nursery.start_soon(redis.call, "SET", "a", "cancelled")
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    engine.thaw()
    await until_it_works(redis)
    assert await redis.call("GET", "a") is None


async def test_opening_a_subscription_can_be_cancelled(redis: ServerRedis, engine: Redis) -> None:
    engine.freeze()
    started = trio.current_time()
    with trio.move_on_after(0.05) as scope:
        async with redis.subscribe("news"):
            raise AssertionError("nobody confirmed it")
    assert scope.cancelled_caught
    assert trio.current_time() - started < PATIENT.connect_s - 2
    engine.thaw()
    await until_it_works(redis)


# ---- a server that goes away -----------------------------------------------------------------------------------------


async def test_opening_needs_no_server_and_calls_work_as_soon_as_there_is_one(
    engines_folder: Path, aio: AsyncioLoop
) -> None:
    engine = Redis(engines_folder / "redis-late", port=free_port())
    async with ServerRedis(engine.url, aio, limits=QUICK) as redis:
        for _ in range(3):
            with pytest.raises(Unavailable) as caught:
                await redis.call("PING")
            assert type(caught.value) is Unavailable
            assert engine.password not in str(caught.value)
            with pytest.raises(Unavailable, match="cannot be reached"):
                await redis.subscribe("news").__aenter__()
        await off(engine.start)
        try:
            await until_it_works(redis)
            async with redis.subscribe("news"):
                assert await redis.call("PUBLISH", "news", "x") == 1
        finally:
            await off(engine.end)


async def test_commands_under_way_are_lost_with_the_server_and_later_ones_find_the_next(
    redis: ServerRedis, engine: Redis
) -> None:
    await redis.call("SET", "a", 1)
    assert await redis.script(ADD, ["n"], [1]) == 1
    engine.freeze()
    results: list[RedisReply | CodeWarzError] = []
    async with trio.open_nursery() as nursery:
        for _ in range(10):
            nursery.start_soon(result_of, redis.call("INCR", "n"), results)
        await trio.sleep(0.1)
        await off(engine.kill)
    assert [type(each) for each in results] == [EdgeLost] * 10
    with pytest.raises(Unavailable) as caught:
        await redis.call("PING")
    assert type(caught.value) is Unavailable
    await off(engine.start)
    await until_it_works(redis)
    assert await redis.call("GET", "a") is None
    assert await redis.script(ADD, ["n"], [1]) == 1  # loaded again


async def test_data_that_outlives_a_restart_is_there_again(engines_folder: Path, aio: AsyncioLoop) -> None:
    engine = Redis(engines_folder / "redis-persistent")
    engine.is_persistent = True
    await off(engine.start)
    try:
        async with ServerRedis(engine.url, aio, limits=PATIENT) as redis:
            assert await redis.script(ADD, ["n"], [7]) == 7
            await off(engine.end)
            await off(engine.start)
            await until_it_works(redis)
            assert await redis.script(ADD, ["n"], [1]) == 8
    finally:
        await off(engine.end)


async def test_a_frozen_server_is_given_up_in_time_and_found_again(quick: ServerRedis, engine: Redis) -> None:
    await quick.call("PING")
    engine.freeze()
    for expected in (DeadlineExceeded, Unavailable):  # sent and not answered; then not even sent
        started = trio.current_time()
        with pytest.raises(expected):
            await quick.call("INCR", "n")
        assert trio.current_time() - started < QUICK.queue_s + QUICK.reply_s + 3
    engine.thaw()
    await until_it_works(quick)


async def test_what_does_not_find_its_turn_is_refused(engine: Redis, aio: AsyncioLoop) -> None:
    limits = Limits(batch_max=1, queue_s=0.3, reply_s=2.0)
    async with ServerRedis(engine.url, aio, limits=limits) as redis:
        await redis.call("PING")
        engine.freeze()
        results: list[RedisReply | CodeWarzError] = []
        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(result_of, redis.call("PING"), results)
            await trio.sleep(1.0)
            assert [type(each) for each in results] == [Unavailable] * 2
            engine.thaw()
        assert results[2] == b"PONG"


async def test_a_server_that_closed_an_idle_connection_is_not_noticed_by_callers(
    redis: ServerRedis, behind: BlockingClient
) -> None:
    await redis.call("PING")
    behind.call("CLIENT", "KILL", "TYPE", "normal")
    await trio.sleep(0.1)
    assert await redis.call("PING") == b"PONG"
    assert redis._line.connections == 2


async def test_somebody_who_does_not_speak_redis_is_not_understood(aio: AsyncioLoop) -> None:
    async def babble(stream: trio.SocketStream) -> None:
        async with stream:
            await stream.receive_some()
            await stream.send_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(partial(trio.serve_tcp, babble, 0, host="127.0.0.1"))
        port = listeners[0].socket.getsockname()[1]
        async with ServerRedis(f"redis://127.0.0.1:{port}", aio, limits=QUICK) as redis:
            with pytest.raises(EdgeLost, match="Protocol error"):
                await redis.call("PING")
            with pytest.raises(Unavailable):
                await redis.subscribe("news").__aenter__()
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        ("LOADING Redis is loading the dataset in memory", Unavailable),
        ("BUSY Redis is busy running a script.", Unavailable),
        ("READONLY You can't write against a read only replica.", Unavailable),
        ("MISCONF Errors writing to the AOF file: No space left on device", Unavailable),
        ("ERR max number of clients reached", Unavailable),
        ("OOM command not allowed when used memory > 'maxmemory'.", Unavailable),
        ("WRONGPASS invalid username-password pair or user is disabled.", Unavailable),
        ("NOAUTH Authentication required.", Unavailable),
        ("NOPERM this user has no permissions to run the 'get' command", NotPermitted),
        (
            "ERR The user executing the script can't run this command or subcommand script: 0, on @user_script:1.",
            NotPermitted,
        ),
        ("ERR value is not an integer or out of range", RedisError),
    ],
)
def test_refusals_that_waiting_mends_are_told_from_others(reply: str, kind: type[CodeWarzError]) -> None:
    error = meaning(reply)
    assert type(error) is kind
    assert reply in error.detail


async def test_a_full_server_takes_writes_again_when_it_has_room(redis: ServerRedis, behind: BlockingClient) -> None:
    behind.call("CONFIG", "SET", "maxmemory", "1")
    try:
        with pytest.raises(Unavailable, match="out of memory"):
            await redis.call("SET", "a", 1)
        with pytest.raises(Unavailable, match="out of memory"):
            await redis.script("redis.call('SET', 'a', '1')", [], [])
        assert await redis.script("redis.call('DEL', 'a') return redis.call('SET', 'b', '1')", [], []) == b"OK"
    finally:
        behind.call("CONFIG", "SET", "maxmemory", "0")
    assert await redis.call("SET", "a", 1) == b"OK"


# ---- subscriptions ---------------------------------------------------------------------------------------------------


async def all_of(subscription: Subscription) -> list[tuple[str, bytes]]:
    heard: list[tuple[str, bytes]] = []
    with trio.fail_after(BOUND_S), pytest.raises(EdgeLost):
        while True:
            heard.append(await anext(aiter(subscription)))
    return heard


@pytest.mark.parametrize("how", ["killed", "frozen", "cut off"])
async def test_a_lost_subscription_says_so_and_can_be_had_again(
    quick: ServerRedis, engine: Redis, behind: BlockingClient, how: str
) -> None:
    async with quick.subscribe("news", "board:*") as subscription:
        await quick.call("PUBLISH", "news", 1)
        assert await anext(aiter(subscription)) == ("news", b"1")  # a server that is stopped sends nothing it still has
        if how == "killed":
            await off(engine.kill)
        elif how == "frozen":
            engine.freeze()
        else:
            behind.call("CLIENT", "KILL", "TYPE", "pubsub")
        started = trio.current_time()
        assert await all_of(subscription) == []
        assert trio.current_time() - started < 2 * QUICK.ping_s + QUICK.pong_s + 5
        with pytest.raises(EdgeLost):
            await anext(aiter(subscription))
    engine.thaw()
    if not engine.is_running:
        await off(engine.start)
    await until_it_works(quick)
    async with quick.subscribe("news") as subscription:
        assert await quick.call("PUBLISH", "news", 2) >= 1
        assert await anext(aiter(subscription)) == ("news", b"2")


async def test_a_silent_subscription_on_a_server_that_lives_goes_on(redis: ServerRedis) -> None:
    async with redis.subscribe("news") as subscription:
        await trio.sleep(6 * PATIENT.ping_s)
        await redis.call("PUBLISH", "news", 1)
        assert await anext(aiter(subscription)) == ("news", b"1")


def test_silence_is_noticed_within_ten_seconds() -> None:
    limits = Limits()
    assert 2 * limits.ping_s + limits.pong_s < 10
    assert limits.queue_s + limits.reply_s < 10


async def test_a_subscriber_that_falls_behind_is_told(redis: ServerRedis, behind: BlockingClient) -> None:
    async with redis.subscribe("news") as slow, redis.subscribe("news") as quick:
        for number in range(50):
            assert behind.call("PUBLISH", "news", number) in (1, 2)
            assert await anext(aiter(quick)) == ("news", b"%d" % number)
        with pytest.raises(EdgeLost, match="20 messages behind"):
            for number in range(50):
                assert await anext(aiter(slow)) == ("news", b"%d" % number)


async def test_a_block_raises_what_was_raised_in_it(redis: ServerRedis) -> None:
    with pytest.raises(LookupError, match="as it was"):
        async with redis.subscribe("news"):
            raise LookupError("as it was")
    with pytest.raises(ValueError, match="at least one channel"):
        await redis.subscribe().__aenter__()


# ---- the end ---------------------------------------------------------------------------------------------------------


async def test_closing_answers_everybody_and_the_edge_can_be_opened_again(engine: Redis, aio: AsyncioLoop) -> None:
    redis = ServerRedis(engine.url, aio)
    results: list[RedisReply | CodeWarzError] = []
    async with trio.open_nursery() as nursery:
        async with redis, redis.subscribe("news") as subscription:
            await redis.call("SET", "a", 1)
            engine.freeze()
            for _ in range(5):
                nursery.start_soon(result_of, redis.call("GET", "a"), results)
            await wait_all_tasks_blocked()
        assert await all_of(subscription) == []
    assert [type(each) for each in results] == [EdgeLost] * 5
    engine.thaw()
    with pytest.raises(EdgeLost, match="closed"):
        await redis.call("PING")
    with pytest.raises(EdgeLost, match="closed"):
        await redis.subscribe("news").__aenter__()
    with pytest.raises(LookupError, match="as it was"):
        async with redis:
            assert await redis.call("GET", "a") == b"1"
            raise LookupError("as it was")


async def test_an_edge_that_closes_ends_the_subscriptions_on_it(engine: Redis, aio: AsyncioLoop) -> None:
    redis = ServerRedis(engine.url, aio)
    subscribed, closed = trio.Event(), trio.Event()

    async def read() -> None:
        async with redis.subscribe("news") as subscription:
            subscribed.set()
            assert await all_of(subscription) == []
            closed.set()

    async with trio.open_nursery() as nursery:
        async with redis:
            nursery.start_soon(read)
            await subscribed.wait()
        with trio.fail_after(5):
            await closed.wait()
