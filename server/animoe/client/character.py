"""LiveCharacter: a live session that is simply asked for the pose of this moment."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Self

from animoe.client.emotion import Emotion
from animoe.client.errors import ClientError
from animoe.client.messages import ControlApplied, ControlRejected, FrameBlock, MotionHeader, Pose
from animoe.client.player import Player
from animoe.client.queue import Queued
from animoe.client.streams import LiveEvent, LiveStream

REPORT_S = 0.5
"""Between two reports of the playhead; the server goes on with the clock meanwhile."""
_LOOK_S = 0.2
_KEPT_ANSWERS = 256


class LiveCharacter:
    """Keeps the frames that came, drops those that a change replaces, and tells the server where it plays.

    Ask for `pose` once per frame of the game, or iterate over `poses`, which waits for each. Time begins with the first
    pose. All methods may be called from any thread; a context manager that leaves the session.

    Args:
        stream: a session that was just opened with frames that may be replaced; nobody else reads it.

    Attributes:
        header: how to read the poses.
    """

    def __init__(self, stream: LiveStream) -> None:
        self.header: MotionHeader = stream.header
        self._stream = stream
        self._player = Player(stream.header.frame_rate_hz)
        self._changed = threading.Condition()
        self._answers: dict[int, ControlApplied | ControlRejected] = {}
        self._error: ClientError | None = None
        self._left = threading.Event()
        self._given = -1  # the last frame of `poses`
        for work in (self._read, self._report):
            threading.Thread(target=work, name="animoe-character", daemon=True).start()

    @property
    def frame(self) -> float:
        """Where it plays, in frames, with the fraction between two."""
        with self._changed:
            return self._player.frame

    @property
    def stall_count(self) -> int:
        """How often the next frame was missing when it was due."""
        with self._changed:
            return self._player.stall_count

    @property
    def end_reason(self) -> str:
        """As of LiveStream; empty while it lives."""
        return self._stream.end_reason

    def pose(self) -> Pose | None:
        """The pose of this moment; None until the first one has come.

        Raises:
            ClientError: the session has failed, and all that had come was shown.
        """
        with self._changed:
            shown = self._player.pose()
            if self._error is not None and (shown is None or self._player.finished):
                raise self._error
            return shown

    def poses(self) -> Iterator[Pose]:
        """Each frame when it is due, until the session has ended; called again it goes on."""
        while True:
            pose = self.pose()
            if pose is not None and pose.frame != self._given:
                self._given = pose.frame
                yield pose
            with self._changed:
                if self._player.finished:
                    return
                if pose is None or self._player.paused:
                    self._changed.wait(_LOOK_S)
                    continue
                due_s = self._player.next_s()
            time.sleep(due_s)

    def prompt(self, text: str) -> int:
        """Does this instead from now on. Returns the control's number, for `wait`."""
        return self._stream.set_prompt(text)

    def emotion(self, emotion: Emotion | None, intensity: float = 1.0, transition_s: float = 0.0) -> int:
        """Feels like this from now on, reached within `transition_s`; None goes back to what the text says."""
        return self._stream.set_emotion(emotion, intensity, transition_s)

    def intensity(self, scale: float) -> int:
        """Shows every emotion so much more strongly, 0 (neutral) to 2."""
        return self._stream.set_intensity(scale)

    def pace(self, pace: float) -> int:
        """Moves so much quicker, 0.5 to 2."""
        return self._stream.set_pace(pace)

    def queue(self, prompts: Sequence[Queued], idle: str = "") -> int:
        """Does these one after the other from now on, then `idle`; empty stands still."""
        return self._stream.set_queue(prompts, idle)

    def pause(self) -> int:
        """Freezes the present pose."""
        with self._changed:
            self._player.pause()
        return self._stream.pause()

    def resume(self) -> int:
        """Goes on from there."""
        with self._changed:
            self._player.resume()
            self._changed.notify_all()
        return self._stream.resume()

    def wait(self, number: int, timeout_s: float = 5.0) -> ControlApplied:
        """The answer to the control of this number.

        Raises:
            ClientError: it was refused, the session has ended, or no answer came in time.
        """
        with self._changed:
            self._changed.wait_for(lambda: number in self._answers or self._player.ended, timeout_s)
            answer = self._answers.pop(number, None)
        if isinstance(answer, ControlApplied):
            return answer
        if answer is not None:
            raise ClientError("INVALID_ARGUMENT", answer.reason, answer.message)
        if self._error is not None:
            raise self._error
        raise ClientError("DEADLINE_EXCEEDED", "NO_ANSWER", f"no answer to control {number} within {timeout_s:g} s")

    def stop(self) -> None:
        """Ends the session; `poses` goes on to the last frame that is made."""
        self._stream.stop()

    def close(self) -> None:
        """Leaves the session, wherever it is."""
        self._left.set()
        self._stream.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _read(self) -> None:
        try:
            for event in self._stream:
                with self._changed:
                    self._take(event)
                    self._changed.notify_all()
        except ClientError as error:
            self._error = error
        finally:
            self.close()
            with self._changed:
                self._player.ended = True
                self._changed.notify_all()

    def _take(self, event: LiveEvent) -> None:
        if isinstance(event, FrameBlock):
            self._player.add(event)
            return
        if isinstance(event, ControlApplied):
            self._player.apply(event)
        self._answers[event.control_id] = event
        while len(self._answers) > _KEPT_ANSWERS:
            self._answers.pop(next(iter(self._answers)))

    def _report(self) -> None:
        while not self._left.wait(REPORT_S):
            with self._changed:
                player = self._player
                report = player.frame, player.held_frame_count, player.held_for_s, player.stall_count
            self._stream.report_playhead(*report)
