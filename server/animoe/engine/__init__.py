"""The real-time runtime: prompt -> tokens -> frames (ONNX Runtime and numpy; no grpc, no torch)."""

from animoe.engine.core import Engine, EngineInfo
from animoe.engine.prompt_queue import QueuedPrompt
from animoe.engine.recording import Recording
from animoe.engine.replay import replay
from animoe.engine.requests import ClipRequest, Sampling, SessionRequest
from animoe.engine.session import LiveSession, Performance

__all__ = [
    "ClipRequest",
    "Engine",
    "EngineInfo",
    "LiveSession",
    "Performance",
    "QueuedPrompt",
    "Recording",
    "Sampling",
    "SessionRequest",
    "replay",
]
