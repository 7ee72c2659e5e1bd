from __future__ import annotations

import random
from typing import Any

import pytest

from animoe.serving.pacing import LEAD_S, MAX_SILENCE_S, Pacer

FPS, BLOCK = 30.0, 4


@pytest.fixture
def pacer(clock: Any) -> Pacer:
    """One that has sent a block."""
    found = Pacer(FPS, clock=clock)
    found.sent(BLOCK)
    return found


def play(pacer: Pacer, clock: Any, blocks: int) -> None:
    """Sends so many, each as soon as it may leave."""
    for _ in range(blocks):
        clock.now += pacer.delay_s(BLOCK)
        pacer.sent(pacer.sent_frame + BLOCK)


class TestByTheClock:
    def test_lead_over_the_playhead_stays_as_it_is_set(self, clock: Any) -> None:
        pacer = Pacer(FPS, clock=clock)
        leads = []
        for number in range(1, 60):
            clock.now += pacer.delay_s(BLOCK)
            pacer.sent(number * BLOCK)
            leads.append(number * BLOCK / FPS - (clock.now - 100.0))
        assert max(leads) <= LEAD_S + 1e-9
        assert min(leads[2:]) == pytest.approx(LEAD_S)  # the first two blocks fill it

    def test_a_small_delay_is_caught_up(self, pacer: Pacer, clock: Any) -> None:
        clock.now += 0.5
        assert pacer.delay_s(BLOCK) == 0.0
        clock.now += pacer.delay_s(30 - BLOCK)
        assert clock.now == pytest.approx(100.0 + 1.0 - LEAD_S)

    def test_after_a_long_sleep_frames_do_not_hurry_after_the_clock(self, pacer: Pacer, clock: Any) -> None:
        clock.now += 3600.0
        assert pacer.delay_s(BLOCK) == 0.0
        assert pacer.runs_out_s() == clock.now
        assert pacer.delay_s(30) == pytest.approx(1.0 - LEAD_S)

    def test_a_caller_that_does_not_read_is_waited_for(self, pacer: Pacer, clock: Any) -> None:
        clock.now += 0.4
        pacer.blocked(0.4)
        assert pacer.frame == pytest.approx(0.0)
        assert pacer.runs_out_s() == pytest.approx(clock.now + BLOCK / FPS)

    def test_nothing_plays_before_anything_was_sent(self, clock: Any) -> None:
        pacer = Pacer(FPS, clock=clock)
        clock.now += 10
        assert (pacer.frame, pacer.runs_out_s(), pacer.report(50.0)) == (0.0, clock.now, 0.0)


class TestPause:
    def test_time_stands_still_and_goes_on_from_there(self, pacer: Pacer, clock: Any) -> None:
        clock.now += 0.1
        pacer.pause()
        clock.now += 1000
        assert pacer.frame == pytest.approx(3.0)
        pacer.pause()
        pacer.resume()
        clock.now += 0.01
        assert pacer.frame == pytest.approx(3.3)
        pacer.resume()
        assert pacer.frame == pytest.approx(3.3)

    def test_time_that_stood_still_cannot_be_played(self, pacer: Pacer, clock: Any) -> None:
        pacer.pause()
        clock.now += 1000
        pacer.resume()
        pacer.sent(4000)
        assert pacer.report(4000.0) <= 1.0

    def test_before_the_first_frame(self, clock: Any) -> None:
        pacer = Pacer(FPS, clock=clock)
        pacer.pause()
        pacer.sent(BLOCK)
        clock.now += 5
        assert pacer.frame == 0.0
        pacer.resume()
        clock.now += 0.1
        assert pacer.frame == pytest.approx(3.0)


class TestReports:
    def test_the_playhead_is_where_it_is_said_to_be_and_runs_on(self, pacer: Pacer, clock: Any) -> None:
        play(pacer, clock, 5)
        assert pacer.report(2.5) == 2.5
        clock.now += 0.1
        assert pacer.frame == pytest.approx(5.5)

    def test_frames_are_kept_back_from_a_playhead_that_stands(self, pacer: Pacer, clock: Any) -> None:
        for _ in range(100):
            pacer.report(1.0)
            if pacer.delay_s(BLOCK) == 0:
                pacer.sent(pacer.sent_frame + BLOCK)
            clock.now += 0.2
        assert pacer.sent_frame <= 1 + (LEAD_S + 0.2) * FPS + BLOCK
        assert clock.now - pacer.moved_s > 19

    def test_it_cannot_run_back_nor_beyond_what_was_sent(self, pacer: Pacer, clock: Any) -> None:
        play(pacer, clock, 20)
        clock.now += 10
        said = pacer.report(40.0)
        assert (said, pacer.report(3.0), pacer.report(1e300)) == (40.0, 40.0, pacer.sent_frame)

    def test_it_cannot_be_quicker_than_the_clock(self, pacer: Pacer, clock: Any) -> None:
        """A caller that says it has seen everything would get motion as quickly as the server can make it."""
        while clock.now < 160.0:
            pacer.report(float(pacer.sent_frame))
            if pacer.delay_s(BLOCK) == 0:
                pacer.sent(pacer.sent_frame + BLOCK)
            clock.now += 0.001
        assert 1800 <= pacer.sent_frame <= 1800 * 1.01 + LEAD_S * FPS + BLOCK + 1

    def test_it_ends_where_the_frames_end(self, pacer: Pacer, clock: Any) -> None:
        pacer.report(0.0)
        clock.now += 1.0
        assert pacer.frame == BLOCK

    def test_after_long_silence_it_stands(self, pacer: Pacer, clock: Any) -> None:
        pacer.report(0.0)
        pacer.sent(10_000)
        clock.now += 3600
        assert pacer.frame == pytest.approx(MAX_SILENCE_S * FPS)

    def test_whatever_is_said_the_playhead_is_sane(self, pacer: Pacer, clock: Any) -> None:
        random.seed(1)
        before = 0.0
        for _ in range(2000):
            taken = pacer.report(random.choice([0.0, random.uniform(0, 1e4), 1e18, pacer.frame]))
            assert before <= taken <= pacer.sent_frame
            before = taken
            if random.random() < 0.1:
                (pacer.resume if pacer.paused else pacer.pause)()
            if pacer.delay_s(BLOCK) == 0 and not pacer.paused:
                pacer.sent(pacer.sent_frame + BLOCK)
            clock.now += random.expovariate(20)
        assert pacer.sent_frame <= (clock.now - 100.0) * FPS * 1.02 + 40
