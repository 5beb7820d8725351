"""A change comes after a browser that came back has subscribed and before it is sent what it missed: it is sent that change once."""

from chaos.simulation.scenario import Stage, scenario

LEAVES_S = 80.0  # a watcher stays for a minute at most


@scenario(gateways=1, watchers=1)
async def between_subscription_and_replay(stage: Stage) -> None:
    for user in ("user1", "user2"):
        await stage.judged(await stage.submit("WA", user=user))
    board = stage.workload.boards["watcher1"]
    await stage.until(lambda: board.event_id, "the watcher's first events")
    async with stage.stopped_at("stream.subscribed", within_s=LEAVES_S) as arrival:
        await arrival
        await stage.judged(await stage.submit("AC"))
        await stage.sleep(1.0)
    await stage.until(lambda: board.rows.get("user1", {}).get("score"), "the change on the watcher's screen")
