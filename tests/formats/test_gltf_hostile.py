"""Damaged and hostile glTF: one clear FileError, never anything else."""

from __future__ import annotations

import copy
import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from animoe.errors import FileError
from animoe.formats.gltf import read_gltf
from animoe.formats.gltf_writer import write_glb
from animoe.motion.clip import Clip

Edit = Callable[[dict[str, Any]], Any]


def _set(*keys: Any, to: Any) -> Edit:
    """An edit of the JSON document: the value at `keys` becomes `to`."""

    def edit(document: dict[str, Any]) -> None:
        holder: Any = document
        for key in keys[:-1]:
            holder = holder[key]
        holder[keys[-1]] = to

    return edit


BROKEN: list[tuple[str, Edit, str]] = [
    ("old version", _set("asset", "version", to="1.0"), "glTF 2.0"),
    ("nodes no list", _set("nodes", to={"a": 1}), "'nodes' is not a list"),
    ("child out of range", _set("nodes", 0, "children", to=[7]), "node 0"),
    ("two parents", _set("nodes", 1, "children", to=[1]), "two parents"),
    ("circle", _set("nodes", 1, "children", to=[0]), "circle"),
    ("NaN in a node", _set("nodes", 1, "translation", to=[float("nan"), 0, 0]), "node 1"),
    ("text in a node", _set("nodes", 1, "rotation", to=["a", 0, 0, 1]), "node 1"),
    ("short vector", _set("nodes", 1, "scale", to=[1, 1]), "needs 3 numbers"),
    ("mirrored", _set("nodes", 0, "scale", to=[-1, 1, 1]), "mirrored"),
    ("absurd scale", _set("nodes", 0, "scale", to=[1e9, 1e9, 1e9]), "absurdly large"),
    ("no animation", _set("animations", to=[]), "no animation"),
    ("morphs only", _set("animations", 0, "channels", 0, "target", "path", to="weights"), "no animation"),
    ("channel without target", _set("animations", 0, "channels", 0, "target", to=None), "channel 0"),
    ("target out of range", _set("animations", 0, "channels", 0, "target", "node", to=99), "channel 0"),
    ("sampler out of range", _set("animations", 0, "channels", 0, "sampler", to=3), "animation 0"),
    (
        "unknown interpolation",
        _set("animations", 0, "samplers", 0, "interpolation", to=["X"]),
        "interpolation",
    ),
    (
        "spline too short",
        _set("animations", 0, "samplers", 0, "interpolation", to="CUBICSPLINE"),
        "key times",
    ),
    ("input out of range", _set("animations", 0, "samplers", 0, "input", to=-1), "'input'"),
    ("wrong type", _set("accessors", 0, "type", to="SCALAR"), "expected VEC3"),
    ("too many elements", _set("accessors", 0, "count", to=3), "do not fit"),
    ("huge count", _set("accessors", 0, "count", to=10**30), "'count'"),
    ("negative count", _set("accessors", 0, "count", to=-1), "'count'"),
    ("no keys", _set("accessors", 1, "count", to=0), "key times"),
    ("unknown component", _set("accessors", 0, "componentType", to=5130), "componentType"),
    ("offset past the end", _set("accessors", 0, "byteOffset", to=1000), "accessor 0"),
    ("view past the end", _set("bufferViews", 0, "byteLength", to=10**6), "accessor 0"),
    ("stride too small", _set("bufferViews", 0, "byteStride", to=4), "accessor 0"),
    ("view out of range", _set("accessors", 0, "bufferView", to=77), "accessor 0"),
    ("buffer out of range", _set("bufferViews", 0, "buffer", to=1), "accessor 0"),
    ("compressed", _set("bufferViews", 0, "extensions", to={"EXT_meshopt_compression": {}}), "compress"),
    ("sparse without parts", _set("accessors", 0, "sparse", to={"count": 1}), "object was expected"),
    ("broken base64", _set("buffers", 0, "uri", to="data:x;base64,!!!"), "base64"),
    ("no base64", _set("buffers", 0, "uri", to="data:text/plain,hello"), "not base64"),
    ("no data", _set("buffers", 0, "uri", to=None), "buffer 0"),
    ("missing bin", _set("buffers", 0, "uri", to="gone.bin"), "'gone.bin' is not a file"),
    ("escape", _set("buffers", 0, "uri", to="../secret.bin"), "out of the folder"),
    ("hidden escape", _set("buffers", 0, "uri", to="%2e%2e/secret.bin"), "out of the folder"),
    ("absolute", _set("buffers", 0, "uri", to="/etc/passwd"), "out of the folder"),
    ("address with NUL", _set("buffers", 0, "uri", to="a%00b"), "buffer 0"),
]


@pytest.mark.parametrize(("edit", "says"), [b[1:] for b in BROKEN], ids=[b[0] for b in BROKEN])
def test_a_broken_document_is_refused_with_its_place(tmp_path: Path, moved: Any, edit: Edit, says: str) -> None:
    (tmp_path / "secret.bin").write_bytes(bytes(moved.data))  # what an escape would reach
    folder = tmp_path / "pack"
    folder.mkdir()
    moved.save(folder / "a.gltf")
    edit(moved.json)
    with pytest.raises(FileError, match=says) as caught:
        read_gltf(moved.save(folder / "a.gltf"))
    assert str(folder / "a.gltf") in str(caught.value)


def test_a_link_out_of_the_folder_is_not_followed(tmp_path: Path, moved: Any) -> None:
    (tmp_path / "secret.bin").write_bytes(bytes(moved.data))
    folder = tmp_path / "pack"
    folder.mkdir()
    (folder / "data.bin").symlink_to(tmp_path / "secret.bin")
    moved.json["buffers"][0]["uri"] = "data.bin"
    with pytest.raises(FileError, match="out of the folder"):
        read_gltf(moved.save(folder / "a.gltf"))


@pytest.mark.parametrize(
    ("times", "says"),
    [([0.1, 0.0], "ascending"), ([0.0, np.nan], "NaN"), ([0.0, 1e6], "lasts"), ([0.0, np.inf], "NaN")],
)
def test_unusable_key_times_are_refused(tmp_path: Path, build: Any, times: list[float], says: str) -> None:
    builder = build([{"name": "root"}])
    builder.track(0, "translation", times, [[0, 0, 0], [1, 0, 0]])
    with pytest.raises(FileError, match=says):
        read_gltf(builder.save(tmp_path / "a.gltf"))


@pytest.mark.parametrize("interpolation", ["LINEAR", "STEP", "CUBICSPLINE"])
def test_nan_keys_name_the_node(tmp_path: Path, build: Any, interpolation: str) -> None:
    builder = build([{"name": "root"}])
    rows = np.full((3 if interpolation == "CUBICSPLINE" else 1, 3), np.nan)
    builder.track(0, "translation", [0.0], rows, interpolation)
    with pytest.raises(FileError, match="'root': NaN or infinite translation"):
        read_gltf(builder.save(tmp_path / "a.gltf"))


def test_accessors_without_data_cannot_ask_for_any_amount_of_memory(tmp_path: Path, build: Any) -> None:
    nodes = [{"name": f"n{i}", "children": [i + 1]} for i in range(19)] + [{"name": "last"}]
    builder = build(nodes)
    for node in range(20):
        builder.json["accessors"].append({"componentType": 5126, "count": 1 << 22, "type": "VEC3"})
        builder.json["accessors"].append({"componentType": 5126, "count": 1 << 22, "type": "SCALAR"})
        builder.json["animations"][0]["samplers"].append({"input": 2 * node + 1, "output": 2 * node})
        target = {"node": node, "path": "translation"}
        builder.json["animations"][0]["channels"].append({"sampler": node, "target": target})
    with pytest.raises(FileError, match="numbers"):
        read_gltf(builder.save(tmp_path / "a.gltf"))


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "not a GLB or glTF"),
        (b"PK\x03\x04 this is a zip", "not a GLB or glTF"),
        (b"{", "not a valid glTF"),
        (b"[]", "object was expected"),
        (b'{"asset": 3}', "object was expected"),
        (b"[" * 100_000, "not a"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        (b"glTF", "cut off"),
        (b"glTF" + struct.pack("<II", 1, 20) + bytes(8), "GLB version 1"),
        (b"glTF" + struct.pack("<II", 2, 500) + bytes(8), "truncated"),
        (b"glTF" + struct.pack("<II", 2, 20) + struct.pack("<II", 900, 0x4E4F534A), "longer than the file"),
        (b"glTF" + struct.pack("<II", 2, 20) + struct.pack("<II", 0, 7), "no JSON"),
    ],
)
def test_what_is_no_gltf_is_refused(tmp_path: Path, content: bytes, says: str) -> None:
    path = tmp_path / "a.glb"
    path.write_bytes(content)
    with pytest.raises(FileError, match=says):
        read_gltf(path)


@pytest.fixture
def glb(tmp_path: Path, clip: Clip) -> bytes:
    write_glb(tmp_path / "good.glb", [clip])
    return (tmp_path / "good.glb").read_bytes()


def _outcome(path: Path, data: bytes) -> bool:
    """True when the bytes were refused with FileError; whatever was accepted must be finite."""
    path.write_bytes(data)
    try:
        clips = read_gltf(path)
    except FileError as error:
        assert len(str(error)) < 600
        return True
    for clip in clips:
        assert np.isfinite(clip.local_translations).all() and np.isfinite(clip.local_rotations).all()
    return False


def test_truncation_anywhere_is_refused(tmp_path: Path, glb: bytes) -> None:
    for length in np.linspace(0, len(glb) - 1, 40).astype(int):
        assert _outcome(tmp_path / "a.glb", glb[:length]), length


def test_random_bytes_in_a_glb_never_escape_as_another_error(tmp_path: Path, glb: bytes) -> None:
    random = np.random.default_rng(11)
    refused = 0
    for _ in range(200):
        data = bytearray(glb)
        for at in random.integers(0, len(data), random.integers(1, 12)):
            data[at] = random.integers(256)
        refused += _outcome(tmp_path / "a.glb", bytes(data))
    assert 20 < refused < 200


def test_random_values_in_the_json_never_escape_as_another_error(tmp_path: Path, glb: bytes) -> None:
    size = struct.unpack_from("<I", glb, 12)[0]
    document, rest = json.loads(glb[20 : 20 + size]), glb[20 + size :]
    random = np.random.default_rng(12)
    junk = [None, -1, 0, 1, 7, 2**31, 10**40, 1.5, 1e300, float("nan"), "", "x", [], {}, [[]], [0, 0], True]
    refused = 0
    for _ in range(300):
        broken = copy.deepcopy(document)
        for _ in range(random.integers(1, 4)):
            _spoil(broken, junk[random.integers(len(junk))], random)
        text = json.dumps(broken).encode()
        text += b" " * (-len(text) % 4)
        head = struct.pack("<4sIIII", b"glTF", 2, 20 + len(text) + len(rest), len(text), 0x4E4F534A)
        refused += _outcome(tmp_path / "a.glb", head + text + rest)
    assert 60 < refused < 300


def _spoil(holder: Any, value: Any, random: np.random.Generator) -> None:
    """Replaces one random value, at a random depth, by `value`."""
    while True:
        keys = list(holder) if isinstance(holder, dict) else list(range(len(holder)))
        if not keys:
            return
        key = keys[random.integers(len(keys))]
        if not isinstance(holder[key], dict | list) or random.random() < 0.15:
            holder[key] = value
            return
        holder = holder[key]
