"""The users of ``contracts.users`` with their passwords, as the engines read them. Only hashes are written down."""

from __future__ import annotations

import base64
import hashlib
import secrets
from collections.abc import Mapping

from contracts.users import users

SALT_BYTES = 4  # RabbitMQ's own


def redis_users(passwords: Mapping[str, str]) -> str:
    """Return the lines of Redis' settings. Who is not in ``passwords`` gets none, and so can be nobody."""
    lines = []
    for line in users("redis.acl").splitlines():
        directive, _, rest = line.partition(" ")
        name, _, rules = rest.partition(" ")
        if directive == "user":
            password = f" #{hashlib.sha256(passwords[name].encode()).hexdigest()}" if name in passwords else ""
            lines.append(f"user {name} {rules}{password}\n")
    return "".join(lines)


def rabbitmq_users(passwords: Mapping[str, str]) -> str:
    """Return RabbitMQ's definitions, which it loads whenever it starts; each of its users needs a password."""
    text = users("rabbitmq.json")
    for name, password in passwords.items():
        salt = secrets.token_bytes(SALT_BYTES)
        salted = salt + hashlib.sha256(salt + password.encode()).digest()
        text = text.replace(f"@{name}@", base64.b64encode(salted).decode())
    return text
