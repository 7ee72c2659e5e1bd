"""Python client of an AniMoE server. Needs grpcio, protobuf and numpy only.

from animoe.client import Client

with Client("127.0.0.1:50151") as client:
    motion = client.generate("a person walks forward", emotion="sad", seconds=4, rig="ue5_manny").read_all()
"""

from animoe.client.character import LiveCharacter
from animoe.client.client import Capabilities, Client, RigInfo
from animoe.client.emotion import Emotion
from animoe.client.errors import ClientError
from animoe.client.jobs import Job, JobClient
from animoe.client.limits import StreamLimits
from animoe.client.messages import ControlApplied, ControlRejected, FrameBlock, Motion, MotionHeader, Pose
from animoe.client.queue import Queued
from animoe.client.rig import CustomRig
from animoe.client.scenarios import Scenario, ScenarioClient
from animoe.client.status import Latency, Status
from animoe.client.streams import ClipStream, LiveStream

__all__ = [
    "Capabilities",
    "Client",
    "ClientError",
    "ClipStream",
    "ControlApplied",
    "ControlRejected",
    "CustomRig",
    "Emotion",
    "FrameBlock",
    "Job",
    "JobClient",
    "Latency",
    "LiveCharacter",
    "LiveStream",
    "Motion",
    "MotionHeader",
    "Pose",
    "Queued",
    "RigInfo",
    "Scenario",
    "ScenarioClient",
    "Status",
    "StreamLimits",
]
