"""The engine: a bundle made ready to perform. Knows nothing of gRPC."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from animoe.bundle.manifest import default_bundle
from animoe.engine.character import Character
from animoe.engine.requests import ClipRequest, SessionRequest, check_prompt
from animoe.engine.runtime import Runtime
from animoe.motion.emotion import EMOTIONS, EmotionCurve
from animoe.motion.pose_block import PoseBlock
from animoe.motion.root_codes import FRAMES_PER_TOKEN
from animoe.rig.canonical import FRAME_RATE_HZ


@dataclass(frozen=True)
class EngineInfo:
    """What a client may want to know before it asks for motion."""

    bundle_name: str
    bundle_digest: str
    emotions: tuple[str, ...] = EMOTIONS
    frame_rate_hz: float = FRAME_RATE_HZ
    frames_per_block: int = FRAMES_PER_TOKEN


class Engine:
    """Generates clips and live sessions from one bundle. Safe to use from several threads."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self.info = EngineInfo(runtime.manifest.name, runtime.digest)

    @staticmethod
    def load(bundle: Path | None = None, *, threads: int = 1) -> Engine:
        """Opens a bundle folder; None = the one that ships with the package.

        Raises:
            BundleError: missing, damaged or of another format version.
        """
        engine = Engine(Runtime(bundle or default_bundle(), threads=threads))
        # The first run of a graph is slow (it plans its memory): let no caller wait for it.
        for _ in engine.generate(ClipRequest("a person stands", 2 * FRAMES_PER_TOKEN / FRAME_RATE_HZ)):
            pass
        return engine

    def generate(self, request: ClipRequest) -> Iterator[PoseBlock]:
        """Yields the clip in blocks of 4 frames, each as soon as it is decoded; the last one is cut to length."""
        frames = max(1, round(request.seconds * FRAME_RATE_HZ))
        tokens = math.ceil(frames / FRAMES_PER_TOKEN)
        character = Character(self._runtime, request.text, request.emotion, request.sampling, total_tokens=tokens)
        for _ in range(tokens):
            block = character.next_block()
            yield _cut(block, frames - block.first_frame)

    def open_session(self, request: SessionRequest) -> LiveSession:
        """Starts an endless performance."""
        return LiveSession(Character(self._runtime, request.text, request.emotion, request.sampling))


class LiveSession:
    """A live character whose prompt and emotion may change at any time. Not thread-safe."""

    def __init__(self, character: Character) -> None:
        self._character = character

    def set_prompt(self, text: str) -> None:
        """From the next block on, perform `text`.

        Raises:
            InvalidRequest: empty or too long.
        """
        check_prompt(text)
        self._character.set_prompt(text)

    def set_emotion(self, emotion: EmotionCurve | None) -> None:
        """From the next block on, feel like this; curve times count from now. None leaves it to the text."""
        self._character.set_emotion(emotion)

    def next_block(self) -> PoseBlock:
        """The next 4 frames."""
        return self._character.next_block()


def _cut(block: PoseBlock, count: int) -> PoseBlock:
    if block.frame_count <= count:
        return block
    parts = (block.local_rotations, block.root_positions, block.contacts, block.headings)
    return PoseBlock(block.first_frame, *(None if part is None else part[:count] for part in parts))  # type: ignore[arg-type]
