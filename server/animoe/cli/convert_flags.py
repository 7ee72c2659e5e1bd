"""The flags of `animoe convert`. Imports nothing of the product: --help must not wait for it."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_convert_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", type=Path, metavar="IN", help="motion file or folder: .bvh, .glb, .gltf, .fbx, .npz")
    parser.add_argument(
        "out", type=Path, metavar="OUT", help="file (.glb, .bvh, .npz, .fbx by Blender) or folder, which mirrors IN"
    )
    parser.add_argument("--to", choices=("glb", "bvh", "npz", "fbx"), help="format of files in a folder; default glb")
    _rig(parser.add_argument_group("another rig"))
    _motion(parser.add_argument_group("the motion"))
    _files(parser.add_argument_group("the files"))


def _rig(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--rig",
        metavar="NAME|FILE",
        help="put the motion on this rig: a name of 'animoe rigs', or a file with the character; default: keep its own",
    )
    group.add_argument(
        "--into", type=Path, metavar="FILE", help="put it into this .glb character, mesh and materials kept"
    )
    group.add_argument(
        "--mapping", type=Path, metavar="FILE", help="which joint is which in IN ('animoe rigs inspect')"
    )
    group.add_argument("--rig-mapping", type=Path, metavar="FILE", help="which joint is which in --rig or --into")


def _motion(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--fps", type=float, metavar="N", help="default: the source's, 30 on another rig")
    group.add_argument("--start", type=float, metavar="S", help="from this second of every clip")
    group.add_argument("--end", type=float, metavar="S", help="up to this second")
    group.add_argument("--in-place", action="store_true", help="stay on the spot: --root-motion in-place")
    group.add_argument(
        "--root-motion",
        choices=("world", "in-place", "root-bone"),
        help="where the way over the floor goes: into the pelvis (world, default), nowhere, or into the root bone",
    )
    group.add_argument(
        "--no-foot-lock", dest="foot_lock", action="store_false", help="let feet slide as they do in the source"
    )
    group.add_argument(
        "--reach",
        type=float,
        default=0.0,
        metavar="X",
        help="0 keeps the turns of the arms (default), 1 brings hands where they are on the source's body",
    )
    group.add_argument("--mirror", action="store_true", help="exchange left and right")


def _files(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--clip", metavar="NAME", help="only clips of this name; * and ? stand for anything")
    group.add_argument("--one-file", action="store_true", help="all clips of a file into one .glb")
    group.add_argument(
        "--rotation-order",
        choices=("XYZ", "XZY", "YXZ", "YZX", "ZXY", "ZYX"),
        default="ZXY",
        help="of BVH channels; default ZXY",
    )
    group.add_argument(
        "--report", type=Path, metavar="DIR|FILE", help="measure what was written: figures as JSON, a picture per clip"
    )
    group.add_argument("--jobs", type=int, metavar="N", help="files at a time; default: one per processor")
    group.add_argument("--json", action="store_true", help="print for programs")
