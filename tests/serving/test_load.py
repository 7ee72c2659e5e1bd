from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from animoe.errors import Overloaded
from animoe.serving.admission import MAX_OPENING, Admission
from animoe.serving.limits import Limits, StreamSlots
from animoe.serving.load import FIRST_BLOCK_S, Load


@pytest.fixture
def load(clock: Any) -> Load:
    return Load(clock)


def serve(
    load: Load,
    clock: Any,
    seconds: float,
    slack_s: float,
    *,
    characters: int = 1,
    share: float = 1.0,
    urgent_s: float = 0.12,
    behind_s: float = 0.0,
) -> None:
    """Blocks of so many characters; that share of them with so much time left, the others with plenty.

    The engine begins each of them `urgent_s` before it is needed, and has that share of them so much later than meant.
    """
    count = round(seconds * 7.5 * characters)
    for number in range(count):
        slow = int((number + 1) * share) > int(number * share)
        needed_s = clock.now + (slack_s if slow else 0.2)
        load.made(needed_s - urgent_s, clock.now - (behind_s if slow else 0.0), needed_s)
        clock.now += seconds / count


class TestTight:
    def test_nobody_plays(self, load: Load) -> None:
        assert (load.tight, load.strained, load.block_s) == (False, False, FIRST_BLOCK_S)

    @pytest.mark.parametrize("characters", [1, 8, 200])
    def test_blocks_in_time_are_no_reason(self, load: Load, clock: Any, characters: int) -> None:
        serve(load, clock, 5, 0.06, characters=characters)
        assert not load.tight and not load.strained

    @pytest.mark.parametrize("characters", [1, 8, 200])
    def test_blocks_that_come_late_again_and_again_are(self, load: Load, clock: Any, characters: int) -> None:
        serve(load, clock, 2, 0.01, characters=characters)  # not late yet: nobody is harmed
        assert load.tight and load.strained

    def test_an_engine_that_begins_late_because_it_is_quick_is_not_late(self, load: Load, clock: Any) -> None:
        serve(load, clock, 5, 0.015, characters=200, urgent_s=0.03)
        assert not load.tight and not load.strained
        serve(load, clock, 2, 0.005, characters=200, urgent_s=0.03)
        assert load.tight
        serve(load, clock, 3, 0.015, characters=200, urgent_s=0.03)
        assert not load.tight

    def test_one_slow_moment_of_the_machine_is_no_overload(self, load: Load, clock: Any) -> None:
        serve(load, clock, 3, 0.2, characters=20)
        serve(load, clock, 0.5, -0.3, characters=20)
        assert load.strained and not load.tight
        serve(load, clock, 0.6, 0.2, characters=20)
        assert not load.strained and not load.tight

    def test_a_late_block_in_a_hundred_is_none_either(self, load: Load, clock: Any) -> None:
        serve(load, clock, 5, -0.1, characters=100, share=0.01)
        assert not load.tight

    def test_an_engine_that_falls_behind_is_seen_before_anybody_is_late(self, load: Load, clock: Any) -> None:
        serve(load, clock, 3, 0.2, characters=200, share=0.1, behind_s=0.05)
        assert not load.tight, "a few always are"
        serve(load, clock, 1, 0.2, characters=200, share=0.7, behind_s=0.05)
        assert load.tight and not load.strained
        serve(load, clock, 1, 0.2, characters=200)
        assert load.tight
        serve(load, clock, 2, 0.2, characters=200)
        assert not load.tight

    def test_it_passes_only_when_there_is_room_again(self, load: Load, clock: Any) -> None:
        serve(load, clock, 2, 0.0, characters=50)
        assert load.tight
        serve(load, clock, 3, 0.03, characters=50)
        assert load.tight, "good enough to stay, not to let others in"
        serve(load, clock, 3, 0.1, characters=50)
        assert not load.tight
        serve(load, clock, 3, 0.03, characters=50)
        assert not load.tight, "nor bad enough to shut the door again"

    def test_it_passes_when_they_leave(self, load: Load, clock: Any) -> None:
        serve(load, clock, 2, 0.0)
        assert load.tight
        clock.now += 2.5
        assert not load.tight

    def test_first_blocks_and_changes_are_asked_for_late_and_say_nothing(self, load: Load, clock: Any) -> None:
        for _ in range(100):
            load.made(clock.now - 0.02, clock.now - 0.02, clock.now - 0.02, counts=False)
            clock.now += 0.03
        assert not load.tight and load.block_s == pytest.approx(0.02)


async def full(admission: Admission) -> str:
    with pytest.raises(Overloaded) as caught:
        async with admission.live():
            pass
    assert caught.value.retry_after_s is not None and 1 <= caught.value.retry_after_s <= 3
    return str(caught.value)


class TestAdmission:
    async def test_a_tight_server_lets_nobody_in_and_holds_no_place_for_them(self, load: Load, clock: Any) -> None:
        slots = StreamSlots(8)
        admission = Admission(slots, load, Limits(), clock)
        serve(load, clock, 2, 0.0)
        assert "try again later" in await full(admission)
        with pytest.raises(Overloaded), admission.clip():
            pass
        assert slots.active == 0
        clock.now += 3
        async with admission.live():
            assert slots.active == 1

    async def test_its_owner_may_not_care(self, load: Load, clock: Any) -> None:
        serve(load, clock, 2, -1.0)
        admission = Admission(StreamSlots(), load, Limits(watch_load=False), clock)
        async with admission.live():
            pass
        with admission.clip():
            pass

    async def test_who_comes_in_a_strained_moment_waits_for_its_end(self) -> None:
        load = Load()
        admission = Admission(StreamSlots(), load, Limits())
        load.made(0.0, 0.0, time.monotonic() - 1.0)
        began = time.monotonic()
        async with admission.live():
            waited = time.monotonic() - began
        assert 0.1 < waited < 1.0

    async def test_a_crowd_is_let_in_a_few_at_a_time(self, load: Load, clock: Any) -> None:
        slots = StreamSlots(256)
        admission = Admission(slots, load, Limits(), clock)
        inside: list[int] = []
        opening = most = 0
        go = asyncio.Event()

        async def come(number: int) -> None:
            nonlocal opening, most
            async with admission.live() as turn:
                opening += 1
                most = max(most, opening)
                await asyncio.sleep(0.001)
                opening -= 1
                turn.done()
                turn.done()
                inside.append(number)
                await go.wait()

        crowd = [asyncio.create_task(come(number)) for number in range(256)]
        async with asyncio.timeout(10):
            while len(inside) < 256:
                await asyncio.sleep(0.001)
        assert slots.active == 256 and most == MAX_OPENING
        assert "--max-streams" in await full_without_hint_range(admission)
        go.set()
        await asyncio.gather(*crowd)
        assert slots.active == 0

    async def test_who_leaves_before_its_first_frame_gives_its_turn_back(self, load: Load, clock: Any) -> None:
        admission = Admission(StreamSlots(256), load, Limits(), clock)
        async with asyncio.timeout(5):
            for _ in range(3 * MAX_OPENING):
                with pytest.raises(RuntimeError):
                    async with admission.live():
                        raise RuntimeError

    async def test_a_newcomer_that_waits_sees_what_those_before_it_did(self, load: Load, clock: Any) -> None:
        """Hundreds come while all is well; the first of them are too many already."""
        slots = StreamSlots(256)
        admission = Admission(slots, load, Limits(), clock)
        results: list[bool] = []

        async def come() -> None:
            try:
                async with admission.live() as turn:
                    await asyncio.sleep(0.001)
                    turn.done()
                    if slots.active and len(results) < 40:
                        results.append(True)
                    else:
                        serve(load, clock, 2, 0.0)
                        results.append(True)
            except Overloaded:
                results.append(False)

        await asyncio.gather(*[come() for _ in range(200)])
        assert 40 < sum(results) < 40 + 2 * MAX_OPENING


async def full_without_hint_range(admission: Admission) -> str:
    with pytest.raises(Overloaded) as caught:
        async with admission.live():
            pass
    return str(caught.value)
