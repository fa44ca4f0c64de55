"""Servers that keep what is sent to them: mail, HTTP posts and StatsD packets, on 127.0.0.1."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from email import message_from_bytes
from email.message import Message
from email.policy import default
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from aiosmtpd.controller import Controller

from nocturne_airflow.processes import free_port

__all__ = ["Mailbox", "Metrics", "Posts", "mailbox", "metrics", "posts"]


class Mailbox:
    """An SMTP server's; ``connection`` is Airflow's, as JSON."""

    def __init__(self, port: int) -> None:
        self.got: list[Message] = []
        self.connection = json.dumps(
            {
                "conn_type": "smtp",
                "host": "127.0.0.1",
                "port": port,
                "extra": {
                    "disable_ssl": True,
                    "disable_tls": True,
                    "retry_limit": 1,
                    "from_email": "nocturne@example.com",
                },
            }
        )

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:  # noqa: N802
        self.got.append(message_from_bytes(envelope.content, policy=default))
        return "250 OK"


class Posts:
    """What was posted: path and JSON body. ``connection`` as for a mailbox."""

    def __init__(self, port: int) -> None:
        self.got: list[tuple[str, Any]] = []
        self.port = port
        self.connection = json.dumps(
            {"conn_type": "http", "host": "127.0.0.1", "port": port, "schema": "http"}
        )


class Metrics:
    """The lines of StatsD packets."""

    def __init__(self, port: int) -> None:
        self.got: list[str] = []
        self.port = port


@contextmanager
def mailbox() -> Iterator[Mailbox]:
    port = free_port()
    box = Mailbox(port)
    server = Controller(box, hostname="127.0.0.1", port=port)
    server.start()
    try:
        yield box
    finally:
        server.stop()


@contextmanager
def posts() -> Iterator[Posts]:
    """An HTTP server that answers every post with ``ok``, as Slack does."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            kept.got.append((self.path, json.loads(body)))
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"ok")

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    kept = Posts(server.server_address[1])
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield kept
    finally:
        server.shutdown()
        server.server_close()


@contextmanager
def metrics() -> Iterator[Metrics]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        kept = Metrics(server.getsockname()[1])

        def listen() -> None:
            while packet := server.recv(65_536):
                kept.got += packet.decode().splitlines()

        listener = threading.Thread(target=listen, daemon=True)
        listener.start()
        try:
            yield kept
        finally:
            server.sendto(b"", server.getsockname())
            listener.join()
