"""AniMoE: emotional character motion for games, live, from a model that keeps learning."""

__version__ = "0.1.0"
