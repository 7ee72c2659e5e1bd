"""The one place where errors become gRPC statuses, for unary and streaming calls alike."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
from google.protobuf import any_pb2
from google.rpc import error_details_pb2, status_pb2  # type: ignore[import-untyped]

from animoe.errors import (
    AniMoEError,
    BundleError,
    FailedPrecondition,
    FileError,
    InvalidRequest,
    NotAllowed,
    NotFound,
    Overloaded,
    Unavailable,
    WriteError,
)

ERROR_DOMAIN = "animoe"
REASON_KEY = "animoe-reason"
STATUS_KEY = "grpc-status-details-bin"
_OUR_METHODS = "/animoe."

_CODES: tuple[tuple[type[AniMoEError], grpc.StatusCode], ...] = (
    (InvalidRequest, grpc.StatusCode.INVALID_ARGUMENT),
    (FileError, grpc.StatusCode.INVALID_ARGUMENT),
    (NotFound, grpc.StatusCode.NOT_FOUND),
    (NotAllowed, grpc.StatusCode.PERMISSION_DENIED),
    (FailedPrecondition, grpc.StatusCode.FAILED_PRECONDITION),
    (BundleError, grpc.StatusCode.FAILED_PRECONDITION),
    (Overloaded, grpc.StatusCode.RESOURCE_EXHAUSTED),
    (WriteError, grpc.StatusCode.RESOURCE_EXHAUSTED),
    (Unavailable, grpc.StatusCode.UNAVAILABLE),
)
_INTERNAL = "the server failed on this request; its log says why"

log = logging.getLogger(__name__)

Context = grpc.aio.ServicerContext[Any, Any]
Behaviour = Callable[[Any, Context], Awaitable[Any]]


def status_code(error: AniMoEError) -> grpc.StatusCode:
    """The gRPC code of an error class; INTERNAL for one without a code of its own."""
    return next((code for kind, code in _CODES if isinstance(error, kind)), grpc.StatusCode.INTERNAL)


class ErrorInterceptor(grpc.aio.ServerInterceptor):  # type: ignore[type-arg]  # not generic at run time
    """Ends calls of AniMoE services that raise with a status; leaves standard services (health) alone.

    Our handlers are coroutines that write to the context, never async generators: their `finally` runs at once
    when a client vanishes, and awaiting them covers every stream.
    """

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Any, Any]]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Any, Any]:
        handler = await continuation(handler_call_details)
        method = handler_call_details.method
        if handler is None or not method.startswith(_OUR_METHODS):
            return handler
        make, behaviour = _parts(handler)
        return make(
            _guarded(method, behaviour),
            request_deserializer=handler.request_deserializer,
            response_serializer=handler.response_serializer,
        )


def _parts(handler: Any) -> tuple[Callable[..., grpc.RpcMethodHandler[Any, Any]], Behaviour]:
    kinds: dict[tuple[bool, bool], tuple[Callable[..., Any], Behaviour]] = {
        (False, False): (grpc.unary_unary_rpc_method_handler, handler.unary_unary),
        (False, True): (grpc.unary_stream_rpc_method_handler, handler.unary_stream),
        (True, False): (grpc.stream_unary_rpc_method_handler, handler.stream_unary),
        (True, True): (grpc.stream_stream_rpc_method_handler, handler.stream_stream),
    }
    return kinds[handler.request_streaming, handler.response_streaming]


def _guarded(method: str, behaviour: Behaviour) -> Behaviour:
    async def call(request: Any, context: Context) -> Any:
        try:
            return await behaviour(request, context)
        except grpc.aio.AbortError:
            raise
        except grpc.aio.InternalError:
            return None  # a write failed: the client went away, nobody is left to tell
        except AniMoEError as error:
            await _abort(context, status_code(error), error.reason, str(error))
        except Exception:
            log.exception("unexpected error in %s", method)
            await _abort(context, grpc.StatusCode.INTERNAL, AniMoEError.reason, _INTERNAL)

    return call


async def _abort(context: Context, code: grpc.StatusCode, reason: str, message: str) -> None:
    detail = any_pb2.Any()
    detail.Pack(error_details_pb2.ErrorInfo(reason=reason, domain=ERROR_DOMAIN))
    status = status_pb2.Status(code=code.value[0], message=message, details=[detail])
    metadata = ((STATUS_KEY, status.SerializeToString()), (REASON_KEY, reason))
    await context.abort(code, message, metadata)
