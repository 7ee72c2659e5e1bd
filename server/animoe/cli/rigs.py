"""`animoe rigs`."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict

from animoe.retarget.profiles import rig_profiles


def run(arguments: argparse.Namespace) -> None:
    profiles = rig_profiles()
    if arguments.json:
        print(json.dumps([{**asdict(profile), "frame": profile.frame.value} for profile in profiles], indent=2))
        return
    width = max(len(profile.name) for profile in profiles)
    for profile in profiles:
        about = f"{profile.title} ({profile.joint_count} joints, {profile.frame.value} frame)"
        print(f"{profile.name:<{width}}  {about}")
