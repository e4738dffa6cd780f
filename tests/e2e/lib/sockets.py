# SPDX-License-Identifier: Apache-2.0
"""Operations of a test on one end of a TCP connection. Every wait is for an event, and has a limit."""

import fcntl
import os
import socket
import struct
import termios
import time
from collections.abc import Callable

# Sanitizers make the proxy slower; MC_PROXY_SLOW=1 says that it was built with one.
SLOW_FACTOR = 8 if os.environ.get("MC_PROXY_SLOW") == "1" else 1

# How long a test waits for an event that must come, in seconds. Only a failing test reaches it.
PATIENCE = 10.0 * SLOW_FACTOR


def until(condition: Callable[[], object], what: str, timeout: float = PATIENCE) -> None:
    """Waits for a state for which there is no event, by polling."""
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, f"waited {timeout} s in vain: {what}"
        time.sleep(0.001)


class Client(socket.socket):
    """A client's socket: sends without delay (TCP_NODELAY), and its calls fail instead of hanging."""

    def __init__(self, family: socket.AddressFamily = socket.AF_INET):
        super().__init__(family, socket.SOCK_STREAM)
        self.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.settimeout(PATIENCE)
        self.name = ""  # as the proxy writes it; kept, because a reset socket has no name
        self.log_before = 0  # so many lines of the proxy's log are not about it, because ports are reused
        self.was_reset = False  # before connect() returned, which then consumed the error

    def connect_from(self, source: str, target: tuple[str, int]) -> None:
        """Connects; expect_rst() reports a reset that comes during that."""
        self.bind((source, 0))
        self.name = address_text(self.getsockname())
        try:
            self.connect(target)
        except ConnectionResetError:
            self.was_reset = True


def address_text(address: tuple) -> str:
    """ip:port as the proxy writes it, from the result of getsockname()."""
    host, port = address[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def send_byte_by_byte(sock: socket.socket, data: bytes) -> None:
    """Sends each byte by a call of its own; with TCP_NODELAY, as a segment of its own."""
    for i in range(len(data)):
        sock.sendall(data[i : i + 1])


def send_until_refused(sock: socket.socket, data: bytes) -> None:
    """Sends until the peer resets the connection."""
    try:
        sock.sendall(data)
    except (ConnectionResetError, BrokenPipeError):
        pass


def wait_until_delivered(sock: socket.socket) -> None:
    """Waits until the peer's kernel has acknowledged every byte that was sent."""

    def unacknowledged() -> int:
        return struct.unpack("i", fcntl.ioctl(sock, termios.TIOCOUTQ, b"\0" * 4))[0]

    until(lambda: unacknowledged() == 0, "the peer's kernel has all bytes")


def recv_exactly(sock: socket.socket, count: int) -> bytes:
    """The next `count` bytes; fails if the stream ends before."""
    received = bytearray()
    while len(received) < count:
        piece = sock.recv(min(count - len(received), 1 << 20))
        assert piece, f"end of stream after {len(received)} of {count} bytes"
        received += piece
    return bytes(received)


def recv_to_eof(sock: socket.socket) -> bytes:
    """All bytes before an orderly end."""
    received = bytearray()
    while piece := sock.recv(1 << 20):
        received += piece
    return bytes(received)


def expect_echo(sock: socket.socket, data: bytes = b"ping") -> None:
    """Through a connection to an echo: what is sent comes back. With a hello, the connection is in its relay then."""
    sock.sendall(data)
    assert recv_exactly(sock, len(data)) == data


def expect_eof(sock: socket.socket) -> None:
    """No more bytes come, and the end is orderly (FIN)."""
    try:
        data = sock.recv(4096)
    except ConnectionResetError:
        raise AssertionError("the connection was reset; an orderly end was expected") from None
    except TimeoutError:
        raise AssertionError("the connection stays open; its end was expected") from None
    assert data == b"", f"{len(data)} more bytes came; the end was expected: {data[:64]!r}"


def expect_rst(sock: socket.socket) -> None:
    """No more bytes come, and the end is a reset."""
    if isinstance(sock, Client) and sock.was_reset:
        return
    try:
        data = sock.recv(4096)
    except ConnectionResetError:
        return
    except TimeoutError:
        raise AssertionError("the connection stays open; a reset was expected") from None
    assert data == b"", f"{len(data)} more bytes came; a reset was expected: {data[:64]!r}"
    raise AssertionError("the connection ended in order (FIN); a reset was expected")


def rst_close(sock: socket.socket) -> None:
    """Closes with a reset, as a crashed peer does."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()
