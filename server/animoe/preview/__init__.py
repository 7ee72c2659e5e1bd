"""Pictures of motion, drawn in software: contact sheets and animated pictures. No GPU, no window.

Reads clips in the house convention (see `animoe.rig`): Y up, metres, floor at y = 0.
"""

from animoe.preview.animation import animated_gif
from animoe.preview.body import Body
from animoe.preview.sheet import contact_sheet

__all__ = ["Body", "animated_gif", "contact_sheet"]
