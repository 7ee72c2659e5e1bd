"""Fixtures that several packages use: the real engine on the default bundle, and real servers around it."""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"  # before numpy and torch: on toy models more threads wait for each other

import asyncio
import csv
import hashlib
import logging
import shutil
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from animoe.client import Client
from animoe.engine import Engine
from animoe.formats import write_clip
from animoe.motion.clip import Clip
from animoe.rig import CANONICAL_JOINTS, canonical_skeleton
from animoe.rig.rotations import IDENTITY, from_axis_angle
from animoe.serving.limits import Limits
from animoe.serving.server import AnimationServer, ServerConfig


@pytest.fixture(autouse=True)
def logs_as_before() -> Iterator[None]:
    """A command that sets logs up writes to this test's own output, which is closed after it."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    if root.handlers != handlers:
        root.handlers[:] = handlers
        root.setLevel(level)
        logging.captureWarnings(False)


@pytest.fixture(scope="session")
def engine() -> Engine:
    return Engine.load()


UNWATCHED = Limits(watch_load=False)
"""A test machine may be so busy that a server refuses streams with good reason; tests of that say so."""


@dataclass
class RunningServer:
    """A server in its own thread and event loop, on a free loopback port."""

    target: str
    server: AnimationServer
    loop: asyncio.AbstractEventLoop
    leave: asyncio.Event
    thread: threading.Thread

    def begin_stop(self) -> None:
        self.loop.call_soon_threadsafe(self.leave.set)

    def stop(self) -> None:
        self.begin_stop()
        self.thread.join(timeout=20)
        assert not self.thread.is_alive()


def run_server(load_engine: Callable[[], Any], **config: Any) -> RunningServer:
    started: list[RunningServer] = []
    ready = threading.Event()

    async def serve() -> None:
        server = AnimationServer(ServerConfig(**({"port": 0, "limits": UNWATCHED} | config)), load_engine)
        port = await server.listen()
        await server.load()
        leave = asyncio.Event()
        started.append(
            RunningServer(f"127.0.0.1:{port}", server, asyncio.get_running_loop(), leave, threading.current_thread())
        )
        ready.set()
        await leave.wait()
        await server.stop()

    threading.Thread(target=lambda: asyncio.run(serve()), daemon=True).start()
    assert ready.wait(20), "the server did not start"
    return started[0]


@pytest.fixture
def start_server(engine: Engine) -> Iterator[Callable[..., RunningServer]]:
    """Starts servers of a test's own; `load_engine` and the fields of ServerConfig may be given."""
    running: list[RunningServer] = []

    def start(load_engine: Callable[[], Any] = lambda: engine, **config: Any) -> RunningServer:
        running.append(run_server(load_engine, **config))
        return running[-1]

    yield start
    for server in running:
        if server.thread.is_alive():
            server.stop()


@pytest.fixture(scope="session")
def target(engine: Engine) -> Iterator[str]:
    """host:port of a server that all tests share."""
    server = run_server(lambda: engine)
    yield server.target
    server.stop()


@pytest.fixture
def client(target: str) -> Iterator[Client]:
    with Client(target) as connection:
        yield connection


def tiny_clip(action: str, *, tempo: float = 1.0, frames: int = 64) -> Clip:
    """Two seconds on the canonical skeleton: "walk" goes forward with swinging limbs, "wave" stands and waves."""
    time = np.arange(frames) / 30 * tempo
    rotations = np.tile(IDENTITY, (frames, 22, 1))

    def turn(joint: str, axis: Sequence[float], angle: np.ndarray) -> None:
        rotations[:, CANONICAL_JOINTS.index(joint)] = from_axis_angle(np.array(axis), angle)

    swing = np.sin(2 * np.pi * time)
    arms = ((0.0, 0.0, -1.2), (0.0, 0.0, 1.2))
    for side, sign, (_, _, down) in zip(("left", "right"), (1.0, -1.0), arms, strict=True):
        turn(f"{side}_shoulder", (0, 0, 1), np.full(frames, down))
        if action == "walk":
            turn(f"{side}_hip", (1, 0, 0), -0.4 * sign * swing)
            turn(f"{side}_knee", (1, 0, 0), 0.3 + 0.2 * sign * swing)
    if action == "wave":
        turn("right_shoulder", (0, 0, 1), -1.0 + 0.3 * swing)
    root = np.tile(canonical_skeleton().rest_translations[0], (frames, 1))
    root[:, 2] += 1.2 * time * (action == "walk")
    return Clip.from_root(canonical_skeleton(), 30.0, rotations, root, action)


def write_pack(folder: Path, rows: Sequence[dict[str, str]]) -> Path:
    """Writes pack.csv; columns that a row leaves out are empty."""
    folder.mkdir(parents=True, exist_ok=True)
    columns = ("file", "clip", "start", "end", "text", "emotion", "style", "content", "split")
    with (folder / "pack.csv").open("w", newline="", encoding="utf-8") as stream:
        table = csv.DictWriter(stream, columns, restval="")
        table.writeheader()
        table.writerows(rows)
    return folder


def write_tiny_pack(folder: Path) -> Path:
    """Twelve BVH files: walking and waving at three tempos (neutral, happy, sad), for training, validation and test."""
    folder.mkdir(parents=True)
    rows = []
    texts = {"walk": "a person walks forward|someone walks", "wave": "a person waves the right hand|someone waves"}
    for action, text in texts.items():
        takes = [("neutral", 1.0, "train"), ("happy", 1.3, "train"), ("sad", 0.7, "train")]
        takes += [("neutral", 1.05, "val"), ("neutral", 0.95, "test"), ("happy", 1.25, "test")]
        for index, (emotion, tempo, split) in enumerate(takes):
            name = f"{action}_{index}.bvh"
            write_clip(folder / name, tiny_clip(action, tempo=tempo))
            labels = {"text": text, "emotion": emotion, "style": "normal", "content": action, "split": split}
            rows.append({"file": name, **labels})
    return write_pack(folder, rows)


def write_tiny_encoder(folder: Path) -> Path:
    """A randomly initialised BERT of one layer with a word-piece tokenizer, as Hugging Face files."""
    import torch
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import BertConfig, BertModel

    words = [
        "[PAD]",
        "[unused0]",
        "[UNK]",
        "[CLS]",
        "[SEP]",
        "火",
        *"a person someone walks waves forward the right left hand".split(),
    ]
    torch.manual_seed(0)
    shape = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64}
    BertModel(BertConfig(vocab_size=len(words), **shape)).save_pretrained(folder)
    tokenizer = Tokenizer(models.WordPiece({word: i for i, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    marks = [(mark, words.index(mark)) for mark in ("[CLS]", "[SEP]")]
    tokenizer.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=marks)
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


@dataclass(frozen=True)
class TinyRun:
    """The whole way at toy size: a pack, a few training steps, a bundle. Folders of each."""

    pack: Path
    cache: Path
    encoder: Path
    tokenizer: Path
    base: Path
    bundle: Path


@dataclass(frozen=True)
class PackMaker:
    """What tests need to make packs of their own."""

    clip: Callable[..., Clip]
    table: Callable[[Path, Sequence[dict[str, str]]], Path]
    pack: Callable[[Path], Path]


@pytest.fixture(scope="session")
def make() -> PackMaker:
    return PackMaker(tiny_clip, write_pack, write_tiny_pack)


@pytest.fixture(scope="session")
def traced_once() -> Iterator[None]:
    """Tracing a generator's step takes a quarter of a minute: the same weights are traced once for all tests, be it
    for int8 or for float32. What is done with the traced graph afterwards is done every time."""
    from animoe.bundle import export

    real, traced = export._export, dict[str, Any]()

    def trace(module: Any, example: Any, inputs: list[str], *more: Any) -> Any:
        # The module's text holds all layers with their shapes; the lengths of the example are free axes.
        told = hashlib.sha256(repr((module, inputs)).encode())
        for name, tensor in module.state_dict().items():
            told.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode() + tensor.numpy().tobytes())
        if told.hexdigest() not in traced:
            traced[told.hexdigest()] = real(module, example, inputs, *more)
        model = type(traced[told.hexdigest()])()
        model.CopyFrom(traced[told.hexdigest()])
        return model

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(export, "_export", trace)
        yield


@pytest.fixture(scope="session")
def tiny(traced_once: None, tmp_path_factory: pytest.TempPathFactory) -> TinyRun:
    from animoe.engine.prompt_encoder import PromptEncoder
    from animoe.models.cged import CGEDConfig
    from animoe.models.motion_lm import OWN_LLAMA, MotionLMConfig
    from animoe.models.planner import PlannerConfig
    from animoe.models.samoe import SAMoEConfig
    from animoe.models.tokenizer import TokenizerConfig
    from animoe_trainer.base import train_base
    from animoe_trainer.corpus import load_corpus
    from animoe_trainer.loop import LoopConfig
    from animoe_trainer.make_bundle import make_bundle
    from animoe_trainer.prompt_source import export_prompt_encoder
    from animoe_trainer.sequences import BatchConfig
    from animoe_trainer.tokenizer import train_tokenizer

    root = tmp_path_factory.mktemp("tiny")
    run = TinyRun(*(root / name for name in ("pack", "cache", "encoder", "tokenizer", "base", "bundle")))
    corpus = load_corpus([write_tiny_pack(run.pack)], run.cache)
    shape = TokenizerConfig(pose_groups=2, width=144, encoder_dilations=(1,), decoder_dilations=(1, 2))
    loop = LoopConfig(steps=12, learning_rate=2e-3, warmup=2, ema=0.5)
    tokenizer = train_tokenizer(corpus, run.tokenizer, shape, loop, frames_per_batch=256)
    export_prompt_encoder(str(write_tiny_encoder(run.encoder)), run.base)
    llama = OWN_LLAMA | {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_key_value_heads": 2}
    planner = PlannerConfig(CGEDConfig(32, 32, 2), SAMoEConfig(rank=2, alpha=4.0)).to_dict()
    lm = MotionLMConfig(shape.groups, tokenizer.codebook_size, sentence_dim=32, backbone=llama, planner=planner)
    train_base(corpus, tokenizer, PromptEncoder(run.base), run.base, lm, loop, BatchConfig(batch=8))
    make_bundle(run.tokenizer, run.base, run.bundle, "tiny")
    return run


@pytest.fixture(scope="session")
def float_bundle(tiny: TinyRun, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny bundle with its generator's step in float32."""
    from animoe_trainer.reexport import reexport_step

    folder = Path(shutil.copytree(tiny.bundle, tmp_path_factory.mktemp("float32") / "bundle"))
    reexport_step(folder, integers=False)
    return folder
