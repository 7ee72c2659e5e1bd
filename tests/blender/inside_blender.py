"""Runs inside Blender, knows nothing of AniMoE: imports, exports, drives armatures, and says where Blender has joints.

    python inside_blender.py FOLDER

FOLDER/jobs.json is a list of jobs, each a dict of "do", the name of a function here, and its arguments. Arrays go in
and out as .npy files in FOLDER, named in the job. Positions are Blender's: metres of the scene, Z up.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from pathlib import Path
from typing import Any

import bpy
import numpy as np
from mathutils import Matrix, Quaternion


def measure(file: str, frames: int, frame_rate_hz: float, out: str, exports: list[str], action: str) -> dict[str, Any]:
    """Imports a file and evaluates its armature on every frame; exports the scene then as other files.

    `action` names the one to play, where the file holds several.
    """
    _empty_scene(frame_rate_hz)
    _import(file)
    armature = _only_armature()
    if action:
        _play(armature, action)
    first, last = armature.animation_data.action.frame_range
    # A BVH's frames become frames, whatever their rate; other files have times.
    step = 1.0 if file.endswith(".bvh") else bpy.context.scene.render.fps / frame_rate_hz
    result = _evaluate(armature, round(first), frames, out, step)
    scene = bpy.context.scene
    scene.frame_start, scene.frame_end = round(first), round(first) + frames - 1
    for path in exports:
        _export(path, armature)
    return {**result, "frames": (last - first) / step + 1}


def describe(seed: int) -> dict[str, Any]:
    """The armature of `_native_armature` as a client sends it: local rest transforms (wxyz) in Blender's axes."""
    _empty_scene(30.0)
    bones = _native_armature(seed).data.bones
    locals_ = [_rest_local(bone) for bone in bones]
    return {
        "names": [bone.name for bone in bones],
        "parents": [bones.find(bone.parent.name) if bone.parent else -1 for bone in bones],
        "translations": [list(local.to_translation()) for local in locals_],
        "rotations": [list(local.to_quaternion()) for local in locals_],
    }


def drive(seed: int, rotations: str, translations: str, out: str) -> dict[str, Any]:
    """Sets local transforms (T, J, 4) xyzw and (T, J, 3) on the pose bones, keys them, and evaluates."""
    _empty_scene(30.0)
    armature = _native_armature(seed)
    turns, moves = np.load(rotations), np.load(translations)
    for frame in range(len(turns)):
        for index, bone in enumerate(armature.pose.bones):
            x, y, z, w = turns[frame, index]
            local = Matrix.LocRotScale(moves[frame, index].tolist(), Quaternion((w, x, y, z)), None)
            bone.matrix_basis = _rest_local(bone.bone).inverted() @ local
            bone.keyframe_insert("location", frame=frame)
            bone.keyframe_insert("rotation_quaternion", frame=frame)
    return _evaluate(armature, 0, len(turns), out)


def act(seed: int, frames: int, frame_rate_hz: float, out: str, exports: list[str]) -> dict[str, Any]:
    """An animation made in Blender by Blender's means: turned and moved object, Euler and quaternion keys."""
    _empty_scene(frame_rate_hz)
    armature = _native_armature(seed)
    armature.location, armature.rotation_euler = (0.4, -0.3, 0.1), (0.2, -0.1, 0.7)
    random = np.random.default_rng(seed)
    for index, bone in enumerate(armature.pose.bones):
        bone.rotation_mode = "QUATERNION" if index % 2 else "YXZ"
        for frame in range(1, frames + 1):
            angles = random.normal(size=3) * 0.1 + 0.6 * np.sin(frame / 5 + index)
            if index % 2:
                bone.rotation_quaternion = Quaternion(angles.tolist())
                bone.keyframe_insert("rotation_quaternion", frame=frame)
            else:
                bone.rotation_euler = angles.tolist()
                bone.keyframe_insert("rotation_euler", frame=frame)
            if not bone.parent:
                bone.location = (0.02 * frame, 0.05 * np.sin(frame / 4), 0.03 * frame)
                bone.keyframe_insert("location", frame=frame)
    scene = bpy.context.scene
    scene.frame_start, scene.frame_end = 1, frames
    result = _evaluate(armature, 1, frames, out)
    for path in exports:
        _export(path, armature)
    return result


def inspect_fbx(file: str) -> dict[str, Any]:
    """What Blender makes of the objects of an FBX."""
    _empty_scene(30.0)
    _import(file)
    armature = _only_armature()
    mesh = next(thing for thing in bpy.data.objects if thing.type == "MESH")
    return {
        "actions": [action.name for action in bpy.data.actions],
        "bones": [bone.name for bone in armature.data.bones],
        "groups": [group.name for group in mesh.vertex_groups],
        "vertices": len(mesh.data.vertices),
        "height": max((mesh.matrix_world @ vertex.co).z for vertex in mesh.data.vertices),
    }


def _empty_scene(frame_rate_hz: float) -> None:
    bpy.ops.wm.read_factory_settings(use_empty=True)
    bpy.context.scene.render.fps = round(frame_rate_hz)  # not fps_base: importers mistake it


def _import(file: str) -> None:
    suffix = Path(file).suffix
    if suffix == ".bvh":
        bpy.ops.import_anim.bvh(filepath=file, global_scale=0.01, update_scene_duration=True)
    elif suffix == ".fbx":
        bpy.ops.import_scene.fbx(filepath=file)
        _disconnect(_only_armature())
    else:
        bpy.ops.import_scene.gltf(filepath=file)


def _play(armature: Any, name: str) -> None:
    action = next(action for action in bpy.data.actions if action.name.split("_")[0] == name)  # 4.2: lively_Armature
    for track in armature.animation_data.nla_tracks:
        track.mute = True
    armature.animation_data.action = action
    if hasattr(action, "slots"):  # Blender 4.4 and newer
        armature.animation_data.action_slot = action.slots[0]


def _disconnect(armature: Any) -> None:
    """Takes bones apart: the FBX importer joins one that begins at another's tip, and a joined bone cannot stretch."""
    bpy.context.view_layer.objects.active = armature
    bpy.ops.object.mode_set(mode="EDIT")
    for bone in armature.data.edit_bones:
        bone.use_connect = False
    bpy.ops.object.mode_set(mode="OBJECT")


def _export(path: str, armature: Any) -> None:
    suffix = Path(path).suffix
    for thing in bpy.data.objects:
        thing.select_set(thing is armature)
    bpy.context.view_layer.objects.active = armature
    first, last = bpy.context.scene.frame_start, bpy.context.scene.frame_end
    if suffix == ".bvh":
        bpy.ops.export_anim.bvh(filepath=path, frame_start=first, frame_end=last, root_transform_only=False)
    elif suffix == ".fbx":
        bpy.ops.export_scene.fbx(
            filepath=path,
            bake_anim_use_nla_strips=False,
            bake_anim_use_all_actions=False,
            bake_anim_simplify_factor=0.0,
        )
    else:
        bpy.ops.export_scene.gltf(filepath=path, export_optimize_animation_size=False)


def _only_armature() -> Any:
    (armature,) = [thing for thing in bpy.data.objects if thing.type == "ARMATURE"]
    return armature


def _native_armature(seed: int) -> Any:
    """A body of twelve bones: some connected, all with rolls of their own, parents not always listed just before."""
    random = np.random.default_rng(seed)
    heads = {
        "hips": (None, (0, 0, 0.95)),
        "spine": ("hips", (0, 0.01, 1.1)),
        "chest": ("spine", (0, 0.03, 1.3)),
        "head": ("chest", (0, 0.0, 1.55)),
        "arm.L": ("chest", (0.17, 0.02, 1.42)),
        "forearm.L": ("arm.L", (0.45, 0.03, 1.4)),
        "arm.R": ("chest", (-0.17, 0.02, 1.42)),
        "forearm.R": ("arm.R", (-0.45, 0.03, 1.4)),
        "thigh.L": ("hips", (0.09, 0, 0.9)),
        "shin.L": ("thigh.L", (0.1, 0.01, 0.48)),
        "thigh.R": ("hips", (-0.09, 0, 0.9)),
        "shin.R": ("thigh.R", (-0.1, 0.01, 0.48)),
    }
    armature = bpy.data.objects.new("Rig", bpy.data.armatures.new("Rig"))
    bpy.context.scene.collection.objects.link(armature)
    bpy.context.view_layer.objects.active = armature
    bpy.ops.object.mode_set(mode="EDIT")
    bones = {}
    for name, (parent, head) in heads.items():
        bone = bones[name] = armature.data.edit_bones.new(name)
        bone.head = head
        tails = [place for above, place in heads.values() if above == name]
        bone.tail = tails[0] if tails else np.array(head) + [0.0, -0.05, -0.15]
        bone.roll = random.uniform(-3, 3)
        bone.parent = bones.get(parent)
        bone.use_connect = name in ("spine", "forearm.L", "shin.R")
    bpy.ops.object.mode_set(mode="OBJECT")
    return armature


def _rest_local(bone: Any) -> Matrix:
    return bone.parent.matrix_local.inverted() @ bone.matrix_local if bone.parent else bone.matrix_local


def _evaluate(armature: Any, first: int, frames: int, out: str, step: float = 1.0) -> dict[str, Any]:
    positions = np.empty((frames, len(armature.pose.bones), 3))
    for frame in range(frames):
        whole = int(first + frame * step + 1e-6)
        bpy.context.scene.frame_set(whole, subframe=max(0.0, first + frame * step - whole))
        posed = armature.evaluated_get(bpy.context.evaluated_depsgraph_get())
        positions[frame] = [posed.matrix_world @ bone.head for bone in posed.pose.bones]
    np.save(out, positions)
    names = [bone.name for bone in armature.pose.bones]
    return {"bones": names, "positions": out, "object": [list(row) for row in armature.matrix_world]}


if __name__ == "__main__":
    status = 0
    try:
        os.chdir(sys.argv[-1])
        jobs = json.loads(Path("jobs.json").read_text(encoding="utf-8"))
        results = [globals()[job.pop("do")](**job) for job in jobs]
        Path("results.json").write_text(json.dumps(results), encoding="utf-8")
    except BaseException:
        traceback.print_exc()
        status = 1
    sys.stderr.flush()
    os._exit(status)
