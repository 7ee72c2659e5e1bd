"""Clips, the feature representation, contacts and root motion (canonical units: see `animoe.rig`)."""

from animoe.motion.clip import Clip

__all__ = ["Clip"]
