"""A live character is taken back and told otherwise, and the motion is what it would have been (default bundle)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from animoe.engine import Engine, LiveSession, QueuedPrompt, Sampling, SessionRequest
from animoe.engine.pace import EASE_FRAMES
from animoe.engine.session import REACH_FRAMES
from animoe.errors import InvalidRequest
from animoe.motion.emotion import EmotionCurve
from animoe.motion.pose_block import PoseBlock
from animoe.retarget.profiles import rig_profile
from animoe.retarget.solver import Retargeter, RetargetOptions, RigBlock
from animoe.rig.rotations import Array

WALK, WAVE = "a person walks forward", "a person waves goodbye"
DANCE = "a woman dances the charleston"  # performed by an expert
Control = Callable[[LiveSession], None]

CONTROLS: dict[str, Control] = {
    "prompt": lambda session: session.set_prompt(WAVE),
    "expert": lambda session: session.set_prompt(DANCE),
    "emotion": lambda session: session.set_emotion(EmotionCurve.constant("sad"), 0.7),
    "tint": lambda session: session.set_emotion(EmotionCurve.constant("happy", 1.1)),
    "intensity": lambda session: session.set_intensity(0.3),
    "pace": lambda session: session.set_pace(1.6),
    "queue": lambda session: session.set_queue([QueuedPrompt(WAVE, 0.8), QueuedPrompt(DANCE, 0.8)]),
}


def opened(engine: Engine, seed: int = 5) -> LiveSession:
    return engine.open_session(SessionRequest(WALK, EmotionCurve.constant("happy"), Sampling(seed)))


def perform(session: LiveSession, count: int) -> list[PoseBlock]:
    return [session.next_block() for _ in range(count)]


def assert_same(found: Sequence[Any], wanted: Sequence[Any]) -> None:
    """Blocks equal to the last bit."""
    assert [block.first_frame for block in found] == [block.first_frame for block in wanted]
    for a, b in zip(found, wanted, strict=True):
        for name in ("local_rotations", "root_positions", "contacts"):
            np.testing.assert_array_equal(getattr(a, name), getattr(b, name))


def path(blocks: Sequence[PoseBlock]) -> Array:
    return np.concatenate([block.root_positions for block in blocks])


class TestRewind:
    @pytest.mark.parametrize("name", CONTROLS)
    def test_a_control_after_it_acts_as_if_the_character_had_never_gone_on(self, engine: Engine, name: str) -> None:
        steady, returned = opened(engine), opened(engine)
        assert_same(perform(returned, 7), perform(steady, 7))
        wanted = steady.next_frame
        perform(returned, 6)
        assert returned.rewind(wanted) == wanted == returned.next_frame
        CONTROLS[name](steady)
        CONTROLS[name](returned)
        assert_same(perform(returned, 12), perform(steady, 12))

    def test_over_seams_full_windows_and_changes_of_pace_too(self, engine: Engine) -> None:
        steady, returned = opened(engine), opened(engine)
        for session in (steady, returned):
            session.set_prompt(DANCE)
            session.set_pace(1.7)
            perform(session, 37)
        wanted = steady.next_frame
        perform(returned, 2)
        returned.set_pace(0.6)
        perform(returned, 2)  # past the end of the window
        returned.rewind(wanted)
        returned.set_pace(0.8)  # what was said before is in force from there, but this is said last
        steady.set_pace(0.6)
        steady.set_pace(0.8)
        assert_same(perform(returned, 20), perform(steady, 20))

    def test_what_was_said_in_between_stays_in_force(self, engine: Engine) -> None:
        steady, returned = opened(engine), opened(engine)
        for session in (steady, returned):
            perform(session, 5)
        perform(returned, 2)
        returned.set_prompt(WAVE)
        perform(returned, 1)
        for frame in (27, 20):  # before the prompt was given, and once more
            returned.rewind(frame)
        steady.set_prompt(WAVE)
        assert_same(perform(returned, 8), perform(steady, 8))

    def test_it_goes_to_the_next_boundary_and_no_farther_back_than_it_reaches(self, engine: Engine) -> None:
        session = opened(engine)
        assert session.rewind(0) == 0
        perform(session, 20)
        assert session.rewind(80) == 80 and session.rewind(1000) == 80
        assert session.rewind(70) == 72
        perform(session, 2)
        assert session.rewind(0) == 32  # the first boundary within reach of frame 76, where the last block began
        assert session.next_block().first_frame == 32

    def test_it_reaches_back_as_far_at_any_pace(self, engine: Engine) -> None:
        for pace in (0.5, 2.0):
            session = opened(engine)
            session.set_pace(pace)
            perform(session, 40)
            end = session.next_frame
            assert 0 <= session.rewind(end - REACH_FRAMES) - (end - REACH_FRAMES) <= 4 / pace

    def test_feet_and_hands_on_a_rig_go_back_too(self, engine: Engine) -> None:
        retargeter = Retargeter(rig_profile("ue5_manny"), options=RetargetOptions(foot_lock=True))

        def frames(session: LiveSession, state: Any, count: int) -> list[RigBlock]:
            return [session.ask_frames(session.clock(), retargeter, state).result() for _ in range(count)]

        steady, returned = opened(engine), opened(engine)
        states = retargeter.start(), retargeter.start()
        frames(steady, states[0], 9)
        frames(returned, states[1], 14)
        returned.rewind(36)
        for session in (steady, returned):
            session.set_prompt(WAVE)
        found, wanted = frames(returned, states[1], 8), frames(steady, states[0], 8)
        assert_same(found, wanted)
        np.testing.assert_array_equal(found[-1].local_translations, wanted[-1].local_translations)


class TestPace:
    def test_twice_the_pace_covers_twice_the_path(self, engine: Engine) -> None:
        plain, fast = opened(engine), opened(engine)
        fast.set_pace(2.0)
        slow_path, fast_path = path(perform(plain, 30)), path(perform(fast, 30))
        assert len(fast_path) == len(slow_path) / 2
        np.testing.assert_array_equal(fast_path, slow_path[::2])

    @pytest.mark.parametrize("pace", [0.5, 0.73, 1.9])
    def test_a_new_pace_comes_without_a_jump(self, engine: Engine, pace: float) -> None:
        plain, changed = opened(engine), opened(engine)
        before, after = perform(changed, 15), perform(plain, 15)
        changed.set_pace(pace)
        plain.set_intensity(1.0)  # a control as well: the tokens stay the same
        before, after = [*before, *perform(changed, 15)], [*after, *perform(plain, 15)]
        frames, own = path(before), path(after)
        assert [block.first_frame for block in before] == np.cumsum([0, *(b.frame_count for b in before)])[:-1].tolist()
        ratios = np.r_[np.ones(60), np.ones(EASE_FRAMES), np.full(len(frames) - 60 - EASE_FRAMES, pace)]
        steps = np.linalg.norm(np.diff(frames, axis=0), axis=1)
        fastest = np.linalg.norm(np.diff(own, axis=0), axis=1).max()
        assert (steps <= fastest * np.maximum(1.0, ratios[1:] * 1.001)).all() or steps.max() <= fastest * pace * 1.001
        easing = np.diff(steps)[56:70]
        assert np.abs(easing).max() < 0.35 * abs(pace - 1) * fastest + np.abs(np.diff(own, 2, axis=0)).max() * 2

    def test_a_constant_pace_reads_the_motion_evenly(self, engine: Engine) -> None:
        plain, slow = opened(engine), opened(engine)
        slow.set_pace(0.5)
        np.testing.assert_allclose(path(perform(slow, 9))[::2], path(perform(plain, 9)), atol=1e-12)

    @pytest.mark.parametrize("pace", [0.0, 0.49, 2.1, float("nan"), float("inf")])
    def test_a_pace_beyond_reason_is_refused(self, engine: Engine, pace: float) -> None:
        with pytest.raises(InvalidRequest, match="pace must be"):
            opened(engine).set_pace(pace)
