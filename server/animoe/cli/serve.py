"""`animoe serve`."""

from __future__ import annotations

import argparse

from animoe.bundle.child import current_bundle, own_bundle
from animoe.serving.learning import LearningConfig
from animoe.serving.limits import Limits
from animoe.serving.logs import set_up_logs
from animoe.serving.server import ServerConfig, serve


def run(arguments: argparse.Namespace) -> None:
    set_up_logs(arguments.log_format)
    learning = LearningConfig(
        arguments.bundle or own_bundle(), arguments.packs, arguments.jobs, arguments.max_upload_mb
    )
    bundle = arguments.bundle or current_bundle()
    serve(
        ServerConfig(
            arguments.host,
            arguments.port,
            bundle,
            arguments.max_streams,
            learning,
            arguments.metrics_port,
            arguments.metrics_host,
            Limits(
                messages_per_second=arguments.messages_per_second,
                idle_s=arguments.idle_cut,
                stuck_s=arguments.stuck_cut,
                watch_load=arguments.watch_load,
            ),
            arguments.record,
        )
    )
