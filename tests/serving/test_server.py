"""The server as a whole: health, reflection, addresses, unexpected errors, and the process from start to Ctrl-C."""

from __future__ import annotations

import logging
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from animoe.client import Client, ClientError
from animoe.errors import InvalidRequest
from animoe.serving.addresses import address, check_address, is_loopback
from animoe.serving.server import SERVICE, AnimationServer, ServerConfig

SERVE = [sys.executable, "-m", "animoe.cli", "serve"]


def health_of(target: str, service: str) -> int:
    with grpc.insecure_channel(target) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        return int(stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=5).status)


@pytest.mark.parametrize("service", ["", SERVICE])
def test_health_is_serving_once_the_engine_is_loaded(target: str, service: str) -> None:
    assert health_of(target, service) == health_pb2.HealthCheckResponse.SERVING


async def test_until_the_engine_is_loaded_calls_are_refused_as_unavailable(engine: Any) -> None:
    load = threading.Event()

    def slow_load() -> Any:
        load.wait(10)
        return engine

    server = AnimationServer(ServerConfig(port=0), slow_load)
    port = await server.listen()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        import asyncio

        loading = asyncio.create_task(server.load())
        check = health_pb2_grpc.HealthStub(channel).Check
        assert (await check(health_pb2.HealthCheckRequest())).status == health_pb2.HealthCheckResponse.NOT_SERVING

        def ask() -> str:
            with Client(f"127.0.0.1:{port}") as client, pytest.raises(ClientError) as caught:
                client.capabilities()
            return f"{caught.value.code}: {caught.value}"

        assert "UNAVAILABLE: the server is still loading" in await asyncio.to_thread(ask)
        load.set()
        await loading
        assert (await check(health_pb2.HealthCheckRequest())).status == health_pb2.HealthCheckResponse.SERVING
    await server.stop()


def test_reflection_lists_the_services(target: str) -> None:
    with grpc.insecure_channel(target) as channel:
        stub = reflection_pb2_grpc.ServerReflectionStub(channel)
        request = reflection_pb2.ServerReflectionRequest(list_services="")
        answer = next(stub.ServerReflectionInfo(iter([request])))
    names = {service.name for service in answer.list_services_response.service}
    assert {"animoe.v1.AnimationService", "grpc.health.v1.Health"} <= names


class BrokenEngine:
    """Fails the way a bug would: with an exception that nobody planned."""

    def __init__(self, engine: Any) -> None:
        self.info = engine.info

    def generate(self, request: Any) -> Any:
        raise ZeroDivisionError("secret internals")

    open_session = generate


def test_an_unexpected_error_is_logged_once_and_its_text_stays_inside(
    start_server: Callable[..., Any], engine: Any, caplog: pytest.LogCaptureFixture
) -> None:
    server = start_server(load_engine=lambda: BrokenEngine(engine))
    with Client(server.target) as client:
        for call in (lambda: client.generate("walk", seconds=1).read_all(), lambda: client.animate("walk")):
            caplog.clear()
            with caplog.at_level(logging.ERROR), pytest.raises(ClientError) as caught:
                call()
            assert (caught.value.code, caught.value.reason) == ("INTERNAL", "INTERNAL")
            assert "secret" not in str(caught.value)
            assert [record.exc_info is not None for record in caplog.records] == [True]
        assert client.capabilities().emotions


def test_a_port_in_use_is_refused_with_a_remedy() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(InvalidRequest, match=f"port {port} is in use.*--port"):
            check_address("127.0.0.1", port)


def test_an_address_of_another_machine_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="cannot listen on 192.0.2.1"):
        check_address("192.0.2.1", 0)


@pytest.mark.parametrize("port", [-1, 65536])
def test_a_port_out_of_range_is_refused(port: int) -> None:
    with pytest.raises(InvalidRequest, match=f"--port must be between 0 and 65535, got {port}"):
        ServerConfig(port=port)


def test_no_streams_at_all_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="--max-streams must be 1 or more"):
        ServerConfig(max_streams=0)


def test_which_hosts_stay_on_this_machine() -> None:
    assert [is_loopback(host) for host in ("127.0.0.1", "::1", "localhost")] == [True] * 3
    assert [is_loopback(host) for host in ("0.0.0.0", "::", "192.168.1.5", "studio-server")] == [False] * 4
    assert (address("::1", 5), address("127.0.0.1", 5)) == ("[::1]:5", "127.0.0.1:5")


def start_process(*flags: str) -> tuple[subprocess.Popen[str], str]:
    process = subprocess.Popen(
        [*SERVE, "--port", "0", *flags], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    return process, process.stdout.readline().split(" listening on ")[1].strip()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGTERM to catch")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_process_with_code_0_also_with_a_live_session(number: int) -> None:
    process, target = start_process()
    with Client(target) as client:
        client.wait_until_ready()
        live = client.animate("a person walks forward")
        next(live)
        process.send_signal(number)
        list(live)
        assert live.end_reason == "server_shutdown"
        output, errors = process.communicate(timeout=20)
    assert (process.returncode, errors) == (0, "")
    assert "ready in" in output and "leaving" in output


def test_a_second_server_on_one_port_is_refused_in_one_sentence(target: str) -> None:
    port = target.split(":")[1]
    second = subprocess.run([*SERVE, "--port", port], capture_output=True, text=True, timeout=60)
    assert second.returncode == 2
    assert second.stderr == f"animoe: port {port} is in use; end the other server or choose another port with --port\n"


def test_an_open_address_comes_with_a_warning() -> None:
    process, target = start_process("--host", "0.0.0.0")
    with Client(f"127.0.0.1:{target.split(':')[1]}") as client:
        client.wait_until_ready()
    process.terminate()
    _, errors = process.communicate(timeout=20)
    assert "warning: 0.0.0.0 can be reached from the network" in errors


def test_a_folder_that_is_no_bundle_ends_the_server_with_a_sentence(tmp_path: Any) -> None:
    ended = subprocess.run(
        [*SERVE, "--port", "0", "--bundle", str(tmp_path)], capture_output=True, text=True, timeout=60
    )
    assert ended.returncode == 2
    assert "is not a bundle" in ended.stderr and len(ended.stderr.splitlines()) == 1
