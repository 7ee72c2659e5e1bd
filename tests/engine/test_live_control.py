"""A live character is taken back and told otherwise, and the motion is what it would have been (default bundle)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from animoe.engine import Engine, LiveSession, QueuedPrompt, Sampling, SessionRequest, replay
from animoe.engine.inertia import ROOT_MPS2, SPAN, Inertia
from animoe.engine.pace import EASE_FRAMES, _turned
from animoe.engine.prompt_queue import IDLE_PROMPT
from animoe.engine.session import REACH_FRAMES
from animoe.errors import InvalidRequest
from animoe.motion.emotion import EMOTIONS, MAX_INTENSITY, EmotionCurve
from animoe.motion.features import FEATURE_COUNT, PLANAR_VELOCITY
from animoe.motion.pose_block import PoseBlock
from animoe.retarget.profiles import rig_profile
from animoe.retarget.solver import Retargeter, RetargetOptions, RetargetState, RigBlock
from animoe.rig.rotations import Array, normalize, slerp

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
    request = SessionRequest(WALK, EmotionCurve.constant("happy"), Sampling(seed))
    return engine.open_session(request, recorded=True)


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


class Failing(Retargeter):
    """Refuses its third block, once."""

    blocks = 0

    def apply_many(self, blocks: Sequence[PoseBlock], states: Sequence[RetargetState]) -> list[RigBlock]:
        self.blocks += 1
        if self.blocks == 3:
            raise InvalidRequest("not this one")
        return super().apply_many(blocks, states)


class TestFailure:
    def test_a_block_that_failed_is_as_if_never_asked_for(self, engine: Engine) -> None:
        failing = Failing(rig_profile("ue5_manny"))
        steady, session, state = opened(engine), opened(engine), failing.start()
        for _ in range(2):
            steady.next_block()
            session.ask_frames(session.clock(), failing, state).result()
        with pytest.raises(InvalidRequest, match="not this one"):
            session.ask_frames(session.clock(), failing, state).result()
        for told in (steady, session):
            told.set_intensity(0.9)
        assert_same([session.next_block() for _ in range(5)], perform(steady, 5))
        assert list(replay(engine, session.recording()))[-1].first_frame == 24

    def test_its_expert_performs_the_dance(self, engine: Engine) -> None:
        session = opened(engine)
        session.set_prompt(DANCE)
        assert "dance@1" in session.performance.shares


class TestPace:
    def test_turns_are_those_of_slerp(self) -> None:
        random = np.random.default_rng(0)
        a = normalize(random.normal(size=(5, 22, 4)))
        b = normalize(a + 0.3 * random.normal(size=a.shape))
        b[1], b[2], b[3, 0] = -b[1], a[2], -a[3, 0]
        share = random.random((5, 1))
        np.testing.assert_allclose(_turned(a, b, share), slerp(a, b, np.broadcast_to(share, (5, 22))), atol=1e-12)

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


class TestQueue:
    ITEMS = (QueuedPrompt(WAVE, 1.2), QueuedPrompt(DANCE, 0.8, EmotionCurve.constant("excited")))

    @staticmethod
    def prompts(session: LiveSession, count: int) -> list[str]:
        """What each of the next blocks was performed with, by its share of experts and its text."""
        found = []
        for _ in range(count):
            session.next_block()
            found.append(session._character.prompt.text)
        return found

    def test_each_prompt_has_its_time_then_the_character_idles(self, engine: Engine) -> None:
        session = opened(engine)
        perform(session, 4)
        session.set_queue(self.ITEMS)
        assert self.prompts(session, 20) == [WAVE] * 9 + [DANCE] * 6 + [IDLE_PROMPT] * 5
        blocks = perform(session, 75)
        assert np.ptp(path(blocks)[15:], axis=0)[[0, 2]].max() < 0.4

    def test_its_time_is_the_time_of_the_screen(self, engine: Engine) -> None:
        session = opened(engine)
        session.set_pace(2.0)
        session.set_queue(self.ITEMS, "a person bows")
        assert self.prompts(session, 34) == [WAVE] * 18 + [DANCE] * 12 + ["a person bows"] * 4

    def test_it_feels_what_its_prompts_feel_and_then_what_it_felt(self, engine: Engine) -> None:
        session = opened(engine)
        session.set_queue(self.ITEMS)
        felt = []
        for _ in range(17):
            session.next_block()
            felt.append(EMOTIONS[int(session._character.moment().emotion().argmax())])
        assert felt[:9] == ["happy"] * 9 and felt[9:15] == ["excited"] * 6 and felt[16] == "happy"

    def test_a_prompt_drops_it(self, engine: Engine) -> None:
        session = opened(engine)
        session.set_queue(self.ITEMS)
        perform(session, 3)
        session.set_prompt(WALK)
        assert set(self.prompts(session, 20)) == {WALK}

    def test_an_empty_one_is_idle_at_once(self, engine: Engine) -> None:
        session = opened(engine)
        session.set_queue([])
        assert self.prompts(session, 2) == [IDLE_PROMPT] * 2

    def test_taken_back_it_goes_on_where_it_was_then(self, engine: Engine) -> None:
        session = opened(engine)
        session.set_queue(self.ITEMS)
        perform(session, 11)
        session.rewind(28)
        assert self.prompts(session, 4) == [WAVE] * 2 + [DANCE] * 2

    def test_nonsense_is_refused(self, engine: Engine) -> None:
        session = opened(engine)
        for seconds in (0.0, -1.0, float("nan"), 1e9):
            with pytest.raises(InvalidRequest, match="lasts"):
                QueuedPrompt(WALK, seconds)
        with pytest.raises(InvalidRequest, match="64 prompts"):
            session.set_queue([QueuedPrompt(WALK, 1.0)] * 65)
        with pytest.raises(InvalidRequest, match="empty"):
            session.set_queue([], " ")
        assert self.prompts(session, 1) == [WALK]


class TestEmotion:
    @staticmethod
    def felt(session: LiveSession, count: int, name: str) -> list[float]:
        """How much of an emotion each of the next blocks has."""
        found = []
        for _ in range(count):
            found.append(float(session._character.moment().emotion()[EMOTIONS.index(name)]))
            session.next_block()
        return found

    def test_it_comes_over_its_transition(self, engine: Engine) -> None:
        session = opened(engine)
        perform(session, 6)
        session.set_emotion(EmotionCurve.constant("sad", 1.5), 0.8)
        share = np.clip(np.arange(12) * 4 / 30 / 0.8, 0, 1)
        np.testing.assert_allclose(self.felt(session, 12, "sad"), 1.5 * share**2 * (3 - 2 * share), atol=1e-6)

    def test_a_second_one_begins_at_what_is_felt_then(self, engine: Engine) -> None:
        session = opened(engine)
        session.set_emotion(EmotionCurve.constant("sad"), 1.6)
        before = self.felt(session, 6, "sad")
        session.set_emotion(None, 1.0)
        after = self.felt(session, 9, "sad")
        assert 0 < after[0] - before[-1] < 0.2 and after[-1] == pytest.approx(
            float(session._character.prompt.plan.emotion[EMOTIONS.index("sad")]), abs=1e-6
        )
        assert np.abs(np.diff(after)).max() < 0.3

    def test_intensity_scales_it_up_to_the_limit(self, engine: Engine) -> None:
        session = opened(engine)
        session.set_intensity(0.5)
        assert self.felt(session, 1, "happy") == [0.5]
        session.set_emotion(EmotionCurve.constant("happy", 1.6))
        session.set_intensity(2.0)
        assert self.felt(session, 1, "happy") == [MAX_INTENSITY]
        session.set_intensity(0.0)
        assert self.felt(session, 1, "happy") == [0.0]

    def test_nonsense_is_refused(self, engine: Engine) -> None:
        session = opened(engine)
        for scale in (-0.1, 2.1, float("nan")):
            with pytest.raises(InvalidRequest, match="intensity"):
                session.set_intensity(scale)
        for seconds in (-0.1, 61.0, float("inf")):
            with pytest.raises(InvalidRequest, match="transition"):
                session.set_emotion(None, seconds)


class TestSeams:
    """Real clips' 99th percentiles are 14.5 m/s^2 of the root and 111 of the joints (`benchmarks/seams.py`)."""

    def test_stopping_from_a_run_takes_the_time_that_it_takes(self, engine: Engine) -> None:
        for seed in range(4):
            session = engine.open_session(SessionRequest("someone runs forward", None, Sampling(seed)))
            before = perform(session, 12)
            session.set_prompt(IDLE_PROMPT)
            floor = path([*before, *perform(session, 8)])[:, [0, 2]]
            seam = np.linalg.norm(np.diff(floor, n=2, axis=0), axis=1)[46:62] * 900
            assert np.linalg.norm(np.diff(floor, axis=0), axis=1)[40:47].mean() * 30 > 1.5
            assert np.linalg.norm(np.diff(floor, axis=0), axis=1)[-4:].mean() * 30 < 0.5
            assert seam.max() < 14.5

    def test_a_rough_pose_begins_with_the_old_motion_and_ends_with_the_new_one(self) -> None:
        random = np.random.default_rng(0)
        old, new = (random.normal(size=(n, FEATURE_COUNT)).astype(np.float32) for n in (2, 24))
        old[:, PLANAR_VELOCITY] = new[:, PLANAR_VELOCITY] = 0.0
        rows = self.applied(Inertia.at_seam(old, 1.0), new)
        np.testing.assert_array_equal(rows[SPAN + 2 :, 3:], new[SPAN + 2 :, 3:])
        assert np.abs(rows[0, 3:136] - (2 * old[-1] - old[-2])[3:136]).max() < 0.5 * np.abs(old[-1] - old[-2]).max()
        np.testing.assert_array_equal(rows[:, 136:], new[:, 136:])

    def test_a_smooth_pose_is_left_alone_and_the_root_slows_down_steadily(self) -> None:
        old, new = (np.zeros((n, FEATURE_COUNT), dtype=np.float32) for n in (2, 40))
        old[:, PLANAR_VELOCITY], new[:, 3:] = [3.0, 6.0], 0.5
        rows = self.applied(Inertia.at_seam(old, 0.0), new)
        np.testing.assert_array_equal(rows[:, 3:], new[:, 3:])
        steps = np.diff(np.concatenate([old[-1:], rows])[:, PLANAR_VELOCITY], axis=0) * 30
        lengths = np.linalg.norm(steps, axis=1)
        slowing = lengths > 0
        np.testing.assert_allclose(lengths[slowing][:-1], ROOT_MPS2, rtol=1e-4)
        assert slowing.sum() == np.ceil(np.hypot(3, 6) * 30 / ROOT_MPS2) and (rows[-1, PLANAR_VELOCITY] == 0).all()

    @staticmethod
    def applied(inertia: Inertia | None, features: Array) -> Array:
        found = []
        for block in features.reshape(-1, 4, FEATURE_COUNT):
            changed = block
            if inertia is not None:
                changed, inertia = inertia.applied(block)
            found.append(changed)
        assert inertia is None
        return np.concatenate(found)
