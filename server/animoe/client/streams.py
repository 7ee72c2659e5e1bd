"""Streams of motion: a clip that ends by itself, and a live session that takes new prompts while it runs."""

from __future__ import annotations

import itertools
import queue
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Any, Self

from animoe.client.emotion import Emotion, emotion_curve
from animoe.client.errors import ClientError, plain_errors
from animoe.client.messages import (
    ControlApplied,
    ControlRejected,
    FrameBlock,
    Motion,
    MotionHeader,
    read_event,
    read_frames,
    read_header,
)
from animoe.client.queue import Queued, queue_change
from animoe.v1 import animation_service_pb2 as pb

LiveEvent = FrameBlock | ControlApplied | ControlRejected


class _Stream:
    """Reads the header at once; iterating reads the rest. A context manager that closes the stream."""

    def __init__(self, call: Any, target: str) -> None:
        self._call = call
        self._target = target
        with plain_errors(target):
            first = next(call, None)
        if first is None or first.WhichOneof("response") != "header":
            raise ClientError("INTERNAL", "NO_HEADER", f"the server at {target} sent no header; update the client")
        self.header: MotionHeader = read_header(first.header)

    def close(self) -> None:
        """Leaves the stream, wherever it is."""
        self._call.cancel()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class ClipStream(_Stream):
    """One finished clip: iterate for FrameBlocks as they are decoded, or take all with `read_all`.

    Attributes:
        header: how to read the frames.
    """

    def __iter__(self) -> Iterator[FrameBlock]:
        with plain_errors(self._target):
            for response in self._call:
                yield read_frames(response.frames, self.header)

    def read_all(self) -> Motion:
        """Waits for the last frame."""
        return Motion.join(self.header, list(self))


class Requests:
    """The requesting side of a live session: an iterator that gRPC reads in its own thread."""

    def __init__(self, start: pb.AnimateStart) -> None:
        self._queue: queue.SimpleQueue[pb.AnimateRequest | None] = queue.SimpleQueue()
        self._queue.put(pb.AnimateRequest(start=start))
        self._ids = itertools.count(1)  # next() is atomic: controls come from any thread

    def send(self, request: pb.AnimateRequest) -> int:
        request.control_id = next(self._ids)
        self._queue.put(request)
        return request.control_id

    def end(self) -> None:
        self._queue.put(None)

    def __iter__(self) -> Iterator[pb.AnimateRequest]:
        return iter(self._queue.get, None)


class LiveStream(_Stream):
    """A live session: iterate for FrameBlocks, and for the answers to controls, as the clock goes.

    Controls may be sent from any thread, also while another one iterates.

    Attributes:
        header: how to read the frames.
        end_reason: after the last message "stopped" or "server_shutdown"; empty before.
        frame_count: after the last message, frames sent in all.
    """

    def __init__(self, call: Any, requests: Requests, target: str) -> None:
        self._requests = requests
        self.end_reason = ""
        self.frame_count = 0
        try:
            super().__init__(call, target)
        except BaseException:
            requests.end()
            raise

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> LiveEvent:
        try:
            with plain_errors(self._target):
                while True:
                    response = next(self._call)
                    if response.WhichOneof("response") == "ended":
                        self._note_end(response.ended)
                    elif (event := read_event(response, self.header)) is not None:
                        return event
        except (StopIteration, ClientError):
            self._requests.end()
            raise

    def set_prompt(self, text: str) -> int:
        """Does this instead from now on. Returns the control's number, echoed by its answer."""
        return self._requests.send(pb.AnimateRequest(prompt=pb.PromptChange(text=text)))

    def set_emotion(self, emotion: Emotion | None, intensity: float = 1.0, transition_s: float = 0.0) -> int:
        """Feels like this from now on, reached within `transition_s`; None goes back to what the text says."""
        change = pb.EmotionChange(emotion=emotion_curve(emotion, intensity), transition_s=transition_s)
        return self._requests.send(pb.AnimateRequest(emotion=change))

    def set_queue(self, prompts: Sequence[Queued], idle: str = "") -> int:
        """Does these one after the other from now on, then `idle`; empty stands still."""
        return self._requests.send(pb.AnimateRequest(queue=queue_change(prompts, idle)))

    def set_pace(self, pace: float) -> int:
        """Moves so much quicker from now on, 0.5 to 2."""
        return self._requests.send(pb.AnimateRequest(pace=pb.PaceChange(pace=pace)))

    def set_intensity(self, scale: float) -> int:
        """Shows every emotion so much more strongly from now on, 0 (neutral) to 2."""
        return self._requests.send(pb.AnimateRequest(intensity=pb.IntensityChange(scale=scale)))

    def pause(self) -> int:
        """Freezes time; no frames come until `resume`."""
        return self._requests.send(pb.AnimateRequest(pause=pb.AnimatePause()))

    def resume(self) -> int:
        """Lets time run again."""
        return self._requests.send(pb.AnimateRequest(resume=pb.AnimateResume()))

    def report_playhead(
        self, frame: float, held_frame_count: int = 0, held_for_s: float = 0.0, stall_count: int = 0
    ) -> None:
        """Says where the caller plays, see PlayheadReport in animation_service.proto; a few times a second.

        From the first report on, frames that have come may be replaced: see ControlApplied. `Client.perform` does
        all of this by itself.
        """
        report = pb.PlayheadReport(
            frame=frame, held_frame_count=held_frame_count, held_for_s=held_for_s, stall_count=stall_count
        )
        self._requests.send(pb.AnimateRequest(playhead=report))

    def stop(self) -> None:
        """Asks the server to end; iterate on to see what is still under way."""
        self._requests.send(pb.AnimateRequest(stop=pb.AnimateStop()))

    def close(self) -> None:
        self._requests.end()
        super().close()

    def _note_end(self, ended: pb.AnimateEnded) -> None:
        self.end_reason = pb.EndReason.Name(ended.reason).removeprefix("END_REASON_").lower()
        self.frame_count = ended.frame_count
