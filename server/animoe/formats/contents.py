"""What a file really is, by its first bytes: a wrong extension should be named, not parsed."""

from __future__ import annotations

from pathlib import Path

from animoe.errors import FileError

_HEAD_BYTES = 4096
_RENAME = "Rename it to {0}."
_CONVERT = "Export or convert it to one of .bvh, .glb, .fbx or .npz."
_UNPACK = "Unpack it first."
_DOWNLOAD = "Download the file again."
_ANIMATION = "Give the file that holds the animation."

# First bytes -> (what it is, extensions that it may have, what to do otherwise).
_SIGNATURES: tuple[tuple[bytes, str, tuple[str, ...], str], ...] = (
    (b"glTF", "a GLB", (".glb", ".gltf"), _RENAME.format(".glb")),
    (b"Kaydara FBX Binary", "a binary FBX", (".fbx",), _RENAME.format(".fbx")),
    (b"; FBX", "an ASCII FBX", (".fbx",), _RENAME.format(".fbx")),
    (b"HIERARCHY", "a BVH", (".bvh",), _RENAME.format(".bvh")),
    (b"{", "JSON", (".gltf", ".glb"), "If it is glTF, rename it to .gltf."),
    (b"version https://git-lfs", "a Git LFS pointer, not the file itself", (), "Run 'git lfs pull'."),
    (b"\x93NUMPY", "a single NumPy array", (), _CONVERT),
    (b"BLENDER", "a Blender file", (), _CONVERT),
    (b"(\xb5/\xfd", "a compressed file (Blender's, perhaps)", (), _CONVERT),
    (b"PXR-USDC", "a USD file", (), _CONVERT),
    (b"#usda", "a USD file", (), _CONVERT),
    (b"<?xml", "XML (Collada, perhaps)", (), _CONVERT),
    (b"<!DOCTYPE", "a web page", (), _DOWNLOAD),
    (b"<!doctype", "a web page", (), _DOWNLOAD),
    (b"<html", "a web page", (), _DOWNLOAD),
    (b"\x1f\x8b", "a gzip archive", (), _UNPACK),
    (b"7z\xbc\xaf", "a 7z archive", (), _UNPACK),
    (b"Rar!", "a RAR archive", (), _UNPACK),
    (b"\x89PNG", "a PNG picture", (), _ANIMATION),
    (b"\xff\xd8\xff", "a JPEG picture", (), _ANIMATION),
    (b"\x80\x04", "a Python pickle, which is never opened", (), _CONVERT),
)
_ZIP = b"PK\x03\x04"


def refuse_other_contents(path: Path, suffix: str) -> None:
    """Raises FileError for an empty file and for one whose first bytes belong to another format than `suffix`."""
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    if not head:
        raise FileError(path, "the file is empty", remedy="Export or copy it again.")
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    for signature, what, fitting, remedy in _SIGNATURES:
        if (head.startswith(signature) or text.startswith(signature)) and suffix not in fitting:
            raise FileError(path, f"it is {what}, whatever its extension {suffix} says", remedy=remedy)
    if head.startswith(_ZIP) and suffix != ".npz":
        archive = ("an npz archive", _RENAME.format(".npz")) if b".npy" in head else ("a zip archive", _UNPACK)
        raise FileError(path, f"it is {archive[0]}, whatever its extension {suffix} says", remedy=archive[1])
