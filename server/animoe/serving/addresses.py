"""Addresses that a server listens on: checked, written out, and who can reach them."""

from __future__ import annotations

import errno
import ipaddress
import logging
import socket
import sys

from animoe.errors import InvalidRequest
from animoe.serving.logs import PLAIN

log = logging.getLogger(__name__)


def address(host: str, port: int) -> str:
    """ "host:port", IPv6 addresses in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def is_loopback(host: str) -> bool:
    """Whether only programs on this machine can reach `host`."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def check_address(host: str, port: int, flags: str = "--") -> None:
    """Raises InvalidRequest in plain words when `host` and `port` cannot be listened on.

    `flags` is how the flags begin that set them. gRPC reports a failed bind without its reason, and logs it besides.
    """
    try:
        family, kind, protocol, _, where = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            if sys.platform != "win32":  # there it would let us share a port in use
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(where)
    except OSError as error:
        raise InvalidRequest(bind_problem(host, port, flags, error)) from error


def bind_problem(host: str, port: int, flags: str, error: OSError) -> str:
    """Why it could not be listened on, and what to do."""
    if error.errno == errno.EADDRINUSE:
        return f"port {port} is in use; end the other server or choose another port with {flags}port"
    if error.errno == errno.EACCES:
        return f"this user may not listen on port {port}; choose one above 1023 with {flags}port"
    return f"cannot listen on {host}: {error.strerror or error}; choose an address of this machine with {flags}host"


def warn_of_network(host: str) -> None:
    """In the log, unless only this machine can reach `host`."""
    if not is_loopback(host):
        log.warning(
            "warning: %s can be reached from the network; there is no password and no encryption, so use it in "
            "trusted networks only",
            host,
            extra=PLAIN,
        )
