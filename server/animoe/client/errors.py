"""ClientError: what went wrong with a call, in plain words."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import grpc

from animoe.errors import AniMoEError

_REASON_KEY = "animoe-reason"
_RETRY_KEY = "animoe-retry-after-ms"
_MAX_RETRY_S = 60.0
T = TypeVar("T")


class ClientError(AniMoEError):
    """A call that failed; `str(error)` is a sentence for people.

    Attributes:
        code: gRPC status code, for example "NOT_FOUND".
        reason: stable, machine-readable name that callers may switch on, for example "INCOMPATIBLE_SKELETON".
        message: the sentence.
        retry_after_s: when the server says it may be worth to try again, seconds; None when it does not say.
    """

    def __init__(self, code: str, reason: str, message: str, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.message = message
        self.retry_after_s = retry_after_s


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
    said = dict(metadata)
    reason = said.get(_REASON_KEY)
    if isinstance(reason, str):
        return ClientError(code.name, reason, error.details() or code.name, _seconds(said.get(_RETRY_KEY)))
    return ClientError(code.name, code.name, _transport_problem(code, error.details() or "", target))


def retrying(call: Callable[[], T], retries: int) -> T:
    """Makes a call, and again when the server refuses it and says when to try again; at most `retries` times more."""
    for _ in range(retries):
        try:
            return call()
        except ClientError as error:
            if error.retry_after_s is None:
                raise
            time.sleep(error.retry_after_s)
    return call()


def _seconds(milliseconds: object) -> float | None:
    """Of a retry hint; it is another's, so it may be anything."""
    if not isinstance(milliseconds, str) or not milliseconds.isdecimal():
        return None
    return min(int(milliseconds[:9]) / 1000, _MAX_RETRY_S)


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
