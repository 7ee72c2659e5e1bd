"""`animoe rigs`: the rigs known by name; `animoe rigs inspect`: a rig of the user's own."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict

from animoe.cli.inspect_rig import inspect_rig
from animoe.retarget.profiles import rig_profiles


def run(arguments: argparse.Namespace) -> None:
    if arguments.action == "inspect":
        inspect_rig(arguments)
    else:
        list_rigs(arguments)


def list_rigs(arguments: argparse.Namespace) -> None:
    profiles = rig_profiles()
    if arguments.json:
        print(json.dumps([{**asdict(profile), "frame": profile.frame.value} for profile in profiles], indent=2))
        return
    width = max(len(profile.name) for profile in profiles)
    for profile in profiles:
        about = f"{profile.title} ({profile.joint_count} joints, {profile.frame.value} frame)"
        print(f"{profile.name:<{width}}  {about}")
