"""The database's disk is full. It has a small one of its own for that, where this machine allows it."""

from __future__ import annotations

from chaos.scenarios.registry import scenario
from chaos.small_disk import fill, free
from chaos.stage import Stage

FULL_S = 6.0


@scenario("postgres-disk-full", lasts_s=FULL_S + 3, needs_small_disk=True)
async def postgres_disk_full(stage: Stage) -> None:
    """PostgreSQL's disk is full for a while, and it may end over that; then there is room again."""
    postgres = stage.cluster.postgres
    await stage.do("fill the disk", lambda: fill(postgres.folder.parent))
    await stage.wait(FULL_S)
    await stage.do("make room", lambda: free(postgres.folder.parent))
    if not postgres.is_running:
        await stage.start(postgres)
