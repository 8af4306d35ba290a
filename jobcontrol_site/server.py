"""Serving the pages with gunicorn, in this process."""

from __future__ import annotations

import socket
import sys

from django.db import connections
from django.utils.module_loading import import_string

THREADS = 8  # requests at a time; pages wait for the database far more than they compute


# By name: every command imports this module, and gunicorn would take a tenth of its start.
_GUNICORN = "jobcontrol_site.gunicorn_server.Gunicorn"


def serve(host: str, port: int) -> None:
    """Serve until the process is told to stop (SIGTERM, SIGINT). Does not return."""
    # A connection that was opened here must not be used by the forked worker as well.
    connections.close_all()
    sys.stdout.write(f"JobControl listens on http://{address(host, port)}/\n")
    sys.stdout.flush()
    import_string(_GUNICORN)(
        {
            "bind": address(host, port),
            "worker_class": "gthread",
            "threads": THREADS,
            "loglevel": "warning",
            # The longest that gunicorn reads: ids and filters in any script, percent-encoded.
            "limit_request_line": 8190,
            "graceful_timeout": 10,
        }
    ).run()


def address(host: str, port: int) -> str:
    """Return `host:port`, with an IPv6 host in brackets."""
    bare = host.strip("[]")
    return f"[{bare}]:{port}" if ":" in bare else f"{bare}:{port}"


def is_free(host: str, port: int) -> bool:
    """Return whether a server could listen there now."""
    bare = host.strip("[]")
    family = socket.AF_INET6 if ":" in bare else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((bare, port))
        except OSError:
            return False
    return True
