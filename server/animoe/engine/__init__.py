"""The real-time runtime: prompt -> tokens -> frames (ONNX Runtime and numpy; no grpc, no torch)."""

from animoe.engine.core import Engine, EngineInfo, LiveSession, Performance
from animoe.engine.requests import ClipRequest, Sampling, SessionRequest

__all__ = ["ClipRequest", "Engine", "EngineInfo", "LiveSession", "Performance", "Sampling", "SessionRequest"]
