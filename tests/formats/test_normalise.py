"""The unit of a file, found from the skeleton."""

from __future__ import annotations

import numpy as np
import pytest

from animoe.formats.normalise import UNITS_M, absurdity, scaled, to_metres, unit_of
from animoe.motion.clip import Clip
from animoe.rig import Skeleton, canonical_skeleton


def adult_in(unit: str, size: float = 1.0) -> Skeleton:
    skeleton = canonical_skeleton()
    return Skeleton.build(skeleton.joint_names, skeleton.parents, skeleton.rest_translations * size / UNITS_M[unit])


@pytest.mark.parametrize("unit", ["metre", "centimetre", "millimetre", "CMU unit", "foot"])
def test_the_unit_of_an_adult_is_found(unit: str) -> None:
    assert unit_of(adult_in(unit)) == unit


@pytest.mark.parametrize("size", [0.6, 1.5])
def test_children_and_giants_in_centimetres_stay_what_they_are(size: float) -> None:
    assert unit_of(adult_in("centimetre", size)) == "centimetre"


def test_where_the_character_stands_does_not_matter() -> None:
    adult = adult_in("centimetre")
    far = adult.rest_translations.copy()
    far[0] = [4000.0, 0.0, 9000.0]
    assert unit_of(Skeleton.build(adult.joint_names, adult.parents, far)) == "centimetre"


def test_translations_come_out_in_metres() -> None:
    skeleton = adult_in("CMU unit")
    rest = np.tile(skeleton.rest_rotations, (3, 1, 1))
    clip = to_metres(Clip.from_root(skeleton, 30.0, rest, np.tile(skeleton.rest_translations[0], (3, 1))))
    np.testing.assert_allclose(clip.world()[1][0], canonical_skeleton().rest_model[1], atol=1e-9)


@pytest.mark.parametrize(
    ("size", "factor"), [(0.1, 1), (1.0, 1), (5.0, 1), (0.01, 100), (100.0, 0.01), (1000.0, 0.001)]
)
def test_a_declared_unit_is_corrected_only_where_the_body_is_absurd(size: float, factor: float) -> None:
    skeleton = adult_in("metre", size)
    assert absurdity(skeleton) == pytest.approx(factor)
    corrected = scaled(skeleton, absurdity(skeleton))
    np.testing.assert_allclose(corrected.rest_translations, skeleton.rest_translations * factor)


def test_a_skeleton_without_length_is_left_as_it_is() -> None:
    assert absurdity(Skeleton.build(("a", "b"), (-1, 0), np.zeros((2, 3)))) == 1.0
