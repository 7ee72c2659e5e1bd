"""Text of strangers, made fit for a terminal or a log: one line, nothing that moves a cursor or turns the writing."""

from __future__ import annotations


def printable(text: str, limit: int = 1000) -> str:
    """`text` with every character that is not printable written as an escape, cut after `limit` characters."""
    if len(text) > limit:
        text = text[:limit] + "..."
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)
