"""The engine: a bundle made ready to perform. Knows nothing of gRPC."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from animoe.bundle.manifest import default_bundle
from animoe.engine.character import Character
from animoe.engine.requests import ClipRequest, SessionRequest, check_prompt
from animoe.engine.runtime import PlannedPrompt, Runtime
from animoe.motion.emotion import EMOTIONS, EmotionCurve
from animoe.motion.pose_block import PoseBlock
from animoe.motion.root_codes import FRAMES_PER_TOKEN
from animoe.rig.canonical import FRAME_RATE_HZ


@dataclass(frozen=True)
class EngineInfo:
    """What a client may want to know before it asks for motion.

    generation: of the experts in use, 0 before anything was learnt. experts: NAME@VERSION of them, oldest first.
    """

    bundle_name: str
    bundle_digest: str
    generation: int = 0
    experts: tuple[str, ...] = ()
    emotions: tuple[str, ...] = EMOTIONS
    frame_rate_hz: float = FRAME_RATE_HZ
    frames_per_block: int = FRAMES_PER_TOKEN


@dataclass(frozen=True)
class Performance:
    """What performs a prompt.

    Attributes:
        bundle_digest: same digest, request and seed, same motion. generation: of the experts.
        shares: expert (NAME@VERSION, or "base") -> its share, heaviest first; they add up to 1.
    """

    bundle_digest: str
    generation: int
    shares: Mapping[str, float]


class Engine:
    """Generates clips and live sessions from one bundle. Safe to use from several threads."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    @property
    def folder(self) -> Path:
        """Of the bundle."""
        return self._runtime.folder

    @property
    def info(self) -> EngineInfo:
        """As it is now: `refresh` changes it."""
        scenarios = self._runtime.scenarios
        experts = tuple(column.name for _, column in scenarios.state.active())
        digest = self._runtime.digest_of(scenarios)
        return EngineInfo(self._runtime.manifest.name, digest, scenarios.state.generation, experts)

    def refresh(self, folder: Path | None = None) -> bool:
        """Takes up experts that were published since; whether there were any. Whoever performs keeps what it has.

        Args:
            folder: go on with this child of the present bundle; None stays with the present one.

        Raises:
            BundleError: what was published is damaged; the engine goes on as before.
        """
        return self._runtime.refresh(folder)

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

    def generate(self, request: ClipRequest) -> GeneratedClip:
        """A clip to iterate over."""
        return GeneratedClip(self._runtime, request)

    def open_session(self, request: SessionRequest) -> LiveSession:
        """Starts an endless performance."""
        character = Character(self._runtime, request.text, request.emotion, request.sampling)
        return LiveSession(self._runtime, character)


class GeneratedClip:
    """Iterates over a clip in blocks of 4 frames, each as soon as it is decoded; the last one is cut to length.

    Attributes:
        performance: what performs it.
    """

    def __init__(self, runtime: Runtime, request: ClipRequest) -> None:
        self._left = max(1, round(request.seconds * FRAME_RATE_HZ))
        tokens = math.ceil(self._left / FRAMES_PER_TOKEN)
        self._character = Character(runtime, request.text, request.emotion, request.sampling, total_tokens=tokens)
        self.performance = _performance(runtime, self._character.prompt)

    def __iter__(self) -> Iterator[PoseBlock]:
        return self

    def __next__(self) -> PoseBlock:
        if self._left <= 0:
            raise StopIteration
        block = _cut(self._character.next_block(), self._left)
        self._left -= block.frame_count
        return block


class LiveSession:
    """A live character whose prompt and emotion may change at any time. Not thread-safe."""

    def __init__(self, runtime: Runtime, character: Character) -> None:
        self._runtime, self._character = runtime, character

    @property
    def performance(self) -> Performance:
        """What performs the present prompt; a new prompt takes up the newest experts."""
        return _performance(self._runtime, self._character.prompt)

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


def _performance(runtime: Runtime, prompt: PlannedPrompt) -> Performance:
    return Performance(runtime.digest_of(prompt.scenarios), prompt.scenarios.state.generation, prompt.shares)


def _cut(block: PoseBlock, count: int) -> PoseBlock:
    if block.frame_count <= count:
        return block
    parts = (block.local_rotations, block.root_positions, block.contacts, block.headings)
    return PoseBlock(block.first_frame, *(None if part is None else part[:count] for part in parts))  # type: ignore[arg-type]
