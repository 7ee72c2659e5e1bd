from __future__ import annotations

import pytest

from animoe.serving.pacing import LEAD_S, Pacer

FPS, BLOCK = 30.0, 4


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_lead_over_the_playhead_stays_below_a_quarter_second() -> None:
    clock = Clock()
    pacer = Pacer(FPS, clock=clock)
    leads = []
    for number in range(1, 60):
        clock.now += pacer.delay_s(number * BLOCK)
        leads.append(number * BLOCK / FPS - (clock.now - 100.0))
    assert max(leads) <= LEAD_S + 1e-9
    assert min(leads[1:]) == pytest.approx(LEAD_S)


def test_a_small_delay_is_caught_up() -> None:
    clock = Clock()
    pacer = Pacer(FPS, clock=clock)
    pacer.delay_s(BLOCK)
    clock.now += 0.5
    assert pacer.delay_s(2 * BLOCK) == 0.0
    clock.now += pacer.delay_s(30)
    assert clock.now == pytest.approx(100.0 + 1.0 - LEAD_S)


def test_after_a_long_sleep_frames_do_not_hurry_after_the_clock() -> None:
    clock = Clock()
    pacer = Pacer(FPS, clock=clock)
    pacer.delay_s(BLOCK)
    clock.now += 3600.0
    assert pacer.delay_s(2 * BLOCK) == 0.0
    later = pacer.delay_s(2 * BLOCK + 30)
    assert later == pytest.approx(1.0 - LEAD_S)
