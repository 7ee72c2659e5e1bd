"""Clips into a user's own skinned GLB: nothing in it is lost, and the joints stand where the clip says.

The template is made here: an armature in centimetres, turned and scaled by 0.01, with a skinned mesh, a texture, a prop
on a joint, extensions nobody knows and an animation of its own. Where its joints stand is found with 4x4 matrices.
"""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pygltflib
import pytest

from animoe.errors import FileError, IncompatibleSkeleton, InvalidRequest
from animoe.formats import write_clip, write_clips
from animoe.formats.gltf import read_gltf, read_gltf_skeleton
from animoe.formats.gltf_insert import write_into_glb
from animoe.motion.clip import Clip
from animoe.rig.rotations import Array, from_axis_angle, inverse, multiply, normalize, rotate
from animoe.rig.skeleton import Skeleton

Json = dict[str, Any]
ATOL_M = 3e-6  # float32 rotations and translations down a chain of joints
ARMATURE_TURN = normalize(np.array([-0.6, 0.2, 0.1, 0.7]))
ARMATURE_PLACE = np.array([0.4, -0.1, 2.0])
SCALE = 0.01
PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


class Character:
    """A skinned template; `json` may be changed before it is saved."""

    def __init__(self, skeleton: Skeleton) -> None:
        self.data = bytearray()
        self.json: Json = {
            "asset": {"version": "2.0", "generator": "test", "extras": {"studio": "ours"}},
            "extensionsUsed": ["OURS_tag"],
            "extensions": {"OURS_tag": {"mood": [1, 2, 3]}},
            "scene": 0,
            "scenes": [{"nodes": [0, 1]}],
            "nodes": [],
            "accessors": [],
            "bufferViews": [],
        }
        self._add_nodes(skeleton)
        self._add_mesh(skeleton)
        self._add_animation()

    def _add_nodes(self, skeleton: Skeleton) -> None:
        """Nodes 0 armature, 1 lamp, 2 mesh, then the joints, then a sword on the left arm."""
        first = 3
        sword = first + skeleton.joint_count
        armature = {"name": "Armature", "translation": ARMATURE_PLACE.tolist(), "rotation": ARMATURE_TURN.tolist()}
        armature |= {"scale": [SCALE] * 3, "children": [2, first], "extras": {"id": 7}}
        lamp = {"name": "Lamp", "translation": [0, 5, 0]}
        self.json["nodes"] = [armature, lamp, {"name": "head", "mesh": 0, "skin": 0}]
        for joint, name in enumerate(skeleton.joint_names):
            rotation, place = skeleton.rest_rotations[joint], skeleton.rest_translations[joint]
            if joint == 0:
                rotation = multiply(inverse(ARMATURE_TURN), rotation)
                place = rotate(inverse(ARMATURE_TURN), place - ARMATURE_PLACE)
            node: Json = {"name": name, "translation": (place / SCALE).tolist(), "rotation": rotation.tolist()}
            children = [first + child for child in skeleton.children[joint]]
            children += [sword] if name == "left_arm" else []
            self.json["nodes"].append(node | ({"children": children} if children else {}))
        self.json["nodes"].append({"name": "sword", "translation": [0, 10, 0], "extensions": {"OURS_tag": {"hp": 5}}})

    def _add_mesh(self, skeleton: Skeleton) -> None:
        count = skeleton.joint_count
        corners = self.accessor(np.eye(3), "VEC3")
        self.json["accessors"][corners["index"]] |= {"min": [0, 0, 0], "max": [1, 1, 1]}
        joints = self.accessor(np.tile([0, 1, 2, 3], (3, 1)), "VEC4", "<u1")
        weights = self.accessor(np.full((3, 4), 0.25), "VEC4")
        uv = self.accessor(np.zeros((3, 2)), "VEC2")
        bind = self.accessor(np.tile(np.eye(4).ravel(), (count, 1)), "MAT4")
        attributes = {"POSITION": corners["index"], "JOINTS_0": joints["index"], "WEIGHTS_0": weights["index"]}
        attributes["TEXCOORD_0"] = uv["index"]
        self.json["meshes"] = [{"primitives": [{"attributes": attributes, "material": 0}], "extras": {"lod": 0}}]
        self.json["materials"] = [{"pbrMetallicRoughness": {"baseColorTexture": {"index": 0}}}]
        self.json["textures"] = [{"source": 0}]
        self.json["images"] = [{"bufferView": self.view(PNG), "mimeType": "image/png"}]
        self.json["skins"] = [{"joints": list(range(3, 3 + count)), "inverseBindMatrices": bind["index"]}]

    def _add_animation(self) -> None:
        times = self.accessor(np.array([0.0, 0.5]), "SCALAR")["index"]
        self.json["accessors"][times] |= {"min": [0], "max": [0.5]}
        values = self.accessor(np.array([[0, 0, 0, 1.0], [0, 1, 0, 0]]), "VEC4")["index"]
        channels = [{"sampler": 0, "target": {"node": 5, "path": "rotation"}}]
        self.json["animations"] = [
            {"name": "idle", "channels": channels, "samplers": [{"input": times, "output": values}]}
        ]

    def accessor(self, values: Array, kind: str, dtype: str = "<f4") -> Json:
        raw = np.asarray(values, dtype=dtype).tobytes()
        component = {"<f4": 5126, "<u1": 5121}[dtype]
        described = {"bufferView": self.view(raw), "componentType": component, "count": len(values), "type": kind}
        self.json["accessors"].append(described)
        return {"index": len(self.json["accessors"]) - 1}

    def view(self, raw: bytes) -> int:
        self.json["bufferViews"].append({"buffer": 0, "byteOffset": len(self.data), "byteLength": len(raw)})
        self.data += raw + bytes(-len(raw) % 4)
        return len(self.json["bufferViews"]) - 1

    def node(self, name: str) -> Json:
        found: Json = [node for node in self.json["nodes"] if node["name"] == name][-1]
        return found

    def save(self, path: Path) -> Path:
        self.json.setdefault("buffers", [{"byteLength": len(self.data)}])
        text = json.dumps(self.json).encode()
        text += b" " * (-len(text) % 4)
        chunks = struct.pack("<I4s", len(text), b"JSON") + text
        chunks += struct.pack("<I4s", len(self.data), b"BIN\0") + self.data
        path.write_bytes(struct.pack("<4sII", b"glTF", 2, 12 + len(chunks)) + chunks)
        return path


def opened(path: Path) -> tuple[Json, bytes]:
    """JSON and binary chunk, taken apart by hand."""
    data = path.read_bytes()
    size = struct.unpack_from("<I", data, 12)[0]
    return json.loads(data[20 : 20 + size]), data[28 + size :]


def matrix(translation: Any, rotation: Any, scale: Any) -> Array:
    x, y, z, w = np.asarray(rotation, dtype=np.float64) / np.linalg.norm(rotation)
    turn = np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )
    whole = np.eye(4)
    whole[:3, :3], whole[:3, 3] = turn * scale, translation
    return whole


def node_worlds(path: Path, animation: str, frame: int) -> dict[str, Array]:
    """Name -> (4, 4) world matrix of every node at a key of an animation. Of equal names, the last."""
    gltf, binary = opened(path)
    keyed: dict[tuple[int, str], Array] = {}
    for played in [a for a in gltf["animations"] if a["name"] == animation][:1]:
        for channel in played["channels"]:
            accessor = gltf["accessors"][played["samplers"][channel["sampler"]]["output"]]
            width = {"VEC3": 3, "VEC4": 4}[accessor["type"]]
            start = gltf["bufferViews"][accessor["bufferView"]]["byteOffset"] + 4 * width * frame
            values = np.frombuffer(binary, "<f4", width, start)
            keyed[channel["target"]["node"], channel["target"]["path"]] = values.astype(np.float64)
    parents = {child: i for i, node in enumerate(gltf["nodes"]) for child in node.get("children", [])}
    worlds: dict[str, Array] = {}
    for number, node in enumerate(gltf["nodes"]):
        world, at = np.eye(4), number
        while at >= 0:
            here = gltf["nodes"][at]
            defaults = {"translation": [0, 0, 0], "rotation": [0, 0, 0, 1], "scale": [1, 1, 1]}
            parts = [keyed.get((at, key), here.get(key, default)) for key, default in defaults.items()]
            local = np.array(here["matrix"]).reshape(4, 4).T if "matrix" in here else matrix(*parts)
            world, at = local @ world, parents.get(at, -1)
        worlds[node["name"]] = world
    return worlds


def assert_stands_as(path: Path, clip: Clip, animation: str = "", skip: tuple[str, ...] = ()) -> None:
    rotations, positions = clip.world()
    for frame in (0, clip.frame_count // 2, clip.frame_count - 1):
        worlds = node_worlds(path, animation or clip.name, frame)
        for joint, name in enumerate(clip.skeleton.joint_names):
            if name in skip:
                continue
            expected = matrix(positions[frame, joint], rotations[frame, joint], 1.0)
            got = worlds[name].copy()
            got[:3, :3] /= np.linalg.norm(got[:3, :3], axis=0)
            np.testing.assert_allclose(got[:3, 3], expected[:3, 3], atol=ATOL_M, err_msg=f"{name}, frame {frame}")
            np.testing.assert_allclose(got[:3, :3], expected[:3, :3], atol=1e-5, err_msg=f"{name}, frame {frame}")


@pytest.fixture
def character(clip: Clip) -> Character:
    return Character(clip.skeleton)


@pytest.fixture
def template(tmp_path: Path, character: Character) -> Path:
    return character.save(tmp_path / "hero.glb")


def renamed(clip: Clip, names: dict[str, str]) -> Clip:
    old = clip.skeleton
    skeleton = Skeleton.build(
        [names.get(n, n) for n in old.joint_names], old.parents, old.rest_translations, old.rest_rotations
    )
    return replace(clip, skeleton=skeleton)


def with_skeleton(clip: Clip, rest_translations: Array, rest_rotations: Array) -> Clip:
    skeleton = Skeleton.build(clip.skeleton.joint_names, clip.skeleton.parents, rest_translations, rest_rotations)
    return Clip.from_root(skeleton, 30.0, clip.local_rotations, clip.root_positions, clip.name)


def test_no_clip_is_refused(tmp_path: Path, template: Path) -> None:
    with pytest.raises(InvalidRequest, match="at least one clip"):
        write_into_glb(template, tmp_path / "out.glb", [])


def test_nan_is_refused_and_leaves_no_file(tmp_path: Path, template: Path, clip: Clip) -> None:
    rotations = clip.local_rotations.copy()
    rotations[3, 2, 1] = np.nan
    with pytest.raises(InvalidRequest, match="NaN"):
        write_into_glb(template, tmp_path / "out.glb", [replace(clip, local_rotations=rotations)])
    assert [path.name for path in tmp_path.iterdir()] == ["hero.glb"]


def test_clips_of_two_skeletons_are_refused(tmp_path: Path, template: Path, clip: Clip) -> None:
    with pytest.raises(InvalidRequest, match="another skeleton"):
        write_into_glb(template, tmp_path / "out.glb", [clip, renamed(clip, {"head": "skull"})])


def test_unknown_ways_of_equal_names_are_refused(tmp_path: Path, template: Path, clip: Clip) -> None:
    with pytest.raises(InvalidRequest, match="replace, append"):
        write_into_glb(template, tmp_path / "out.glb", [clip], same_name="ask")  # type: ignore[arg-type]


def test_a_template_is_for_glb_only(tmp_path: Path, template: Path, clip: Clip) -> None:
    with pytest.raises(InvalidRequest, match=r"\.glb, not into out\.bvh"):
        write_clip(tmp_path / "out.bvh", clip, template=template)


@pytest.mark.parametrize("content", [b"", b"glTF", b"{}", b"glTF" + bytes(40), b"\x00" * 99])
def test_a_template_that_is_no_gltf_is_refused(tmp_path: Path, clip: Clip, content: bytes) -> None:
    (tmp_path / "hero.glb").write_bytes(content)
    with pytest.raises(FileError, match=r"hero\.glb"):
        write_into_glb(tmp_path / "hero.glb", tmp_path / "out.glb", [clip])


def test_a_missing_template_is_named(tmp_path: Path, clip: Clip) -> None:
    with pytest.raises(FileError, match=r"gone\.glb"):
        write_into_glb(tmp_path / "gone.glb", tmp_path / "out.glb", [clip])


def test_damaged_templates_never_raise_anything_else(tmp_path: Path, character: Character, clip: Clip) -> None:
    random = np.random.default_rng(0)
    whole = bytearray(character.save(tmp_path / "hero.glb").read_bytes())
    for _ in range(150):
        spoilt = whole.copy()
        for _ in range(random.integers(1, 4)):
            spoilt[random.integers(min(len(spoilt), 4000))] = random.integers(256)
        (tmp_path / "hero.glb").write_bytes(spoilt)
        try:
            write_into_glb(tmp_path / "hero.glb", tmp_path / "out.glb", [clip])
        except (FileError, IncompatibleSkeleton):
            pass


BREAKS: dict[str, tuple[Callable[[Json], Any], str]] = {
    "buffer cut off": (lambda j: j["buffers"][0].update(byteLength=10**6), "buffer 0.*of 1000000 bytes"),
    "view of no buffer": (lambda j: j["bufferViews"][0].update(buffer=4), "'buffer' is 4"),
    "bad offset": (lambda j: j["bufferViews"][0].update(byteOffset="x"), "'byteOffset' is 'x'"),
    "bad samplers": (lambda j: j["animations"][0].update(samplers=7, name="swing"), "'samplers' is not a list"),
    "odd views": (
        lambda j: (
            j["accessors"][-1].update(bufferView=[1]) or j["animations"][0].update(name="swing") or j["buffers"].pop()
        ),
        "index below",
    ),
    "joint of no node": (lambda j: j["skins"][0]["joints"].append(99), "skin 0.*not a list of indices"),
    "circle": (lambda j: j["nodes"][5].update(children=[3]), "two parents|circle"),
    "mirrored": (lambda j: j["nodes"][0].update(scale=[-1, 1, 1]), "mirrored"),
    "nan": (lambda j: j["extensions"].update(bad=float("nan")), "cannot be written again"),
}


@pytest.mark.parametrize("name", BREAKS)
def test_a_broken_template_gives_one_clear_error(tmp_path: Path, character: Character, clip: Clip, name: str) -> None:
    character.json["buffers"] = [{"byteLength": len(character.data)}]
    spoil, says = BREAKS[name]
    spoil(character.json)
    with pytest.raises(FileError, match=says):
        write_into_glb(character.save(tmp_path / "hero.glb"), tmp_path / "out.glb", [clip])
    assert not (tmp_path / "out.glb").exists()


def test_joints_stand_where_the_clip_says(tmp_path: Path, template: Path, clip: Clip) -> None:
    """Through an armature that is turned, moved and scaled by 0.01; by matrices, not by our own kinematics."""
    write_into_glb(template, tmp_path / "out.glb", [clip])
    assert_stands_as(tmp_path / "out.glb", clip)


def test_our_reader_finds_the_same_motion(tmp_path: Path, template: Path, clip: Clip) -> None:
    write_clips(tmp_path / "out.glb", [clip, replace(clip, name="again").trimmed(0, 0.3)], template=template)
    idle, swing, again = read_gltf(tmp_path / "out.glb")
    assert [c.name for c in (idle, swing, again)] == ["idle", "swing", "again"] and again.frame_count == 9
    joints = [swing.skeleton.index[name] for name in clip.skeleton.joint_names]
    np.testing.assert_allclose(swing.world()[1][:, joints], clip.world()[1], atol=ATOL_M)


def test_everything_else_is_kept(tmp_path: Path, character: Character, template: Path, clip: Clip) -> None:
    write_into_glb(template, tmp_path / "out.glb", [clip])
    before, old_bytes = opened(template)
    after, new_bytes = opened(tmp_path / "out.glb")
    for key in set(before) - {"accessors", "bufferViews", "buffers", "animations"}:
        assert after[key] == before[key], key
    for key in ("accessors", "bufferViews", "animations"):
        assert after[key][: len(before[key])] == before[key], key
    assert new_bytes.startswith(old_bytes)
    assert [a["name"] for a in after["animations"]] == ["idle", "swing"]
    moved = {channel["target"]["node"] for channel in after["animations"][1]["channels"]}
    assert moved == set(range(3, 12))  # the joints: not the armature, the mesh called "head", the lamp or the sword


def test_a_second_library_reads_it(tmp_path: Path, template: Path, clip: Clip) -> None:
    write_into_glb(template, tmp_path / "out.glb", [clip])
    gltf = pygltflib.GLTF2().load(tmp_path / "out.glb")
    blob = gltf.binary_blob()
    assert gltf.buffers[0].byteLength == len(blob)
    for accessor in gltf.accessors:
        view = gltf.bufferViews[accessor.bufferView]
        assert view.byteOffset % 4 == 0 and view.byteOffset + view.byteLength <= len(blob)
    times = gltf.accessors[gltf.animations[1].samplers[0].input]
    assert (times.count, times.min, times.max) == (20, [0.0], [np.float32(19 / 30)])


def test_a_node_that_the_template_translates_is_held_by_ours(tmp_path: Path, character: Character, clip: Clip) -> None:
    """Else a player that goes from one to the other leaves it where it was."""
    idle = character.json["animations"][0]
    moved = character.accessor(np.array([[0.0, 0, 0], [0, 9, 0]]), "VEC3")["index"]
    idle["samplers"].append({"input": idle["samplers"][0]["input"], "output": moved})
    node = character.json["nodes"].index(character.node("head"))
    idle["channels"].append({"sampler": 1, "target": {"node": node, "path": "translation"}})
    write_clip(tmp_path / "a.glb", clip, template=character.save(tmp_path / "moves.glb"))
    ours = opened(tmp_path / "a.glb")[0]["animations"][-1]
    assert (node, "translation") in [(c["target"]["node"], c["target"]["path"]) for c in ours["channels"]]
    assert_stands_as(tmp_path / "a.glb", clip)


def test_an_animation_of_the_same_name_is_replaced(tmp_path: Path, template: Path, clip: Clip) -> None:
    write_into_glb(template, tmp_path / "out.glb", [replace(clip, name="idle")])
    assert [a["name"] for a in opened(tmp_path / "out.glb")[0]["animations"]] == ["idle"]
    assert_stands_as(tmp_path / "out.glb", clip, "idle")


def test_an_animation_of_the_same_name_can_be_kept(tmp_path: Path, template: Path, clip: Clip) -> None:
    twice = [replace(clip, name="idle"), replace(clip, name="idle")]
    write_into_glb(template, tmp_path / "out.glb", twice, same_name="append")
    after, before = opened(tmp_path / "out.glb")[0]["animations"], opened(template)[0]["animations"]
    assert [a["name"] for a in after] == ["idle", "idle_2", "idle_2_2"] and after[0] == before[0]
    assert_stands_as(tmp_path / "out.glb", clip, "idle_2")


def test_replacing_again_and_again_does_not_grow_the_file(tmp_path: Path, template: Path, clip: Clip) -> None:
    out = tmp_path / "out.glb"
    write_into_glb(template, out, [clip, replace(clip, name="other")])
    first = out.read_bytes()
    for _ in range(3):
        write_into_glb(out, out, [clip, replace(clip, name="other")])
    assert out.read_bytes() == first


def test_shared_data_of_a_replaced_animation_is_kept(tmp_path: Path, template: Path, clip: Clip) -> None:
    """Another animation samples the last accessors of the file: they must survive the replacement."""
    out = tmp_path / "out.glb"
    write_into_glb(template, out, [clip])
    copy = pygltflib.GLTF2().load(out)
    swing = copy.animations[1]
    copy.animations.append(pygltflib.Animation(name="twin", channels=swing.channels, samplers=swing.samplers))
    copy.save(out)
    write_into_glb(out, out, [clip.trimmed(0, 0.2)])
    assert_stands_as(out, clip, "twin")


def test_missing_joints_are_named(tmp_path: Path, template: Path, clip: Clip) -> None:
    with pytest.raises(
        IncompatibleSkeleton, match=r"hero\.glb has no node for 2 of the clip's 9 joints: bip_l, skull;"
    ):
        write_into_glb(template, tmp_path / "out.glb", [renamed(clip, {"left_leg": "bip_l", "head": "skull"})])


def test_a_template_of_another_character_is_refused(tmp_path: Path, template: Path, clip: Clip) -> None:
    names = {name: f"other_{name}" for name in clip.skeleton.joint_names}
    with pytest.raises(IncompatibleSkeleton, match="no node for any of the 9 joints"):
        write_into_glb(template, tmp_path / "out.glb", [renamed(clip, names)])


def test_other_proportions_are_refused(tmp_path: Path, template: Path, clip: Clip) -> None:
    longer = clip.skeleton.rest_translations * 1.2
    with pytest.raises(IncompatibleSkeleton, match=r"rests at .* m from its parent.*proportions.*--into"):
        write_into_glb(template, tmp_path / "out.glb", [with_skeleton(clip, longer, clip.skeleton.rest_rotations)])


def test_other_joint_axes_are_refused(tmp_path: Path, template: Path, clip: Clip) -> None:
    """The same bones with identity rest rotations, as a BVH of this character has: rotations would tear the mesh."""
    skeleton = clip.skeleton
    positions = skeleton.rest_model[1]
    offsets = positions - np.where(skeleton.parents[:, None] < 0, 0.0, positions[skeleton.parents])
    with pytest.raises(IncompatibleSkeleton, match="joint axes"):
        write_into_glb(template, tmp_path / "out.glb", [with_skeleton(clip, offsets, np.tile([0, 0, 0, 1.0], (9, 1)))])


def test_a_root_that_the_template_lacks_passes_its_motion_on(tmp_path: Path, template: Path, clip: Clip) -> None:
    write_into_glb(template, tmp_path / "out.glb", [renamed(clip, {"root": "unknown"})])
    gltf, _ = opened(tmp_path / "out.glb")
    assert 3 not in {channel["target"]["node"] for channel in gltf["animations"][-1]["channels"]}
    assert_stands_as(tmp_path / "out.glb", renamed(clip, {"root": "unknown"}), skip=("unknown",))


def test_an_end_bone_that_never_moves_may_be_missing(tmp_path: Path, template: Path, clip: Clip) -> None:
    rotations = clip.local_rotations.copy()
    rotations[:, 8] = clip.skeleton.rest_rotations[8]
    still = renamed(replace(clip, local_rotations=rotations), {"head": "head_end"})
    write_into_glb(template, tmp_path / "out.glb", [still])
    assert_stands_as(tmp_path / "out.glb", still, skip=("head_end",))


def test_nodes_between_and_above_keep_their_rest(tmp_path: Path, character: Character, clip: Clip) -> None:
    """A twist bone between leg and foot, turned at rest: the foot stands where the clip says all the same."""
    nodes = character.json["nodes"]
    leg = clip.skeleton.index["left_leg"] + 3
    foot = nodes[clip.skeleton.index["left_foot"] + 3]
    turn = from_axis_angle(np.array([1.0, 2.0, 0.5]), 0.8)
    twist = {"name": "twist", "translation": [3.0, 4.0, -2.0], "rotation": turn.tolist(), "scale": [2.0] * 3}
    nodes.append(twist | {"children": nodes[leg]["children"]})
    nodes[leg]["children"] = [len(nodes) - 1]
    offset = np.array(foot["translation"]) - twist["translation"]
    foot["translation"] = (rotate(inverse(turn), offset) / 2).tolist()
    foot["rotation"] = multiply(inverse(turn), np.array(foot["rotation"])).tolist()
    write_into_glb(character.save(tmp_path / "hero.glb"), tmp_path / "out.glb", [clip])
    assert_stands_as(tmp_path / "out.glb", clip)


def test_a_clip_of_the_template_itself_comes_back(tmp_path: Path, template: Path, clip: Clip) -> None:
    """Clips read from a template, or retargeted onto its rig, carry the armature as a joint."""
    write_into_glb(template, tmp_path / "a.glb", [clip])
    swing = read_gltf(tmp_path / "a.glb")[1]
    assert swing.skeleton.joint_names[0] == "Armature"
    assert swing.skeleton.digest == read_gltf_skeleton(template).digest
    write_into_glb(template, tmp_path / "b.glb", [swing])
    assert_stands_as(tmp_path / "b.glb", clip)


def test_a_joint_given_as_a_matrix_becomes_animatable(tmp_path: Path, character: Character, clip: Clip) -> None:
    node = character.node("spine")
    whole = matrix(node.pop("translation"), node.pop("rotation"), 1.0)
    node["matrix"] = whole.T.ravel().tolist()
    write_into_glb(character.save(tmp_path / "hero.glb"), tmp_path / "out.glb", [clip])
    assert all("matrix" not in node for node in opened(tmp_path / "out.glb")[0]["nodes"])
    assert_stands_as(tmp_path / "out.glb", clip)


def test_a_sheared_joint_is_refused(tmp_path: Path, character: Character, clip: Clip) -> None:
    node = character.node("spine")
    whole = matrix(node.pop("translation"), node.pop("rotation"), 1.0)
    whole[:3, :3] = whole[:3, :3] @ [[1, 0.1, 0], [0, 1, 0], [0, 0, 1]]
    node["matrix"] = whole.T.ravel().tolist()
    with pytest.raises(FileError, match="sheared"):
        write_into_glb(character.save(tmp_path / "hero.glb"), tmp_path / "out.glb", [clip])


def as_text(character: Character, folder: Path) -> Path:
    """The template as .gltf, its buffer in two files and its picture in a third."""
    half = character.json["bufferViews"][3]["byteOffset"]
    (folder / "a.bin").write_bytes(character.data[:half])
    (folder / "b.bin").write_bytes(character.data[half:])
    (folder / "skin.png").write_bytes(PNG)
    for view in character.json["bufferViews"][3:]:
        view |= {"buffer": 1, "byteOffset": view["byteOffset"] - half}
    sizes = half, len(character.data) - half
    character.json["buffers"] = [
        {"uri": f"{n}.bin", "byteLength": size, "name": n} for n, size in zip("ab", sizes, strict=True)
    ]
    character.json["images"] = [{"uri": "skin.png"}]
    (folder / "hero.gltf").write_text(json.dumps(character.json))
    return folder / "hero.gltf"


def test_a_gltf_with_files_beside_it_becomes_one_glb(tmp_path: Path, character: Character, clip: Clip) -> None:
    old = bytes(character.data)
    write_into_glb(as_text(character, tmp_path), tmp_path / "out.glb", [clip])
    gltf, binary = opened(tmp_path / "out.glb")
    assert len(gltf["buffers"]) == 1 and "uri" not in gltf["buffers"][0] and binary.startswith(old)
    picture = gltf["bufferViews"][gltf["images"][0]["bufferView"]]
    assert binary[picture["byteOffset"] :][: picture["byteLength"]] == PNG
    assert gltf["images"][0]["mimeType"] == "image/png" and "uri" not in gltf["images"][0]
    assert_stands_as(tmp_path / "out.glb", clip)


@pytest.mark.parametrize(("name", "says"), [("b.bin", "buffer 1"), ("skin.png", "image 0")])
def test_a_missing_file_beside_a_gltf_is_named(
    tmp_path: Path, character: Character, clip: Clip, name: str, says: str
) -> None:
    template = as_text(character, tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(FileError, match=says):
        write_into_glb(template, tmp_path / "out.glb", [clip])


@pytest.mark.parametrize("address", ["../../etc/passwd.png", "http://example.org/a.png", "notes.txt"])
def test_pictures_from_elsewhere_are_refused(tmp_path: Path, character: Character, clip: Clip, address: str) -> None:
    character.json["images"] = [{"uri": address}]
    with pytest.raises(FileError, match="image 0"):
        write_into_glb(character.save(tmp_path / "hero.glb"), tmp_path / "out.glb", [clip])


def test_compressed_meshes_pass_through(tmp_path: Path, character: Character, clip: Clip) -> None:
    """EXT_meshopt_compression: a buffer without data stands in for what unpacks; it must stay, and stay empty."""
    packed = {"EXT_meshopt_compression": {"buffer": 0, "byteOffset": 0, "byteLength": 36, "byteStride": 12, "count": 3}}
    character.json["bufferViews"][0] = {"buffer": 1, "byteLength": 36, "extensions": packed}
    character.json["extensionsUsed"] += list(packed)
    character.json["buffers"] = [
        {"byteLength": len(character.data)},
        {"byteLength": 36, "extensions": {"EXT_meshopt_compression": {"fallback": True}}},
    ]
    write_into_glb(character.save(tmp_path / "hero.glb"), tmp_path / "out.glb", [clip])
    gltf, _ = opened(tmp_path / "out.glb")
    assert gltf["buffers"][1] == character.json["buffers"][1]
    assert gltf["bufferViews"][0] == character.json["bufferViews"][0]
