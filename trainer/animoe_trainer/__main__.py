"""`animoe-train`: learns tokenizers, generators and bundles from animation packs."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from animoe.errors import AniMoEError
from animoe_trainer.sequence_command import add_report_options, add_sequence_options, run_sequence

if TYPE_CHECKING:
    from animoe_trainer.corpus import Corpus
    from animoe_trainer.loop import LoopConfig

_NEUTRAL = "packs of which the base is taught the neutral clips only; experts learn the rest"

# Each command imports what it needs when it runs: `--help` and a wrong flag must not wait for torch.


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code (2 for the user's errors)."""
    options = _parser().parse_args(arguments)
    run: Callable[[argparse.Namespace], int] = options.run
    try:
        return run(options)
    except (AniMoEError, OSError) as error:
        print(f"animoe-train: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("animoe-train: stopped; --resume goes on from the last checkpoint", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="animoe-train", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    check = _command(commands, "read", "read packs and say which rows can be used, with the round-trip error", _read)
    check.add_argument("packs", nargs="+", type=Path, metavar="PACK")
    check.add_argument("--json", action="store_true")

    tokenizer = _command(commands, "tokenizer", "train the motion tokenizer", _tokenizer)
    _training_options(tokenizer, steps=3000, rate=2e-3)
    tokenizer.add_argument("--quantiser", choices=("fsq", "vq"), default="fsq")
    tokenizer.add_argument("--groups", type=int, help="codes per token")
    tokenizer.add_argument("--frames-per-batch", type=int, default=8192)

    base = _command(commands, "base", "train the generator on a tokenizer's codes", _base)
    _training_options(base, steps=None, rate=None)
    base.add_argument("--config", metavar="RECIPE", help="JSON file, or one that ships: llama2_7b (docs/backbones.md)")
    base.add_argument("--tokenizer", type=Path, required=True, metavar="DIR")
    base.add_argument("--backbone", help="path or hub id of a Hugging Face causal LM (default: own small Llama)")
    base.add_argument("--prompt-encoder", type=Path, metavar="DIR", help="files of all-MiniLM-L6-v2")
    base.add_argument("--neutral", nargs="+", type=Path, default=[], metavar="PACK", help=_NEUTRAL)
    base.add_argument("--no-planner", action="store_true", help="leave CGED and the gate out: it cannot take experts")
    base.add_argument("--no-blend", action="store_true", help="acted intensities only, no blends below and beyond")

    judge = _command(
        commands, "evaluator", "train the judges of generated motion: retrieval, emotion, referee", _evaluator
    )
    judge.add_argument("packs", nargs="+", type=Path, metavar="PACK", help="pack folders, or a folder of packs")
    judge.add_argument("--out", type=Path, required=True, help="folder for weights and loss plots")
    judge.add_argument("--cache", type=Path, default=Path("runs/cache"), help="where the read packs are kept")
    judge.add_argument("--steps", type=int, default=400, help="of the extractor and of the emotion classifier each")
    judge.add_argument("--seed", type=int, default=0)
    judge.add_argument("--device", default="cpu", help="cpu or cuda")
    judge.add_argument("--tokenizer", type=Path, metavar="DIR", help="train on its reconstructions as well")
    judge.add_argument("--prompt-encoder", type=Path, metavar="DIR", help="bundle folder (default: the one that ships)")

    bundle = _command(commands, "bundle", "export a trained generator and its tokenizer as a bundle", _bundle)
    bundle.add_argument("--tokenizer", type=Path, required=True, metavar="DIR")
    bundle.add_argument("--base", type=Path, required=True, metavar="DIR")
    bundle.add_argument("--name", default="animoe-default")
    bundle.add_argument("--card", type=Path, help="model card (default: a short one made from the figures)")
    bundle.add_argument("--out", type=Path, required=True)
    bundle.add_argument("--evaluator", type=Path, metavar="DIR", help="judges: with them the bundle can learn packs")
    bundle.add_argument("--packs", nargs="+", type=Path, default=[], metavar="PACK", help="what the base was taught")
    bundle.add_argument("--neutral", nargs="+", type=Path, default=[], metavar="PACK", help=_NEUTRAL)
    bundle.add_argument("--cache", type=Path, default=Path("runs/cache"))

    settle = _command(commands, "settle", "make one bundle of what a bundle has learnt and what it builds on", _settle)
    settle.add_argument("bundle", type=Path, help="a child bundle, as `animoe pack import` writes it")
    settle.add_argument("--out", type=Path, required=True)
    settle.add_argument("--card", type=Path, help="model card (default: the one of the bundle that it builds on)")

    again = _command(
        commands, "reexport", "write a bundle's decode step anew from its weights, after an update", _reexport
    )
    again.add_argument("bundle", type=Path, help="bundle folder; a child after its parent")
    again.add_argument("--float32", action="store_true", help="matrix products in float32 instead of int8")

    sequence = _command(commands, "sequence", "learn scenarios one after another, to measure forgetting", _sequence)
    add_sequence_options(sequence)
    text = "judge learnt sequences: figures per scenario, forgetting, controls, emotion and intensity; one HTML page"
    add_report_options(_command(commands, "sequence-report", text, _sequence_report))

    for name, text, run in (
        ("eval-tokenizer", "reconstruction error on test rows, per pack", _eval_tokenizer),
        ("eval-motion", "quality of generated motion against real test clips, and what emotion changes", _eval_motion),
    ):
        evaluate = _command(commands, name, text, run)
        evaluate.add_argument("packs", nargs="+", type=Path, metavar="PACK")
        evaluate.add_argument("--bundle", type=Path, help="bundle folder (default: the one that ships)")
        evaluate.add_argument("--cache", type=Path, default=Path("runs/cache"))
        evaluate.add_argument("--json", action="store_true")

    text = "retarget every clip to rigs and back: angles, foot slide, floor, joint limits, against fixed targets"
    retarget = _command(commands, "eval-retarget", text, _eval_retarget)
    retarget.add_argument("packs", nargs="+", type=Path, metavar="PACK", help="pack folders, or a folder of packs")
    retarget.add_argument("--rigs", metavar="A,B", help="rig profiles (default: the seven that matter most)")
    retarget.add_argument("--limit", type=_count, help="at most so many rows of each pack")
    retarget.add_argument("--json", action="store_true")
    retarget.add_argument("--check", action="store_true", help="exit with 1 when a target is missed")
    return parser


def _count(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of rows, 1 or more")
    return int(text)


def _command(
    commands: argparse._SubParsersAction[argparse.ArgumentParser],
    name: str,
    text: str,
    run: Callable[[argparse.Namespace], int],
) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(name, help=text, description=text)
    parser.set_defaults(run=run)
    return parser


def _training_options(parser: argparse.ArgumentParser, *, steps: int | None, rate: float | None) -> None:
    parser.add_argument("packs", nargs="+", type=Path, metavar="PACK", help="pack folders, or a folder of packs")
    parser.add_argument("--out", type=Path, required=True, help="folder for weights, checkpoint and loss plot")
    parser.add_argument("--cache", type=Path, default=Path("runs/cache"), help="where the read packs are kept")
    parser.add_argument("--steps", type=int, default=steps)
    parser.add_argument("--learning-rate", type=float, default=rate)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--resume", action="store_true", help="go on from the checkpoint in --out")


def pack_folders(paths: Sequence[Path]) -> list[Path]:
    """Pack folders among the given ones and, for a folder of packs, in it."""
    found: list[Path] = []
    for path in paths:
        inside = sorted(p.parent for p in path.glob("*/pack.csv"))
        found += inside if inside and not (path / "pack.csv").is_file() else [path]
    return found


def _taught(options: argparse.Namespace) -> Corpus:
    """What the base is taught: `packs` whole, of the other `--neutral` ones the neutral clips."""
    from animoe_trainer.corpus import load_corpus

    whole = pack_folders(options.packs)
    part = [folder for folder in pack_folders(options.neutral) if folder.resolve() not in {p.resolve() for p in whole}]
    corpus = load_corpus([*whole, *part], options.cache)
    return corpus.neutral_only({folder.resolve().name for folder in part})


def _read(options: argparse.Namespace) -> int:
    from animoe_trainer.read_report import print_report, read_report

    report = read_report(pack_folders(options.packs))
    print(json.dumps(report, indent=1)) if options.json else print_report(report)
    return 2 if any("error" in pack for pack in report["packs"].values()) else 0


def _tokenizer(options: argparse.Namespace) -> int:
    from animoe.models.tokenizer import TokenizerConfig
    from animoe_trainer.corpus import load_corpus
    from animoe_trainer.tokenizer import train_tokenizer

    corpus = load_corpus(pack_folders(options.packs), options.cache)
    shape = {"quantiser": options.quantiser} | ({"groups": options.groups} if options.groups else {})
    train_tokenizer(
        corpus,
        options.out,
        TokenizerConfig(**shape),
        _loop(options),
        frames_per_batch=options.frames_per_batch,
        resume=options.resume,
        device=options.device,
    )
    print(f"tokenizer written to {options.out}")
    return 0


def _base(options: argparse.Namespace) -> int:
    from animoe.engine.prompt_encoder import PromptEncoder
    from animoe.models.motion_lm import MotionLMConfig
    from animoe_trainer.base import train_base
    from animoe_trainer.intensity import with_intensities
    from animoe_trainer.prompt_source import export_prompt_encoder, find_source
    from animoe_trainer.recipes import Recipe, load_recipe
    from animoe_trainer.tokenizer import load_tokenizer

    recipe = load_recipe(options.config) if options.config else Recipe()
    backbone = options.backbone or recipe.backbone

    corpus = _taught(options)
    if not options.no_blend:
        corpus = with_intensities(corpus, seed=options.seed)
    tokenizer = load_tokenizer(options.tokenizer)
    if not (options.out / "prompt_encoder.onnx").is_file():
        export_prompt_encoder(find_source(options.prompt_encoder), options.out)
    shape: dict[str, Any] = {"dtype": recipe.dtype} | ({"backbone": backbone} if backbone else {})
    if not options.no_planner:
        shape["planner"] = recipe.planner.to_dict()
    config = MotionLMConfig(tokenizer.config.groups, tokenizer.codebook_size, **shape)
    train_base(
        corpus,
        tokenizer,
        PromptEncoder(options.out),
        options.out,
        config,
        _loop(options, recipe.loop),
        recipe.batch,
        tuning=recipe.tuning,
        resume=options.resume,
        device=options.device,
    )
    print(f"generator written to {options.out}")
    return 0


def _evaluator(options: argparse.Namespace) -> int:
    from animoe.bundle import default_bundle
    from animoe_trainer.corpus import load_corpus
    from animoe_trainer.evaluator_data import reconstruct_all, sentence_vectors
    from animoe_trainer.evaluator_training import EvaluatorTraining, train_evaluator
    from animoe_trainer.reports import print_evaluator_report
    from animoe_trainer.tokenizer import load_tokenizer

    training = EvaluatorTraining(steps=options.steps, seed=options.seed)
    corpus = load_corpus(pack_folders(options.packs), options.cache)
    sentences = sentence_vectors(corpus, options.prompt_encoder or default_bundle(), options.cache)
    rebuilt = None
    if options.tokenizer:
        tokenizer = load_tokenizer(options.tokenizer).to(options.device)
        rebuilt = reconstruct_all(tokenizer, [corpus.frames(item) for item in corpus.items])
    evaluator = train_evaluator(
        corpus, sentences, options.out, training, device=options.device, reconstructions=rebuilt
    )
    print_evaluator_report(evaluator.figures)
    print(f"evaluator written to {options.out}")
    return 0


def _loop(options: argparse.Namespace, recipe: LoopConfig | None = None) -> LoopConfig:
    """What the flags say; the rest as the recipe has it."""
    from animoe_trainer.loop import LoopConfig

    said = {name: getattr(options, name) for name in ("steps", "learning_rate", "seed")}
    return replace(recipe or LoopConfig(), **{name: value for name, value in said.items() if value is not None})


def _bundle(options: argparse.Namespace) -> int:
    from animoe_trainer.make_bundle import make_bundle

    size = make_bundle(options.tokenizer, options.base, options.out, options.name, options.card)
    print(f"bundle {options.name} written to {options.out} ({size / 2**20:.1f} MiB)")
    if options.evaluator is not None:
        from animoe_trainer.evaluator import Evaluator
        from animoe_trainer.importing.base_memory import remember_base

        remember_base(options.out, _taught(options), Evaluator.load(options.evaluator))
        print("it can learn: `animoe pack import PACK --scenario NAME --parent " + f"{options.out}`")
    return 0


def _reexport(options: argparse.Namespace) -> int:
    from animoe_trainer.reexport import reexport_step

    print(f"{options.bundle}: {reexport_step(options.bundle, integers=not options.float32)}")
    return 0


def _settle(options: argparse.Namespace) -> int:
    from animoe_trainer.settle import settle_bundle

    size = settle_bundle(options.bundle, options.out, options.card)
    print(f"bundle written to {options.out} ({size / 2**20:.1f} MiB)")
    return 0


def _sequence(options: argparse.Namespace) -> int:
    return run_sequence(options, pack_folders(options.packs))


def _sequence_report(options: argparse.Namespace) -> int:
    from animoe_trainer.sequence_report import run_sequence_report

    return run_sequence_report(options)


def _eval_tokenizer(options: argparse.Namespace) -> int:
    from animoe.bundle import default_bundle
    from animoe_trainer.corpus import load_corpus
    from animoe_trainer.evaluate_tokenizer import evaluate_tokenizer
    from animoe_trainer.reports import print_tokenizer_report
    from animoe_trainer.tokenizer import load_tokenizer

    corpus = load_corpus(pack_folders(options.packs), options.cache)
    report = evaluate_tokenizer(load_tokenizer(options.bundle or default_bundle()), corpus)
    print(json.dumps(report, indent=1)) if options.json else print_tokenizer_report(report)
    return 0


def _eval_motion(options: argparse.Namespace) -> int:
    from animoe.engine import Engine
    from animoe_trainer.corpus import load_corpus
    from animoe_trainer.evaluate_motion import evaluate_motion
    from animoe_trainer.reports import print_motion_report

    corpus = load_corpus(pack_folders(options.packs), options.cache)
    report = evaluate_motion(Engine.load(options.bundle), corpus)
    print(json.dumps(report, indent=1)) if options.json else print_motion_report(report)
    return 0


def _eval_retarget(options: argparse.Namespace) -> int:
    from animoe_trainer.evaluate_retarget import RIGS, evaluate_retarget, print_retarget_report

    def progress(pack: str, clips: int) -> None:
        print(f"{pack}: {clips} clips done", file=sys.stderr, flush=True)

    rigs = [name.strip() for name in options.rigs.split(",")] if options.rigs else RIGS
    report = evaluate_retarget(pack_folders(options.packs), rigs, limit=options.limit, on_pack=progress)
    print(json.dumps(report, indent=1)) if options.json else print_retarget_report(report)
    return 1 if options.check and not all(check["passed"] for check in report["checks"]) else 0


if __name__ == "__main__":
    sys.exit(main())
