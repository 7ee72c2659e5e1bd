"""Sessions record themselves, and are performed again to the last bit (default bundle)."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from animoe.engine import Engine, LiveSession, QueuedPrompt, Recording, Sampling, SessionRequest, replay
from animoe.engine.controls import Control, EmotionControl, PaceControl, PromptControl, QueueControl, Reopen
from animoe.engine.recording import MAX_JSON_BYTES, MAX_TOKENS, MAX_WEIGHT, Entry, Log, weight_of
from animoe.errors import AniMoEError, FailedPrecondition, InvalidRequest
from animoe.motion.emotion import EMOTIONS, EmotionCurve, EmotionKey
from animoe.motion.pose_block import PoseBlock

WALK, WAVE, DANCE = "a person walks forward", "a person waves goodbye", "a woman dances the charleston"
CURVE = EmotionCurve((EmotionKey(0.0, {"happy": 1.0, "excited": 0.3}, 0.7), EmotionKey(0.9, {"sad": 1.0}, 1.9)))


def perform(session: LiveSession, count: int) -> list[PoseBlock]:
    return [session.next_block() for _ in range(count)]


def assert_same(found: Sequence[PoseBlock], wanted: Sequence[PoseBlock]) -> None:
    assert [block.first_frame for block in found] == [block.first_frame for block in wanted]
    for a, b in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(a.local_rotations, b.local_rotations)
        np.testing.assert_array_equal(a.root_positions, b.root_positions)


def eventful(engine: Engine) -> tuple[LiveSession, list[PoseBlock]]:
    """A session that was told all sorts of things, and what was shown of it in the end."""
    session = engine.open_session(SessionRequest(WALK, CURVE, Sampling(11, 0.9, 0.8)), recorded=True)
    shown = perform(session, 5)
    session.set_pace(1.3)
    session.set_prompt(DANCE)
    shown += perform(session, 9)
    back = shown[-3].first_frame
    assert session.rewind(back) == back
    shown = shown[:-3]
    session.set_intensity(1.4)
    shown += perform(session, 4)
    session.set_prompt(WAVE)
    shown += perform(session, 2)
    back = shown[-4].first_frame
    session.rewind(back)  # over the prompt, which stays in force
    shown = shown[:-4] + perform(session, 3)
    session.set_queue([QueuedPrompt(WALK, 0.6, CURVE), QueuedPrompt(DANCE, 0.5)], "a person idles")
    shown += perform(session, 16)
    session.set_emotion(None, 0.4)
    return session, shown + perform(session, 5)


class TestReplay:
    def test_it_is_the_same_to_the_last_bit_also_from_a_file(self, engine: Engine) -> None:
        session, shown = eventful(engine)
        recording = session.recording()
        assert recording.tokens == len(shown) and not recording.cut
        read = Recording.from_json(recording.to_json())
        assert read == recording
        assert_same(list(replay(engine, read)), shown)

    def test_taken_back_alone_is_remembered(self, engine: Engine) -> None:
        session = engine.open_session(SessionRequest(WALK, None, Sampling(2)), recorded=True)
        shown = perform(session, 8)[:5]
        session.rewind(20)
        session.rewind(20)
        shown += perform(session, 6)
        recording = session.recording()
        assert recording.entries == (Entry(5, Reopen()),)
        assert_same(list(replay(engine, recording)), shown)

    def test_what_is_not_recorded_says_so(self, engine: Engine) -> None:
        session = engine.open_session(SessionRequest(WALK))
        session.set_pace(1.5)
        with pytest.raises(FailedPrecondition, match="is not recorded; open it with .*recorded=True"):
            session.recording()

    def test_other_experts_are_refused_by_digest(self, engine: Engine) -> None:
        session, _ = eventful(engine)
        text = session.recording().to_json().replace(engine.info.bundle_digest, "feedbeef")
        with pytest.raises(FailedPrecondition, match="performed with bundle feedbeef, the engine has"):
            replay(engine, Recording.from_json(text))

    def test_a_prompt_under_newer_experts_is_refused_too(self, engine: Engine) -> None:
        recording = Recording(
            WALK, None, Sampling(), engine.info.bundle_digest, 4, (Entry(1, PromptControl(WAVE), ("x",)),)
        )
        with pytest.raises(FailedPrecondition, match="bundle x"):
            replay(engine, recording)


FULL = EmotionKey(0.12345678901234567, {name: 0.12345678901234567 for name in EMOTIONS}, 1.2345678901234567)
LARGE: dict[str, Control] = {
    "a pace": PaceControl(1.2345678901234567),
    "a prompt of ASCII": PromptControl("w" * 61),
    "a prompt of quotes": PromptControl('"' * 31),
    "a prompt of faces": PromptControl("\U0001f600" * 5),
    "a long prompt of faces": PromptControl("\U0001f600" * 1000),
    "a queue of nothing much": QueueControl((QueuedPrompt("w", 0.21234567890123456),) * 64),
    "a queue of faces": QueueControl((QueuedPrompt("\U0001f600" * 5, 0.21234567890123456),) * 64),
    "keys of all emotions": EmotionControl(EmotionCurve((FULL,))),
    "keys of three": EmotionControl(EmotionCurve((EmotionKey(0.0, dict(list(FULL.weights.items())[:3])),))),
    "a curve of all emotions": EmotionControl(EmotionCurve(tuple(EmotionKey(i / 7, FULL.weights) for i in range(999)))),
}


class TestLog:
    def test_it_says_where_it_was_cut(self) -> None:
        log = Log()
        for token in range(MAX_WEIGHT + 5):
            log.add(Entry(token, PaceControl(1.5)))
        found = log.recording(WALK, None, Sampling(), "d", MAX_WEIGHT + 9)
        assert found.cut and found.tokens == len(found.entries) == MAX_WEIGHT

    def test_long_controls_count_more(self) -> None:
        log = Log()
        long = EmotionCurve(tuple(EmotionKey(float(i), {}) for i in range(999)))
        for token in range(200):
            log.add(Entry(token, QueueControl((QueuedPrompt(WALK, 1.0, long),) * 2)))
        assert log.recording(WALK, None, Sampling(), "d", 200).tokens <= MAX_WEIGHT // 1999 + 1

    @pytest.mark.parametrize("name", LARGE)
    def test_the_largest_can_be_read_again(self, name: str) -> None:
        """Whatever a session was told: a log that is full of the same fits into a file."""
        entry = Entry(MAX_TOKENS, LARGE[name], ("0" * 64,))
        recording = Recording(WALK, CURVE, Sampling(), "d", MAX_TOKENS, (entry,))
        size = len(recording.to_json()) - len(Recording(WALK, CURVE, Sampling(), "d", MAX_TOKENS).to_json())
        assert size * MAX_WEIGHT / weight_of(entry.control) < MAX_JSON_BYTES - 2**20
        assert Recording.from_json(recording.to_json()) == recording

    def test_going_back_behind_the_cut_moves_it(self) -> None:
        log = Log()
        log._cut_at = 40
        log.drop_from(0, 30)
        assert log.recording(WALK, None, Sampling(), "d", 50).tokens == 30


def valid() -> dict[str, Any]:
    entries = (
        Entry(0, PaceControl(1.5)),
        Entry(1, QueueControl((QueuedPrompt(WALK, 1.0, CURVE),)), ("d",)),
        Entry(2, EmotionControl(CURVE, 0.5)),
    )
    found: dict[str, Any] = json.loads(Recording(WALK, CURVE, Sampling(3), "d", 9, entries).to_json())
    return found


def put(*path: Any) -> Callable[[dict[str, Any]], None]:
    """Puts the last of `path` at the place that the rest names."""

    def spoil(raw: dict[str, Any]) -> None:
        *way, key, value = path
        place: Any = raw
        for step in way:
            place = place[step]
        place[key] = value

    return spoil


SPOILT: dict[str, Callable[[dict[str, Any]], Any]] = {
    "another format": put("format", "bvh"),
    "another version": put("version", 2),
    "no seed": lambda raw: raw["sampling"].pop("seed"),
    "a seed below zero": put("sampling", "seed", -1),
    "a seed that is true": put("sampling", "seed", True),
    "a seed with a point": put("sampling", "seed", 1.0),
    "an empty prompt": put("text", " "),
    "a prompt without end": put("text", "x" * 2000),
    "an unknown field": put("extra", 1),
    "an unknown field inside": put("controls", 0, "extra", 1),
    "tokens without end": put("tokens", 2**40),
    "tokens below zero": put("tokens", -1),
    "a control after the end": put("controls", 2, "token", 10),
    "controls out of order": put("controls", 0, "token", 8),
    "an unknown control": put("controls", 0, "control", "fly"),
    "a control that is a number": put("controls", 0, 7),
    "controls that are text": put("controls", "none"),
    "a wild pace": put("controls", 0, "ratio", 9),
    "a pace as text": put("controls", 0, "ratio", "2"),
    "a pace beyond numbers": put("controls", 0, "ratio", 10**400),
    "a queue of nothing known": put("controls", 1, "items", 0, None),
    "a queue without end": lambda raw: raw["controls"][1].update(items=raw["controls"][1]["items"] * 65),
    "a transition before it began": put("controls", 2, "transition_s", -1),
    "an unknown emotion": put("emotion", 0, "weights", "bored", 1.0),
    "keys out of order": put("emotion", 0, "time_s", 5.0),
    "no keys": put("emotion", []),
    "digests of numbers": put("controls", 0, "digests", [1]),
    "cut of text": put("cut", "no"),
    "half a character": put("text", "walk \ud83d"),
    "half a character in a queue": put("controls", 1, "items", 0, "text", "\udc00"),
    "half a character behind a queue": put("controls", 1, "idle", "\udfff"),
}


class TestReading:
    def test_it_reads_what_it_wrote(self) -> None:
        text = json.dumps(valid())
        assert json.loads(Recording.from_json(text).to_json()) == valid()
        assert Recording.from_json(text.encode()) == Recording.from_json(text)

    @pytest.mark.parametrize("name", SPOILT)
    def test_it_refuses(self, name: str) -> None:
        raw = valid()
        SPOILT[name](raw)
        with pytest.raises(AniMoEError) as refusal:
            Recording.from_json(json.dumps(raw))
        assert len(str(refusal.value)) > 20

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "{",
            "[]",
            "null",
            "3",
            "[" * 100_000,
            '{"format": NaN}',
            b"\xff\xfe\x00",
            '{"a": 1e999}',
            '"' + "x" * 2**27 + '"',
        ],
        ids=range(10),
    )
    def test_it_refuses_what_is_no_recording(self, text: str | bytes) -> None:
        with pytest.raises(InvalidRequest, match="recording"):
            Recording.from_json(text)
