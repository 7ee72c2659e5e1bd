"""`animoe serve`."""

from __future__ import annotations

import argparse
import logging
import sys

from animoe.bundle.child import current_bundle, own_bundle
from animoe.serving.learning import LearningConfig
from animoe.serving.server import ServerConfig, serve


def run(arguments: argparse.Namespace) -> None:
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    logging.getLogger("animoe").setLevel(logging.INFO)
    learning = LearningConfig(
        arguments.bundle or own_bundle(), arguments.packs, arguments.jobs, arguments.max_upload_mb
    )
    bundle = arguments.bundle or current_bundle()
    serve(ServerConfig(arguments.host, arguments.port, bundle, arguments.max_streams, learning))
