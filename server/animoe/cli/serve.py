"""`animoe serve`."""

from __future__ import annotations

import argparse

from animoe.serving.server import ServerConfig, serve


def run(arguments: argparse.Namespace) -> None:
    serve(ServerConfig(arguments.host, arguments.port, arguments.bundle, arguments.max_streams))
