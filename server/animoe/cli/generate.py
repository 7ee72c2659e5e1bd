"""`animoe generate`."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from animoe.cli.take import Order, Take, check_writable, take_from_server, take_in_process
from animoe.client import Client
from animoe.formats import WRITABLE, write_clip
from animoe.formats.blender import require_blender


def run(arguments: argparse.Namespace) -> None:
    out: Path = arguments.out
    check_writable(out, WRITABLE)
    if out.suffix.lower() == ".fbx":
        require_blender(out)
    order = Order(
        arguments.text,
        arguments.seconds,
        arguments.emotion,
        arguments.intensity,
        arguments.rig,
        arguments.seed,
        arguments.root_motion,
        arguments.foot_lock,
        arguments.reach,
        arguments.ik_bones,
    )
    if arguments.server:
        take = _from_server(arguments.server, order, arguments.retries)
    else:
        take = take_in_process(order, arguments.bundle)
    write_clip(out, take.clip)
    if arguments.json:
        print(json.dumps({"out": str(out), "rig": order.rig, "seed": order.seed, **take.figures()}))
    else:
        print(
            f"wrote {out}: {take.clip.frame_count} frames ({take.clip.duration_s:.1f} s) on {order.rig}, "
            f"{take.distance_m:.1f} m travelled, first frame after {take.first_frame_s * 1000:.0f} ms, "
            f"{take.real_time_factor:.1f} times real time"
        )


def _from_server(target: str, order: Order, retries: int) -> Take:
    with Client(target) as client:
        return take_from_server(client, order, retries)
