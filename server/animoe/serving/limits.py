"""What one server allows, so that no caller can take it down."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from animoe.errors import InvalidRequest, Overloaded

MAX_JOINTS = 1024
MAX_JOINT_NAME_CHARS = 256
MAX_EMOTION_KEYS = 1000
MAX_MESSAGE_BYTES = 1 << 20
"""Received messages; a skeleton of MAX_JOINTS joints with ordinary names takes about a tenth of it."""
DEFAULT_MAX_STREAMS = 256


@dataclass
class StreamSlots:
    """Counts the streams (clips and live sessions) that run at one time.

    Attributes:
        limit: most streams at one time, >= 1.
        active: streams that run now.
    """

    limit: int = DEFAULT_MAX_STREAMS
    active: int = 0

    def __post_init__(self) -> None:
        if self.limit < 1:
            raise InvalidRequest(f"--max-streams must be 1 or more, got {self.limit}")

    @contextmanager
    def take(self) -> Iterator[None]:
        """Holds a slot for as long as the stream lives. Raises Overloaded when all are taken."""
        if self.active >= self.limit:
            raise Overloaded(
                f"the server already plays {self.active} streams, its limit; end one, try again later, "
                "or start the server with a higher --max-streams"
            )
        self.active += 1
        try:
            yield
        finally:
            self.active -= 1
