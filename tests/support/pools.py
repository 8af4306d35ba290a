"""A pool of connections to PostgreSQL, as far as LISTEN goes: it takes it and passes nothing on."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from urllib.parse import parse_qs, urlsplit, urlunsplit

NOTIFICATION = b"A"


def _connect(url: str) -> socket.socket:
    parts = urlsplit(url)
    port = parts.port or 5432
    host = parse_qs(parts.query).get("host", [parts.hostname or "127.0.0.1"])[0]
    if not host.startswith("/"):
        return socket.create_connection((host, port))
    server = socket.socket(socket.AF_UNIX)
    server.connect(f"{host}/.s.PGSQL.{port}")
    return server


def _pass_on(client: socket.socket, server: socket.socket) -> None:
    with suppress(OSError):
        while data := client.recv(65536):
            server.sendall(data)
    with suppress(OSError):
        server.shutdown(socket.SHUT_RDWR)


def _pass_on_but_notifications(server: socket.socket, client: socket.socket) -> None:
    with suppress(OSError), server.makefile("rb") as answers:
        while len(head := answers.read(5)) == 5:
            kind, length = head[:1], struct.unpack("!i", head[1:])[0]
            body = answers.read(length - 4)
            if kind != NOTIFICATION:
                client.sendall(head + body)
    with suppress(OSError):
        client.shutdown(socket.SHUT_RDWR)


@contextmanager
def deaf_pool(url: str) -> Iterator[str]:
    """Stand between clients and the database at `url`; yields the URL for the clients."""
    listener = socket.create_server(("127.0.0.1", 0))
    ends: list[socket.socket] = [listener]

    def serve() -> None:
        with suppress(OSError):  # closed
            while True:
                client, _ = listener.accept()
                server = _connect(url)
                ends.extend((client, server))
                for target, pair in (
                    (_pass_on, (client, server)),
                    (_pass_on_but_notifications, (server, client)),
                ):
                    threading.Thread(target=target, args=pair, daemon=True).start()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    parts = urlsplit(url)
    user = parts.username or "postgres"
    place = f"{user}@127.0.0.1:{listener.getsockname()[1]}"
    try:
        yield urlunsplit(
            (parts.scheme, place, parts.path, "sslmode=disable&gssencmode=disable", "")
        )
    finally:
        for end in ends:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()
        thread.join(10)
