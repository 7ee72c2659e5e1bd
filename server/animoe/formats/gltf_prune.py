"""Taking the data of animations that get replaced off the end of a glTF file.

So replacing again and again, as a build does, lets the file not grow. Data elsewhere in the file stays where it is:
taking it out would renumber what extensions unknown to us may point at.
"""

from __future__ import annotations

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
    used = _used_accessors(document)
    while binary.accessors and len(binary.accessors) - 1 in freed - used:
        view = binary.accessors.pop().get("bufferView")
        if view == len(binary.views) - 1 and view not in _used_views(document, binary):
            _cut(binary)


def _sampled(document: Document, animation: Json, number: int) -> set[int]:
    samplers = document.items("samplers", animation, f"animation {number}")
    return {value for s in samplers for value in (s.get("input"), s.get("output")) if type(value) is int}


def _used_accessors(document: Document) -> set[int]:
    """Accessors that something still points at; more rather than fewer, as extensions may mean anything."""
    used = set(_integers([document.json.get("meshes"), document.json.get("skins"), _extensions(document.json)]))
    for number, animation in enumerate(document.items("animations")):
        used |= _sampled(document, animation, number)
    return used


def _used_views(document: Document, binary: Binary) -> set[int]:
    return set(_integers([binary.accessors, document.json.get("images"), _extensions(document.json)]))


def _cut(binary: Binary) -> None:
    """Drops the last buffer view, and its bytes if they are the last and nobody else's."""
    view = binary.views[-1]
    start, length = view.get("byteOffset", 0), view.get("byteLength", 0)
    if set(view) - _PLAIN_VIEW or view.get("buffer") != 0 or start % 4 or start + length + 3 < len(binary.data):
        return
    ends = [v.get("byteOffset", 0) + v.get("byteLength", 0) for v in binary.views[:-1] if v.get("buffer") == 0]
    if max(ends, default=0) <= start:
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
    """Every `extensions` and `extras` object in a JSON value."""
    found: list[Any] = []
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if type(item) is list:
            waiting.extend(item)
        elif type(item) is dict:
            found += [item[key] for key in ("extensions", "extras") if key in item]
            waiting.extend(item.values())
    return found
