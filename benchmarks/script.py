"""What benchmark characters do: prompts of every scenario that a bundle has learnt, emotions, rigs, drawn by a seed."""

from __future__ import annotations

import json
import random
from functools import lru_cache
from pathlib import Path
from typing import Any

from animoe.bundle.manifest import bundle_file
from animoe.bundle.scenarios import read_state
from animoe.v1 import animation_service_pb2 as pb
from animoe.v1 import clip_pb2, skeleton_pb2

RIGS = ("ue5_manny", "mixamo", "kaykit_medium")
EMOTIONS = ("neutral", "happy", "sad", "angry", "tired", "fearful")
MANNERS = ("", "slowly", "quickly", "again", "in a hurry", "carefully", "at night", "while talking")
PROMPTS = (
    "a person walks forward",
    "someone runs",
    "a man waves the right hand",
    "a guard looks around",
    "a person jumps forward",
    "someone sits down and rests",
    "a person turns left and walks away",
)
"""For the base, and all there is for a bundle without scenarios."""


class Script:
    """Draws what one character does; the same seed, the same part.

    Args:
        bundle: whose scenarios it plays. Scenarios come equally often, each with the texts that it is measured with.
        plain: some hundred texts in all, so that a server's cache of prompts is soon full; else some thousand.
    """

    def __init__(self, bundle: Path, seed: int, *, plain: bool = False) -> None:
        self._scenarios, self._manners = _scenarios(bundle), MANNERS[:1] if plain else MANNERS
        self._draw = random.Random(seed)
        self._seed = seed

    def start(self) -> Any:
        """The first AnimateRequest."""
        rig = skeleton_pb2.RigSelection(profile=RIGS[self._seed % len(RIGS)])
        emotion = None if self._seed % 3 == 0 else self._curve()
        playback = pb.Playback(replaceable=True)  # as `Client.perform` asks
        start = pb.AnimateStart(text=self.text(), rig=rig, emotion=emotion, seed=self._seed, playback=playback)
        return pb.AnimateRequest(start=start)

    def change(self, control_id: int) -> Any:
        """A new prompt or a new emotion."""
        if self._draw.random() < 0.5:
            return pb.AnimateRequest(control_id=control_id, prompt=pb.PromptChange(text=self.text()))
        return pb.AnimateRequest(control_id=control_id, emotion=pb.EmotionChange(emotion=self._curve()))

    def pause_s(self, shortest: float, longest: float) -> float:
        return self._draw.uniform(shortest, longest)

    def text(self) -> str:
        return f"{self._draw.choice(self._draw.choice(self._scenarios))} {self._draw.choice(self._manners)}".strip()

    def _curve(self) -> Any:
        """Two emotions, one leading into the other."""
        keys = []
        for time_s in (0.0, 1.0):
            felt = clip_pb2.EmotionIntensity(
                emotion=self._draw.choice(EMOTIONS), intensity=self._draw.uniform(0.5, 1.5)
            )
            keys.append(clip_pb2.EmotionKey(time_s=time_s, emotions=[felt]))
        return clip_pb2.EmotionCurve(keys=keys)


@lru_cache(maxsize=4)
def _scenarios(bundle: Path) -> tuple[tuple[str, ...], ...]:
    """Texts by scenario, the base's first."""
    found = [PROMPTS]
    for _, column in read_state(bundle).active():
        path = bundle_file(bundle, f"experts/{column.name}/evaluation/prompts.json")
        if path.is_file():
            prompts = json.loads(path.read_text(encoding="utf-8"))["prompts"]
            found.append(tuple(sorted({text for prompt in prompts for text in prompt["texts"]})))
    return tuple(found)
