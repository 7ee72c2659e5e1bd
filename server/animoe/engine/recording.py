"""What a live session was told, and when: enough to perform it again, frame for frame and bit for bit.

As JSON: one object with the start of the session, the number of blocks it performed, and its controls in order, each
with the token before which it acted and the digests of the bundles that its prompts were planned with.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from animoe.engine.controls import (
    Control,
    EmotionControl,
    IntensityControl,
    PaceControl,
    PromptControl,
    QueueControl,
    Reopen,
)
from animoe.engine.prompt_queue import QueuedPrompt
from animoe.engine.requests import Sampling, check_prompt
from animoe.engine.strict_json import Fields, parsed
from animoe.errors import InvalidRequest
from animoe.motion.emotion import EmotionCurve, EmotionKey

MAX_WEIGHT = 100_000
"""Of a session's log, about the number of its controls (`weight_of`): it records no more, so memory stays bounded."""
MAX_JSON_BYTES = 32 * 2**20
"""More than MAX_WEIGHT takes up, whatever it consists of."""
MAX_TOKENS = 2**31
FORMAT, VERSION = "animoe-recording", 1


@dataclass(frozen=True)
class Entry:
    """A control. token: it acted before this one. digests: of the bundles that its prompts were planned with."""

    token: int
    control: Control
    digests: tuple[str, ...] = ()


@dataclass(frozen=True)
class Recording:
    """A session, as it was in the end: what was taken back is not in it.

    Attributes:
        text, emotion, sampling: it began with these. digest: of the bundle, for `text`.
        tokens: blocks to perform. entries: controls in order.
        cut: the session was told more than a recording holds; `tokens` ends where the rest is missing.

    Raises:
        InvalidRequest: entries out of order or beyond the end.
    """

    text: str
    emotion: EmotionCurve | None
    sampling: Sampling
    digest: str
    tokens: int
    entries: tuple[Entry, ...] = ()
    cut: bool = False

    def __post_init__(self) -> None:
        check_prompt(self.text)
        if not 0 <= self.tokens <= MAX_TOKENS:
            raise InvalidRequest(f"a recording has 0 to {MAX_TOKENS} tokens, got {self.tokens}")
        tokens = [entry.token for entry in self.entries]
        if tokens != sorted(tokens) or any(not 0 <= token <= self.tokens for token in tokens):
            raise InvalidRequest("the controls of a recording must be in order, each within its tokens")

    @property
    def digests(self) -> frozenset[str]:
        """Of every bundle that it needs; more than one when experts were learnt meanwhile."""
        return frozenset((self.digest, *(digest for entry in self.entries for digest in entry.digests)))

    def to_json(self) -> str:
        """The same again with `from_json`; each control has a line."""
        sampling = {"seed": self.sampling.seed, "temperature": self.sampling.temperature, "top_p": self.sampling.top_p}
        start = {"text": self.text, "emotion": _curve_to_json(self.emotion), "sampling": sampling}
        head = {"format": FORMAT, "version": VERSION, **start, "digest": self.digest, "tokens": self.tokens}
        # Piece by piece: the encoder lets no other thread run meanwhile, and live sessions wait for this one.
        opening = _dumps(head | {"cut": self.cut}).removesuffix("}")
        return f'{opening}, "controls": [' + ",\n".join(_to_json(entry) for entry in self.entries) + "]}"

    @staticmethod
    def from_json(text: str | bytes) -> Recording:
        """Reads what `to_json` wrote; trusts nothing.

        Raises:
            InvalidRequest: not a recording, with the place of what is wrong in it.
            NotFound: an emotion that does not exist.
        """
        return Recording.from_fields(Fields(parsed(text, MAX_JSON_BYTES, "the recording"), "the recording"))

    @staticmethod
    def from_fields(fields: Fields) -> Recording:
        """`from_json` of a part of something larger."""
        if fields.text("format") != FORMAT or fields.integer("version") != VERSION:
            raise InvalidRequest(f"this is no {FORMAT} of version {VERSION}; record the session with this AniMoE")
        sampling = fields.object("sampling")
        found = Recording(
            text=_words(fields, "text"),
            emotion=_curve(fields),
            sampling=Sampling(sampling.integer("seed"), sampling.number("temperature"), sampling.number("top_p")),
            digest=fields.text("digest"),
            tokens=fields.integer("tokens"),
            entries=tuple(_entry(entry) for entry in fields.objects("controls")),
            cut=fields.flag("cut"),
        )
        sampling.finish()
        fields.finish()
        return found


class Log:
    """The entries of a session that goes on. Bounded: from `max_weight` on it says where it is cut."""

    def __init__(self, max_weight: int = MAX_WEIGHT) -> None:
        self._max_weight = max_weight
        self._entries: list[Entry] = []
        self._weight = 0
        self._cut_at: int | None = None

    def add(self, entry: Entry) -> None:
        weight = weight_of(entry.control)
        if self._cut_at is not None or self._weight + weight > self._max_weight:
            self._cut_at = entry.token if self._cut_at is None else self._cut_at
            return
        if self._entries[-1:] != [entry] or not isinstance(entry.control, Reopen):  # twice is once
            self._entries.append(entry)
            self._weight += weight

    def __len__(self) -> int:
        return len(self._entries)

    def drop_from(self, count: int, token: int) -> None:
        """Forgets all but the first `count` entries; the session goes on at `token`."""
        self._weight -= sum(weight_of(entry.control) for entry in self._entries[count:])
        del self._entries[count:]
        if self._cut_at is not None:
            self._cut_at = min(self._cut_at, token)

    def recording(
        self, text: str, emotion: EmotionCurve | None, sampling: Sampling, digest: str, tokens: int
    ) -> Recording:
        """Of everything so far."""
        end = tokens if self._cut_at is None else min(tokens, self._cut_at)
        entries = tuple(entry for entry in self._entries if entry.token <= end)
        return Recording(text, emotion, sampling, digest, end, entries, self._cut_at is not None)


def weight_of(control: Control) -> int:
    """How much a control takes up, in small controls: each at most about 250 bytes of JSON."""
    texts: list[str] = []
    curves: list[EmotionCurve | None] = []
    items = 0
    if isinstance(control, PromptControl):
        texts = [control.text]
    elif isinstance(control, EmotionControl):
        curves = [control.emotion]
    elif isinstance(control, QueueControl):
        texts = [control.idle, *(item.text for item in control.items)]
        curves = [item.emotion for item in control.items]
        items = len(control.items)
    keys = [key for curve in curves if curve is not None for key in curve.keys]
    # Of a text its JSON counts: a character outside ASCII takes up to twelve.
    return 1 + items + sum(len(_dumps(text)) // 64 for text in texts) + sum(1 + len(key.weights) // 4 for key in keys)


def _dumps(value: Any) -> str:
    return json.dumps(value, allow_nan=False)


def _to_json(entry: Entry) -> str:
    return _dumps({"token": entry.token, **_control_to_json(entry.control), "digests": list(entry.digests)})


def _control_to_json(control: Control) -> dict[str, Any]:
    match control:
        case PromptControl(text):
            return {"control": "prompt", "text": text}
        case EmotionControl(emotion, transition_s):
            return {"control": "emotion", "emotion": _curve_to_json(emotion), "transition_s": transition_s}
        case IntensityControl(scale):
            return {"control": "intensity", "scale": scale}
        case PaceControl(ratio):
            return {"control": "pace", "ratio": ratio}
        case QueueControl(items, idle):
            rows = [{"text": i.text, "seconds": i.seconds, "emotion": _curve_to_json(i.emotion)} for i in items]
            return {"control": "queue", "items": rows, "idle": idle}
        case Reopen():
            return {"control": "reopen"}


def _entry(fields: Fields) -> Entry:
    token, control = fields.integer("token"), _control(fields)
    entry = Entry(token, control, tuple(fields.texts("digests")))
    fields.finish()
    return entry


def _control(fields: Fields) -> Control:
    kind = fields.text("control")
    match kind:
        case "prompt":
            return PromptControl(_words(fields, "text"))
        case "emotion":
            return EmotionControl(_curve(fields), fields.number("transition_s"))
        case "intensity":
            return IntensityControl(fields.number("scale"))
        case "pace":
            return PaceControl(fields.number("ratio"))
        case "queue":
            return QueueControl(tuple(map(_queued, fields.objects("items"))), _words(fields, "idle"))
        case "reopen":
            return Reopen()
    raise InvalidRequest(f"{fields.place}: unknown control {kind!r}")


def _words(fields: Fields, name: str) -> str:
    """Text that can be performed: JSON may hold halves of characters, which no prompt on the wire has."""
    text = fields.text(name)
    if any("\ud800" <= char <= "\udfff" for char in text):
        raise InvalidRequest(f"{name!r} of {fields.place} holds half a character; write the text anew")
    return text


def _queued(fields: Fields) -> QueuedPrompt:
    found = QueuedPrompt(_words(fields, "text"), fields.number("seconds"), _curve(fields))
    fields.finish()
    return found


def _curve_to_json(curve: EmotionCurve | None) -> list[dict[str, Any]] | None:
    if curve is None:
        return None
    return [{"time_s": k.time_s, "weights": dict(k.weights), "intensity": k.intensity} for k in curve.keys]


def _curve(fields: Fields) -> EmotionCurve | None:
    if fields.absent("emotion"):
        return None
    return EmotionCurve(tuple(_keys(fields.objects("emotion"))))


def _keys(rows: list[Fields]) -> Iterator[EmotionKey]:
    for row in rows:
        yield EmotionKey(row.number("time_s"), row.numbers("weights"), row.number("intensity"))
        row.finish()
