"""A user's glTF file opened for additions: everything in it is kept, one buffer takes the new data.

Nothing of it is decoded, so compressed meshes, unknown extensions and textures pass through as they are.
"""

from __future__ import annotations

from pathlib import Path

from animoe.formats.gltf_binary import Binary, pack_glb
from animoe.formats.gltf_document import Document, Json

_IMAGE_TYPES = {
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".webp": "image/webp",
    ".ktx2": "image/ktx2",
    ".dds": "image/vnd-ms.dds",
}


class Template:
    """A glTF document whose buffers and pictures all lie in one binary chunk, open at its end.

    Attributes:
        document: the file as read; `document.json` is what will be written.
        nodes: its node list, which may be edited.
        binary: where new accessors go.

    Raises:
        FileError: not glTF 2.0, damaged, or a file that belongs to it is missing.
    """

    def __init__(self, path: Path) -> None:
        self.document = Document(path)
        json = self.document.json
        self.nodes = self.document.items("nodes")
        data, moved, rest = self._joined_buffers()
        for view in self.document.items("bufferViews"):
            for holder in (view, *_extensions(view)):
                self._move(holder, moved)
        accessors, views = json.setdefault("accessors", []), json.setdefault("bufferViews", [])
        self.binary = Binary(data, accessors, views)
        self._embed_images()
        own = dict(self.document.items("buffers")[0]) if moved.get(0, (1, 0))[0] == 0 else {}
        own.pop("uri", None)
        self._buffers = [own, *rest]

    def put_animation(self, animation: Json, *, replace: bool) -> None:
        """Adds an animation made by `binary.add_animation`.

        Args:
            animation: the animation.
            replace: take the place of the first animation of the same name, if there is one. Otherwise a new
                name is found for it: "walk_2".
        """
        animations = self.document.json.setdefault("animations", [])
        names = [old.get("name") for old in animations]
        if replace and animation["name"] in names:
            animations[names.index(animation["name"])] = animation
            return
        name, copy = animation["name"], 2
        while animation["name"] in names:
            animation["name"], copy = f"{name}_{copy}", copy + 1
        animations.append(animation)

    def to_glb(self) -> bytes:
        """The whole file as .glb.

        Raises:
            FileError: its JSON holds NaN or infinite numbers.
        """
        buffers = [self._buffers[0] | {"byteLength": len(self.binary.data)}, *self._buffers[1:]]
        self.document.json["buffers"] = buffers
        try:
            return pack_glb(self.document.json, bytes(self.binary.data))
        except (ValueError, RecursionError) as error:
            raise self.document.error(f"it cannot be written again ({str(error)[:80]})") from error

    def _joined_buffers(self) -> tuple[bytearray, dict[int, tuple[int, int]], list[Json]]:
        """All bytes, where each buffer went (new index, offset), and the buffers without data.

        Buffers without data stand in for compressed ones (EXT_meshopt_compression) and stay what they are.
        """
        data = bytearray()
        moved: dict[int, tuple[int, int]] = {}
        rest: list[Json] = []
        for index, buffer in enumerate(self.document.items("buffers")):
            if "uri" not in buffer and (index > 0 or "extensions" in buffer):
                rest.append(buffer)
                moved[index] = (len(rest), 0)
                continue
            data += bytes(-len(data) % 4)
            moved[index] = (0, len(data))
            raw = self.document.buffer(index)
            if type(buffer.get("byteLength")) is not int or buffer["byteLength"] > len(raw):
                raise self.document.error(f"{len(raw)} of {buffer.get('byteLength')!r:.20} bytes", f"buffer {index}")
            data += raw
        return data, moved, rest

    def _move(self, holder: Json, moved: dict[int, tuple[int, int]]) -> None:
        if "buffer" in holder:
            index = self.document.index(holder, "buffer", len(moved), "bufferViews")
            offset = holder.get("byteOffset", 0)
            if type(offset) is not int or offset < 0:
                raise self.document.error(f"'byteOffset' is {offset!r:.30}", "bufferViews")
            holder["buffer"], shift = moved[index]
            if shift:
                holder["byteOffset"] = offset + shift

    def _embed_images(self) -> None:
        for number, image in enumerate(self.document.items("images")):
            uri = image.get("uri")
            if type(uri) is not str or uri.startswith("data:"):
                continue
            place = f"image {number}"
            kind = _IMAGE_TYPES.get(Path(uri).suffix.lower())
            if kind is None:
                raise self.document.error(f"{uri!r:.80} is no picture that glTF knows", place, "Save it as .png.")
            image["bufferView"] = self.binary.add_bytes(self.document.beside(uri, place))
            image.setdefault("mimeType", kind)
            del image["uri"]


def _extensions(holder: Json) -> list[Json]:
    found = holder.get("extensions", {})
    return [value for value in found.values() if type(value) is dict] if type(found) is dict else []
