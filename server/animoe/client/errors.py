"""ClientError: what went wrong with a call, in plain words."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import grpc

from animoe.errors import AniMoEError

_REASON_KEY = "animoe-reason"


class ClientError(AniMoEError):
    """A call that failed; `str(error)` is a sentence for people.

    Attributes:
        code: gRPC status code, for example "NOT_FOUND".
        reason: stable, machine-readable name that callers may switch on, for example "INCOMPATIBLE_SKELETON".
        message: the sentence.
    """

    def __init__(self, code: str, reason: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.message = message


@contextmanager
def plain_errors(target: str) -> Iterator[None]:
    """Turns grpc.RpcError into ClientError."""
    try:
        yield
    except grpc.RpcError as error:
        raise _translated(error, target) from error


def refused(message: str) -> ClientError:
    """For what is known to be wrong before anything is sent."""
    return ClientError("INVALID_ARGUMENT", "INVALID_REQUEST", message)


def _translated(error: grpc.RpcError, target: str) -> ClientError:
    code: grpc.StatusCode = error.code()
    metadata: Any = error.trailing_metadata() or ()
    reason = dict(metadata).get(_REASON_KEY)
    if isinstance(reason, str):
        return ClientError(code.name, reason, error.details() or code.name)
    return ClientError(code.name, code.name, _transport_problem(code, error.details() or "", target))


def _transport_problem(code: grpc.StatusCode, details: str, target: str) -> str:
    """A sentence for errors that no AniMoE server sent."""
    if code is grpc.StatusCode.UNAVAILABLE:
        return f"no AniMoE server answers at {target}; start one with 'animoe serve', or check host and port"
    if code is grpc.StatusCode.UNIMPLEMENTED:
        return f"the server at {target} is no AniMoE server, or an older one; check host and port"
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return f"the server at {target} did not answer in time; try again, or give it longer"
    if code is grpc.StatusCode.CANCELLED:
        return "the stream was closed on this side"
    return f"the call to {target} failed: {code.name} {details}".rstrip()
