"""One pose: projection and ray casting by hand, sides and shadow where they belong."""

from __future__ import annotations

import numpy as np
import pytest

from animoe.preview import Body
from animoe.preview.camera import Camera, follow_camera
from animoe.preview.raycast import cast
from animoe.preview.render import render_pose
from animoe.rig import canonical_skeleton

SKELETON = canonical_skeleton()
BODY = Body.of(SKELETON)
REST = SKELETON.rest_model[1]


def ahead(width: int = 81, height: int = 81, view_height_m: float = 4.0) -> Camera:
    """At (0, 0, 10), looks along -Z at the origin."""
    eye = np.array([0.0, 0, 10])
    return Camera.look_at(eye, np.zeros(3), view_height_m, width, height)


def is_tint(picture: np.ndarray, side: str) -> np.ndarray:
    """(H, W) pixels that are clearly cyan (left) or orange (right)."""
    red, blue = picture[..., 0].astype(int), picture[..., 2].astype(int)
    return (blue - red > 45) & (blue > 110) if side == "left" else red - blue > 45


def test_projection_by_hand() -> None:
    camera = ahead(100, 100)
    np.testing.assert_allclose(camera.project(np.zeros(3)), [50, 50], atol=1e-4)
    np.testing.assert_allclose(camera.project(np.array([1.0, 2, 0])), [75, 0], atol=1e-4)  # 25 px per metre
    np.testing.assert_allclose(camera.project(np.array([1.0, 0, -10])), [62.5, 50], atol=1e-4)  # twice as far


def test_a_sphere_is_hit_at_its_nearest_point() -> None:
    point, radii = np.zeros((1, 3), np.float32), np.ones((1, 2), np.float32)
    hits = cast(ahead(), point, point, radii)
    np.testing.assert_allclose(hits.distance[40, 40], 9.0, atol=1e-4)
    np.testing.assert_allclose(hits.normal[40, 40], [0, 0, -1], atol=1e-3)
    assert hits.owner[0, 0] == -1
    silhouette = (hits.owner == 0).sum() * (4.0 / 81) ** 2
    np.testing.assert_allclose(silhouette, np.pi, rtol=0.05)


@pytest.mark.parametrize(("ra", "rb"), [(0.4, 0.4), (0.6, 0.2), (0.9, 0.1), (0.1, 1.6)])
def test_cones_agree_with_many_spheres_along_the_axis(ra: float, rb: float) -> None:
    """Second route: a round cone is the union of the spheres between its ends."""
    a, b = np.array([-0.7, -0.4, 0.5], np.float32), np.array([0.6, 0.5, -0.6], np.float32)
    s = np.linspace(0, 1, 400, dtype=np.float32)[:, None]
    centres, radii = a + s * (b - a), ra + s * (rb - ra)
    cone = cast(ahead(), a[None], b[None], np.array([[ra, rb]], np.float32))
    spheres = cast(ahead(), centres, centres, np.repeat(radii, 2, axis=1))
    both = (cone.owner >= 0) & (spheres.owner >= 0)
    assert both.sum() > 100 and ((cone.owner >= 0) != (spheres.owner >= 0)).mean() < 0.005
    np.testing.assert_allclose(cone.distance[both], spheres.distance[both], atol=0.02)


def test_the_nearer_cone_hides_the_farther() -> None:
    centres = np.array([[0, 0, -1], [0, 0, 1]], np.float32)
    hits = cast(ahead(), centres, centres, np.full((2, 2), 0.5, np.float32))
    assert hits.owner[40, 40] == 1


def test_what_is_behind_the_camera_is_not_drawn() -> None:
    centre = np.array([[0, 0, 12]], np.float32)
    assert (cast(ahead(), centre, centre, np.full((1, 2), 0.5, np.float32)).owner == -1).all()


def test_camera_sees_the_front_left_of_the_character() -> None:
    """From there the character's left is on the right of the picture, and nearer."""
    for yaw in (0.0, 2.0):
        camera = follow_camera(np.array([0, 0.8, 0]), yaw, 2.2, 200, 280, BODY.span_m)
        turned = REST @ np.array([[np.cos(yaw), 0, -np.sin(yaw)], [0, 1, 0], [np.sin(yaw), 0, np.cos(yaw)]])
        left, right = SKELETON.index["left_hip"], SKELETON.index["right_hip"]
        assert camera.project(turned[left])[0] > camera.project(turned[right])[0]
        assert camera.to_view(turned[left])[2] < camera.to_view(turned[right])[2]


def test_left_and_right_limbs_differ_in_colour_and_swap_with_the_body() -> None:
    camera = follow_camera(np.array([0, 0.8, 0]), 0.0, 2.2, 200, 200, BODY.span_m)
    picture = np.asarray(render_pose(BODY, REST, camera))
    columns = np.arange(200)
    left_x = (is_tint(picture, "left") * columns).sum() / is_tint(picture, "left").sum()
    right_x = (is_tint(picture, "right") * columns).sum() / is_tint(picture, "right").sum()
    assert left_x > right_x + 20
    swapped = REST * [-1, 1, 1]
    mirrored = np.asarray(render_pose(BODY, swapped, camera))
    assert (is_tint(mirrored, "left") * columns).sum() / is_tint(mirrored, "left").sum() < left_x - 20


def test_body_throws_a_shadow_on_the_floor() -> None:
    camera = follow_camera(np.array([0, 0.8, 0]), 0.0, 2.4, 160, 200, BODY.span_m)
    standing = np.asarray(render_pose(BODY, REST, camera)).astype(int)
    away = np.asarray(render_pose(BODY, REST + [50.0, 0, 50.0], camera)).astype(int)
    darker = away.sum(-1) - standing.sum(-1) > 40
    assert darker[120:].sum() > 150


def test_planted_foot_gets_a_ring() -> None:
    camera = follow_camera(np.array([0, 0.8, 0]), 0.0, 2.2, 160, 200, BODY.span_m)
    foot = SKELETON.index["left_foot"]
    plain = np.asarray(render_pose(BODY, REST, camera)).astype(int)
    marked = np.asarray(render_pose(BODY, REST, camera, planted=[foot])).astype(int)
    changed = np.argwhere(np.abs(marked - plain).sum(-1) > 30)
    x, y = camera.project(REST[foot] * [1, 0, 1])
    assert len(changed) > 10
    np.testing.assert_allclose(changed.mean(axis=0), [y, x], atol=8)
