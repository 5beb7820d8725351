"""The driver's decoding of what others sent, so that no message can end a connection.

pamqp takes a value that it cannot make a Python object of (a moment after the year 9999, a text that is no UTF-8, tables within tables without end) for a
broken frame, and the connection ends, for every delivery on it. But RabbitMQ passes such values on as they came, so whoever may publish could end every
consumer, again and again, and with one dead letter at the head of its queue every look at it. So the decoders in pamqp's tables of them, and nowhere else,
make something of it.
"""

from __future__ import annotations

from datetime import UTC, datetime

from pamqp import decode
from pamqp.common import FieldTable, FieldValue

LATEST = datetime.max.replace(tzinfo=UTC)


def install() -> None:
    """Have pamqp decode so, in this process. Installing it again changes nothing."""
    decode.METHODS["timestamp"] = decode.TABLE_MAPPING[b"T"] = _timestamp
    decode.METHODS["shortstr"] = _short_text
    decode.METHODS["table"] = _table


def _timestamp(value: bytes) -> tuple[int, FieldValue]:
    """Decode a moment; one that there is no datetime for is the latest there is."""
    if len(value) < 8:
        raise ValueError("Could not unpack timestamp value")
    try:
        return decode.timestamp(value)
    except (ValueError, OverflowError, OSError):
        return 8, LATEST


def _short_text(value: bytes) -> tuple[int, FieldValue]:
    """Decode a text such as a message's id or its routing key; what is no UTF-8 of it is left out, so that it never grows too long to be sent again."""
    try:
        return decode.short_str(value)
    except UnicodeDecodeError:
        return value[0] + 1, value[1 : value[0] + 1].decode("utf-8", "ignore")


def _table(value: bytes) -> tuple[int, FieldTable]:
    """Decode a message's headers. Those that cannot be decoded are none: what is in them is for nobody here, and RabbitMQ itself keeps its own count."""
    try:
        return decode.field_table(value)
    except (ValueError, ArithmeticError, RecursionError):
        if len(value) < 4:
            raise
        return 4 + int.from_bytes(value[:4], "big"), {}
