"""A live character: what it does may change at any time, and what it has not yet shown may be taken back."""

from __future__ import annotations

import weakref
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

from animoe.engine.batch import Row
from animoe.engine.character import Character
from animoe.engine.controls import (
    Apply,
    Control,
    EmotionControl,
    IntensityControl,
    PaceControl,
    PromptControl,
    QueueControl,
    Reopen,
    prompts_of,
)
from animoe.engine.moment import Moment
from animoe.engine.prompt_queue import IDLE_PROMPT, QueuedPrompt
from animoe.engine.prompts import PlannedPrompt
from animoe.engine.recording import MAX_WEIGHT, Entry, Log, Recording
from animoe.engine.requests import SessionRequest
from animoe.engine.runtime import Runtime
from animoe.engine.scheduler import Answer, Pull
from animoe.errors import FailedPrecondition
from animoe.motion.emotion import EmotionCurve
from animoe.motion.pose_block import PoseBlock
from animoe.retarget.solver import Retargeter, RetargetState, RigBlock
from animoe.rig.canonical import FRAME_RATE_HZ

REACH_S = 1.5
"""How far back a session can go."""
REACH_FRAMES = round(REACH_S * FRAME_RATE_HZ)


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


@dataclass(frozen=True, eq=False)
class Planned:
    """A control, ready to be applied. digests: of the bundles that its prompts were planned with."""

    control: Control
    apply: Apply
    digests: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class _Boundary:
    """Where a block began.

    Attributes:
        frame: its first one. moment: the character before it. rig: the caller's state, and how it was.
        logged: entries of the log. told: after this block was asked for and before the next one.
    """

    frame: int
    moment: Moment
    rig: tuple[RetargetState, RetargetState] | None
    logged: int
    told: list[Planned] = field(default_factory=list)


class LiveSession:
    """A live character. Not thread-safe; one block is asked for at a time.

    Frames are counted on the character's own time line, 30 per second whatever its pace. Controls act from the next
    block on; to act on frames that are made but not yet shown, `rewind` first.

    Args:
        ask: hands a token to the engine.
        reach_frames: how far back it can go.
        request: what the session began with, when it is recorded.

    Attributes:
        clock: seconds; deadlines are by it.
    """

    def __init__(
        self,
        ask: Callable[[Pull], None],
        runtime: Runtime,
        character: Character,
        clock: Callable[[], float],
        *,
        reach_frames: int = REACH_FRAMES,
        request: SessionRequest | None = None,
    ) -> None:
        self._send, self._runtime, self._character = ask, runtime, character
        self._place = runtime.places.take()
        self._release = weakref.finalize(character, runtime.places.give_back, self._place)
        self.clock = clock
        self._reach = reach_frames
        self._boundaries: deque[_Boundary] = deque()
        self._request, self._digest = request, runtime.digest_of(character.prompt.scenarios)
        self._log = Log(0 if request is None else MAX_WEIGHT)
        self._asked: Answer | None = None

    def close(self) -> None:
        """Makes room for another character at once; else that waits until nobody holds this one any more.

        Only when no block is being made: the engine would write where the next character is. Nothing may follow.
        """
        self._release()

    @property
    def performance(self) -> Performance:
        """What performs the present prompt; a new prompt takes up the newest experts."""
        return performance_of(self._runtime, self._character.prompt)

    @property
    def next_frame(self) -> int:
        """First frame of the next block, on the character's own time line."""
        return self._character.first_frame

    def rewind(self, frame: int) -> int:
        """Forgets the motion from the first block that begins at `frame` or later; what is asked next replaces it.

        Controls given since stay in force: they act from there. It reaches back REACH_S; an older `frame` counts as the
        oldest within reach.

        Args:
            frame: on the character's own time line.

        Returns:
            The first frame that will be replaced; `next_frame` when nothing is forgotten.
        """
        self._forget_failed()
        self._take_back(sum(boundary.frame >= frame for boundary in self._boundaries))
        return self.next_frame

    def set_prompt(self, text: str) -> None:
        """From the next block on, perform `text`; what is queued is dropped.

        Raises:
            InvalidRequest: empty or too long.
        """
        self.tell(PromptControl(text))

    def set_queue(self, items: Sequence[QueuedPrompt], idle: str | None = None) -> None:
        """From the next block on, perform these one after another, then `idle` without end.

        Everything is planned here, so this takes some time per prompt.

        Args:
            items: none = go to `idle` at once. idle: None takes IDLE_PROMPT.

        Raises:
            InvalidRequest: too many, or a prompt is empty or too long.
        """
        self.tell(QueueControl(tuple(items), IDLE_PROMPT if idle is None else idle))

    def set_emotion(self, emotion: EmotionCurve | None, transition_s: float = 0.0) -> None:
        """From the next block on, feel like this; curve times count from there. None leaves it to the text.

        Args:
            transition_s: the way from what is felt now to the curve.

        Raises:
            InvalidRequest: no such transition.
        """
        self.tell(EmotionControl(emotion, transition_s))

    def set_intensity(self, scale: float) -> None:
        """From the next block on, feel everything `scale` times as strongly: 0 (neutral) to 2.

        Raises:
            InvalidRequest: out of range.
        """
        self.tell(IntensityControl(scale))

    def set_pace(self, ratio: float) -> None:
        """From the next block on, move at this ratio of the motion's own speed: 0.5 to 2, eased in.

        Raises:
            InvalidRequest: out of range.
        """
        self.tell(PaceControl(ratio))

    def tell(self, control: Control) -> None:
        """Applies a control from the next block on; prompts are planned here, which takes some time each."""
        self.apply(self.planned(control))

    def plans_at_once(self, control: Control) -> bool:
        """Whether `planned` takes no time: there is nothing to plan, or it is remembered."""
        return all(map(self._runtime.remembers, prompts_of(control)))

    def planned(self, control: Control) -> Planned:
        """Plans the prompts of a control, with the newest experts. From any thread, also while a block is made."""
        scenarios = []

        def plan(text: str) -> PlannedPrompt:
            scenarios.append((found := self._runtime.plan(text)).scenarios)
            return found

        apply = control.planned(plan)
        return Planned(control, apply, tuple(sorted({self._runtime.digest_of(state) for state in scenarios})))

    def apply(self, planned: Planned) -> None:
        """From the next block on."""
        planned.apply(self._character)
        self._log.add(Entry(self._character.token, planned.control, planned.digests))
        if self._boundaries:
            self._boundaries[-1].told.append(planned)

    def recording(self) -> Recording:
        """Everything that it takes to perform this session again, up to the next block.

        Raises:
            FailedPrecondition: it was opened without `recorded`.
        """
        if self._request is None:
            raise FailedPrecondition("this session is not recorded; open it with Engine.open_session(…, recorded=True)")
        self._forget_failed()
        request = self._request
        return self._log.recording(request.text, request.emotion, request.sampling, self._digest, self._character.token)

    def next_block(self, patience_s: float = 0.0) -> PoseBlock:
        """The next frames; whoever needs its own within `patience_s` goes first."""
        return self.ask_block(self.clock() + patience_s).result()

    def ask_block(self, deadline_s: float) -> Future[PoseBlock]:
        """Asks for the next frames, as `ask_frames` does, on the canonical skeleton."""
        found: Future[PoseBlock] = Future()
        self._ask(deadline_s, None, found)
        return found

    def ask_frames(self, deadline_s: float, retargeter: Retargeter, state: RetargetState) -> Future[RigBlock]:
        """Asks for the next frames on a rig: 4 at pace 1, else 2 to 9. Until they are there, nothing may be changed.

        Args:
            deadline_s: when the frames so far run out, by `clock`.
            state: of this character and `retargeter`; `rewind` takes it back too.
        """
        found: Future[RigBlock] = Future()
        self.send_frames(found, deadline_s, retargeter, state)
        return found

    def send_frames(self, to: Answer, deadline_s: float, retargeter: Retargeter, state: RetargetState) -> None:
        """`ask_frames` for whoever brings a future, of `concurrent.futures` or of asyncio."""
        self._ask(deadline_s, (retargeter, state), to)

    def _ask(
        self,
        deadline_s: float,
        rig: tuple[Retargeter, RetargetState] | None,
        found: Answer,
    ) -> None:
        self._forget_failed()
        character, frame = self._character, self.next_frame
        before = None if rig is None else (rig[1], rig[1].copy())
        self._boundaries.append(_Boundary(frame, character.moment(), before, len(self._log)))
        while self._boundaries[0].frame < frame - self._reach:
            self._boundaries.popleft()
        row = Row(character.prompt, character.next_inputs(), character.sampling, self._place)
        self._asked = found
        self._send(Pull(character, row, deadline_s, self._runtime.runner.kind(row), frame, rig, found))

    def _forget_failed(self) -> None:
        """A block that was never made is as if never asked for."""
        asked, self._asked = self._asked, None
        if asked is not None and asked.done() and not asked.cancelled() and asked.exception() is not None:
            self._take_back(1)

    def _take_back(self, blocks: int) -> None:
        """Goes back to before the last blocks; what was told since acts from there."""
        if not blocks:
            return
        forgotten = [self._boundaries.pop() for _ in range(blocks)][::-1]
        for boundary in reversed(forgotten):
            if boundary.rig is not None:
                state, before = boundary.rig
                state.go_back(before)
        self._character.go_back(forgotten[0].moment)
        self._log.drop_from(forgotten[0].logged, self._character.token)
        self.apply(Planned(Reopen(), Character.reopen, ()))
        for told in (told for boundary in forgotten for told in boundary.told if not isinstance(told.control, Reopen)):
            self.apply(told)


def performance_of(runtime: Runtime, prompt: PlannedPrompt) -> Performance:
    """What performs a prompt."""
    return Performance(runtime.digest_of(prompt.scenarios), prompt.scenarios.state.generation, prompt.shares)
