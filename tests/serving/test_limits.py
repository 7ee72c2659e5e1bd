from __future__ import annotations

from contextlib import ExitStack
from typing import Any

import pytest

from animoe.errors import InvalidRequest, Overloaded, TooManyMessages
from animoe.serving.limits import Limits, MessageRate, StreamSlots

LIMITS = Limits(messages_per_second=100, greedy_s=10)


def read(rate: MessageRate, clock: Any, per_second: float, seconds: float, cost: float = 1.0) -> float:
    """Reads messages that come at that rate, as a stream does. Returns how many per second were read."""
    began, sent_s, count = clock.now, clock.now, 0
    while clock.now - began < seconds:
        sent_s = max(sent_s + 1 / per_second, clock.now - 1000)  # what was not read yet lies ready
        clock.now = max(clock.now, sent_s)
        clock.now += rate.delay_s(cost)
        count += 1
    return count / (clock.now - began)


class TestMessageRate:
    def test_a_slider_at_sixty_frames_and_reports_are_not_slowed(self, clock: Any) -> None:
        assert read(MessageRate(LIMITS, clock), clock, 65, 60) == pytest.approx(65, rel=0.02)

    def test_a_burst_is_taken_at_once(self, clock: Any) -> None:
        rate = MessageRate(LIMITS, clock)
        assert sum(rate.delay_s() for _ in range(200)) == 0
        assert rate.delay_s() == pytest.approx(0.01)

    def test_who_sends_too_much_is_slowed_then_cut(self, clock: Any) -> None:
        rate = MessageRate(LIMITS, clock)
        assert read(rate, clock, 1000, 8) == pytest.approx(100, rel=0.3)
        with pytest.raises(TooManyMessages, match="more than 100 messages a second for more than 10 s"):
            read(rate, clock, 1000, 60)
        assert clock.now < 100 + 15

    def test_who_lets_up_is_forgiven(self, clock: Any) -> None:
        rate = MessageRate(LIMITS, clock)
        for _ in range(20):
            read(rate, clock, 1000, 5)
            read(rate, clock, 20, 5)

    def test_prompts_count_more(self, clock: Any) -> None:
        assert read(MessageRate(LIMITS, clock), clock, 1000, 9, cost=6) < 23
        rate = MessageRate(LIMITS, clock)
        assert rate.delay_s(384) == pytest.approx(1.84), "64 prompts in one queue are slow, not forbidden"

    def test_the_owner_may_let_them(self, clock: Any) -> None:
        read(MessageRate(Limits(messages_per_second=100, greedy_s=0), clock), clock, 1000, 60)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"messages_per_second": 0}, "--messages-per-second must be 1 or more"),
        ({"messages_per_second": float("inf")}, "--messages-per-second"),
        ({"idle_s": -1}, "--idle-cut must be 0"),
        ({"stuck_s": float("nan")}, "--stuck-cut must be 0"),
    ],
)
def test_impossible_limits_are_refused(wrong: dict[str, float], said: str) -> None:
    with pytest.raises(InvalidRequest, match=said):
        Limits(**wrong)  # type: ignore[arg-type]


def test_clips_leave_places_for_live_sessions() -> None:
    slots = StreamSlots(8)
    with ExitStack() as held:
        for _ in range(6):
            held.enter_context(slots.take(clip=True))
        with pytest.raises(Overloaded, match="6 clips"):
            held.enter_context(slots.take(clip=True))
        for _ in range(2):
            held.enter_context(slots.take())
        with pytest.raises(Overloaded, match="8 streams"):
            held.enter_context(slots.take())
    assert (slots.active, slots.clips) == (0, 0)
    assert [StreamSlots(limit).clip_limit for limit in (1, 2, 4, 256)] == [1, 2, 3, 192]
