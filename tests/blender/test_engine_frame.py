"""The engine frame "blender": what we stream, set on pose bones as a client does, puts joints where we have them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from animoe.retarget.frames import EngineFrame, locals_to_frame, positions_to_frame, skeleton_from_frame
from animoe.rig.skeleton import Skeleton

from .conftest import lively_clip

pytestmark = [pytest.mark.slow, pytest.mark.blender]

ATOL_M = 1e-4


@pytest.fixture
def sent(blender: Any) -> Skeleton:
    """A rig of Blender's own, as a client sends it."""
    (rig,) = blender.run({"do": "describe", "seed": 1})
    xyzw = np.roll(rig["rotations"], -1, axis=-1)
    return skeleton_from_frame(rig["names"], rig["parents"], rig["translations"], xyzw, EngineFrame.BLENDER)


def test_a_blender_rig_stands_upright_in_our_axes_and_faces_forward(sent: Skeleton) -> None:
    _, places = sent.rest_model
    height = places[sent.index["head"], 1] - places[sent.index["shin.L"], 1]
    assert height == pytest.approx(1.55 - 0.48, abs=1e-6)
    assert places[sent.index["forearm.L"], 0] > 0.4


def test_streamed_transforms_move_blenders_bones_to_our_places(blender: Any, sent: Skeleton, tmp_path: Path) -> None:
    clip = lively_clip(sent)
    rotations, translations = locals_to_frame(clip.local_rotations, clip.local_translations, EngineFrame.BLENDER)
    np.save(tmp_path / "rotations.npy", rotations)
    np.save(tmp_path / "translations.npy", translations)
    files = {"rotations": "rotations.npy", "translations": "translations.npy", "out": "positions.npy"}
    (result,) = blender.run({"do": "drive", "seed": 1, **files})
    assert tuple(result["bones"]) == sent.joint_names
    expected = positions_to_frame(clip.world()[1], EngineFrame.BLENDER)
    np.testing.assert_allclose(np.load(tmp_path / "positions.npy"), expected, atol=ATOL_M)
