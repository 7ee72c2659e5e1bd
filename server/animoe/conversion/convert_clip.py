"""One clip: canonical motion onto another rig, or the clip as it is on its own skeleton."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from animoe.conversion.edits import in_place, part_of, take_part
from animoe.conversion.options import ConvertOptions
from animoe.conversion.target import Target
from animoe.motion.clip import Clip
from animoe.motion.contacts import foot_contacts
from animoe.motion.features import mirrored
from animoe.retarget.canonicalise import canonicalise
from animoe.retarget.mapping import RigMapping
from animoe.rig.rotations import Array


@dataclass(frozen=True, eq=False)
class Converted:
    """A clip to write, and what it was made of.

    Attributes:
        clip: in our axes.
        canonical: the motion on the canonical skeleton, at the clip's rate; None when it was not retargeted.
        contacts: (T, 4) of `canonical`; None as well.
    """

    clip: Clip
    canonical: Clip | None = None
    contacts: Array | None = None


def convert_clip(
    clip: Clip, options: ConvertOptions, target: Target | None = None, mapping: RigMapping | None = None
) -> Converted:
    """Converts one clip.

    Args:
        clip: as read from a file.
        options: what to do; its paths are not read here.
        target: the rig to put it on; None keeps the clip's skeleton.
        mapping: what the user says of the clip's joints.

    Raises:
        InvalidRequest: the clip ends before the part that is wanted.
        IncompatibleSkeleton: no body was found to retarget from.
    """
    if target is None:
        return Converted(_on_own_skeleton(clip, options))
    # Cut afterwards: the whole clip knows better where its floor is and who stands on it.
    canonical = canonicalise(clip, mapping)
    canonical = mirrored(canonical) if options.mirror else canonical
    contacts = foot_contacts(canonical.world()[1], canonical.frame_rate_hz)
    part = part_of(canonical, options.start_s, options.end_s)
    canonical, contacts = take_part(canonical, part), contacts[part]
    performed = target.perform(canonical, contacts.astype(np.float64))
    if options.fps is None:
        return Converted(performed, canonical, contacts)
    performed, source = performed.resampled(options.fps), canonical.resampled(options.fps)
    at = np.round(np.arange(source.frame_count) * canonical.frame_rate_hz / options.fps).astype(int)
    return Converted(performed, source, contacts[np.minimum(at, len(contacts) - 1)])


def _on_own_skeleton(clip: Clip, options: ConvertOptions) -> Clip:
    clip = take_part(clip, part_of(clip, options.start_s, options.end_s))
    clip = in_place(clip) if options.root_motion == "in-place" else clip
    return clip if options.fps is None else clip.resampled(options.fps)
