"""Runs inside Blender's Python: builds an armature from plain arrays and lets Blender write it as FBX.

Started by `animoe.formats.fbx_writer` as a script of its own: Blender's interpreter knows nothing of AniMoE, so only
the standard library, numpy and bpy are used here. Runs on Blender 3.4 to 5.0.

Numbers that importers do not like are avoided at the source. The scene counts in centimetres, hence no scale of
100 or 0.01 on any node. The armature holds our axes (Y up) and its object is turned upright for Blender; the exporter's
change of axes undoes that turn, hence no rotation of -90 degrees either. Bones are built from matrices, so a
joint's local rotations reach the file as they were.

    python blender_worker.py FOLDER            with bpy installed
    blender -b --python blender_worker.py -- FOLDER

FOLDER holds `job.json` and arrays as `NAME.npy` (see `fbx_writer._job`); `out.fbx` appears beside them. A failure ends
with status 1 and its reason in the last line of stderr.
"""

from __future__ import annotations

import json
import math
import os
import sys
import traceback
from pathlib import Path
from typing import Any

# This folder comes first on the path of a script; its bvh.py or fbx.py must not stand for anybody else's.
sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() != Path(__file__).resolve().parent]

import bpy  # noqa: E402
import numpy as np  # noqa: E402
from mathutils import Matrix  # noqa: E402

LINEAR = 1  # number of the enum item in Keyframe.interpolation: CONSTANT, LINEAR, BEZIER


def main(folder: Path) -> None:
    job = json.loads((folder / "job.json").read_text(encoding="utf-8"))
    job |= {file.stem: np.load(file, allow_pickle=False) for file in folder.glob("*.npy")}
    scene = _empty_scene(job)
    armature = _armature(scene, job)
    _animate(armature, job)
    _bind_mesh(scene, armature, job)
    _export(folder / "out.fbx")


def _empty_scene(job: dict[str, Any]) -> Any:
    bpy.ops.wm.read_factory_settings(use_empty=True)
    scene = bpy.context.scene
    scene.name = job["take"]  # the exporter names the take after the scene
    scene.unit_settings.system = "METRIC"
    scene.unit_settings.scale_length = 0.01
    rate = job["frame_rate_hz"]
    scene.render.fps = max(1, round(rate))
    scene.render.fps_base = scene.render.fps / rate
    scene.frame_start, scene.frame_end = 0, len(job["rotations"]) - 1
    return scene


def _armature(scene: Any, job: dict[str, Any]) -> Any:
    """An armature whose bones have the joints' axes; `job["bones"]` becomes the names that Blender gave them."""
    # Unreal takes a node of this very name for Blender's own and adds no bone for it.
    armature = bpy.data.objects.new("Armature", bpy.data.armatures.new("Armature"))
    scene.collection.objects.link(armature)
    armature.rotation_euler = (math.pi / 2, 0.0, 0.0)
    bpy.context.view_layer.objects.active = armature
    bpy.ops.object.mode_set(mode="EDIT")
    bones: list[Any] = []
    for name, parent, matrix, length in zip(
        job["joint_names"], job["parents"], job["rest_matrices"], job["bone_lengths"], strict=True
    ):
        bone = armature.data.edit_bones.new(name)
        bone.head, bone.tail = (0.0, 0.0, 0.0), (0.0, float(length), 0.0)
        bone.matrix = Matrix(matrix.tolist())  # Y of a bone runs along it; the length stays
        if parent >= 0:
            bone.parent = bones[parent]
        bones.append(bone)
    job["bones"] = [bone.name for bone in bones]
    bpy.ops.object.mode_set(mode="OBJECT")
    return armature


def _animate(armature: Any, job: dict[str, Any]) -> None:
    """Keys every bone on every frame. Pose bones hold the change from the rest pose that Blender made of ours."""
    rest_rotations, rest_translations = _rest_locals(armature, job)
    back = rest_rotations * [1.0, -1.0, -1.0, -1.0]
    rotations = _multiply(back, np.roll(job["rotations"], 1, axis=-1))  # ours are xyzw, Blender's wxyz
    translations = _rotate(back, job["translations"] - rest_translations)
    curves = _curves(armature, job["take"])
    frames = np.arange(len(rotations), dtype=np.float64)
    for index, bone in enumerate(job["bones"]):
        path = f'pose.bones["{bpy.utils.escape_identifier(bone)}"]'
        armature.pose.bones[bone].rotation_mode = "QUATERNION"
        for channel, values in (("rotation_quaternion", rotations), ("location", translations)):
            for axis in range(values.shape[-1]):
                _key(curves.new(f"{path}.{channel}", index=axis), frames, values[:, index, axis])


def _rest_locals(armature: Any, job: dict[str, Any]) -> tuple[Any, Any]:
    """Rest rotations (J, 4) wxyz and translations (J, 3) relative to the parent, as Blender rounded them."""
    rotations, translations = [], []
    for name, parent in zip(job["bones"], job["parents"], strict=True):
        local = armature.data.bones[name].matrix_local
        if parent >= 0:
            local = armature.data.bones[job["bones"][parent]].matrix_local.inverted() @ local
        rotations.append(local.to_quaternion().normalized())
        translations.append(local.to_translation())
    return np.array(rotations, dtype=np.float64), np.array(translations, dtype=np.float64)


def _multiply(a: Any, b: Any) -> Any:
    """Products of quaternions (..., 4) wxyz."""
    aw, av, bw, bv = a[..., :1], a[..., 1:], b[..., :1], b[..., 1:]
    w = aw * bw - np.sum(av * bv, axis=-1, keepdims=True)
    return np.concatenate([w, aw * bv + bw * av + np.cross(av, bv)], axis=-1)


def _rotate(q: Any, v: Any) -> Any:
    """Vectors v (..., 3) turned by unit quaternions q (..., 4) wxyz."""
    twice = 2.0 * np.cross(q[..., 1:], v)
    return v + q[..., :1] * twice + np.cross(q[..., 1:], twice)


def _curves(armature: Any, name: str) -> Any:
    """The F-curves of a new action on the armature."""
    action = bpy.data.actions.new(name)
    armature.animation_data_create().action = action
    if not hasattr(action, "slots"):  # before Blender 4.4
        return action.fcurves
    slot = action.slots.new(id_type="OBJECT", name=armature.name)
    armature.animation_data.action_slot = slot
    strip = action.layers.new("Layer").strips.new(type="KEYFRAME")
    return strip.channelbag(slot, ensure=True).fcurves


def _key(curve: Any, frames: Any, values: Any) -> None:
    curve.keyframe_points.add(len(frames))
    curve.keyframe_points.foreach_set("co", np.stack([frames, values], axis=-1).ravel())
    curve.keyframe_points.foreach_set("interpolation", np.full(len(frames), LINEAR))
    curve.update()


def _bind_mesh(scene: Any, armature: Any, job: dict[str, Any]) -> None:
    """One triangle mesh, every vertex bound to one bone."""
    positions = job["mesh_positions"]
    mesh = bpy.data.meshes.new(job["mesh_name"])
    mesh.from_pydata(positions.tolist(), [], np.arange(len(positions)).reshape(-1, 3).tolist())
    body = bpy.data.objects.new(job["mesh_name"], mesh)
    scene.collection.objects.link(body)
    body.parent = armature
    for index, bone in enumerate(job["bones"]):
        followers = np.flatnonzero(job["mesh_joints"] == index)
        if len(followers):
            body.vertex_groups.new(name=bone).add(followers.tolist(), 1.0, "REPLACE")
    body.modifiers.new("Armature", "ARMATURE").object = armature


def _export(path: Path) -> None:
    bpy.ops.export_scene.fbx(
        filepath=str(path),
        check_existing=False,
        object_types={"ARMATURE", "MESH"},
        axis_forward="-Z",
        axis_up="Y",
        apply_scale_options="FBX_SCALE_NONE",
        add_leaf_bones=False,
        armature_nodetype="NULL",
        use_armature_deform_only=False,
        mesh_smooth_type="FACE",
        bake_anim=True,
        bake_anim_use_all_bones=True,
        bake_anim_use_nla_strips=False,
        bake_anim_use_all_actions=False,
        bake_anim_force_startend_keying=True,
        bake_anim_step=1.0,
        bake_anim_simplify_factor=0.0,
        use_metadata=False,
    )
    if not path.is_file():
        raise RuntimeError("Blender's exporter wrote no file")


def _reason(error: BaseException) -> str:
    """One line. An operator's error holds the traceback of the add-on and where it was called from."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip() and not line.startswith("Location:")]
    return f"{type(error).__name__}: {lines[-1]}" if lines else type(error).__name__


if __name__ == "__main__":
    status = 0
    try:
        main(Path(sys.argv[-1]))
    except BaseException as error:
        traceback.print_exc()
        print(_reason(error), file=sys.stderr)
        status = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)  # Blender's own clean-up prints without end when a driver or an add-on leaks
