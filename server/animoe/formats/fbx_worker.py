"""The process that parses FBX for `formats.fbx`: a request per line on stdin, an answer per request on stdout.

It is a process of its own because the parser is C code under a young binding: a file that crashes it, or makes it
ask for all memory, takes down this process only. Imports neither animoe nor numpy, to start in little time.

Request: one line of JSON {"path": text, "rate_hz": number, "cpu_s": whole number, "numbers": whole number}.
Answer: two native uint64 (bytes of each part), JSON, then float64 numbers that the JSON refers to by position.
The JSON is {"nodes": …, "stacks": …} as `_read` makes it, or {"error": text}, or {"missing": text} without ufbx.
Units and axes are ours on the way out: metres, right-handed, Y up; rotations xyzw.
"""

from __future__ import annotations

import ctypes
import json
import os
import struct
import sys
from array import array
from typing import Any, TypeVar

MEMORY_BYTES = 400 * 2**20
"""What a file may make this process take, beyond what it starts with."""
IDLE_S = 60.0
"""Seconds without a request after which the process ends."""
MAX_NODES = 100_000
_DEPTH = 1000
_SET_KEY = 8
"""ufbx: the baked key stands in the file."""
_SEGMENTS = 4096
"""Samples between two keys, at most: a minute and more at 30 Hz, so that slow turns stay exact."""

_Element = TypeVar("_Element")
_hold_reference = ctypes.pythonapi.Py_IncRef
_hold_reference.argtypes = [ctypes.py_object]
_hold_reference.restype = None


class _Refused(Exception):
    """The file cannot be read; the text says why."""


def main() -> None:
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # whatever else is printed must not look like an answer
    try:
        import ufbx as ufbx  # before the limit on memory, which counts from what is loaded now

        missing = None
    except ImportError as error:
        missing = str(error)
    _limit_memory()
    while line := _next_line():
        header, numbers = ({"missing": missing}, array("d")) if missing is not None else _answer(json.loads(line))
        text = json.dumps(header).encode()
        answers.write(struct.pack("=QQ", len(text), len(numbers) * numbers.itemsize) + text)
        answers.write(numbers)
        answers.flush()
    os._exit(0)  # the binding crashes while it is torn down


def _next_line() -> bytes:
    """The next request; empty when the other side is gone or has been silent for long."""
    if os.name == "posix":
        import select

        if not select.select([0], [], [], IDLE_S)[0]:
            return b""
    return sys.stdin.buffer.readline()


def _limit_memory() -> None:
    try:
        import resource
    except ImportError:  # Windows: only the time limit of the other side protects there
        return
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        with open("/proc/self/statm", encoding="ascii") as pages:
            taken = int(pages.read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (taken + MEMORY_BYTES,) * 2)
    except (OSError, ValueError):  # macOS has no /proc and does not hold to the limit
        return


def _limit_time(seconds: int) -> None:
    """Ends this process when it computes for longer, even if nobody is left who would end it."""
    try:
        import resource
    except ImportError:
        return
    used = resource.getrusage(resource.RUSAGE_SELF)
    wanted, hard = int(used.ru_utime + used.ru_stime) + seconds + 1, resource.getrlimit(resource.RLIMIT_CPU)[1]
    soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_CPU, (soft, hard))


def _answer(request: dict[str, Any]) -> tuple[dict[str, Any], array[float]]:
    import ufbx

    _limit_time(request["cpu_s"])
    numbers = array("d")
    try:
        return _read(request["path"], request["rate_hz"], request["numbers"], numbers), numbers
    except MemoryError:
        problem = f"it takes more than {MEMORY_BYTES >> 20} MiB of memory"
    except _Refused as error:
        problem = str(error)
    except ufbx.UfbxError as error:
        problem = _explain(type(error).__name__, str(error))
    except (OSError, ValueError, UnicodeError) as error:
        problem = f"the FBX parser refused it ({str(error)[:100]})"
    return {"error": problem}, array("d")


def _explain(kind: str, text: str) -> str:
    known = {
        "EmptyFileError": "the file is empty",
        "TruncatedFileError": "the file is truncated",
        "UnrecognizedFileFormatError": "it is no FBX file",
        "UnsupportedVersionError": "its FBX version is too old",
        "NodeDepthLimitError": f"its nodes are nested deeper than {_DEPTH}",
    }
    if kind in ("OutOfMemoryError", "MemoryLimitError", "AllocationLimitError"):
        return f"it takes more than {MEMORY_BYTES >> 20} MiB of memory"
    return known.get(kind, f"the FBX parser refused it ({text[:100] or kind})")


def _read(path: str, rate_hz: float, room: int, numbers: array[float]) -> dict[str, Any]:
    import ufbx
    from ufbx import _generated as names

    scene = ufbx.load_file(
        path,
        file_format=names.FileFormat.FBX,
        ignore_geometry=True,
        ignore_embedded=True,
        target_axes=names.axes_right_handed_y_up,
        target_unit_meters=1.0,
        # Nodes keep unit scale where the file has it; the unit goes into translations.
        space_conversion=names.SpaceConversion.MODIFY_GEOMETRY,
        # Nodes that do not inherit scale get a helper beside them, after which all matrices simply multiply.
        inherit_mode_handling=names.InheritModeHandling.HELPER_NODES,
        node_depth_limit=_DEPTH,
    )
    try:
        nodes, parents = _nodes(scene)
        rows = {node.typed_id: row for row, node in enumerate(nodes)}
        described = [_describe(node, parent) for node, parent in zip(nodes, parents, strict=True)]
        _mark_skinned(scene, described, rows)
        _add_bind_pose(scene, nodes, described)
        return {"nodes": described, "stacks": _stacks(scene, rate_hz, rows, room, numbers)}
    finally:
        scene.free()


def _held(element: _Element) -> _Element:
    """The element, never to be freed: the binding hands it out a second time without counting the reference."""
    _hold_reference(element)
    return element


def _nodes(scene: Any) -> tuple[list[Any], list[int]]:
    """Every node, parents before children in the order of the file, and the row of each one's parent (root -1)."""
    nodes: list[Any] = []
    parents: list[int] = []
    waiting = [(_held(scene.root_node), -1)]
    while waiting:
        node, parent = waiting.pop()
        row = len(nodes)
        if row >= MAX_NODES:
            raise _Refused(f"it has more than {MAX_NODES} nodes")
        nodes.append(node)
        parents.append(parent)
        children = node.children
        waiting.extend((_held(children[i]), row) for i in reversed(range(len(children))))
    return nodes, parents


def _describe(node: Any, parent: int) -> dict[str, Any]:
    transform = node.local_transform
    return {
        "name": node.name,
        "parent": parent,
        "kind": "helper" if node.is_scale_helper else "root" if node.is_root else node.attrib_type.name.lower(),
        "skinned": False,
        "translation": list(transform.translation),
        "rotation": list(transform.rotation),
        "scale": list(transform.scale),
        "bind": None,
    }


def _mark_skinned(scene: Any, described: list[dict[str, Any]], rows: dict[int, int]) -> None:
    """Marks the nodes that a skin hangs on: joints, whatever else they are."""
    clusters = scene.skin_clusters
    for i in range(len(clusters)):
        node = _held(_held(clusters[i]).bone_node)
        if node is not None and node.typed_id in rows:
            described[rows[node.typed_id]]["skinned"] = True


def _add_bind_pose(scene: Any, nodes: list[Any], described: list[dict[str, Any]]) -> None:
    """Bind matrix (four columns of three) of each node that has one, in the world."""
    from ufbx import _native

    poses = scene.poses
    for i in range(len(poses)):
        pose = _held(poses[i])
        if not pose.is_bind_pose:
            continue
        for node, entry in zip(nodes, described, strict=True):
            bound = _native.get_bone_pose(pose, node) if entry["bind"] is None else None
            if bound is not None:
                entry["bind"] = [list(column) for column in bound.bone_to_world]


def _stacks(scene: Any, rate_hz: float, rows: dict[int, int], room: int, numbers: array[float]) -> list[dict[str, Any]]:
    """Each animation stack: name, begin_s, end_s, and its tracks [row of the node, property, keys, times, values].

    `times` and `values` say where in `numbers` the keys' seconds and values begin.
    """
    from ufbx import _native

    found: list[dict[str, Any]] = []
    stacks = scene.anim_stacks
    for i in range(len(stacks)):
        stack = _held(stacks[i])
        baked = _native.bake_anim(scene, stack.anim, resample_rate=rate_hz, max_keyframe_segments=_SEGMENTS)
        try:
            tracks, set_s = _tracks(baked, rows, room, numbers)
            first = min(set_s, default=baked.key_time_min)  # the baked keys may fill the declared range instead
            last = max(set_s, default=baked.key_time_max)
            begin, end = max(stack.time_begin, first), min(stack.time_end, last)
            if end < begin or stack.time_end <= stack.time_begin:  # a range that says nothing: all keys count
                begin, end = first, last
            found.append({"name": stack.name, "begin_s": begin, "end_s": end, "tracks": tracks})
        finally:
            baked.free()
    return found


def _tracks(baked: Any, rows: dict[int, int], room: int, numbers: array[float]) -> tuple[list[list[Any]], list[float]]:
    """The tracks of a stack, and the times of the first and last keys that the file itself sets, of every track."""
    tracks: list[list[Any]] = []
    set_s: list[float] = []
    shared: dict[bytes, int] = {}
    nodes = baked.nodes
    for i in range(len(nodes)):
        node = nodes[i]
        for name in ("translation", "rotation", "scale"):
            keys = getattr(node, f"{name}_keys")
            count = min(1, len(keys)) if getattr(node, f"constant_{name}") else len(keys)
            if len(numbers) + 5 * count > room:
                raise _Refused("it holds more motion than fits into memory; split it into several files")
            if count:
                set_s += _set_times(keys)
                tracks.append([rows[node.typed_id], name, count, *_keys(keys, count, shared, numbers)])
    return tracks, set_s


def _set_times(keys: Any) -> list[float]:
    """Times of the first and the last key that stand in the file."""
    count = len(keys)
    first = next((keys[i].time for i in range(count) if keys[i].flags & _SET_KEY), None)
    last = next((keys[i].time for i in reversed(range(count)) if keys[i].flags & _SET_KEY), None)
    return [time for time in (first, last) if time is not None]


def _keys(keys: Any, count: int, shared: dict[bytes, int], numbers: array[float]) -> tuple[int, int]:
    """Appends the keys to `numbers`; key times that are there already are used again."""
    times, values = array("d"), array("d")
    for i in range(count):
        key = keys[i]
        times.append(key.time)
        values.extend(key.value)
    packed = times.tobytes()
    if packed not in shared:
        shared[packed] = len(numbers)
        numbers.extend(times)
    start = len(numbers)
    numbers.extend(values)
    return shared[packed], start


if __name__ == "__main__":
    main()
