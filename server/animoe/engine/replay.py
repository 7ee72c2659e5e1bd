"""A recorded session, performed again."""

from __future__ import annotations

from collections.abc import Iterator

from animoe.engine.core import Engine
from animoe.engine.recording import Recording
from animoe.engine.requests import SessionRequest
from animoe.errors import FailedPrecondition
from animoe.motion.pose_block import PoseBlock
from animoe.printable import printable


def replay(engine: Engine, recording: Recording) -> Iterator[PoseBlock]:
    """The blocks of the recorded session: the same to the last bit.

    Raises:
        FailedPrecondition: the engine's bundle, or what it has learnt, is not what the session was performed with.
    """
    present = engine.info.bundle_digest
    others = sorted(recording.digests - {present})
    if others:
        raise FailedPrecondition(
            f"the recording was performed with bundle {printable(', '.join(others), 200)}, the engine has {present}; "
            "open that bundle, or bring its scenarios to what they were with `animoe scenario rollback` or "
            "`pack import`"
        )
    return _performed(engine, recording)


def _performed(engine: Engine, recording: Recording) -> Iterator[PoseBlock]:
    session = engine.open_session(SessionRequest(recording.text, recording.emotion, recording.sampling))
    entries = list(reversed(recording.entries))
    for token in range(recording.tokens):
        while entries and entries[-1].token == token:
            session.tell(entries.pop().control)
        yield session.next_block()
