"""What can be typed. Imports nothing of the product: --help must not wait for it."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import NoReturn

from animoe import __version__
from animoe.cli.convert_flags import add_convert_flags
from animoe.cli.learning_flags import add_jobs_flags, add_pack_flags, add_scenario_flags
from animoe.cli.replay_flags import add_replay_flags

_PORT = 50151
_RIG = "ue5_manny"


class _Parser(argparse.ArgumentParser):
    """Answers a wrong flag with one sentence instead of the whole usage."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}; see {self.prog} --help\n")


def build_parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="animoe", description="Emotional character motion for games, live, from text.")
    parser.add_argument("--version", action="version", version=f"animoe {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND", parser_class=_Parser)
    _serve(commands.add_parser("serve", help="start the gRPC server", description="Starts the gRPC server."))
    _generate(commands.add_parser("generate", help="make a clip from text", description="Makes a clip from text."))
    _stream(
        commands.add_parser(
            "stream",
            help="play a live session against a server and print what arrives",
            description="Plays a live session against a server and prints what arrives.",
        )
    )
    add_replay_flags(
        commands.add_parser(
            "replay",
            help="perform a recorded live session again, frame for frame",
            description="Performs a live session that 'animoe serve --record' wrote again, without a server: the same "
            "frames to the last bit, given the same bundle and the same kind of machine.",
        )
    )
    add_convert_flags(
        commands.add_parser(
            "convert",
            help="convert motion files and folders, onto another rig if wanted",
            description="Converts motion files and folders into another format, and onto another rig if wanted.",
        )
    )
    _preview(commands.add_parser("preview", help="draw motion files", description="Draws motion files."))
    _rigs(
        commands.add_parser(
            "rigs",
            help="list the rigs known by name; inspect a rig of your own",
            description="Lists the rigs known by name.",
        )
    )
    add_pack_flags(
        commands.add_parser(
            "pack",
            help="check an animation pack; learn it as a new scenario",
            description="Checks animation packs and learns them as scenarios.",
        )
    )
    add_scenario_flags(
        commands.add_parser(
            "scenario",
            help="list, show, roll back and remove what the bundle has learnt",
            description="Lists, shows, rolls back and removes what the bundle has learnt.",
        )
    )
    add_jobs_flags(
        commands.add_parser(
            "jobs",
            help="list, watch and cancel the imports of a server",
            description="Lists, shows, watches and cancels the imports of a server.",
        ),
        f"127.0.0.1:{_PORT}",
    )
    _top(
        commands.add_parser(
            "top",
            help="watch a server: characters, latencies, deadlines, experts, jobs",
            description="Shows how a server does, again and again until Ctrl-C.",
        )
    )
    _demo(
        commands.add_parser(
            "demo",
            help="start a server, stream three takes from it and draw them",
            description="Starts a server, streams sad, neutral and happy takes of one prompt, and draws them.",
        )
    )
    return parser


def _serve(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--port", type=int, default=_PORT, metavar="N", help="default %(default)s; 0 takes a free one")
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        metavar="H",
        help="address to listen on; default %(default)s, this machine only",
    )
    _bundle(parser)
    parser.add_argument(
        "--max-streams",
        type=int,
        default=256,
        metavar="N",
        help="most clips and live sessions at once; default 256",
    )
    parser.add_argument(
        "--no-load-watch",
        dest="watch_load",
        action="store_false",
        help="let new streams in while those that play can hardly be kept in time; default: refuse them",
    )
    parser.add_argument(
        "--messages-per-second",
        type=float,
        default=100.0,
        metavar="N",
        help="that one live session may send; more is read slowly, then cut; default 100",
    )
    parser.add_argument(
        "--idle-cut",
        type=float,
        default=900.0,
        metavar="S",
        help="end sessions that are paused or stand still for S seconds; 0 never does; default 900",
    )
    parser.add_argument(
        "--stuck-cut",
        type=float,
        default=20.0,
        metavar="S",
        help="end streams whose caller reads nothing for S seconds; 0 never does; default 20",
    )
    parser.add_argument(
        "--record",
        type=Path,
        metavar="FOLDER",
        help="write each live session there as JSON when it ends, for 'animoe replay'; it holds what callers wrote, "
        "some KB each, and nothing is ever deleted: watch the disk",
    )
    parser.add_argument("--packs", type=Path, metavar="DIR", help="clients may import packs that lie in DIR by path")
    parser.add_argument(
        "--jobs", default="", metavar="URL", help="SQLAlchemy URL of the job database; default: a file in the bundle"
    )
    parser.add_argument(
        "--max-upload-mb",
        type=int,
        default=2048,
        metavar="N",
        help="largest pack that clients may upload; default 2048",
    )
    parser.add_argument(
        "--metrics-port",
        type=int,
        metavar="N",
        help="answer Prometheus on this HTTP port (0 takes a free one); default: no metrics",
    )
    parser.add_argument(
        "--metrics-host", default="127.0.0.1", metavar="H", help="address for that; default %(default)s"
    )
    parser.add_argument(
        "--log-format", choices=("text", "json"), default="text", help="one line per event; default %(default)s"
    )


def _generate(parser: argparse.ArgumentParser) -> None:
    _prompt(parser)
    parser.add_argument("--seconds", type=float, default=4.0, help="length, 0.2 to 60; default 4")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="clip.glb, .bvh or .fbx (by Blender)")
    parser.add_argument("--server", metavar="HOST:PORT", help="ask this server; default: make it in this process")
    _retries(parser)
    _bundle(parser)
    _json(parser)


def _stream(parser: argparse.ArgumentParser) -> None:
    _prompt(parser)
    parser.add_argument("--seconds", type=float, help="end after this much motion; default: until Ctrl-C")
    parser.add_argument(
        "--first",
        action="append",
        default=[],
        metavar="TEXT:SECONDS",
        help="do this before TEXT, for so long; may be given several times",
    )
    parser.add_argument("--pace", type=float, default=1.0, metavar="X", help="0.5 (slow) to 2 (quick); default 1")
    parser.add_argument(
        "--buffer",
        type=float,
        default=0.0,
        metavar="S",
        help="motion ahead, 0.1 to 1 second; default: 0.32",
    )
    _retries(parser)
    parser.add_argument(
        "--server",
        metavar="HOST:PORT",
        default=f"127.0.0.1:{_PORT}",
        help="a running server; default %(default)s",
    )
    _json(parser)


def _top(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--server",
        metavar="HOST:PORT",
        default=f"127.0.0.1:{_PORT}",
        help="a running server; default %(default)s",
    )
    parser.add_argument("--once", action="store_true", help="show it once and end")
    parser.add_argument("--interval", type=float, default=1.0, metavar="S", help="seconds between two looks; default 1")
    _json(parser)


def _preview(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help=".bvh, .glb, .gltf, .fbx or .npz")
    parser.add_argument(
        "--out",
        type=Path,
        required=True,
        metavar="PICTURE",
        help="sheet.png (contact sheet) or clip.gif (moving)",
    )


def _rigs(parser: argparse.ArgumentParser) -> None:
    _json(parser)
    actions = parser.add_subparsers(dest="action", metavar="ACTION", parser_class=_Parser)
    inspect = actions.add_parser(
        "inspect",
        help="tell which joint of a file's skeleton plays which role",
        description="Tells which joint of a file's skeleton plays which role, how that was found and how sure it is.",
    )
    inspect.add_argument("file", type=Path, metavar="FILE", help="a character or motion file")
    inspect.add_argument("--mapping", type=Path, metavar="OUT.json", help="write a mapping file that you can edit")
    inspect.add_argument("--picture", type=Path, metavar="OUT.png", help="draw the rest pose with the roles")
    inspect.add_argument("--use", type=Path, metavar="MAPPING", help="a mapping file that wins over all guesses")
    inspect.add_argument(
        "--role",
        action="append",
        default=[],
        metavar="ROLE=JOINT",
        help="one role by hand, for example left_knee=bone_17; a chain: neck=bone_3,bone_4; none: neck=",
    )
    inspect.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help="print for programs")


def _demo(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", type=Path, default=Path("demo_out"), metavar="DIR", help="default %(default)s")
    parser.add_argument("--text", default="a person walks forward", help="the prompt; default %(default)r")
    parser.add_argument("--seconds", type=float, default=4.0, help="length of each take; default 4")
    parser.add_argument("--seed", type=int, default=7, metavar="N", help="default %(default)s")
    _bundle(parser)


def _prompt(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("text", metavar="TEXT", help="what the character does, for example 'a person walks forward'")
    parser.add_argument("--emotion", metavar="NAME", help="sad, happy, angry, ...; default: what the text says")
    parser.add_argument("--intensity", type=float, default=1.0, help="of the emotion, 0 to 2; default 1, as acted")
    parser.add_argument("--rig", default=_RIG, metavar="NAME", help="see 'animoe rigs'; default %(default)s")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="same seed, same motion; default 0")
    parser.add_argument(
        "--root-motion",
        choices=("world", "in-place", "root-bone"),
        default="world",
        help="where the way over the floor goes: into the pelvis (world, default), nowhere, or into the root bone",
    )
    parser.add_argument("--no-foot-lock", dest="foot_lock", action="store_false", help="let standing feet slide")
    parser.add_argument("--ik-bones", action="store_true", help="Unreal's IK bones follow feet and hands")
    parser.add_argument(
        "--reach",
        type=float,
        default=0.0,
        metavar="X",
        help="0 keeps the turns of the arms (default), 1 brings hands where they are on the source's body",
    )


def _retries(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--retries", type=int, default=0, metavar="N", help="try again so often when the server is full; default 0"
    )


def _bundle(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--bundle", type=Path, metavar="DIR", help="model bundle; default: the one that comes with it")


def _json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print for programs")
