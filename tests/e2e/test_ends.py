# SPDX-License-Identifier: Apache-2.0
"""The end of a stream while its last bytes are on the way: in a queue, or in the proxy's pipe alone."""

import fcntl
import socket
import struct
import termios
from collections.abc import Callable

import pytest

from harness import PATIENCE, ManualBackend, client_hello, recv_exactly, recv_to_eof, until

HELLO = client_hello("app.example.com")
PATTERN = bytes(range(251)) * 4096


def pattern(begin: int, count: int) -> bytes:
    """The bytes of an endless stream from `begin` on; another place has other bytes."""
    shift = begin % 251
    whole = PATTERN * (count // len(PATTERN) + 2)
    return whole[shift : shift + count]


def push(client: socket.socket, most: int) -> int:
    """Sends until the way is full, or `most` bytes are on it."""
    sent = 0
    client.setblocking(False)
    try:
        while sent < most:
            sent += client.send(pattern(sent, min(most - sent, 1 << 16)))
    except BlockingIOError:
        pass
    return sent


def unsent(client: socket.socket) -> int:
    """Bytes that have not reached the proxy's socket (SIOCOUTQ, tcp(7))."""
    return struct.unpack("i", fcntl.ioctl(client, termios.TIOCOUTQ, bytes(4)))[0]


def settle(client: socket.socket) -> None:
    """Waits until the proxy takes no more: only then are the bytes where the test wants them, without luck."""
    looks: list[int] = []

    def is_still() -> bool:
        looks.append(unsent(client))
        return len(looks) > 20 and len(set(looks[-20:])) == 1

    until(is_still, "nothing moves any more")


# Half of what fits is in the queues behind the pipe: from there on a rest of it is in the pipe alone.
@pytest.mark.parametrize("parts", [4, 8, 12, 16, 17, 18, 19, 20, 24, 32])
def test_an_end_behind_bytes_that_nobody_reads_yet_cuts_none(
    start_proxy: Callable, start_backend: Callable, engine: str, parts: int
) -> None:
    backend = start_backend(ManualBackend())
    proxy = start_proxy(routes={"app.example.com": backend}, splice=engine, workers=1)

    def begin() -> tuple[socket.socket, socket.socket]:
        client = proxy.connect()
        client.sendall(HELLO)
        upstream = backend.accept()
        assert recv_exactly(upstream, len(HELLO)) == HELLO
        return client, upstream

    client, upstream = begin()
    with client, upstream:  # how much the whole way takes while the sink does not read
        full = 0
        for _ in range(100):  # the kernel makes room as bytes are acknowledged
            more = push(client, 1 << 26)
            if more == 0 and full > 0:
                break
            full += more
            settle(client)
    client, upstream = begin()
    with client, upstream:
        sent = push(client, full * parts // 32)
        client.shutdown(socket.SHUT_WR)
        settle(client)
        client.settimeout(PATIENCE)
        received = recv_to_eof(upstream)
        assert len(received) == sent
        assert received == pattern(0, sent)
        upstream.shutdown(socket.SHUT_WR)
        assert recv_to_eof(client) == b""
        line = proxy.outcome(client)
        assert (line["reason"], line["bytes_up"]) == ("completed", str(len(HELLO) + sent))
