"""Redis's semantics in this process: the same commands, the same Lua, TTLs on the Trio clock.

Each module holds the commands of one data type over the ``Keyspace``; ``server`` is the port. Only what Redis 7 does belongs here, including its oddities, so
that a script or a sequence of commands behaves the same on a real server; ``tests/edge/test_redis_differential.py`` holds the two against each other.
"""

from edge.memory_redis.server import MemoryRedis

__all__ = ["MemoryRedis"]
