"""Real engines, private ones: a PostgreSQL, a Redis and a RabbitMQ on free ports of the loopback address, with data, passwords and processes of their own.

Tests, benchmarks, chaos and ``make cluster`` start them; a user's own servers are never touched. Calls here block, so they belong outside of Trio's thread.
What installs the servers is ``scripts/engines``; where one is missing, ``Missing`` says what to install. ``settle`` lets an engine run in a container there.
"""

from chaos.engines.engine import Engine, Missing, Where
from chaos.engines.postgres import Postgres
from chaos.engines.rabbitmq import RabbitMq
from chaos.engines.redis import Redis

__all__ = ["Engine", "Missing", "Postgres", "RabbitMq", "Redis", "Where"]
