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
from animoe.motion.pose_block import PoseBlock
from animoe.retarget.canonicalise import canonicalise
from animoe.retarget.mapping import RigMapping


@dataclass(frozen=True, eq=False)
class Converted:
    """A clip to write, and what its quality is measured on.

    Attributes:
        clip: in our axes.
        travelling: the clip before its rate was changed and its way over the floor taken out.
        source: the canonical motion that `travelling` was made from; None when it was not retargeted.
    """

    clip: Clip
    travelling: Clip
    source: PoseBlock | None = None


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
        own = take_part(clip, part_of(clip, options.start_s, options.end_s))
        return Converted(_at_rate(in_place(own) if options.root_motion == "in-place" else own, options), own)
    # Cut afterwards: the whole clip knows better where its floor is and who stands on it.
    canonical = canonicalise(clip, mapping)
    canonical = mirrored(canonical) if options.mirror else canonical
    contacts = foot_contacts(canonical.world()[1], canonical.frame_rate_hz)
    part = part_of(canonical, options.start_s, options.end_s)
    source = PoseBlock(
        0, canonical.local_rotations[part], canonical.root_positions[part], contacts[part].astype(np.float64)
    )
    performed = target.perform(source, clip.name)
    travelling = performed if options.report is None else target.perform_travelling(source, clip.name)
    return Converted(_at_rate(performed, options), travelling, source)


def _at_rate(clip: Clip, options: ConvertOptions) -> Clip:
    return clip if options.fps is None else clip.resampled(options.fps)
