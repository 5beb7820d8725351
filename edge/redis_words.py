"""Commands as they go over the wire: what is a word, and how words are packed. Every variant takes the same words and refuses the same ones."""

from __future__ import annotations

from collections.abc import Sequence

from contracts.errors import Invalid
from contracts.ports import RedisValue

_BULK = b"$%d\r\n%b\r\n"


def encoded(word: RedisValue) -> bytes:
    """Write a word as it goes over the wire. Raises Invalid for a text that is none, TypeError for what is no word."""
    if isinstance(word, str):
        try:
            return word.encode()
        except UnicodeEncodeError as exc:
            raise Invalid("a text holds half a surrogate pair, which is not a character") from exc
    if isinstance(word, bytes):
        return word
    if isinstance(word, bool) or not isinstance(word, int | float):
        raise TypeError(f"Redis takes text, bytes and numbers, not {type(word).__name__}")
    return b"%d" % word if isinstance(word, int) else repr(word).encode()


def packed(words: Sequence[RedisValue]) -> bytes:
    """Write a command: an array of bulk strings (RESP2)."""
    return b"*%d\r\n%b" % (len(words), b"".join([_BULK % (len(word), word) for word in map(encoded, words)]))
