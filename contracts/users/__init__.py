"""The users that CodeWarz has at Redis and RabbitMQ, and what each may do there: said here, once.

``compose.yaml`` mounts these two files and its engines' commands put the passwords in; private engines (``chaos.engines``) and the tests read the same ones.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files

CODEWARZ = "codewarz"  # the roles' processes, apart from judges
JUDGE = "judge"  # runs what strangers wrote
CONSOLE = "console"  # people, at RabbitMQ's management console


@cache
def users(name: str) -> str:
    """Return the text of ``redis.acl`` or ``rabbitmq.json``; there are no passwords in it."""
    return files(__name__).joinpath(name).read_text("utf-8")
