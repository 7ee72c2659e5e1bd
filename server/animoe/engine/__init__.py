"""The real-time runtime: prompt -> tokens -> frames (ONNX Runtime and numpy; no grpc, no torch)."""

from animoe.engine.controls import Control
from animoe.engine.core import Engine, EngineInfo
from animoe.engine.prompt_queue import QueuedPrompt
from animoe.engine.recording import Recording
from animoe.engine.replay import replay
from animoe.engine.requests import ClipRequest, Sampling, SessionRequest
from animoe.engine.session import LiveSession, Performance, Planned

__all__ = [
    "ClipRequest",
    "Control",
    "Engine",
    "EngineInfo",
    "LiveSession",
    "Performance",
    "Planned",
    "QueuedPrompt",
    "Recording",
    "Sampling",
    "SessionRequest",
    "replay",
]
