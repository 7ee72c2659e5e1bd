"""The flags of `animoe replay`. Imports nothing of the product: --help must not wait for it."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_replay_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=Path, metavar="FILE", help="a recording of 'animoe serve --record FOLDER'")
    parser.add_argument(
        "--out", type=Path, metavar="CLIP", help="write the motion as .glb, .bvh, .npz or .fbx (by Blender)"
    )
    parser.add_argument("--rig", metavar="NAME", help="see 'animoe rigs'; default: the rig of the session")
    parser.add_argument(
        "--frame",
        choices=("gltf", "unity", "unreal", "unreal_actor", "blender"),
        help="engine frame of the numbers that the digest is made of; default: that of the session",
    )
    parser.add_argument("--start", type=float, default=0.0, metavar="S", help="leave out what is before in CLIP")
    parser.add_argument("--end", type=float, metavar="S", help="perform up to this second; default: all of it")
    parser.add_argument(
        "--bundle",
        type=Path,
        metavar="DIR",
        help="model bundle that performed it; default: what 'animoe serve' takes, what was learnt or what ships",
    )
    parser.add_argument("--json", action="store_true", help="print for programs")
