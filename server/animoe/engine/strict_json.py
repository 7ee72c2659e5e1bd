"""JSON from strangers, read field by field: wrong types, unknown fields, NaN and deep nesting are refused by place."""

from __future__ import annotations

import json
import math
from typing import Any

from animoe.errors import InvalidRequest


def parsed(text: str | bytes, max_bytes: int, what: str) -> Any:
    """The value; no NaN, no infinity, no more than `max_bytes`.

    Raises:
        InvalidRequest: too long, or not JSON.
    """
    if len(text) > max_bytes:
        raise InvalidRequest(f"{what} has {len(text)} bytes; at most {max_bytes} are allowed")
    try:
        return json.loads(text, parse_constant=_refused)
    except (ValueError, RecursionError) as error:  # UnicodeDecodeError is a ValueError
        raise InvalidRequest(f"{what} is not JSON: {error}") from error


def _refused(name: str) -> Any:
    raise ValueError(f"{name} is no number")


class Fields:
    """One object; every field is taken once, and `finish` refuses what is left.

    Args:
        value: what stands there. place: where, for people.

    Raises:
        InvalidRequest: a field is missing or of another type.
    """

    def __init__(self, value: Any, place: str) -> None:
        if not isinstance(value, dict):
            raise InvalidRequest(f"{place} must be an object with named fields, got {_kind(value)}")
        self.place = place
        self._left = dict(value)

    def text(self, name: str) -> str:
        return self._expect(name, str, "text")  # type: ignore[no-any-return]

    def flag(self, name: str) -> bool:
        return self._expect(name, bool, "true or false")  # type: ignore[no-any-return]

    def integer(self, name: str) -> int:
        return self._expect(name, int, "a whole number")  # type: ignore[no-any-return]

    def number(self, name: str) -> float:
        return self._number(self._take(name), name)

    def numbers(self, name: str) -> dict[str, float]:
        """Names and numbers."""
        value = self._expect(name, dict, "names with numbers")
        return {key: self._number(number, f"{name}.{key}") for key, number in value.items()}

    def texts(self, name: str) -> list[str]:
        value: list[Any] = self._expect(name, list, "a list of texts")
        if not all(isinstance(item, str) for item in value):
            raise self._wrong(name, "a list of texts", value)
        return value

    def object(self, name: str) -> Fields:
        return Fields(self._take(name), f"{name} of {self.place}")

    def objects(self, name: str) -> list[Fields]:
        value = self._expect(name, list, "a list")
        return [Fields(item, f"{name}[{index}] of {self.place}") for index, item in enumerate(value)]

    def absent(self, name: str) -> bool:
        """Whether the field is null; then it counts as taken."""
        if self._left.get(name, ...) is None:
            self._take(name)
            return True
        return False

    def finish(self) -> None:
        """Refuses fields that nobody took."""
        if self._left:
            raise InvalidRequest(f"{self.place} has unknown fields: {', '.join(sorted(map(repr, self._left)))}")

    def _take(self, name: str) -> Any:
        if name not in self._left:
            raise InvalidRequest(f"{self.place} lacks {name!r}")
        return self._left.pop(name)

    def _expect(self, name: str, kind: type, what: str) -> Any:
        value = self._take(name)
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise self._wrong(name, what, value)
        return value

    def _number(self, value: Any, name: str) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self._wrong(name, "a number", value)
        try:
            found = float(value)
        except OverflowError:
            found = math.inf
        if not math.isfinite(found):
            raise self._wrong(name, "a finite number", value)
        return found

    def _wrong(self, name: str, what: str, value: Any) -> InvalidRequest:
        return InvalidRequest(f"{name!r} of {self.place} must be {what}, got {_kind(value)}")


def _kind(value: Any) -> str:
    return "null" if value is None else type(value).__name__
