"""Live sessions on disk: what each was told, and the rig that it was performed on, so that it gives the same frames.

As JSON: one object with the session's id, its beginning, its rig as in the protocol, and the engine's recording.
"""

from __future__ import annotations

import contextvars
import json
import logging
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from google.protobuf import json_format

from animoe.engine import LiveSession, Recording
from animoe.engine.recording import FORMAT as ENGINE_FORMAT
from animoe.engine.recording import MAX_JSON_BYTES
from animoe.engine.strict_json import Fields, parsed
from animoe.errors import AniMoEError, FailedPrecondition, FileError, InvalidRequest
from animoe.formats.writing import write_atomically
from animoe.native.library import load_library
from animoe.printable import printable
from animoe.retarget.frames import EngineFrame
from animoe.retarget.solver import Retargeter
from animoe.serving.convert import engine_frame_to_proto
from animoe.serving.limits import MAX_MESSAGE_BYTES
from animoe.serving.logs import fields as log_fields
from animoe.serving.retargeters import selected
from animoe.v1 import skeleton_pb2

FORMAT, VERSION = "animoe-session", 1
MAX_BYTES = MAX_JSON_BYTES + 8 * MAX_MESSAGE_BYTES
"""Of a file: a recording, and a rig that came as one message."""
_MAX_WAITING = 256
"""Sessions that wait to be written; a disk that hangs must not fill the memory."""
_MAX_PROBLEM_CHARS = 400

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class RecordedSession:
    """A live session, as a file holds it.

    Attributes:
        recording: what the engine was told.
        rig: what its frames were put on; None in a recording that the engine alone made.
        rig_digest: identity of that rig's skeleton.
        session: id, as in the server's log. began: UTC, ISO 8601. Both only tell people which one this is.
    """

    recording: Recording
    rig: skeleton_pb2.RigSelection | None = None
    rig_digest: str = ""
    session: str = ""
    began: str = ""

    def to_json(self) -> str:
        """The same again with `from_json`. Needs a rig."""
        assert self.rig is not None, "Recording.to_json does without one"
        rig = json_format.MessageToDict(self.rig, preserving_proto_field_name=True)
        head = {"format": FORMAT, "version": VERSION, "session": self.session, "began": self.began}
        opening = json.dumps(head | {"rig": rig, "rig_digest": self.rig_digest}).removesuffix("}")
        return f'{opening},\n"recording": {self.recording.to_json()}}}\n'

    @staticmethod
    def from_json(text: str | bytes) -> RecordedSession:
        """Reads what `to_json` of this or of `Recording` wrote; trusts nothing.

        Raises:
            InvalidRequest: neither of them, with the place of what is wrong in it.
            NotFound: an emotion that does not exist.
        """
        value = parsed(text, MAX_BYTES, "the recording")
        if isinstance(value, dict) and value.get("format") == ENGINE_FORMAT:
            return RecordedSession(Recording.from_fields(Fields(value, "the recording")))
        rig = value.pop("rig", None) if isinstance(value, dict) else None
        fields = Fields(value, "the recorded session")
        if fields.text("format") != FORMAT or fields.integer("version") != VERSION:
            raise InvalidRequest(f"this is no {FORMAT} of version {VERSION}; record it with this AniMoE")
        found = RecordedSession(
            recording=Recording.from_fields(fields.object("recording")),
            rig=_rig_from_json(rig),
            rig_digest=fields.text("rig_digest"),
            session=fields.text("session"),
            began=fields.text("began"),
        )
        fields.finish()
        return found

    def retargeter(self, rig: str | None = None, frame: EngineFrame | None = None) -> Retargeter:
        """Puts its motion on its rig.

        Args:
            rig: name of another one. frame: for the numbers; None keeps what the session had.

        Raises:
            InvalidRequest: no rig is known, or it cannot be driven so.
            NotFound: no such rig.
            FailedPrecondition: the rig of that name is not what it was.
        """
        selection = skeleton_pb2.RigSelection()
        if self.rig is not None:
            selection.CopyFrom(self.rig)
        if rig is not None:
            selection.profile = rig  # instead of a skeleton, if that was it
        elif self.rig is None:
            raise InvalidRequest("the recording was made without a rig; name one with --rig")
        found, own_frame, options = selected(selection)
        if rig is None and found.skeleton.digest != self.rig_digest:
            raise FailedPrecondition(
                f"rig {found.name!r} is not what it was when the session was recorded, so its frames would differ; "
                f"name it with --rig {selection.profile or 'NAME'} to put the motion on it all the same"
            )
        return Retargeter(found, frame or own_frame, options, library=load_library())  # as the server does


def read_session(path: Path) -> RecordedSession:
    """Reads a file of `Recorder`, or one with the JSON of a `Recording`.

    Raises:
        FileError: missing, damaged or something else, in one line.
    """
    try:
        if not path.is_file():
            raise FileError(path, "no such file", remedy="'animoe serve --record FOLDER' writes recordings.")
        with path.open("rb") as stream:
            text = stream.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        raise FileError(path, f"cannot be opened ({getattr(error, 'strerror', None) or error})") from error
    try:
        return RecordedSession.from_json(text)
    except AniMoEError as error:
        raise FileError(path, printable(str(error), _MAX_PROBLEM_CHARS)) from error


class Recorder:
    """Writes live sessions into a folder when they end: in a thread of its own, and never at their cost.

    Args:
        folder: made when needed; nothing in it is ever deleted.

    Raises:
        InvalidRequest: it cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="animoe-recorder")
        self._room = threading.Semaphore(_MAX_WAITING)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            probe = folder / f".animoe-{time.time_ns()}.tmp"
            write_atomically(probe, b"")
            probe.unlink()
        except (OSError, ValueError, FileError) as error:
            cause = error.__cause__ if isinstance(error, FileError) else error
            reason = getattr(cause, "strerror", None) or cause
            raise InvalidRequest(
                f"--record {folder} cannot be used as a folder ({reason}); name one that may be written"
            ) from error

    @contextmanager
    def recording(
        self, session: LiveSession, selection: skeleton_pb2.RigSelection, retargeter: Retargeter, session_id: str
    ) -> Iterator[Path]:
        """Records what happens meanwhile, however it ends; gives the path that the file will have.

        Args:
            selection: the rig as it was asked for. retargeter: what came of that.
        """
        began = time.gmtime()
        path = self._folder / f"{time.strftime('%Y%m%dT%H%M%SZ', began)}-{session_id}.json"
        rig = skeleton_pb2.RigSelection()
        rig.CopyFrom(selection)
        rig.frame = engine_frame_to_proto(retargeter.frame)  # what a profile's own frame is may change

        def write() -> None:
            said, told = time.strftime("%Y-%m-%dT%H:%M:%SZ", began), session.recording()
            found = RecordedSession(told, rig, retargeter.rig.skeleton.digest, session_id, said)
            write_atomically(path, found.to_json().encode())
            what = log_fields(file=str(path), controls=len(told.entries), cut=told.cut or None)
            log.info("Animate recorded", extra=what)

        try:
            yield path
        finally:
            self._submit(write, path)

    def close(self) -> None:
        """Returns when all is written. May take time."""
        self._pool.shutdown()

    def _submit(self, write: Callable[[], None], path: Path) -> None:
        if not self._room.acquire(blocking=False):
            log.warning("Animate not recorded", extra=log_fields(file=str(path), error="the disk is too slow"))
            return
        context = contextvars.copy_context()  # what it logs belongs to the session
        try:
            self._pool.submit(context.run, self._run, write, path)
        except RuntimeError:  # closed: a call that ends after its server is the last one
            self._run(write, path)

    def _run(self, write: Callable[[], None], path: Path) -> None:
        try:
            write()
        except FileError as error:
            log.warning("Animate not recorded", extra=log_fields(file=str(path), error=str(error)))
        except Exception:
            log.warning("Animate not recorded", extra=log_fields(file=str(path), error="unexpected"), exc_info=True)
        finally:
            self._room.release()


def _rig_from_json(value: Any) -> skeleton_pb2.RigSelection:
    if not isinstance(value, dict):
        raise InvalidRequest("'rig' of the recorded session must be an object with named fields")
    try:
        return json_format.ParseDict(value, skeleton_pb2.RigSelection())
    except (json_format.Error, ValueError, TypeError, AttributeError, OverflowError) as error:
        raise InvalidRequest(f"'rig' of the recorded session is no rig of the protocol: {error}") from error
