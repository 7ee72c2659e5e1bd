"""Joint names: any text a file holds, made unique."""

from __future__ import annotations

from collections.abc import Iterable


def unique_names(names: Iterable[str]) -> tuple[str, ...]:
    """The names in order; one that occurred before gets _2, _3, … (the first of these that is free).

    Takes linear time, also when a hostile file repeats one name thousands of times.
    """
    unique: dict[str, None] = {}
    copies: dict[str, int] = {}
    for name in names:
        candidate = name
        while candidate in unique:
            copies[name] = copies.get(name, 1) + 1
            candidate = f"{name}_{copies[name]}"
        unique[candidate] = None
    return tuple(unique)


def clean_name(name: object) -> str:
    """A name that any file or terminal can take (JSON allows half surrogate pairs); empty if no text."""
    return name.encode("utf-8", "replace").decode() if type(name) is str else ""
