"""Files that lie about what or how much they are: one clear error, soon, without taking the memory they ask for."""

from __future__ import annotations

import json
import resource
import struct
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ascii_fbx import AsciiFbx
from seeds import make_seeds, pack_glb

from animoe.errors import FileError, NoAnimation
from animoe.formats import READABLE, read_clips, read_skeleton
from animoe.formats.names import unique_names

MIB = 2**20


def _contents() -> dict[str, bytes]:
    binary_fbx = next(data for suffix, data in make_seeds() if suffix == ".fbx" and data.startswith(b"Kaydara"))
    return dict(make_seeds()) | {".fbx": binary_fbx}


@pytest.mark.parametrize("really", [".bvh", ".glb", ".fbx", ".npz"])
@pytest.mark.parametrize("named", READABLE)
def test_a_wrong_extension_is_named_with_the_right_one(tmp_path: Path, really: str, named: str) -> None:
    if named == really or (really, named) == (".glb", ".gltf"):
        return
    path = tmp_path / f"a{named}"
    path.write_bytes(_contents()[really])
    with pytest.raises(FileError, match=rf"it is an? .*whatever its extension {named} says.*Rename it to {really}"):
        read_clips(path)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "the file is empty"),
        (b"\x1f\x8b\x08\x00", "gzip.*Unpack"),
        (b"PK\x03\x04 something", "zip archive.*Unpack"),
        (b"<!DOCTYPE html><html>", "web page.*Download"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        (b"BLENDER-v300", "Blender file"),
        (b"\x80\x04\x95.", "pickle, which is never opened"),
        (b"\xef\xbb\xbf<?xml version='1.0'?><COLLADA>", "Collada"),
    ],
)
@pytest.mark.parametrize("suffix", [".bvh", ".glb", ".fbx"])
def test_what_is_no_motion_is_named(tmp_path: Path, suffix: str, content: bytes, says: str) -> None:
    path = tmp_path / f"a{suffix}"
    path.write_bytes(content)
    with pytest.raises(FileError, match=says):
        read_clips(path)


@pytest.mark.parametrize("read", [read_clips, read_skeleton])
def test_a_file_that_may_not_be_read_is_one_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, read: Any) -> None:
    path = tmp_path / "a.bvh"
    path.write_text("HIERARCHY")

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(FileError, match="cannot be opened .Permission denied.. Check that you may read it"):
        read(path)


@pytest.mark.parametrize("suffix", [".glb", ".fbx"])
def test_a_character_without_animation_has_a_skeleton(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    if suffix == ".fbx":
        fbx = AsciiFbx()
        fbx.node("tip", fbx.node("hips"), T=(0, 100, 0))
        fbx.save(path)
    else:
        nodes = [{"name": "hips", "children": [1]}, {"name": "tip", "translation": [0, 1, 0]}]
        document = {"asset": {"version": "2.0"}, "nodes": nodes, "skins": [{"joints": [0, 1]}]}
        path.write_bytes(pack_glb(json.dumps(document).encode(), b""))
    with pytest.raises(NoAnimation):
        read_clips(path)
    assert read_skeleton(path).joint_names == ("hips", "tip")


def test_unique_names_take_linear_time() -> None:
    started = time.perf_counter()
    names = unique_names(["a"] * 100_000 + ["a_2"])
    assert time.perf_counter() - started < 2
    assert len(set(names)) == 100_001 and names[:3] == ("a", "a_2", "a_3")


# What asks for memory runs in a process of its own, with what a reader may take as its limit.


def _in_little_memory(path: Path, limit_mib: int = 500, seconds: float = 10.0) -> str:
    """The error, or "read"; the process fails where it takes more memory or time."""
    code = (
        "import sys\nfrom animoe.errors import FileError\nfrom animoe.formats import read_clips\n"
        "try:\n    read_clips(sys.argv[1])\n    print('read')\nexcept FileError as error:\n    print(error)\n"
        "peak = next(int(l.split()[1]) for l in open('/proc/self/status') if l.startswith('VmHWM'))\n"
        f"sys.exit(f'took {{peak >> 10}} MiB' if peak >> 10 > {limit_mib} else 0)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)],
        capture_output=True,
        text=True,
        timeout=seconds * 3,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CPU, (int(seconds), int(seconds))),
    )
    assert done.returncode == 0, done.stderr[-500:]
    return done.stdout.strip()


linux_only = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")


@linux_only
def test_json_that_unfolds_into_gigabytes_is_not_parsed(tmp_path: Path) -> None:
    path = tmp_path / "a.gltf"
    path.write_bytes(b'{"asset":{"version":"2.0"},"x":[' + b"[]," * (15 * MIB) + b"0]}")
    assert "values" in _in_little_memory(path, 150)


@linux_only
@pytest.mark.parametrize("byte_count", [300 * MIB, 3000 * MIB])
@pytest.mark.parametrize("suffix", READABLE)
def test_a_large_file_is_refused_or_read_in_blocks(tmp_path: Path, suffix: str, byte_count: int) -> None:
    heads = {".glb": struct.pack("<4sIIII", b"glTF", 2, byte_count, 4, 0x4E4F534A) + b"{}  ", ".gltf": b"{"}
    heads |= {".fbx": b"Kaydara FBX Binary  \x00\x1a\x00" + struct.pack("<I", 7400), ".bvh": b"HIERARCHY"}
    path = tmp_path / f"a{suffix}"
    path.write_bytes(heads.get(suffix, b"PK\x03\x04"))
    with path.open("r+b") as file:
        file.truncate(byte_count)  # a hole: takes no room on the disk
    assert path.name in _in_little_memory(path)


@linux_only
def test_many_buffers_of_one_file_are_counted_together(tmp_path: Path) -> None:
    (tmp_path / "a.bin").write_bytes(bytes(60 * MIB))
    views = [{"buffer": i, "byteOffset": 0, "byteLength": 4} for i in range(20)]
    document: dict[str, Any] = {
        "asset": {"version": "2.0"},
        "nodes": [{}],
        "buffers": [{"uri": "a.bin", "byteLength": 60 * MIB}] * 20,
        "bufferViews": views,
        "accessors": [{"bufferView": i, "componentType": 5126, "count": 1, "type": "SCALAR"} for i in range(20)],
        "animations": [
            {
                "samplers": [{"input": i, "output": i} for i in range(20)],
                "channels": [{"sampler": i, "target": {"node": 0, "path": "translation"}} for i in range(20)],
            }
        ],
    }
    document["accessors"] += [{"componentType": 5126, "count": 1, "type": "VEC3"}]
    for sampler in document["animations"][0]["samplers"]:
        sampler["output"] = 20
    (tmp_path / "a.gltf").write_text(json.dumps(document))
    assert "MiB" in _in_little_memory(tmp_path / "a.gltf", 400)


@linux_only
def test_the_longest_take_that_is_read_stays_within_the_memory(tmp_path: Path) -> None:
    joints, frames = 60, 33_000
    rng = np.random.default_rng(0)
    data = (np.arange(frames, dtype="<f4") / 30).tobytes() + rng.normal(size=(frames, 4)).astype("<f4").tobytes()
    document = {
        "asset": {"version": "2.0"},
        "nodes": [{"children": [i + 1]} if i < joints - 1 else {} for i in range(joints)],
        "buffers": [{"byteLength": len(data)}],
        "bufferViews": [
            {"buffer": 0, "byteOffset": at, "byteLength": n * frames} for at, n in ((0, 4), (4 * frames, 16))
        ],
        "accessors": [
            {"bufferView": view, "componentType": 5126, "count": frames, "type": kind}
            for view, kind in enumerate(("SCALAR", "VEC4"))
        ],
        "animations": [
            {
                "samplers": [{"input": 0, "output": 1}],
                "channels": [{"sampler": 0, "target": {"node": i, "path": "rotation"}} for i in range(joints)],
            }
        ],
    }
    (tmp_path / "a.glb").write_bytes(pack_glb(json.dumps(document).encode(), data))
    assert _in_little_memory(tmp_path / "a.glb", 400, 30) == "read"


@pytest.mark.parametrize(
    ("frames", "frame_time", "says"),
    [
        ("99999999999", "0.033", "more than is read at once"),
        ("1000000", "0.033", "more than is read at once"),
        ("700", "10", "channels need|more than is read"),
        ("2", "1e-9", "frame time"),
        ("2", "1e9", "frame time"),
        ("-5", "0.03", "no motion values"),
    ],
)
def test_absurd_counts_and_rates_of_a_bvh(tmp_path: Path, frames: str, frame_time: str, says: str) -> None:
    head = "HIERARCHY ROOT a { OFFSET 0 1 0 CHANNELS 3 Xrotation Yrotation Zrotation\nEnd Site { OFFSET 0 1 0 } }\n"
    path = tmp_path / "a.bvh"
    path.write_text(f"{head}MOTION\nFrames: {frames}\nFrame Time: {frame_time}\n0 0 0\n0 0 0\n")
    with pytest.raises(FileError, match=says):
        read_clips(path)


@pytest.mark.parametrize(
    ("hierarchy", "says"),
    [
        ("ROOT r {" + " JOINT j {" * 1_000_000 + "}" * 1_000_001, "more than 4096 joints|longer than any"),
        ("ROOT r { OFFSET nan 0 0 }", "OFFSET holds nan"),
        ("ROOT r { OFFSET 0 1e300 0 }", "OFFSET holds 1e300"),
        ("ROOT r { OFFSET 0 0 0 End Site { JOINT k { } } }", "within an end site"),
        ("ROOT r OFFSET\n0 0 0 }", "expected"),
        ("ROOT } { }", "expected"),
        ("ROOT r { CHANNELS 2 Xrotation xrotation }", "channel list"),
        ("ROOT r {" + " OFFSET 0 0 0" * 200_000 + "}", "longer than any"),
    ],
    ids=range(8),
)
def test_absurd_hierarchies_of_a_bvh(tmp_path: Path, hierarchy: str, says: str) -> None:
    path = tmp_path / "a.bvh"
    path.write_text(f"HIERARCHY\n{hierarchy}\nMOTION\nFrames: 1\nFrame Time: 0.03\n0 0 0\n")
    with pytest.raises(FileError, match=says):
        read_clips(path)


def test_names_with_spaces_and_with_motion_in_them_are_read(tmp_path: Path) -> None:
    path = tmp_path / "a.bvh"
    head = "HIERARCHY\nROOT Bip01 MOTION\n{\nOFFSET 0 9 0\nCHANNELS 1 Xrotation\nJOINT MOTION L{ OFFSET 0 1 0 } }"
    path.write_text(f"{head}\nMOTION\nFrames: 1\nFrame Time: 0.03\n0\n")
    assert read_clips(path)[0].skeleton.joint_names == ("Bip01 MOTION", "MOTION L")


def test_a_bvh_longer_than_a_block_is_read_whole(tmp_path: Path) -> None:
    values = np.random.default_rng(0).uniform(-90, 90, (60_000, 9)).round(5)
    rows = "\n".join("\t".join(map(str, row)) for row in values)
    chain = "ROOT a { OFFSET 0 1 0 CHANNELS 3 Zrotation Xrotation Yrotation JOINT b { OFFSET 0 1 0 CHANNELS 3 "
    chain += "Zrotation Xrotation Yrotation JOINT c { OFFSET 0 1 0 CHANNELS 3 Xposition Yposition Zposition } } }"
    path = tmp_path / "a.bvh"
    path.write_text(f"HIERARCHY {chain}\nMOTION\nFrames: 60000\nFrame Time: 0.0333\n{rows}\n")
    assert path.stat().st_size > 4.2 * MIB
    (clip,) = read_clips(path)
    expected = values[:, 6:] * np.linalg.norm(clip.skeleton.rest_translations[1])  # the unit is found
    np.testing.assert_allclose(clip.local_translations[:, 2], expected, rtol=1e-9)
