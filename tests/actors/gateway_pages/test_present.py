"""What people read."""

from __future__ import annotations

import pytest

from actors.gateway.pages import present


@pytest.mark.parametrize(
    ("ms", "text"),
    [(-5, "00:00"), (0, "00:00"), (1, "00:01"), (59_999, "01:00"), (3_600_000, "1:00:00"), (90_061_000, "1d 01:01:01")],
)
def test_a_countdown_rounds_up_and_never_goes_below_zero(ms: int, text: str) -> None:
    assert present.countdown(ms) == text


def test_times_and_lengths() -> None:
    assert present.moment("2026-11-03T04:05:06.007Z") == "3 Nov 2026, 04:05 UTC"
    assert present.length("2026-11-03T04:00:00.000Z", "2026-11-03T09:00:00.000Z") == "5 h"
    assert present.length("2026-11-03T04:00:00.000Z", "2026-11-03T05:30:00.000Z") == "1 h 30 min"
    assert present.length("2026-11-03T04:00:00.000Z", "2026-11-06T04:00:00.000Z") == "3 days"
    assert present.contest_time(4_020_000) == "1:07"


def test_sizes_and_limits() -> None:
    assert (present.memory(900), present.memory(2048)) == ("900 KB", "2.0 MB")
    assert (present.limit_time(1500), present.limit_time(250), present.limit_time(2000)) == ("1.5 s", "250 ms", "2 s")
    assert (present.limit_memory(262144), present.limit_memory(512)) == ("256 MB", "512 KB")
    assert (present.points(100), present.points(33.5), present.points(0.25)) == ("100", "33.5", "0.25")


def test_a_boards_version_is_a_short_mark() -> None:
    marks = [present.mark_of(version) for version in (1795403777001, 1795403777002, 7)]
    assert marks == ["#1wix", "#1wiy", "#0007"]
