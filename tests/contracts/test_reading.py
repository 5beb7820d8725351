"""What others wrote: one error for whatever is wrong with it."""

from __future__ import annotations

import random

import msgspec
import pytest

from contracts.ids import make_id
from contracts.messages import BoardEvent, JudgeRequested, Progress
from contracts.reading import Unreadable, count_of, reader

read_request = reader(msgspec.json.Decoder(JudgeRequested))
read_event = reader(msgspec.json.Decoder(BoardEvent))
read_step = reader(msgspec.json.Decoder(Progress))


def request(submission_id: str = '"s1"', attempt: str = "1") -> bytes:
    return f'{{"type":"JudgeRequested","submission_id":{submission_id},"attempt":{attempt}}}'.encode()


DEEP = "[" * 50_000


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"x",
        b"\xff",
        b"null",
        b'{"type":"JudgeRequested","submission_id":"\xff","attempt":1}',
        b'{"type":"JudgeRequested","submission_id":"s","attempt":1,"more":' + DEEP.encode(),
        request(submission_id=r'"a\u0000b"'),
        request(submission_id='""'),
        request(submission_id='"' + "a" * 65 + '"'),
        request(submission_id=r'"a\n"'),
        request(submission_id='"ä"'),
        request(attempt="0"),
        request(attempt="-1"),
        request(attempt=str(2**31)),
        request(attempt=str(10**22)),
        request(attempt="9" * 5000),
        request(attempt="1.5"),
    ],
    ids=lambda body: repr(body[:60]),
)
def test_a_request_that_nobody_makes_is_unreadable(body: bytes) -> None:
    with pytest.raises(Unreadable) as raised:
        read_request(body)
    assert len(raised.value.detail) <= 200


def test_what_the_house_makes_can_be_read() -> None:
    for identifier in (make_id(1, random.Random(1)), "s1", "contest-1_B"):
        made = JudgeRequested(submission_id=identifier, attempt=2**31 - 1)
        assert read_request(msgspec.json.encode(made)) == made


CHANGE = (
    '{"type":"Judged","submission_id":"s","attempt":1,"verdict":"AC","score":0,"change":{"type":"ScoreChanged","contest_id":%s,"submission_id":"s",'
    '"attempt":1,"user_id":"u","problem_id":"p","submitted_at_ms":%s,"verdict":"AC","score":%s}}'
)


@pytest.mark.parametrize(
    ("contest_id", "submitted_at_ms", "score"),
    [(r'"\u0000"', 1, 1), ('"c"', 10**22, 1), ('"c"', -1, 1), ('"c"', 1, 10**22), ('"c"', 1, -1)],
)
def test_an_event_that_nobody_makes_is_unreadable(contest_id: str, submitted_at_ms: int, score: int) -> None:
    read_event((CHANGE % ('"c"', 1, 1)).encode())
    with pytest.raises(Unreadable):
        read_event((CHANGE % (contest_id, submitted_at_ms, score)).encode())


@pytest.mark.parametrize("kind", ["BoardInvalidated", "ParticipantsChanged"])
def test_a_board_of_no_contest_is_unreadable(kind: str) -> None:
    read_event(f'{{"type":"{kind}","contest_id":"c","user_id":"u"}}'.encode())
    with pytest.raises(Unreadable):
        read_event(f'{{"type":"{kind}","contest_id":"c\\u0000","user_id":"u"}}'.encode())


@pytest.mark.parametrize("name", ["attempt", "seq", "tests_total", "score"])
def test_a_step_whose_numbers_nobody_can_pass_on_is_unreadable(name: str) -> None:
    step = {"type": "Progress", "submission_id": "s", "attempt": 1, "seq": 1, "state": "running"}
    read_step(msgspec.json.encode(step))
    text = msgspec.json.encode({**step, name: 0}).replace(f'"{name}":0'.encode(), f'"{name}":{10**22}'.encode())
    with pytest.raises(Unreadable):
        read_step(text)


@pytest.mark.parametrize(
    ("said", "count"),
    [
        ("7", 7),
        ("999999999", 999_999_999),
        ("1000000000", 0),
        ("9" * 4999, 0),
        ("abc", 0),
        ("", 0),
        ("-1", 0),
        ("²", 0),
        ("٣", 0),
        (3, 3),
        (-3, 0),
        (2**62, 0),
        (True, 0),
        (None, 0),
        ([1], 0),
    ],
)
def test_a_count_is_a_count_or_none(said: object, count: int) -> None:
    assert count_of(said) == count
