"""What a live character can be told, checked; and how each acts on a character once its prompts are planned."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from animoe.engine.character import Character
from animoe.engine.feeling import check_intensity, check_transition
from animoe.engine.pace import check_pace
from animoe.engine.prompt_queue import IDLE_PROMPT, Act, QueuedPrompt, check_queue
from animoe.engine.prompts import PlannedPrompt
from animoe.engine.requests import check_prompt
from animoe.motion.emotion import EmotionCurve
from animoe.rig.canonical import FRAME_RATE_HZ

Plan = Callable[[str], PlannedPrompt]
Apply = Callable[[Character], None]


@dataclass(frozen=True)
class PromptControl:
    """Perform `text`; what is queued is dropped."""

    text: str

    def __post_init__(self) -> None:
        check_prompt(self.text)

    def planned(self, plan: Plan) -> Apply:
        prompt = plan(self.text)
        return lambda character: character.set_prompt(prompt)


@dataclass(frozen=True)
class EmotionControl:
    """Feel like this after a transition; None leaves it to the text."""

    emotion: EmotionCurve | None
    transition_s: float = 0.0

    def __post_init__(self) -> None:
        check_transition(self.transition_s)

    def planned(self, plan: Plan) -> Apply:
        return lambda character: character.set_emotion(self.emotion, self.transition_s)


@dataclass(frozen=True)
class IntensityControl:
    """Feel everything `scale` times as strongly."""

    scale: float

    def __post_init__(self) -> None:
        check_intensity(self.scale)

    def planned(self, plan: Plan) -> Apply:
        return lambda character: character.set_intensity(self.scale)


@dataclass(frozen=True)
class PaceControl:
    """Move at `ratio` of the motion's own speed."""

    ratio: float

    def __post_init__(self) -> None:
        check_pace(self.ratio)

    def planned(self, plan: Plan) -> Apply:
        return lambda character: character.set_pace(self.ratio)


@dataclass(frozen=True)
class QueueControl:
    """Perform these one after another, then `idle` without end."""

    items: tuple[QueuedPrompt, ...]
    idle: str = IDLE_PROMPT

    def __post_init__(self) -> None:
        check_queue(self.items)
        check_prompt(self.idle)

    def planned(self, plan: Plan) -> Apply:
        acts = tuple(Act(plan(item.text), item.seconds * FRAME_RATE_HZ, item.emotion) for item in self.items)
        idle = plan(self.idle)
        return lambda character: character.set_programme(acts, idle)


@dataclass(frozen=True)
class Reopen:
    """Go on from the last tokens: what is left of motion that was taken back."""

    def planned(self, plan: Plan) -> Apply:
        return Character.reopen


Control = PromptControl | EmotionControl | IntensityControl | PaceControl | QueueControl | Reopen


def prompts_of(control: Control) -> tuple[str, ...]:
    """The texts that `planned` of a control plans."""
    match control:
        case PromptControl(text):
            return (text,)
        case QueueControl(items, idle):
            return (*(item.text for item in items), idle)
    return ()
