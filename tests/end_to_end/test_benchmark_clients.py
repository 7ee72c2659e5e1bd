"""The lean client that crowds are measured with sees what grpcio sees, and reads of a message what protobuf reads."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from animoe.v1 import animation_service_pb2 as pb
from animoe.v1 import skeleton_pb2

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
MESSAGES = 12


@pytest.fixture
def connections(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import connections

    return connections


async def play(connections: Any, target: str, client: str, start: pb.AnimateStart) -> tuple[list[bytes], str]:
    """The first messages of a session, and how it ended if it did."""
    connection = await connections.connect(target, client)
    messages: list[bytes] = []
    ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    def received(message: bytes) -> None:
        messages.append(message)
        if len(messages) == MESSAGES and not ended.done():
            ended.set_result("")

    call = connection.open(
        pb.AnimateRequest(start=start).SerializeToString(), received, lambda how: ended.done() or ended.set_result(how)
    )
    how = await asyncio.wait_for(ended, 20)
    call.cancel()
    await asyncio.sleep(0.05)
    await connection.close()
    return messages[:MESSAGES], how


@pytest.mark.parametrize("rig", ["ue5_manny", "kaykit_medium"])
async def test_both_clients_receive_the_same_messages(connections: Any, target: str, rig: str) -> None:
    start = pb.AnimateStart(text="someone runs", rig=skeleton_pb2.RigSelection(profile=rig), seed=5)
    lean, grpcio = [await play(connections, target, client, start) for client in connections.CLIENTS]
    assert lean == grpcio
    assert len(lean[0]) == MESSAGES and lean[1] == ""


async def test_both_clients_are_told_alike_why_a_call_ended(connections: Any, target: str) -> None:
    start = pb.AnimateStart(text="someone runs", rig=skeleton_pb2.RigSelection(profile="none_such"))
    lean, grpcio = [await play(connections, target, client, start) for client in connections.CLIENTS]
    assert lean[0] == grpcio[0] == []
    assert lean[1].split(":")[0] == grpcio[1].split(":")[0] == "NOT_FOUND"


async def test_frames_are_read_without_unpacking(connections: Any, target: str) -> None:
    from characters import frames_of

    start = pb.AnimateStart(text="someone runs", rig=skeleton_pb2.RigSelection(profile="mixamo"))
    messages, _ = await play(connections, target, "lean", start)
    blocks = [pb.AnimateResponse.FromString(message).frames for message in messages[1:]]
    assert [frames_of(message) for message in messages[1:]] == [(b.first_frame, b.frame_count) for b in blocks]
    late = pb.AnimateResponse(frames={"first_frame": 300_000, "frame_count": 4, "contacts": bytes(64)})
    assert frames_of(late.SerializeToString()) == (300_000, 4)


def test_a_message_in_pieces_is_put_together(connections: Any) -> None:
    got: list[bytes] = []
    connection = connections.LeanConnection()
    call = connections._LeanCall(connection, 1, got.append, lambda how: None)
    whole = b"".join(connections._MESSAGE.pack(0, len(part)) + part for part in (b"first", b"", b"third" * 9))
    for at in range(0, len(whole), 7):
        call.received(whole[at : at + 7])
    assert got == [b"first", b"", b"third" * 9]
