"""The same request gives the same tokens, whoever shares its batch."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future
from pathlib import Path

import numpy as np
import pytest

from animoe.engine import Engine, LiveSession, QueuedPrompt, Sampling, SessionRequest
from animoe.engine.runtime import Runtime
from animoe.motion.emotion import EMOTIONS, EmotionCurve
from animoe.motion.pose_block import PoseBlock
from animoe.rig.rotations import Array

TOKENS = 46  # past the end of a window
CROWD = 200
WATCHED = (0, 1, 63, 64, 130, 199)
PROMPTS = ("a person walks forward", "someone waves", "a man jumps", "she dances slowly", "kicks a ball")


def request(index: int) -> SessionRequest:
    emotion = EmotionCurve.constant(EMOTIONS[index % len(EMOTIONS)], 0.5 + index % 3 / 2) if index % 4 else None
    temperature = 0.0 if index % 9 == 8 else 0.75
    return SessionRequest(PROMPTS[index % 5], emotion, Sampling(index, temperature))


def disturb(session: LiveSession, index: int, token: int) -> None:
    """Each is told otherwise at times of its own, and some take back what they have done."""
    if token == 3 + index % 17:
        session.set_prompt(PROMPTS[(index + 1) % 5])
    if token == 9 + index % 7 and index % 3 == 1:
        session.set_pace(0.5 + index % 4 / 2)
    if token == 15 + index % 5 and index % 2:
        session.rewind(session.next_frame - index % 23)
    if token == 21 + index % 11:
        session.set_emotion(EmotionCurve.constant("angry" if index % 2 else "sad"), index % 3 / 2)
    if token == 33 + index % 5 and index % 4 == 2:
        session.set_queue([QueuedPrompt(PROMPTS[index % 5], 0.4), QueuedPrompt(PROMPTS[(index + 2) % 5], 0.3)])


def numbers(blocks: Sequence[PoseBlock]) -> Array:
    return np.concatenate(
        [np.hstack([b.local_rotations.reshape(len(b.contacts), -1), b.root_positions]) for b in blocks]
    )


def alone(engine: Engine, index: int) -> Array:
    session, blocks = engine.open_session(request(index)), []
    for token in range(TOKENS):
        disturb(session, index, token)
        blocks.append(session.next_block())
    return numbers(blocks)


def together(engine: Engine, watched: Sequence[int]) -> dict[int, Array]:
    """All of the crowd asks at once, so that every step is as full as it can be."""
    sessions = [engine.open_session(request(index)) for index in range(CROWD)]
    blocks: dict[int, list[PoseBlock]] = {index: [] for index in watched}
    for token in range(TOKENS):
        found: list[Future[PoseBlock]] = []
        for index, session in enumerate(sessions):
            disturb(session, index, token)
            found.append(session.ask_block(session.clock()))
        for index, future in enumerate(found):
            block = future.result()
            if index in blocks:
                blocks[index].append(block)
    return {index: numbers(made) for index, made in blocks.items()}


@pytest.fixture(scope="module", params=["int8", "float32"])
def exact_engine(request: pytest.FixtureRequest, bundle: Path, float_bundle: Path) -> Engine:
    return Engine(Runtime(bundle if request.param == "int8" else float_bundle))


def test_alone_or_in_a_crowd_of_two_hundred_the_motion_is_the_same_to_the_last_bit(exact_engine: Engine) -> None:
    crowd = together(exact_engine, WATCHED)
    for index in WATCHED:
        np.testing.assert_array_equal(alone(exact_engine, index), crowd[index], err_msg=f"character {index}")
