"""The one place where errors become gRPC statuses and calls get their ids, for unary and streaming calls alike."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
from google.protobuf import any_pb2, duration_pb2
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
    TimedOut,
    TooManyMessages,
    Unavailable,
    WriteError,
)
from animoe.serving.calls import Call, current_call
from animoe.serving.logs import Ids, current_ids, request_id
from animoe.serving.monitoring.monitor import Monitor

ERROR_DOMAIN = "animoe"
REASON_KEY = "animoe-reason"
RETRY_KEY = "animoe-retry-after-ms"
STATUS_KEY = "grpc-status-details-bin"
REQUEST_ID_KEY = "x-request-id"
_OUR_METHODS = "/animoe."
_STREAMS = ("/animoe.v1.AnimationService/Animate", "/animoe.v1.AnimationService/GenerateClip")

_CODES: tuple[tuple[type[AniMoEError], grpc.StatusCode], ...] = (
    (InvalidRequest, grpc.StatusCode.INVALID_ARGUMENT),
    (FileError, grpc.StatusCode.INVALID_ARGUMENT),
    (NotFound, grpc.StatusCode.NOT_FOUND),
    (NotAllowed, grpc.StatusCode.PERMISSION_DENIED),
    (FailedPrecondition, grpc.StatusCode.FAILED_PRECONDITION),
    (BundleError, grpc.StatusCode.FAILED_PRECONDITION),
    (Overloaded, grpc.StatusCode.RESOURCE_EXHAUSTED),
    (TooManyMessages, grpc.StatusCode.RESOURCE_EXHAUSTED),
    (TimedOut, grpc.StatusCode.DEADLINE_EXCEEDED),
    (WriteError, grpc.StatusCode.RESOURCE_EXHAUSTED),
    (Unavailable, grpc.StatusCode.UNAVAILABLE),
)
_INTERNAL = "the server failed on this request; its log says why"
_GOODBYE_S = 1.0
"""A caller that reads nothing gets its status when it reads again; nobody here waits for that."""

Context = grpc.aio.ServicerContext[Any, Any]
Behaviour = Callable[[Any, Context], Awaitable[Any]]


def status_code(error: AniMoEError) -> grpc.StatusCode:
    """The gRPC code of an error class; INTERNAL for one without a code of its own."""
    return next((code for kind, code in _CODES if isinstance(error, kind)), grpc.StatusCode.INTERNAL)


class CallInterceptor(grpc.aio.ServerInterceptor):  # type: ignore[type-arg]  # not generic at run time
    """Ends calls of AniMoE services that raise with a status, and tells how they went; leaves standard services alone.

    Our handlers are coroutines that write to the context, never async generators: their `finally` runs at once
    when a client vanishes, and awaiting them covers every stream.

    A caller may name its request in the metadata "x-request-id"; the trailing metadata say what it is called here.

    Args:
        monitor: hears of every call.
    """

    def __init__(self, monitor: Monitor) -> None:
        self._monitor = monitor

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
            _guarded(method, behaviour, self._monitor),
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


def _guarded(method: str, behaviour: Behaviour, monitor: Monitor) -> Behaviour:
    async def serve(request: Any, context: Context) -> Any:
        ids = Ids(request_id(dict(context.invocation_metadata() or ()).get(REQUEST_ID_KEY)))
        call = Call(method, ids, monitor, context.peer(), streams=method in _STREAMS)
        current_ids.set(ids)  # each call is a task with a context of its own
        current_call.set(call)
        context.set_trailing_metadata(((REQUEST_ID_KEY, ids.request),))
        try:
            answer = await behaviour(request, context)
        except grpc.aio.AbortError:
            raise
        except grpc.aio.InternalError:
            call.left()  # a write failed: the client went away, nobody is there to tell
        except asyncio.CancelledError:
            call.left()
            raise
        except AniMoEError as error:
            code = status_code(error)
            call.refused(code, error)
            await _abort(context, ids, code, error.reason, str(error), getattr(error, "retry_after_s", None))
        except Exception:
            call.failed()
            await _abort(context, ids, grpc.StatusCode.INTERNAL, AniMoEError.reason, _INTERNAL)
        else:
            call.done()
            return answer
        return None

    return serve


async def _abort(
    context: Context,
    ids: Ids,
    code: grpc.StatusCode,
    reason: str,
    message: str,
    retry_after_s: float | None = None,
) -> None:
    details = [error_details_pb2.ErrorInfo(reason=reason, domain=ERROR_DOMAIN)]
    metadata = [(REASON_KEY, reason), (REQUEST_ID_KEY, ids.request)]
    if retry_after_s is not None:
        delay = duration_pb2.Duration()
        delay.FromMilliseconds(round(retry_after_s * 1000))
        details.append(error_details_pb2.RetryInfo(retry_delay=delay))
        metadata.append((RETRY_KEY, str(delay.ToMilliseconds())))
    status = status_pb2.Status(code=code.value[0], message=message, details=[_packed(detail) for detail in details])
    try:
        async with asyncio.timeout(_GOODBYE_S):
            await context.abort(code, message, (*metadata, (STATUS_KEY, status.SerializeToString())))
    except TimeoutError:
        raise grpc.aio.AbortError from None
    except grpc.aio.AbortError as error:
        # When it has passed: gRPC keeps it with the call, and its frames hold the call and all that belonged to it.
        # Python would find that some day; a server that is flooded cannot wait for it.
        asyncio.get_running_loop().call_soon(_clear, error)
        raise


def _clear(error: BaseException | None) -> None:
    """Lets go of what the frames hold through which an error and its causes came."""
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        error = error.__context__


def _packed(message: Any) -> any_pb2.Any:
    packed = any_pb2.Any()
    packed.Pack(message)
    return packed
