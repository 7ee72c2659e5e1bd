"""`animoe demo`: a real server, a real client, three takes of one prompt, files and a picture."""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from animoe.cli.take import Order, Take, take_from_server
from animoe.client import Client
from animoe.errors import AniMoEError, InvalidRequest
from animoe.formats import write_clip
from animoe.preview.sheet import contact_sheet

EMOTIONS = ("sad", "neutral", "happy")
RIG = "ue5_manny"
_STOP_S = 15.0


def run(arguments: argparse.Namespace) -> None:
    out: Path = arguments.out
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InvalidRequest(f"--out {out} cannot be used as a folder ({error.strerror}); name another one") from error
    with _server(arguments.bundle) as target, Client(target) as client:
        bundle = client.capabilities().bundle_name
        print(f"server is ready at {target} with bundle {bundle}; streaming {arguments.text!r} on rig {RIG}")
        takes = {emotion: _take(client, arguments, emotion) for emotion in EMOTIONS}
    sheet = out / "takes.png"
    contact_sheet([take.clip for take in takes.values()], list(takes), path=sheet)
    print(f"picture of all takes: {sheet}")


def _take(client: Client, arguments: argparse.Namespace, emotion: str) -> Take:
    take = take_from_server(client, Order(arguments.text, arguments.seconds, emotion, 1.0, RIG, arguments.seed))
    files = [arguments.out / f"{emotion}{suffix}" for suffix in (".glb", ".bvh")]
    for file in files:
        write_clip(file, take.clip)
    speed = take.distance_m / take.clip.duration_s
    print(
        f"{emotion}: first frame after {take.first_frame_s * 1000:.1f} ms, "
        f"{take.real_time_factor:.1f} times real time, {take.clip.frame_count} frames, {speed:.2f} m/s, "
        f"{' and '.join(map(str, files))}",
        flush=True,
    )
    return take


@contextmanager
def _server(bundle: Path | None) -> Iterator[str]:
    """Runs `animoe serve` on a free port; yields its host:port; ends it the way a user would."""
    command = [sys.executable, "-m", "animoe.cli", "serve", "--port", "0"]
    command += [] if bundle is None else ["--bundle", str(bundle)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        yield _address(process)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.communicate(timeout=_STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()


def _address(process: subprocess.Popen[str]) -> str:
    """Waits for the server's two lines, "... is listening on HOST:PORT" and "ready ..."."""
    assert process.stdout is not None
    listening, ready = process.stdout.readline(), process.stdout.readline()
    if " listening on " not in listening or not ready.startswith("ready"):
        raise AniMoEError("the server did not start; what it says is above")
    return listening.split(" listening on ")[1].strip()
