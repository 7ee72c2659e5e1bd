"""Flags of `animoe pack`, `animoe scenario` and `animoe jobs`. Imports nothing of the product."""

from __future__ import annotations

import argparse
from pathlib import Path

_OWN = "learnt bundle; default: $ANIMOE_BUNDLE, else ~/.local/share/animoe/bundle"


def add_pack_flags(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION", parser_class=type(parser))
    text = "Reads a pack as an import would and says what cannot be used; drafts a pack.csv when there is none."
    check = actions.add_parser("check", help="say what of a pack can be used; draft its pack.csv", description=text)
    check.add_argument("pack", type=Path, metavar="PATH", help="folder or .zip of motion files")
    check.add_argument("--bundle", type=Path, metavar="DIR", help=_OWN)
    check.add_argument("--json", action="store_true", help="print for programs")

    text = (
        "Learns a pack as one more scenario and publishes it, unless something that worked before got worse "
        "(exit code 3). Running servers take it up."
    )
    learn = actions.add_parser("import", help="learn a pack as one more scenario and publish it", description=text)
    learn.add_argument("pack", type=Path, metavar="PATH", help="folder or .zip of motion files with a pack.csv")
    learn.add_argument("more", type=Path, nargs="*", metavar="PATH", help="further packs of the same scenario")
    learn.add_argument("--scenario", required=True, metavar="NAME", help="a-z, 0-9, _ and -; again = a new version")
    learn.add_argument("--bundle", type=Path, metavar="DIR", help=_OWN + "; made as a child when it is not there")
    learn.add_argument("--parent", type=Path, metavar="DIR", help="what a new bundle builds on; default: what ships")
    learn.add_argument("--resume", action="store_true", help="go on with the last import of NAME that was stopped")
    learn.add_argument("--force", action="store_true", help="publish although something got worse; it is recorded")
    learn.add_argument("--reason", default="", metavar="TEXT", help="why: kept with the expert")
    learn.add_argument("--user", default="", metavar="NAME", help="who forces it; default: who runs this")
    learn.add_argument("--draft", action="store_true", help="take the drafted pack.csv as it is")
    learn.add_argument("--minutes", type=float, metavar="N", help="shorten the training to end in about this time")
    learn.add_argument("--steps", type=int, metavar="N", help="training steps; default: by the size of the pack")
    learn.add_argument("--batch", type=int, default=40, metavar="N", help="clips per step; default %(default)s")
    learn.add_argument("--seed", type=int, default=0, metavar="N", help="same seed, same expert; default 0")
    learn.add_argument("--threads", type=int, metavar="N", help="cores to use; default: all, at low priority")
    learn.add_argument("--device", metavar="D", help="cpu, cuda or cuda:N; default: a GPU when there is one")
    learn.add_argument("--no-wait", dest="wait", action="store_false", help="refuse while another import runs")
    learn.add_argument("--json", action="store_true", help="print for programs: JSON lines, the result last")
    _server(learn, "let this server learn it: the pack is uploaded")
    learn.add_argument("--on-server", action="store_true", help="PATH lies in the server's folder of packs; no upload")
    learn.add_argument("--detach", action="store_true", help="with --server: do not wait; see `animoe jobs`")


def add_scenario_flags(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION", parser_class=type(parser))
    for action, text in (
        ("list", "list what the bundle has learnt"),
        ("show", "show figures and versions of a scenario, and who forced what"),
        ("rollback", "put the version before in force again"),
        ("remove", "take a scenario out of use; its files stay"),
    ):
        one = actions.add_parser(action, help=text, description=text[0].upper() + text[1:] + ".")
        if action != "list":
            one.add_argument("name", metavar="NAME")
        if action == "show":
            one.add_argument("--report", type=Path, metavar="FILE", help="write the import's HTML report there")
        if action in ("rollback", "remove"):
            one.add_argument("--no-wait", dest="wait", action="store_false", help="refuse while an import runs")
        one.add_argument("--bundle", type=Path, metavar="DIR", help=_OWN)
        _server(one, "of this server instead of a bundle on this machine")
        one.add_argument("--json", action="store_true", help="print for programs")


def add_jobs_flags(parser: argparse.ArgumentParser, target: str) -> None:
    """`target`: host:port of the server when none is named."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION", parser_class=type(parser))
    for action, text in (
        ("list", "list what is queued, runs and has ended, newest first"),
        ("show", "show one job with its log"),
        ("watch", "follow a job until it ends"),
        ("cancel", "take a job out of the queue, or end it"),
    ):
        one = actions.add_parser(action, help=text, description=text[0].upper() + text[1:] + ".")
        if action == "list":
            one.add_argument("--state", default="", help="queued, running, succeeded, refused, failed or cancelled")
            one.add_argument("--scenario", default="", metavar="NAME", help="of this scenario only")
            one.add_argument("--limit", type=int, default=20, metavar="N", help="at most so many; default 20")
        else:
            one.add_argument("job", metavar="JOB", help="its number, as `animoe jobs list` shows it")
        if action == "show":
            one.add_argument("--report", type=Path, metavar="FILE", help="write its HTML report there")
        one.add_argument("--server", metavar="HOST:PORT", default=target, help="a running server; default %(default)s")
        one.add_argument("--json", action="store_true", help="print for programs")


def _server(parser: argparse.ArgumentParser, text: str) -> None:
    parser.add_argument("--server", metavar="HOST:PORT", help=text)
