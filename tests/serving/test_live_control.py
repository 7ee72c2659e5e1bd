"""Live control against a real server: reserve and replaced frames, queue, pace, pause, playheads of every kind."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from animoe.client import Client, ClientError, ControlApplied, ControlRejected, FrameBlock, LiveStream, Queued
from animoe.engine import Engine, LiveSession, QueuedPrompt, Sampling, SessionRequest
from animoe.motion.emotion import EmotionCurve
from animoe.retarget.frames import EngineFrame
from animoe.retarget.profiles import rig_profile
from animoe.retarget.solver import Retargeter, RetargetOptions
from animoe.serving.reserve import MAX_RESERVE_S, MIN_RESERVE_S

FPS, TOKEN = 30.0, 4


class Viewer:
    """Shows frames as the clock goes and reports its playhead after every block; keeps what it holds, frame by frame.

    Checks at each step what the protocol promises: no gaps, no frame again that was not replaced.
    """

    def __init__(self, live: LiveStream, *, late_reports_s: float = 0.0) -> None:
        self._live, self._late_s = live, late_reports_s
        self.frames: list[np.ndarray] = []
        self.replaced: list[np.ndarray] = []
        self.said = 0.0
        self._began: float | None = None

    @property
    def playhead(self) -> float:
        return 0.0 if self._began is None else (time.monotonic() - self._began) * FPS

    def take(self, event: object) -> None:
        if isinstance(event, ControlApplied):
            assert event.first_frame + event.replaced_frame_count == len(self.frames)
            self.replaced = self.frames[event.first_frame :]
            del self.frames[event.first_frame :]
        if isinstance(event, FrameBlock):
            assert event.first_frame == len(self.frames)
            self._began = self._began or time.monotonic()
            self.frames.extend(np.array(rotations) for rotations in event.local_rotations)
            time.sleep(self._late_s)
            self.said = min(self.playhead, len(self.frames))
            self._live.report_playhead(self.said, len(self.frames))

    def play(self, seconds: float) -> None:
        for event in self._live:
            self.take(event)
            if self.playhead >= seconds * FPS:
                return

    def change(self, send: Callable[[LiveStream], int]) -> ControlApplied:
        number = send(self._live)
        for event in self._live:
            held = len(self.frames)
            self.take(event)
            if isinstance(event, ControlApplied):
                assert event.control_id == number and event.first_frame <= held
                return event
        raise AssertionError("no answer")


CHANGES: dict[str, Callable[[LiveStream], int]] = {
    "prompt": lambda live: live.set_prompt("a person waves both hands"),
    "emotion": lambda live: live.set_emotion("angry", transition_s=0.1),
    "intensity": lambda live: live.set_intensity(2.0),
    "pace": lambda live: live.set_pace(2.0),
    "queue": lambda live: live.set_queue([Queued("a person jumps", 1.0, "happy")]),
}


class TestReplacing:
    def test_a_change_shows_after_the_reserve_and_leaves_the_reserve_alone(self, client: Client) -> None:
        with client.animate("a person walks forward", emotion="sad", replaceable=True) as live:
            viewer = Viewer(live)
            for number, kind in enumerate(CHANGES, 1):
                viewer.play(0.6 * number)
                said, before = viewer.said, list(viewer.frames)
                answer = viewer.change(CHANGES[kind])
                reserve = answer.reserve_s * FPS
                assert MIN_RESERVE_S <= answer.reserve_s <= MAX_RESERVE_S
                assert said + reserve <= answer.first_frame, f"{kind}: the reserve was touched"
                # Paces other than 1 have blocks of up to 9 frames.
                longest = TOKEN if kind != "queue" else 9
                assert answer.first_frame < viewer.playhead + reserve + longest, f"{kind} shows later than it must"
                assert answer.replaced_frame_count > 0
                replaced, end = viewer.replaced, answer.first_frame + answer.replaced_frame_count
                while len(viewer.frames) < end:
                    viewer.take(next(live))
                assert all(map(np.array_equal, before[: answer.first_frame], viewer.frames))
                assert not np.allclose(replaced, viewer.frames[answer.first_frame : end], atol=1e-4), kind

    def test_the_first_report_says_that_frames_may_be_replaced(self, client: Client) -> None:
        with client.animate("a person walks forward") as live:
            viewer = Viewer(live)
            viewer.play(0.8)
            ahead = len(viewer.frames) - viewer.playhead
            assert viewer.change(CHANGES["prompt"]).replaced_frame_count > 0
        assert ahead > 0.4 * FPS, "who can replace frames holds more of them"

    def test_who_never_reports_gets_every_frame_once(self, client: Client) -> None:
        with client.animate("a person walks forward") as live:
            expected = 0
            for event in live:
                if isinstance(event, FrameBlock):
                    assert event.first_frame == expected
                    expected += event.frame_count
                    if expected in (8, 12, 20):
                        live.set_prompt(f"a person runs {expected}")
                        live.set_emotion("happy")
                    if expected >= 32:
                        break
                else:
                    assert isinstance(event, ControlApplied)
                    assert (event.replaced_frame_count, event.reserve_s) == (0, 0.0)
                    assert event.first_frame == expected

    def test_a_slow_line_gets_a_longer_reserve(self, client: Client) -> None:
        with client.animate("a person walks forward", replaceable=True, buffer_s=1.0) as live:
            viewer = Viewer(live, late_reports_s=0.2)
            viewer.play(0.8)
            answer = viewer.change(CHANGES["prompt"])
        assert answer.reserve_s > 0.2

    def test_a_slider_that_is_dragged_does_not_make_every_frame_several_times(self, client: Client) -> None:
        with client.animate("a person walks", replaceable=True) as live:
            viewer = Viewer(live)
            viewer.play(0.4)
            began, sent, replans = time.monotonic(), 0, 0
            for event in live:
                viewer.take(event)
                replans += isinstance(event, ControlApplied) and event.replaced_frame_count > 0
                elapsed = time.monotonic() - began
                while sent < elapsed * 60:  # as a game at 60 frames a second sends them
                    live.set_intensity(1 + (sent % 20) / 20)
                    sent += 1
                if elapsed > 1.2:
                    break
        assert 2 <= replans <= elapsed / 0.2 + 1

    def test_many_changes_at_once_replace_once(self, client: Client) -> None:
        with client.animate("a person walks forward", replaceable=True) as live:
            viewer = Viewer(live)
            viewer.play(0.5)
            numbers = [live.set_intensity(1.5), live.set_pace(1.5), live.set_emotion("happy")]
            answers: list[ControlApplied] = []
            for event in live:
                viewer.take(event)
                if isinstance(event, ControlApplied):
                    answers.append(event)
                if len(answers) == len(numbers):
                    break
            viewer.play(0.8)
        assert [answer.control_id for answer in answers] == numbers


def engine_frames(engine: Engine, seed: int, count: int, prepare: Callable[[LiveSession], None], text: str) -> Any:
    """What the engine makes without a server, on Manny."""
    session = engine.open_session(SessionRequest(text, sampling=Sampling(seed=seed)))
    prepare(session)
    retargeter = Retargeter(rig_profile("ue5_manny"), EngineFrame.UNREAL, RetargetOptions(foot_lock=True))
    state, blocks = retargeter.start(), []
    while sum(map(len, blocks)) < count:
        blocks.append(session.ask_frames(session.clock(), retargeter, state).result(10).local_rotations)
    return np.concatenate(blocks)[:count].astype(np.float32)


def wire_frames(live: LiveStream, count: int) -> tuple[Any, Sequence[int]]:
    """The same from a stream, and the sizes of its blocks."""
    blocks = []
    for event in live:
        if isinstance(event, FrameBlock):
            blocks.append(event.local_rotations)
            if sum(map(len, blocks)) >= count:
                break
    return np.concatenate(blocks)[:count], [len(block) for block in blocks]


class TestStart:
    def test_a_queue_is_performed_then_the_idle_prompt(self, client: Client, engine: Engine) -> None:
        queue = [Queued("a person walks forward", 0.5), Queued("a person waves", 0.4, "happy")]
        with client.animate(queue=queue, idle="a person sits down", seed=5) as live:
            found, _ = wire_frames(live, 40)

        def prepare(session: LiveSession) -> None:
            happy = EmotionCurve.constant("happy", 1.0)
            items = [QueuedPrompt("a person walks forward", 0.5), QueuedPrompt("a person waves", 0.4, happy)]
            session.set_queue(items, "a person sits down")

        made = engine_frames(engine, 5, 40, prepare, "a person walks forward")
        np.testing.assert_allclose(found, made, atol=1e-5)
        alone = engine_frames(engine, 5, 40, lambda session: None, "a person walks forward")
        assert np.abs(found[:16] - alone[:16]).max() < 1e-5 < np.abs(found[20:] - alone[20:]).max()

    def test_a_pace_is_kept_from_the_first_frame(self, client: Client, engine: Engine) -> None:
        with client.animate("a person walks forward", seed=5, pace=0.5) as live:
            found, sizes = wire_frames(live, 24)
        made = engine_frames(engine, 5, 24, lambda session: session.set_pace(0.5), "a person walks forward")
        np.testing.assert_allclose(found, made, atol=1e-5)
        assert max(sizes) > TOKEN

    @pytest.mark.parametrize(
        ("wrong", "said"),
        [
            ({"text": "walk", "queue": [Queued("wave", 1)]}, "put the text into the queue"),
            ({"queue": [Queued("wave", 1), Queued("walk", 0)]}, r"queue.prompts\[1\]: .* 0.2 to 3600 seconds, got 0"),
            ({"queue": [Queued("wave", math.nan)]}, "seconds, got nan"),
            ({"queue": [Queued("", 1)]}, r"queue.prompts\[0\]: the prompt is empty"),
            ({"queue": [Queued("wave", 1)] * 65}, "up to 64 prompts, got 65"),
            ({"queue": [Queued("wave", 1)], "idle": "x" * 1001}, "at most 1000"),
            ({"text": "walk", "pace": 0.0}, "pace must be between 0.5"),
            ({"text": "walk", "pace": math.inf}, "pace must be between 0.5"),
            ({"text": "walk", "buffer_s": 5.0}, "buffer_s must be between 0.1 and 1 seconds, got 5"),
            ({"text": "walk", "buffer_s": math.nan}, "buffer_s must be between"),
            ({"text": "walk", "buffer_s": -1.0}, "buffer_s must be between"),
        ],
    )
    def test_a_wrong_value_is_named(self, client: Client, wrong: dict[str, Any], said: str) -> None:
        with pytest.raises(ClientError, match=said) as caught:
            client.animate(**wrong)
        assert caught.value.code == "INVALID_ARGUMENT"


class TestPause:
    @pytest.mark.parametrize("reports", [False, True])
    def test_nothing_comes_while_time_stands_and_then_all_goes_on(self, client: Client, reports: bool) -> None:
        with client.animate("a person walks forward", replaceable=reports) as live:
            viewer = Viewer(live)
            held = 0
            for event in live:
                if reports:
                    viewer.take(event)
                elif isinstance(event, FrameBlock):
                    viewer.frames.extend(event.local_rotations)
                if len(viewer.frames) >= 12 and not held:
                    held = live.pause()
                if isinstance(event, ControlApplied):
                    break
            frames = len(viewer.frames)
            began = time.monotonic()
            live_control = live.set_emotion("sad")  # taken over, but no reason to move
            time.sleep(0.4)
            live.resume()
            kinds = []
            for event in live:
                kinds.append(event)
                if isinstance(event, FrameBlock):
                    break
            assert time.monotonic() - began >= 0.4
            answers = [event.control_id for event in kinds if isinstance(event, ControlApplied)]
            assert answers == [live_control, live_control + 1]
            block = kinds[-1]
            assert isinstance(block, FrameBlock) and block.first_frame <= frames
            assert reports or block.first_frame == frames


class TestPlayheads:
    @pytest.mark.parametrize(
        "wrong",
        [
            {"frame": math.nan},
            {"frame": -1.0},
            {"frame": 1.0, "held_for_s": -math.inf},
            {"frame": 1.0, "stall_count": -1},
        ],
    )
    def test_one_that_makes_no_sense_is_refused_and_the_motion_goes_on(
        self, client: Client, wrong: dict[str, Any]
    ) -> None:
        with client.animate("a person walks forward") as live:
            next(live)
            live.report_playhead(**wrong)
            answer = next(event for event in live if not isinstance(event, FrameBlock))
            assert isinstance(answer, ControlRejected)
            assert (answer.reason, "playhead." in answer.message) == ("INVALID_REQUEST", True)
            assert isinstance(next(live), FrameBlock)

    def test_who_claims_to_have_seen_everything_gets_no_more_than_the_clock_gives(self, client: Client) -> None:
        with client.animate("a person walks forward") as live:
            began, frames = time.monotonic(), 0
            for event in live:
                assert isinstance(event, FrameBlock)
                frames += event.frame_count
                for frame in (1e300, frames, 0.0):
                    live.report_playhead(frame, 10**12, 1e9)
                elapsed = time.monotonic() - began
                assert frames <= (elapsed + 0.6) * FPS + TOKEN + 2
                if elapsed > 0.8:
                    break

    def test_a_playhead_that_stands_still_gets_no_more_frames(self, client: Client) -> None:
        with client.animate("a person walks forward") as live:
            frames, began, last = 0, time.monotonic(), 0.0
            live.report_playhead(0.0)
            while time.monotonic() - began < 1.0:
                event = next(live)
                assert isinstance(event, FrameBlock)
                frames, last = frames + event.frame_count, time.monotonic() - began
                live.report_playhead(0.0)
                if frames >= 16:
                    break
            number = live.set_prompt("a person runs")  # something must come, so that reading ends
            time.sleep(0.5)
            live.report_playhead(0.0)
            answer = next(event for event in live if isinstance(event, ControlApplied))
            assert (answer.control_id, last < 1.0) == (number, True)
            assert answer.first_frame + answer.replaced_frame_count <= 0.6 * FPS + 2 * TOKEN

    def test_a_caller_s_stalls_are_underruns(self, start_server: Callable[..., Any]) -> None:
        server = start_server()
        with Client(server.target) as client, client.animate("a person walks forward") as live:
            next(live)
            for count in (0, 1, 1, 10**15, 10**15, 3):
                live.report_playhead(0.0, stall_count=count)
            deadline = time.monotonic() + 5
            while client.status().deadlines_missed < 2:
                next(live)
                assert time.monotonic() < deadline
            assert client.status().deadlines_missed == 2, "one report, one underrun"
