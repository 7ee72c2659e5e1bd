"""Two ways to call Animate from asyncio, behind one shape: grpcio, and a lean one that costs what a game's client does.

Client and server share a machine in these benchmarks, and grpcio takes about five times the processor time per message
that native code does: with hundreds of characters it would measure itself. `LeanConnection` speaks the same protocol
(gRPC over HTTP/2, RFC 9113) on one socket: it splits frames, keeps flow control and answers pings, nothing else.
`--client grpcio` shows that figures hold with the official client.
"""

from __future__ import annotations

import asyncio
import re
import socket
import struct
from collections.abc import Callable
from typing import Any, Protocol

METHOD = "/animoe.v1.AnimationService/Animate"
CLIENTS = ("lean", "grpcio")

OnMessage = Callable[[bytes], None]
OnEnd = Callable[[str], None]
"""Told how the call ended: a gRPC code and its message, "OK" when all went well."""

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _RST_STREAM, _SETTINGS, _PING, _GOAWAY, _WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
_END_STREAM, _END_HEADERS, _ACK = 0x1, 0x4, 0x1
_CANCEL = 8
_FRAME = struct.Struct(">HBBBI")
_MESSAGE = struct.Struct(">BI")
_STREAM_WINDOW, _CONNECTION_WINDOW = 1 << 20, 1 << 26
_CODES = dict(enumerate("OK CANCELLED UNKNOWN INVALID_ARGUMENT DEADLINE_EXCEEDED NOT_FOUND ALREADY_EXISTS".split()))
_CODES |= dict(enumerate("PERMISSION_DENIED RESOURCE_EXHAUSTED FAILED_PRECONDITION ABORTED OUT_OF_RANGE".split(), 7))
_CODES |= dict(enumerate("UNIMPLEMENTED INTERNAL UNAVAILABLE DATA_LOSS UNAUTHENTICATED".split(), 12))


class Call(Protocol):
    """One live session."""

    def send(self, message: bytes) -> None:
        """One AnimateRequest, serialised."""

    def cancel(self) -> None:
        """Leaves at once; `on_end` is not called any more."""


class Connection(Protocol):
    def open(self, first: bytes, on_message: OnMessage, on_end: OnEnd) -> Call:
        """Begins a call with its first request; each response comes serialised, in the event loop."""

    async def close(self) -> None:
        """Ends the connection and all calls on it."""


async def connect(target: str, client: str = "lean") -> Connection:
    """A connection to host:port; `client` is one of CLIENTS."""
    if client == "grpcio":
        return GrpcConnection(target)
    host, _, port = target.rpartition(":")
    _, connection = await asyncio.get_running_loop().create_connection(LeanConnection, host, int(port))
    return connection


class LeanConnection(asyncio.Protocol):
    """gRPC over one HTTP/2 connection in clear text, for bidirectional calls of one method."""

    def __init__(self) -> None:
        self._calls: dict[int, _LeanCall] = {}
        self._next, self._unread = 1, 0
        self._pending = bytearray()
        self._transport: Any = None

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        transport.write(first_bytes())

    def open(self, first: bytes, on_message: OnMessage, on_end: OnEnd) -> Call:
        number, self._next = self._next, self._next + 2
        call = self._calls[number] = _LeanCall(self, number, on_message, on_end)
        self._transport.write(_opening(number, first))
        return call

    async def close(self) -> None:
        self._calls.clear()
        self._transport.close()

    def write(self, frame: bytes) -> None:
        self._transport.write(frame)

    def forget(self, number: int) -> None:
        self._calls.pop(number, None)

    def data_received(self, data: bytes) -> None:
        pending = self._pending
        pending += data
        at, end = 0, len(pending)
        while end - at >= _FRAME.size:
            high, low, kind, flags, number = _FRAME.unpack_from(pending, at)
            size = high << 8 | low
            if end - at < _FRAME.size + size:
                break
            at += _FRAME.size
            if kind == _DATA:
                self._unread += size
                if number in self._calls:
                    self._calls[number].received(bytes(pending[at : at + size]))
            else:
                self._other(kind, flags, number, bytes(pending[at : at + size]))
            at += size
        del pending[:at]
        if self._unread > _CONNECTION_WINDOW // 2:
            self.write(_frame(_WINDOW_UPDATE, 0, 0, _u32(self._unread)))
            self._unread = 0

    def _other(self, kind: int, flags: int, number: int, payload: bytes) -> None:
        if kind == _PING and not flags & _ACK:
            self.write(_frame(_PING, _ACK, 0, payload))
        elif kind == _SETTINGS and not flags & _ACK:
            self.write(_frame(_SETTINGS, _ACK, 0, b""))
        elif kind == _HEADERS and flags & _END_STREAM:
            self._end(number, _status(payload))
        elif kind == _RST_STREAM:
            self._end(number, f"UNAVAILABLE: the stream was reset ({int.from_bytes(payload, 'big')})")
        elif kind == _GOAWAY:
            self._end_all(f"UNAVAILABLE: the server goes away ({payload[8:].decode(errors='replace')})")

    def connection_lost(self, _: Exception | None) -> None:
        self._end_all("UNAVAILABLE: the connection is lost")

    def _end_all(self, how: str) -> None:
        for number in list(self._calls):
            self._end(number, how)

    def _end(self, number: int, how: str) -> None:
        call = self._calls.pop(number, None)
        if call is not None:
            call.on_end(how)


class _LeanCall:
    def __init__(self, connection: LeanConnection, number: int, on_message: OnMessage, on_end: OnEnd) -> None:
        self._connection, self._number = connection, number
        self._on_message, self.on_end = on_message, on_end
        self._part, self._unread = b"", 0

    def send(self, message: bytes) -> None:
        self._connection.write(_data(self._number, message))

    def cancel(self) -> None:
        self._connection.write(_frame(_RST_STREAM, 0, self._number, _u32(_CANCEL)))
        self._connection.forget(self._number)

    def received(self, payload: bytes) -> None:
        """Part of a message, a whole one (nearly always), or several."""
        self._unread += len(payload)
        if self._unread > _STREAM_WINDOW // 2:
            self._connection.write(_frame(_WINDOW_UPDATE, 0, self._number, _u32(self._unread)))
            self._unread = 0
        payload = self._part + payload if self._part else payload
        while len(payload) >= _MESSAGE.size:
            _, size = _MESSAGE.unpack_from(payload)
            if len(payload) < _MESSAGE.size + size:
                break
            self._on_message(payload[_MESSAGE.size : _MESSAGE.size + size])
            payload = payload[_MESSAGE.size + size :]
        self._part = payload


def first_bytes(first: bytes = b"") -> bytes:
    """What a client sends when it connects, with a call of METHOD and its first message when one is given."""
    # Setting 1: no table of headers, so that a status arrives in letters. 4: window of a stream.
    settings = b"".join(struct.pack(">HI", key, value) for key, value in ((1, 0), (4, _STREAM_WINDOW)))
    greeting = _PREFACE + _frame(_SETTINGS, 0, 0, settings)
    greeting += _frame(_WINDOW_UPDATE, 0, 0, _u32(_CONNECTION_WINDOW))
    return greeting + _opening(1, first) if first else greeting


def _opening(number: int, first: bytes) -> bytes:
    headers = (
        (":method", "POST"),
        (":scheme", "http"),
        (":path", METHOD),
        (":authority", "benchmark"),
        ("te", "trailers"),
        ("content-type", "application/grpc"),
    )
    fields = (  # HPACK literals, never indexed
        b"\x10" + bytes((len(name),)) + name.encode() + bytes((len(value),)) + value.encode() for name, value in headers
    )
    return _frame(_HEADERS, _END_HEADERS, number, b"".join(fields)) + _data(number, first)


def _data(number: int, message: bytes) -> bytes:
    return _frame(_DATA, 0, number, _MESSAGE.pack(0, len(message)) + message)


def _frame(kind: int, flags: int, number: int, payload: bytes) -> bytes:
    return _FRAME.pack(len(payload) >> 8, len(payload) & 0xFF, kind, flags, number) + payload


def _u32(value: int) -> bytes:
    return struct.pack(">I", value)


def _status(trailers: bytes) -> str:
    """Read from header fields without Huffman codes, which gRPC's servers do not use for these."""
    code = re.search(rb"grpc-status[\x01\x02](\d+)", trailers)
    if code is None:
        return "UNKNOWN: no grpc-status"
    message = re.search(rb"grpc-message([\x01-\x7e])(.*)", trailers, re.DOTALL)
    text = message[2][: message[1][0]].decode(errors="replace") if message else ""
    name = _CODES.get(int(code[1]), code[1].decode())
    return f"{name}: {text}" if text else name


class GrpcConnection:
    """grpcio, with messages left as bytes."""

    def __init__(self, target: str) -> None:
        import grpc

        self._channel: Any = grpc.aio.insecure_channel(target)
        self._method = self._channel.stream_stream(METHOD)

    def open(self, first: bytes, on_message: OnMessage, on_end: OnEnd) -> Call:
        return _GrpcCall(self._method(), first, on_message, on_end)

    async def close(self) -> None:
        await self._channel.close()


class _GrpcCall:
    def __init__(self, call: Any, first: bytes, on_message: OnMessage, on_end: OnEnd) -> None:
        self._call, self._on_message, self._on_end = call, on_message, on_end
        self._outbox: asyncio.Queue[bytes] = asyncio.Queue()
        self._outbox.put_nowait(first)
        self._tasks = (asyncio.create_task(self._write()), asyncio.create_task(self._read()))

    def send(self, message: bytes) -> None:
        self._outbox.put_nowait(message)

    def cancel(self) -> None:
        for task in self._tasks:
            task.cancel()
        self._call.cancel()

    async def _write(self) -> None:
        import grpc

        try:
            while True:
                await self._call.write(await self._outbox.get())
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
            pass  # the reader says how it ended

    async def _read(self) -> None:
        import grpc

        try:
            while (message := await self._call.read()) is not grpc.aio.EOF:
                self._on_message(message)
        except grpc.aio.AioRpcError:
            pass
        self._tasks[0].cancel()
        code, text = await self._call.code(), await self._call.details()
        self._on_end(f"{code.name}: {text}" if text else code.name)
