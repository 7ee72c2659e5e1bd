"""Forward kinematics, vectorised over frames: local transforms to model space and back."""

from __future__ import annotations

import numpy as np

from animoe.rig.rotations import Array, inverse, multiply, rotate


def local_to_model(local_rotations: Array, local_translations: Array, parents: Array) -> tuple[Array, Array]:
    """Computes model-space joint transforms from local ones (forward kinematics).

    Args:
        local_rotations: (..., J, 4) unit quaternions xyzw, each relative to its parent.
        local_translations: (..., J, 3) metres, each in its parent's frame.
        parents: (J,) parent indices, parents before children, root -1.

    Returns:
        Model rotations (..., J, 4) and model positions (..., J, 3) in metres.
    """
    rotations = np.empty_like(local_rotations)
    positions = np.empty_like(local_translations)
    for joint, parent in enumerate(parents):
        r, t = local_rotations[..., joint, :], local_translations[..., joint, :]
        if parent < 0:
            rotations[..., joint, :], positions[..., joint, :] = r, t
            continue
        above = rotations[..., parent, :]
        rotations[..., joint, :] = multiply(above, r)
        positions[..., joint, :] = positions[..., parent, :] + rotate(above, t)
    return rotations, positions


def model_to_local(model_rotations: Array, parents: Array) -> Array:
    """Model rotations (..., J, 4) -> local rotations (..., J, 4)."""
    local = np.array(model_rotations, copy=True)
    child = np.flatnonzero(np.asarray(parents) >= 0)
    above = inverse(model_rotations[..., np.asarray(parents)[child], :])
    local[..., child, :] = multiply(above, model_rotations[..., child, :])
    return local
