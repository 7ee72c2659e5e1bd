"""Clips and live sessions on a real bundle."""

from __future__ import annotations

import math
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from copy import copy
from pathlib import Path

import numpy as np
import pytest

from animoe.engine import ClipRequest, Engine, LiveSession, Sampling, SessionRequest
from animoe.engine.batch import Row
from animoe.engine.character import (
    KEPT_TOKENS,
    SEAM_CANDIDATES,
    WINDOW_TOKENS,
    Character,
    StepInputs,
)
from animoe.engine.inertia import seam_cost
from animoe.engine.runtime import Runtime
from animoe.errors import InvalidRequest
from animoe.models.sequence import LEFT_OPEN, MAX_LEFT, PROMPT_SLOTS, SLOT_BEGIN, SLOT_RESUME, SLOT_TOKEN
from animoe.motion.emotion import EMOTIONS, EmotionCurve, EmotionKey
from animoe.motion.features import features_to_poses
from animoe.motion.pose_block import PoseBlock
from animoe.rig.rotations import Array

TEXT = "a person walks forward"
MAX_STEP_M = math.hypot(6.0, 8.0) / 30 + 1e-6  # limits of the root codes, m/s, in one frame
PREFIX = [*range(PROMPT_SLOTS)]


def joined(blocks: Iterable[PoseBlock]) -> Array:
    """(T, 91) every number of the blocks, frame by frame."""
    rows = [np.concatenate([b.local_rotations.reshape(len(b.contacts), -1), b.root_positions], axis=1) for b in blocks]
    return np.concatenate(rows)


def generate(
    engine: Engine, seconds: float = 1.0, *, text: str = TEXT, emotion: str = "neutral", seed: int = 3
) -> Array:
    return joined(engine.generate(ClipRequest(text, seconds, EmotionCurve.constant(emotion), Sampling(seed))))


def take(session: LiveSession, count: int) -> Array:
    return joined([session.next_block() for _ in range(count)])


class TestClips:
    @pytest.mark.parametrize(("seconds", "frames"), [(0.2, 6), (1.0, 30), (1.05, 32), (7.5, 225)])
    def test_a_clip_has_the_length_that_was_asked_for(self, engine: Engine, seconds: float, frames: int) -> None:
        blocks = list(engine.generate(ClipRequest(TEXT, seconds)))
        assert [b.first_frame for b in blocks] == list(range(0, frames, 4))
        assert sum(b.frame_count for b in blocks) == frames

    def test_rotations_are_unit_and_everything_is_finite(self, engine: Engine) -> None:
        for block in engine.generate(ClipRequest(TEXT, 2.0)):
            np.testing.assert_allclose(np.linalg.norm(block.local_rotations, axis=-1), 1.0, atol=1e-6)
            assert np.isfinite(block.root_positions).all()
            assert ((block.contacts >= 0) & (block.contacts <= 1)).all()

    def test_it_starts_at_the_origin(self, engine: Engine) -> None:
        first = next(engine.generate(ClipRequest(TEXT, 1.0)))
        assert np.abs(first.root_positions[0, [0, 2]]).max() <= MAX_STEP_M

    def test_the_root_never_jumps(self, engine: Engine) -> None:
        steps = np.diff(generate(engine, 8.0)[:, -3:], axis=0)[:, [0, 2]]
        assert np.linalg.norm(steps, axis=1).max() <= MAX_STEP_M

    def test_the_same_seed_gives_the_same_motion(self, engine: Engine) -> None:
        np.testing.assert_array_equal(generate(engine), generate(engine))

    def test_another_bundle_folder_opened_again_gives_the_same_motion(self, engine: Engine, bundle: Path) -> None:
        np.testing.assert_array_equal(generate(Engine.load(bundle)), generate(engine))

    def test_another_seed_gives_another_motion(self, engine: Engine) -> None:
        assert not np.allclose(generate(engine, seed=4), generate(engine))

    def test_text_and_emotion_matter(self, engine: Engine) -> None:
        plain = generate(engine, 4.0)
        assert not np.allclose(generate(engine, 4.0, text="someone waves the right hand"), plain)
        assert not np.allclose(generate(engine, 4.0, emotion="sad"), plain)

    def test_spaces_and_capitals_do_not_matter(self, engine: Engine) -> None:
        np.testing.assert_array_equal(generate(engine, text="  A person\nWALKS forward "), generate(engine))

    def test_temperature_zero_ignores_the_seed(self, engine: Engine) -> None:
        a, b = (
            joined(engine.generate(ClipRequest(TEXT, 1.0, sampling=Sampling(seed, temperature=0.0)))) for seed in (1, 2)
        )
        np.testing.assert_array_equal(a, b)

    def test_characters_do_not_disturb_each_other(self, engine: Engine) -> None:
        alone = [generate(engine, seed=seed) for seed in range(6)]
        with ThreadPoolExecutor(3) as pool:
            together = list(pool.map(lambda seed: generate(engine, seed=seed), range(6)))
        for a, b in zip(alone, together, strict=True):
            np.testing.assert_array_equal(a, b)


class TestSessions:
    def test_a_session_never_ends(self, engine: Engine) -> None:
        session = engine.open_session(SessionRequest(TEXT))
        frames = take(session, 2 * WINDOW_TOKENS + 5)
        assert np.isfinite(frames).all()
        assert session.next_block().first_frame == 4 * (2 * WINDOW_TOKENS + 5)

    @pytest.mark.parametrize("change", ["prompt", "emotion"])
    def test_a_change_acts_on_what_follows_only(self, engine: Engine, change: str) -> None:
        steady, changed = (engine.open_session(SessionRequest(TEXT, sampling=Sampling(5))) for _ in range(2))
        np.testing.assert_array_equal(take(changed, 6), take(steady, 6))
        if change == "prompt":
            changed.set_prompt("someone waves the right hand")
        else:
            changed.set_emotion(EmotionCurve.constant("sad", 2.0))
        after = take(changed, 20)
        assert not np.allclose(after, take(steady, 20))
        assert np.isfinite(after).all()

    def test_the_root_goes_on_where_it_was_when_the_prompt_changes(self, engine: Engine) -> None:
        session = engine.open_session(SessionRequest(TEXT))
        before = take(session, 6)
        session.set_prompt("someone waves the right hand")
        path = np.concatenate([before, take(session, 6)])[:, [-3, -1]]
        assert np.linalg.norm(np.diff(path, axis=0), axis=1).max() <= MAX_STEP_M

    def test_a_bad_prompt_is_refused_and_the_session_goes_on(self, engine: Engine) -> None:
        steady, tried = (engine.open_session(SessionRequest(TEXT, sampling=Sampling(5))) for _ in range(2))
        np.testing.assert_array_equal(take(tried, 2), take(steady, 2))
        with pytest.raises(InvalidRequest):
            tried.set_prompt(" ")
        np.testing.assert_array_equal(take(tried, 2), take(steady, 2))


@pytest.fixture(scope="module")
def runtime(bundle: Path) -> Runtime:
    return Runtime(bundle)


class Actor:
    """A character that performs alone; `seen` is what the generator was fed."""

    def __init__(self, runtime: Runtime, emotion: EmotionCurve | None = None, total_tokens: int | None = None) -> None:
        state = runtime.new_decoder_state()[0]
        groups = runtime.manifest.groups
        self.character = Character(
            runtime.plan(TEXT), emotion, Sampling(), groups=groups, state=state, total_tokens=total_tokens
        )
        self.runtime, self.place = runtime, runtime.places.take()
        self.seen: list[StepInputs] = []

    def act(self, count: int = 1) -> None:
        for _ in range(count):
            inputs, character = self.character.next_inputs(), self.character
            codes = self.runtime.step([Row(character.prompt, inputs, character.sampling, self.place)])
            features = character.take(codes, *self.runtime.decode_next(codes, [character.state] * len(codes)))
            root = copy(character.root)
            rotations, positions, contacts, headings = (part[0] for part in features_to_poses(features[None], [root]))
            character.pose((rotations, positions, contacts, headings), root)
            self.seen.append(inputs)

    def say(self, text: str) -> None:
        self.character.set_prompt(self.runtime.plan(text))


class TestSequence:
    """What the generator is fed looks like what it was trained on (`animoe_trainer.base.BatchMaker`)."""

    def test_a_clip_counts_down_its_tokens(self, runtime: Runtime) -> None:
        actor = Actor(runtime, total_tokens=3)
        actor.act(3)
        assert [step.slots.tolist() for step in actor.seen] == [[*PREFIX, SLOT_BEGIN], [SLOT_TOKEN], [SLOT_TOKEN]]
        assert [step.left.tolist() for step in actor.seen] == [[3] * (PROMPT_SLOTS + 1), [2], [1]]
        assert [step.positions.tolist() for step in actor.seen] == [[*range(PROMPT_SLOTS + 1)], [5], [6]]
        suggested = runtime.plan(TEXT).plan.emotion
        assert all(step.inferred and (step.emotion == suggested).all() for step in actor.seen)

    def test_a_long_clip_does_not_count_beyond_what_was_learnt(self, runtime: Runtime) -> None:
        actor = Actor(runtime, total_tokens=400)
        actor.act()
        assert set(actor.seen[0].left.tolist()) == {MAX_LEFT}

    def test_a_session_has_an_open_end_and_carries_no_token_over_to_a_new_prompt(self, runtime: Runtime) -> None:
        actor = Actor(runtime)
        actor.act(6)
        actor.say("someone waves")
        actor.act()
        resumed = actor.seen[-1]
        assert resumed.slots.tolist() == [*PREFIX, SLOT_RESUME]
        assert set(resumed.left.tolist()) == {LEFT_OPEN}
        assert len(resumed.uniforms) == SEAM_CANDIDATES

    def test_the_same_prompt_again_changes_nothing(self, runtime: Runtime) -> None:
        actor = Actor(runtime)
        for _ in range(3):
            actor.say(TEXT)
            actor.act()
        assert [len(step.slots) for step in actor.seen] == [PROMPT_SLOTS + 1, 1, 1]

    def test_a_dragged_slider_does_not_cut_every_block(self, runtime: Runtime) -> None:
        actor = Actor(runtime, EmotionCurve.constant("sad", 0.0))
        for step in range(21):
            actor.character.set_emotion(EmotionCurve.constant("sad", step / 20))
            actor.act()
        seams = [len(step.uniforms) > 1 for step in actor.seen[1:]]
        assert 2 <= sum(seams) <= 4
        assert not any(a and b for a, b in zip(seams, seams[1:], strict=False))

    def test_a_full_window_resumes_by_itself(self, runtime: Runtime) -> None:
        actor = Actor(runtime)
        actor.act(WINDOW_TOKENS + 2)
        lengths = [len(step.slots) for step in actor.seen]
        assert lengths.count(PROMPT_SLOTS + 1 + KEPT_TOKENS) == 1
        assert lengths[0] == PROMPT_SLOTS + 1 and set(lengths[1:WINDOW_TOKENS]) == {1}

    def test_a_change_before_the_first_token_begins_anew(self, runtime: Runtime) -> None:
        actor = Actor(runtime)
        actor.say("someone waves")
        actor.act()
        assert actor.seen[0].slots.tolist() == [*PREFIX, SLOT_BEGIN]
        assert len(actor.seen[0].uniforms) == 1

    def test_an_emotion_curve_acts_token_by_token(self, runtime: Runtime) -> None:
        curve = EmotionCurve((EmotionKey(0.0, {"neutral": 1.0}), EmotionKey(0.8, {"sad": 1.0}, 1.5)))
        actor = Actor(runtime, curve, total_tokens=9)
        actor.act(9)
        sad = [float(step.emotion[EMOTIONS.index("sad")]) for step in actor.seen]
        np.testing.assert_allclose(sad, np.minimum(np.arange(9) * 4 / 30 / 0.8, 1.0) * 1.5, atol=1e-6)
        assert not any(step.inferred for step in actor.seen)

    def test_a_new_curve_counts_from_now(self, runtime: Runtime) -> None:
        actor = Actor(runtime)
        actor.act(5)
        keys = (EmotionKey(0.0, {"sad": 1.0}), EmotionKey(4 / 30, {"happy": 1.0}))
        actor.character.set_emotion(EmotionCurve(keys))
        actor.act(2)
        names = [EMOTIONS[int(step.emotion.argmax())] for step in actor.seen[-2:]]
        assert names == ["sad", "happy"]


class TestSeams:
    """A change shows in the motion, and nothing jumps where it does (default bundle)."""

    @staticmethod
    def speeds(rows: Array) -> Array:
        """(T - 1,) planar speed of the pelvis, m/s."""
        return np.linalg.norm(np.diff(rows[:, [-3, -1]], axis=0), axis=-1) * 30

    @pytest.mark.parametrize("seed", range(3))
    def test_a_new_emotion_shows_within_half_a_second(self, engine: Engine, seed: int) -> None:
        excited, sad = EmotionCurve.constant("excited"), EmotionCurve.constant("sad")
        session = engine.open_session(SessionRequest(TEXT, excited, Sampling(seed)))
        before = self.speeds(take(session, 15))
        session.set_emotion(sad)
        after = self.speeds(take(session, 12))
        assert after[15:].mean() < 0.65 * before[30:].mean()

    @pytest.mark.parametrize("seed", range(3))
    def test_a_new_prompt_shows_without_a_jump(self, engine: Engine, seed: int) -> None:
        session = engine.open_session(SessionRequest(TEXT, EmotionCurve.constant("neutral"), Sampling(seed)))
        rows = [take(session, 12)]
        session.set_prompt("a person waves goodbye")
        rows.append(take(session, 12))
        whole = np.concatenate(rows)
        assert self.speeds(rows[1])[15:].max() < 0.4
        turns = np.abs(np.sum(whole[1:, :-3].reshape(-1, 22, 4) * whole[:-1, :-3].reshape(-1, 22, 4), axis=-1))
        degrees = np.degrees(2 * np.arccos(np.clip(turns, 0, 1))).max(axis=1)
        assert degrees[46:54].max() < 40  # a fast arm; a cut between poses is more
        assert np.linalg.norm(np.diff(whole[:, -3:], axis=0), axis=-1).max() < 0.15

    def test_an_emotion_curve_leads_from_excited_to_sad(self, engine: Engine) -> None:
        keys = (EmotionKey(0.0, {"excited": 1.0}), EmotionKey(1.0, {"excited": 1.0}), EmotionKey(4.0, {"sad": 1.0}))
        seconds = [
            self.speeds(joined(engine.generate(ClipRequest(TEXT, 6.0, EmotionCurve(keys), Sampling(seed)))))
            for seed in range(4)
        ]
        start, middle, end = (
            np.mean([s[part].mean() for s in seconds]) for part in (slice(30), slice(60, 105), slice(140, 178))
        )
        assert min(start, middle) > 1.5 * end

    def test_the_smoothest_candidate_costs_least(self) -> None:
        line = np.arange(6.0)[:, None] * np.full(140, 0.01)
        late = line[2:] + 0.1
        costs = seam_cost(line[:2], np.stack([late, line[2:], -line[2:]]))
        assert costs.argmin() == 1 and costs[1] < 1e-12
