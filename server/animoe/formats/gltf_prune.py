"""Taking the data of animations that get replaced off the end of a glTF file.

So replacing again and again, as a build does, lets the file not grow. Data elsewhere in the file stays where it is:
taking it out would renumber what extensions unknown to us may point at.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from animoe.formats.gltf_binary import Binary
from animoe.formats.gltf_document import Document, Json

_PLAIN_VIEW = {"buffer", "byteOffset", "byteLength"}


def empty_animations(document: Document, binary: Binary, names: set[str]) -> None:
    """Empties the animations called one of `names`; they must be replaced before the file is written.

    Raises:
        FileError: an animation whose samplers are no list.
    """
    freed: set[int] = set()
    for number, animation in enumerate(document.items("animations")):
        if animation.get("name") in names:
            freed |= _sampled(document, animation, number)
            animation["channels"], animation["samplers"] = [], []
    pinned = set(_integers(_extensions(document.json)))  # any number in an extension may point at something
    free = freed - _used_accessors(document) - pinned
    users = Counter(_view_pointers(document, binary))
    ends = _ends_before(binary)
    while binary.accessors and len(binary.accessors) - 1 in free:
        view = binary.accessors.pop().get("bufferView")
        if type(view) is not int:
            continue
        users[view] -= 1
        if view == len(binary.views) - 1 and users[view] == 0 and view not in pinned:
            _cut(binary, ends[view])


def _sampled(document: Document, animation: Json, number: int) -> set[int]:
    samplers = document.items("samplers", animation, f"animation {number}")
    return {value for s in samplers for value in (s.get("input"), s.get("output")) if type(value) is int}


def _used_accessors(document: Document) -> set[int]:
    """Accessors that a mesh, a skin or an animation still points at."""
    pointers: list[Any] = [skin.get("inverseBindMatrices") for skin in document.items("skins")]
    for number, mesh in enumerate(document.items("meshes")):
        for primitive in document.items("primitives", mesh, f"mesh {number}"):
            pointers += [primitive.get(key) for key in ("attributes", "indices", "targets")]
    used = set(_integers(pointers))
    for number, animation in enumerate(document.items("animations")):
        used |= _sampled(document, animation, number)
    return used


def _view_pointers(document: Document, binary: Binary) -> Iterator[int]:
    """The buffer view of every accessor and picture, as often as it is used."""
    holders = [*binary.accessors, *document.items("images")]
    return _integers([[holder.get("bufferView"), holder.get("sparse")] for holder in holders])


def _ends_before(binary: Binary) -> list[int]:
    """For each buffer view, where the data of those listed before it ends."""
    ends = [0]
    for view in binary.views:
        start, length = view.get("byteOffset", 0), view.get("byteLength", 0)
        if type(start) is not int or type(length) is not int:
            return [len(binary.data)] * len(binary.views)  # not to be trusted: nothing will be cut
        ends.append(max(ends[-1], start + length if view.get("buffer") == 0 else 0))
    return ends


def _cut(binary: Binary, end_before: int) -> None:
    """Drops the last buffer view, and its bytes, if they are the last and nobody else's."""
    view = binary.views[-1]
    start, length = view.get("byteOffset", 0), view.get("byteLength", 0)
    last = view.get("buffer") == 0 and end_before <= start and start + length + 3 >= len(binary.data)
    if last and start % 4 == 0 and set(view) <= _PLAIN_VIEW:
        binary.views.pop()
        del binary.data[start:]


def _integers(value: Any) -> Iterator[int]:
    """Every integer in a JSON value."""
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if type(item) is int:
            yield item
        elif type(item) is list:
            waiting.extend(item)
        elif type(item) is dict:
            waiting.extend(item.values())


def _extensions(value: Any) -> list[Any]:
    """Every `extensions` object in a JSON value."""
    found: list[Any] = []
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if type(item) is list:
            waiting.extend(item)
        elif type(item) is dict:
            found += [item["extensions"]] if "extensions" in item else []
            waiting.extend(item.values())
    return found
