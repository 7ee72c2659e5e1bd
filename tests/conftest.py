"""Fixtures that several packages use: the real engine on the default bundle, and real servers around it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from animoe.client import Client
from animoe.engine import Engine
from animoe.serving.server import AnimationServer, ServerConfig


@pytest.fixture(scope="session")
def engine() -> Engine:
    return Engine.load()


@dataclass
class RunningServer:
    """A server in its own thread and event loop, on a free loopback port."""

    target: str
    server: AnimationServer
    loop: asyncio.AbstractEventLoop
    leave: asyncio.Event
    thread: threading.Thread

    def begin_stop(self) -> None:
        self.loop.call_soon_threadsafe(self.leave.set)

    def stop(self) -> None:
        self.begin_stop()
        self.thread.join(timeout=20)
        assert not self.thread.is_alive()


def run_server(load_engine: Callable[[], Any], **config: Any) -> RunningServer:
    started: list[RunningServer] = []
    ready = threading.Event()

    async def serve() -> None:
        server = AnimationServer(ServerConfig(port=0, **config), load_engine)
        port = await server.listen()
        await server.load()
        leave = asyncio.Event()
        started.append(
            RunningServer(f"127.0.0.1:{port}", server, asyncio.get_running_loop(), leave, threading.current_thread())
        )
        ready.set()
        await leave.wait()
        await server.stop()

    threading.Thread(target=lambda: asyncio.run(serve()), daemon=True).start()
    assert ready.wait(20), "the server did not start"
    return started[0]


@pytest.fixture
def start_server(engine: Engine) -> Iterator[Callable[..., RunningServer]]:
    """Starts servers of a test's own; `load_engine` and the fields of ServerConfig may be given."""
    running: list[RunningServer] = []

    def start(load_engine: Callable[[], Any] = lambda: engine, **config: Any) -> RunningServer:
        running.append(run_server(load_engine, **config))
        return running[-1]

    yield start
    for server in running:
        if server.thread.is_alive():
            server.stop()


@pytest.fixture(scope="session")
def target(engine: Engine) -> Iterator[str]:
    """host:port of a server that all tests share."""
    server = run_server(lambda: engine)
    yield server.target
    server.stop()


@pytest.fixture
def client(target: str) -> Iterator[Client]:
    with Client(target) as connection:
        yield connection
