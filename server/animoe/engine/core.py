"""The engine: a bundle made ready to perform, for one character or hundreds. Knows nothing of gRPC.

Every character asks for one token (4 frames) at a time and says when its motion runs out. One thread draws and decodes
what was asked for (`Engine.step`); a second one poses it and puts it on rigs (`finishing`) while the next is drawn.
"""

from __future__ import annotations

import atexit
import math
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from animoe.bundle.manifest import default_bundle
from animoe.engine.character import Character
from animoe.engine.finishing import choose, fail, finish, hand_out
from animoe.engine.observer import NOBODY, Observer
from animoe.engine.requests import ClipRequest, SessionRequest
from animoe.engine.runtime import Runtime
from animoe.engine.scheduler import Pull, Scheduler
from animoe.engine.session import LiveSession
from animoe.errors import Unavailable
from animoe.motion.emotion import EMOTIONS
from animoe.motion.pose_block import PoseBlock
from animoe.motion.root_codes import FRAMES_PER_TOKEN
from animoe.rig.canonical import FRAME_RATE_HZ
from animoe.rig.rotations import Array

CLIP_PATIENCE_S = 0.1
"""A clip has no playhead: live characters whose motion runs out sooner go first."""
_IDLE_S = 1.0
"""The thread ends when nothing was asked for during this time; the next token starts another."""
_WORKING: set[Engine] = set()
"""Engines with a thread. A thread that is still in native code when the interpreter ends would abort the process."""


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


class Engine:
    """Generates clips and live sessions from one bundle. Safe to use from several threads.

    Args:
        runtime: the models.
        clock: seconds, monotonic; deadlines are by it.

    Attributes:
        observer: hears of every step.
    """

    def __init__(self, runtime: Runtime, clock: Callable[[], float] = time.monotonic) -> None:
        self.observer: Observer = NOBODY
        self._runtime = runtime
        self._scheduler = Scheduler(runtime.runner.company)
        self._clock = clock
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        self._closed = False
        self._finisher = ThreadPoolExecutor(1, thread_name_prefix="animoe-frames")
        self._finishing: Future[None] | None = None

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
        frames = max(1, round(request.seconds * FRAME_RATE_HZ))
        character = self._character(request, math.ceil(frames / FRAMES_PER_TOKEN))
        # Nothing of a clip is ever taken back.
        return GeneratedClip(LiveSession(self.ask, self._runtime, character, self._clock, reach_frames=0), frames)

    def open_session(self, request: SessionRequest, *, recorded: bool = False) -> LiveSession:
        """Starts an endless performance.

        Args:
            recorded: keep what it is told, for `LiveSession.recording`: some hundred bytes a control.
        """
        return LiveSession(
            self.ask,
            self._runtime,
            self._character(request),
            self._clock,
            request=request if recorded else None,
        )

    def step(self) -> None:
        """One batch of tokens: those whose motion runs out first."""
        pulls = self._scheduler.take()
        started = self._clock()
        try:
            codes = self._runtime.step([pull.row for pull in pulls])
            self._finish(pulls, choose(self._runtime, pulls, codes), started)
        except BaseException as error:  # everybody who waits must hear of it
            fail(pulls, error)
        self.observer.queue(len(self._scheduler))

    @property
    def urgent_s(self) -> float:
        """So long before its deadline a token is not put off any more for company."""
        return self._scheduler.urgent_s

    def ask(self, pull: Pull) -> None:
        """Adds a token to what the engine's thread works through.

        Raises:
            Unavailable: the engine is closed.
        """
        with self._lock:
            if self._closed:
                raise Unavailable("the engine is closed; open another one")
            self._scheduler.add(pull)
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="animoe-engine", daemon=True)
                self._thread.start()
                _WORKING.add(self)

    def close(self) -> None:
        """Ends the thread after its present step; what was asked for and not made is cancelled. Twice does no harm."""
        with self._lock:
            self._closed, thread = True, self._thread
        left = self._scheduler.close()
        hand_out([pull.found.cancel for pull in left], left)
        if thread is not None:
            thread.join()

    def _character(self, request: ClipRequest | SessionRequest, total_tokens: int | None = None) -> Character:
        runtime = self._runtime
        return Character(
            runtime.plan(request.text),
            request.emotion,
            request.sampling,
            groups=runtime.manifest.groups,
            state=runtime.new_decoder_state()[0],
            total_tokens=total_tokens,
        )

    def _work(self) -> None:
        while True:
            while self._scheduler.wait(self._clock, _IDLE_S):
                self.step()
            with self._lock:
                if self._closed or not len(self._scheduler):
                    self._thread = None
                    _WORKING.discard(self)
                    return

    def _finish(self, pulls: Sequence[Pull], features: Array, started_s: float) -> None:
        """Here, or beside the next step when others wait for that."""

        def work() -> None:
            finish(pulls, features, self._runtime.to_poses)
            seconds = self._clock() - started_s
            self._scheduler.took(seconds)
            self.observer.step(len(pulls), seconds)

        if not len(self._scheduler):
            work()
            return
        if self._finishing is not None:
            self._finishing.result()  # no more than one batch behind
        self._finishing = self._finisher.submit(work)


@atexit.register
def _close_all() -> None:
    for engine in list(_WORKING):
        engine.close()


class GeneratedClip:
    """Iterates over a clip in blocks of 4 frames, each as soon as it is decoded; the last one is cut to length.

    Attributes:
        performance: what performs it.
    """

    def __init__(self, session: LiveSession, frames: int) -> None:
        self._session, self._left = session, frames
        self.performance = session.performance

    def __iter__(self) -> Iterator[PoseBlock]:
        return self

    def __next__(self) -> PoseBlock:
        if self._left <= 0:
            raise StopIteration
        block = _cut(self._session.next_block(CLIP_PATIENCE_S), self._left)
        self._left -= block.frame_count
        return block


def _cut(block: PoseBlock, count: int) -> PoseBlock:
    if block.frame_count <= count:
        return block
    parts = (block.local_rotations, block.root_positions, block.contacts, block.headings)
    return PoseBlock(block.first_frame, *(None if part is None else part[:count] for part in parts))  # type: ignore[arg-type]
