"""The default output validator."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.errors import Invalid
from sandbox.checker import Flags, check, parse_flags

TOLERANT = Flags(absolute=1e-6, relative=1e-6)
tokens = st.lists(
    st.text(st.characters(codec="ascii", min_codepoint=33, max_codepoint=126), min_size=1, max_size=8), max_size=20
)
spaces = st.text(" \t\n\r", min_size=1, max_size=3)


@given(tokens, st.data())
def test_whitespace_of_any_kind_and_amount_does_not_matter(words: list[str], data: st.DataObject) -> None:
    spread = "".join(data.draw(spaces) + word for word in words) + data.draw(spaces)
    assert check(spread.encode(), " ".join(words).encode()).is_right


@given(st.binary(max_size=200), st.booleans(), st.booleans())
def test_an_output_that_equals_the_answer_is_right_under_all_flags(text: bytes, case: bool, space: bool) -> None:
    assert check(text, text, Flags(case_sensitive=case, space_change_sensitive=space, absolute=0.0)).is_right


@given(st.binary(max_size=200), st.binary(max_size=200))
def test_anything_may_be_compared_and_the_strict_flags_accept_less(output: bytes, answer: bytes) -> None:
    strict = Flags(case_sensitive=True, space_change_sensitive=True)
    if check(output, answer, strict).is_right:
        assert output == answer
        assert check(output, answer).is_right
    assert check(output, answer, Flags(case_sensitive=True)).is_right == (output.split() == answer.split())


@given(tokens, st.integers(0, 19))
def test_a_missing_or_an_extra_token_is_wrong(words: list[str], place: int) -> None:
    if words:
        fewer = words[: place % len(words)] + words[place % len(words) + 1 :]
        assert not check(" ".join(fewer).encode(), " ".join(words).encode()).is_right or len(fewer) == len(words)
    assert not check(" ".join([*words, "x"]).encode(), " ".join(words).encode()).is_right


@given(st.floats(-1e9, 1e9), st.floats(-0.9e-6, 0.9e-6))
def test_a_number_within_either_tolerance_is_right(value: float, error: float) -> None:
    assert check(f"{value + error:.12f}".encode(), f"{value:.12f}".encode(), TOLERANT).is_right
    assert check(f"{value * (1 + error):.12f}".encode(), f"{value:.12f}".encode(), TOLERANT).is_right


@given(st.floats(1, 1e6), st.floats(3e-6, 1))
def test_a_number_outside_of_both_tolerances_is_wrong(value: float, error: float) -> None:
    assert not check(f"{value * (1 + error):.12f}".encode(), f"{value:.12f}".encode(), TOLERANT).is_right


@pytest.mark.parametrize(
    "token", ["nan", "inf", "-inf", "0x1p0", "1_0", "1e", "", "1.0f", "infinity", "1e999999999", "9" * 5000, "١"]
)
def test_what_python_or_c_would_take_for_a_number_is_none_here(token: str) -> None:
    assert not check(token.encode(), b"1.0", TOLERANT).is_right


@pytest.mark.parametrize("token", ["1", "1.", "+1.0", "1.0000", "0.1e1", "10E-1", ".1e+1", "01"])
def test_a_number_may_be_written_in_many_ways(token: str) -> None:
    assert check(token.encode(), b"1.0", TOLERANT).is_right
    assert not check(token.encode(), b"1.0").is_right


def test_text_beside_numbers_is_still_compared_as_text() -> None:
    assert check(b"case 1: 0.5000001", b"Case 1: 0.5", TOLERANT).is_right
    assert not check(b"cafe 1: 0.5", b"Case 1: 0.5", TOLERANT).is_right
    assert not check(b"YES", b"yes", Flags(case_sensitive=True)).is_right


def test_space_changes_are_wrong_when_they_matter() -> None:
    flags = Flags(space_change_sensitive=True)
    assert check(b"A  b\n", b"a  b\n", flags).is_right
    for output in (b"a b\n", b"a  b", b"a\t\tb\n", b" a  b\n"):
        assert not check(output, b"a  b\n", flags).is_right


def test_hostile_outputs_take_linear_time() -> None:
    began = time.process_time()
    for token in (
        b"9" * 4_000_000,
        b"1e" + b"9" * 4_000_000,
        b"1." * 2_000_000,
        b" " * 4_000_000,
        b"1 " * 500_000,
        b"-" * 4_000_000,
    ):
        check(token, b"1.0", TOLERANT)
        check(token, token[:-1] + b"1", TOLERANT)
    assert time.process_time() - began < 6


def test_flags_are_read_as_the_format_names_them() -> None:
    flags = parse_flags(
        [
            "case_sensitive",
            "space_change_sensitive",
            "float_absolute_tolerance",
            "1e-3",
            "float_relative_tolerance",
            "0.5",
        ]
    )
    assert flags == Flags(case_sensitive=True, space_change_sensitive=True, absolute=1e-3, relative=0.5)
    assert parse_flags(["float_tolerance", "1e-4"]) == Flags(absolute=1e-4, relative=1e-4)


@pytest.mark.parametrize(
    "args",
    [["float_tolerance"], ["float_tolerance", "-1"], ["float_tolerance", "nan"], ["fast"], ["float_tolerance", "x"]],
)
def test_flags_that_make_no_sense_are_refused(args: list[str]) -> None:
    with pytest.raises(Invalid):
        parse_flags(args)
