# SPDX-License-Identifier: Apache-2.0
"""Web sites over TLS, each with a certificate of its own, for real clients to visit."""

import hashlib
import os
import socket
import ssl
from contextlib import suppress
from http.server import BaseHTTPRequestHandler
from typing import Any, cast

from backends import TlsBackend
from certs import Authority

_BLOCK = os.urandom(1 << 20)


def blocks(size: int) -> list[memoryview]:
    """`size` bytes of data whose period matches no buffer."""
    pieces: list[memoryview] = []
    while size > 0:
        piece = memoryview(_BLOCK)[len(pieces) % 997 :][:size]
        pieces.append(piece)
        size -= len(piece)
    return pieces


def digest(pieces: list[memoryview]) -> str:
    summed = hashlib.sha256()
    for piece in pieces:
        summed.update(piece)
    return summed.hexdigest()


class HttpsSite(TlsBackend):
    """GET / returns a page with its text; GET /SIZE returns that many bytes of data.

    PUT / returns the SHA-256 of the body.
    """

    def __init__(self, authority: Authority, name: str):
        self.name = name
        self.text = f"This is the page of {name}."
        self.hello_bytes: list[int] = []
        super().__init__(self._serve_http, authority.issue(name))

    def wrap(self, connection: socket.socket) -> socket.socket:
        """Records the size of the client's hello, from the header of its message."""
        head = connection.recv(9, socket.MSG_PEEK)
        self.hello_bytes.append(int.from_bytes(head[6:9], "big"))
        return super().wrap(connection)

    def _serve_http(self, connection: socket.socket) -> None:
        as_server: Any = self  # the base class only stores it
        _Request(connection, ("", 0), as_server)
        # An orderly end of TLS, by which a client can distinguish an end from a cut. The client may
        # have left already, and need not reply.
        with suppress(OSError):
            cast(ssl.SSLSocket, connection).unwrap()


class _Request(BaseHTTPRequestHandler):
    server: Any  # HttpsSite

    def do_GET(self) -> None:  # noqa: N802 - the base class names it
        if self.path == "/":
            self._answer([memoryview(f"<p>{self.server.text}</p>".encode())])
        elif self.path[1:].isdigit():
            self._answer(blocks(int(self.path[1:])))
        else:
            self.send_error(404)

    def do_PUT(self) -> None:  # noqa: N802
        summed = hashlib.sha256()
        missing = int(self.headers["Content-Length"])
        while missing > 0:
            piece = self.rfile.read(min(missing, 1 << 20))
            if not piece:
                return
            missing -= len(piece)
            summed.update(piece)
        self._answer([memoryview(summed.hexdigest().encode())])

    def _answer(self, pieces: list[memoryview]) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(sum(map(len, pieces))))
        self.end_headers()
        for piece in pieces:
            self.wfile.write(piece)

    def log_message(self, *_: object) -> None:
        pass
