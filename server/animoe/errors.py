"""Every error AniMoE raises on purpose.

AniMoEError
├── InvalidRequest          a caller's value is wrong; the text names the field, the value and the remedy
│   ├── ShapeError          an array has the wrong shape
│   └── IncompatibleSkeleton  a rig cannot be driven (no legs, no head, NaN rest pose)
├── FileError               a motion file cannot be read; carries the path and the place in it
│   └── NoAnimation         it is whole, but nothing moves in it: a character, perhaps
├── NotFound                a named thing (rig, emotion, bundle, scenario) does not exist
├── WriteError              the disk is full; what was there before still holds
├── NotAllowed              the server's owner does not allow it (a path outside the folder of packs)
├── BundleError             a bundle on disk is missing, damaged or of another format version
├── Overloaded              the server is full; try again later, it may say when
├── TooManyMessages         the caller sends more than it may
├── TimedOut                the caller was silent, or read nothing, for too long
├── Unavailable             the server is starting or stopping; try again in a moment
└── FailedPrecondition      the call came in the wrong order (a live session must begin with `start`)

`reason` is the stable, machine-readable name that clients may switch on (google.rpc.ErrorInfo.reason).
"""

from __future__ import annotations

from pathlib import Path


class AniMoEError(Exception):
    """Base of the hierarchy; `str(error)` is a sentence for people."""

    reason = "INTERNAL"


class InvalidRequest(AniMoEError):
    reason = "INVALID_REQUEST"


class ShapeError(InvalidRequest):
    reason = "INVALID_SHAPE"


class IncompatibleSkeleton(InvalidRequest):
    reason = "INCOMPATIBLE_SKELETON"


class NotFound(AniMoEError):
    reason = "NOT_FOUND"


class WriteError(AniMoEError):
    reason = "CANNOT_WRITE"


class NotAllowed(AniMoEError):
    reason = "NOT_ALLOWED"


class BundleError(AniMoEError):
    reason = "BAD_BUNDLE"


class Overloaded(AniMoEError):
    """No room now.

    Args:
        retry_after_s: when it may be worth to try again, seconds; None where waiting does not help.
    """

    reason = "OVERLOADED"

    def __init__(self, message: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class TooManyMessages(AniMoEError):
    reason = "TOO_MANY_MESSAGES"


class TimedOut(AniMoEError):
    """A caller was cut.

    Args:
        reason: which patience has ended: NO_START, IDLE or STUCK_READER.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class Unavailable(AniMoEError):
    reason = "UNAVAILABLE"


class FailedPrecondition(AniMoEError):
    reason = "FAILED_PRECONDITION"


class FileError(AniMoEError):
    """A motion file that cannot be used.

    Args:
        path: the file.
        problem: what is wrong, as a clause.
        place: where in the file ("line 133", "accessor 12"), empty when it concerns the whole.
        remedy: what the user can do, as a sentence; may be empty.
    """

    reason = "BAD_FILE"

    def __init__(self, path: str | Path, problem: str, *, place: str = "", remedy: str = "") -> None:
        where = f"{path}, {place}" if place else f"{path}"
        super().__init__(f"{where}: {problem}." + (f" {remedy}" if remedy else ""))
        self.path = Path(path)
        self.problem = problem
        self.place = place


class NoAnimation(FileError):
    """A file that is whole but holds no motion; it may hold a skeleton."""
