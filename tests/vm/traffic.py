# SPDX-License-Identifier: Apache-2.0
"""Traffic for the guest: a backend that echoes, connections through the proxy, and a load that counts what goes wrong.

Only Python's own library: the guest has no more.
"""

import contextlib
import socket
import socketserver
import threading
import time
from collections import Counter

from hello import client_hello

HELLO = client_hello("app.example.com")
PATIENCE = 20.0


class Echo(socketserver.ThreadingTCPServer):
    """Sends back what comes, the ClientHello too, until the client ends."""

    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 1024

    def __init__(self, port: int):
        super().__init__(("127.0.0.1", port), _EchoHandler)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def handle_error(self, request, client_address) -> None:
        """A connection that was cut is what some of the tests do."""


class _EchoHandler(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        while data := self.request.recv(65536):
            self.request.sendall(data)


def receive(client: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        part = client.recv(size - len(data))
        if not part:
            raise EOFError(f"the end of the stream after {len(data)} of {size} bytes")
        data += part
    return data


def connect(port: int = 443) -> socket.socket:
    """A connection that was accepted by the kernel: the proxy may not have seen it yet."""
    return socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)


def greet(client: socket.socket) -> socket.socket:
    """Sends a ClientHello; returns when the backend has replied."""
    client.sendall(HELLO)
    assert receive(client, len(HELLO)) == HELLO
    return client


def ping(client: socket.socket) -> None:
    client.sendall(b"ping")
    assert receive(client, 4) == b"ping"


def fetch(port: int = 443) -> None:
    """One connection, from its beginning to its end."""
    with connect(port) as client:
        ping(greet(client))
        client.shutdown(socket.SHUT_WR)
        assert client.recv(1) == b""


def is_served(port: int = 443) -> bool:
    with contextlib.suppress(OSError, EOFError):
        fetch(port)
        return True
    return False


def is_refused(port: int = 443) -> bool:
    """Whether no process listens or keeps the port."""
    try:
        connect(port).close()
    except ConnectionRefusedError:
        return True
    return False


class Load:
    """Short connections, one after another in each of `threads`, beside `long` ones that stay open and are used."""

    def __init__(self, threads: int = 4, long: int = 200, port: int = 443):
        self._port = port
        self._stop = threading.Event()
        self.counts: Counter[str] = Counter()
        self.slowest = 0.0
        self._long = [greet(connect(port)) for _ in range(long)]
        self._threads = [threading.Thread(target=self._run, daemon=True) for _ in range(threads)]
        for thread in self._threads:
            thread.start()

    def _run(self) -> None:
        while not self._stop.is_set():
            began = time.monotonic()
            try:
                fetch(self._port)
                outcome = "ok"
            except ConnectionRefusedError:
                outcome = "refused"
            except ConnectionResetError:
                outcome = "reset"
            except EOFError:
                outcome = "ended early"
            except TimeoutError:
                outcome = "timed out"
            except OSError as error:
                outcome = f"errno {error.errno}"
            self.counts[outcome] += 1
            self.slowest = max(self.slowest, time.monotonic() - began)
            if outcome != "ok":
                self._stop.wait(0.01)  # what refuses does so a thousand times otherwise

    def ping_long(self) -> None:
        """Each of the long connections still carries bytes."""
        for index, client in enumerate(self._long):
            try:
                ping(client)
            except (OSError, EOFError) as error:
                raise AssertionError(f"long connection {index} of {len(self._long)}: {error!r}") from None

    def end(self) -> str:
        """Stops; what happened, as text. Fails if anything but success did, and if a long connection does not end in order."""
        self._stop.set()
        for thread in self._threads:
            thread.join(PATIENCE)
        self.ping_long()
        for index, client in enumerate(self._long):
            client.shutdown(socket.SHUT_WR)
            assert client.recv(1) == b"", f"long connection {index} of {len(self._long)} does not end"
            client.close()
        text = ", ".join(f"{count} {what}" for what, count in sorted(self.counts.items()))
        assert set(self.counts) == {"ok"}, f"short connections: {text}"
        return f"{text}, slowest {self.slowest:.2f} s"
