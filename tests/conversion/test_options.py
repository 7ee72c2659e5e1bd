"""Options are checked once, by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from animoe.conversion.options import ConvertOptions
from animoe.errors import InvalidRequest


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"fps": 0.0}, "--fps must be between 1 and 1000, got 0"),
        ({"fps": float("nan")}, "--fps"),
        ({"start_s": -1.0}, "--start must be 0 seconds or more"),
        ({"end_s": float("inf")}, "--end must be 0 seconds or more"),
        ({"start_s": 2.0, "end_s": 2.0}, "--end 2 must come after --start 2"),
        ({"rig": "mixamo", "reach": 1.5}, "--reach must be between 0 and 1"),
        ({"rig": "mixamo", "root_motion": "none"}, "--root-motion must be one of"),
        ({"rig": "mixamo", "into": Path("a.glb")}, "--rig and --into exclude each other"),
        ({"mirror": True}, "--mirror needs a rig"),
        ({"reach": 0.5}, "--reach needs a rig"),
        ({"root_motion": "root-bone"}, "--root-motion root-bone needs a rig"),
        ({"rig_mapping": Path("m.json")}, "--rig-mapping needs a rig"),
    ],
)
def test_a_wrong_option_is_refused_by_its_flag(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InvalidRequest, match=sentence):
        ConvertOptions(**options)


def test_a_rig_or_a_character_means_retargeting() -> None:
    assert not ConvertOptions().retargets
    assert ConvertOptions(rig="mixamo").retargets and ConvertOptions(into=Path("hero.glb"), mirror=True).retargets
