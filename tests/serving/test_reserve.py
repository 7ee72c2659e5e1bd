from __future__ import annotations

import random
from typing import Any

import pytest

from animoe.serving.reserve import FIRST_ROUND_TRIP_S, JITTER_S, MAX_RESERVE_S, MIN_RESERVE_S, SLOWER, Reserve

BLOCK = 4


@pytest.fixture
def reserve(clock: Any) -> Reserve:
    return Reserve(clock)


def send(reserve: Reserve, clock: Any, trips: list[float], *, waits: float = 0.05) -> None:
    """One block after the other; each is reported `waits` seconds after it came."""
    for number, trip_s in enumerate(trips, 1):
        reserve.sent(number * BLOCK)
        clock.now += trip_s + waits
        reserve.held(number * BLOCK, waits)
        clock.now += 0.133


def test_before_anything_was_measured_it_is_careful(reserve: Reserve) -> None:
    assert reserve.seconds(0.05) == pytest.approx(FIRST_ROUND_TRIP_S + SLOWER * 0.05 + JITTER_S)


def test_it_is_the_round_trip_a_slow_block_and_some_jitter(reserve: Reserve, clock: Any) -> None:
    send(reserve, clock, [0.12] * 20)
    assert reserve.round_trip_s == pytest.approx(0.12)
    assert reserve.seconds(0.06) == pytest.approx(0.12 + SLOWER * 0.06 + JITTER_S)


def test_what_the_caller_waited_before_its_report_is_no_latency(reserve: Reserve, clock: Any) -> None:
    send(reserve, clock, [0.02] * 10, waits=0.4)
    assert reserve.round_trip_s == pytest.approx(0.02)


def test_it_holds_for_nineteen_of_twenty(reserve: Reserve, clock: Any) -> None:
    random.seed(2)
    trips = [random.uniform(0.02, 0.1) for _ in range(50)]
    send(reserve, clock, trips)
    assert sum(trip <= reserve.round_trip_s for trip in trips) / len(trips) >= 0.95
    send(reserve, clock, [0.02] * 60 + [0.4] * 1)
    assert reserve.round_trip_s < 0.1, "one slow block moved it"


def test_a_bad_line_is_forgotten_after_some_seconds(reserve: Reserve, clock: Any) -> None:
    send(reserve, clock, [0.3] * 10)
    assert reserve.seconds(0.05) > 0.3
    clock.now += 12
    send(reserve, clock, [0.01] * 10)
    assert reserve.seconds(0.04) == MIN_RESERVE_S


def test_its_bounds(reserve: Reserve, clock: Any) -> None:
    send(reserve, clock, [0.0001] * 20)
    assert reserve.seconds(0.0) == MIN_RESERVE_S
    send(reserve, clock, [30.0] * 5)
    assert reserve.seconds(10.0) == MAX_RESERVE_S


def test_blocks_that_were_taken_back_are_not_waited_for(reserve: Reserve, clock: Any) -> None:
    for end in (4, 8, 12):
        reserve.sent(end)
    reserve.took_back(8)
    clock.now += 5.0
    reserve.sent(12)
    clock.now += 0.02
    reserve.held(12, 0.0)
    assert reserve.round_trip_s == pytest.approx(0.02)


def test_lies_cost_nothing(reserve: Reserve, clock: Any) -> None:
    for number in range(1, 10_000):
        reserve.sent(number * BLOCK)
    reserve.held(10**15, 0.0)  # never sent
    reserve.held(1, 0.0)
    reserve.sent(40_000)
    reserve.held(40_000, 1e9)  # came before it was sent
    assert reserve.round_trip_s == FIRST_ROUND_TRIP_S
