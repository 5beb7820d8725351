"""Commands as they go over the wire: what is a word, and how words are packed. Every variant takes the same words and refuses the same ones."""

from __future__ import annotations

from collections.abc import Sequence

from hiredis import pack_command

from contracts.errors import Invalid
from contracts.ports import RedisValue


def encoded(word: RedisValue) -> bytes:
    """Write a word as it goes over the wire. Raises Invalid for a text that is none, TypeError for what is no word."""
    if isinstance(word, str):
        try:
            return word.encode()
        except UnicodeEncodeError as exc:
            raise _not_text() from exc
    if isinstance(word, bytes):
        return word
    if isinstance(word, bool) or not isinstance(word, int | float):
        raise TypeError(f"Redis takes text, bytes and numbers, not {type(word).__name__}")
    return b"%d" % word if isinstance(word, int) else repr(word).encode()


def packed(words: Sequence[RedisValue]) -> bytes:
    """Write a command: an array of bulk strings (RESP2). Raises as ``encoded`` does."""
    try:
        command: bytes = pack_command(tuple(words))  # type: ignore[arg-type]  # its annotation is that of a single word
    except UnicodeEncodeError as exc:
        raise _not_text() from exc
    return command


def _not_text() -> Invalid:
    return Invalid("a text holds half a surrogate pair, which is not a character")
