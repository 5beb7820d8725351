"""What Redis's own error replies become, in every variant of the port."""

from __future__ import annotations

from contracts.errors import CodeWarzError, NotPermitted, Unavailable

# Refusals that waiting mends, by the error's first word. The command was not run.
_LATER = {
    "LOADING": "redis is loading its data",
    "BUSY": "redis is busy with a script that takes long",
    "READONLY": "redis is a replica at the moment and takes no writes",
    "MASTERDOWN": "redis is a replica without its master",
    "OOM": "redis is out of memory",
    "MISCONF": "redis takes no writes, because it cannot save them",
    "NOREPLICAS": "redis takes no writes without its replicas",
    "CLUSTERDOWN": "the redis cluster is down",
    "TRYAGAIN": "the redis cluster is moving these keys",
    # Somebody changed a password, here or there: who waits for it is well again as soon as it is right.
    "WRONGPASS": "redis does not take the user or the password in its URL",
    "NOAUTH": "redis wants a password, and its URL has none",
}
# Nor is this a bug: somebody gave a user less than it needs. Redis before 7.2 says the second of a command inside of a script.
_NOT_PERMITTED = ("NOPERM ", "ERR The user executing the script can't run this command")
RETRY_AFTER_S = 1.0


class RedisError(CodeWarzError):
    """Redis refused a command or a script failed: "WRONGTYPE Operation against …". ``prefix`` is its first word. A bug of ours, never a contestant's."""

    code = "redis_error"

    @property
    def prefix(self) -> str:
        """The error's class as Redis names it: ERR, WRONGTYPE, NOSCRIPT, OOM."""
        return self.detail.partition(" ")[0]


def meaning(reply: str) -> CodeWarzError:
    """Return the error to raise for an error reply of a server: Unavailable where waiting helps and nothing happened, RedisError for a bug.

    Of a script too: Redis refuses its first write for these reasons, and lets one that has written already go on. Only what is not permitted ends a script
    wherever it is, and ours are run again from their beginning.
    """
    prefix = reply.partition(" ")[0]
    if reply.startswith(_NOT_PERMITTED):
        return NotPermitted(f"redis does not let the user in its URL do this: {reply}", retry_after_s=RETRY_AFTER_S)
    if prefix in _LATER:
        return Unavailable(f"{_LATER[prefix]}: {reply}", retry_after_s=RETRY_AFTER_S)
    if reply.startswith("ERR max number of clients"):
        return Unavailable(f"redis has too many clients: {reply}", retry_after_s=RETRY_AFTER_S)
    return RedisError(reply)
