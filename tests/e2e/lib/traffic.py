# SPDX-License-Identifier: Apache-2.0
"""Bytes with known positions, and ways to move them through the proxy.

Every byte that a test sends comes from a Pattern, so the receiver knows the byte of each position
and detects lost, doubled, swapped and foreign bytes. A Lane is one direction of one connection,
driven by the test. For many connections or many megabytes, a Companion runs one of the roles of
roles.py as a process of its own.
"""

import json
import os
import random
import select
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from sockets import PATIENCE, SLOW_FACTOR, Client, address_text

MIB = 1 << 20

# A writer that could not send for this long is stuck. A time, because no event shows that something will not happen.
STALL_MS = 250 if SLOW_FACTOR == 1 else 1000

# The largest piece of one send or receive.
PIECE_MAX = 256 * 1024

# A prime, so that bytes that are displaced by a round number of bytes differ from the expected ones.
_BLOCK_BYTES = 1_048_573


class Pattern:
    """An endless stream of bytes, different for each seed; any piece of it can be read."""

    _block = random.Random(1).randbytes(_BLOCK_BYTES)
    _block += _block[:PIECE_MAX]

    def __init__(self, seed: int):
        self._shift = seed * 104_729 % _BLOCK_BYTES

    def at(self, position: int, count: int) -> bytes:
        begin = (self._shift + position) % _BLOCK_BYTES
        return self._block[begin : begin + min(count, PIECE_MAX)]

    def check(self, position: int, data: bytes) -> None:
        """Fails if `data` differs from the bytes at `position`."""
        for begin in range(0, len(data), PIECE_MAX):
            got = data[begin : begin + PIECE_MAX]
            wanted = self.at(position + begin, len(got))
            if got != wanted:
                wrong = next(i for i in range(len(got)) if got[i] != wanted[i])
                raise AssertionError(f"wrong byte at position {position + begin + wrong}")


class Lane:
    """One direction of one proxied connection: bytes sent at `source` must arrive at `sink`."""

    def __init__(self, source: socket.socket, sink: socket.socket, seed: int):
        self.source = source
        self.sink = sink
        self.sent = 0
        self.received = 0
        self._pattern = Pattern(seed)

    def send(self, count: int, flags: int = 0) -> None:
        """Sends the next `count` bytes, all of them."""
        end = self.sent + count
        while self.sent < end:
            self.sent += self.source.send(self._pattern.at(self.sent, end - self.sent), flags)

    def receive(self, count: int) -> None:
        """Receives the next `count` bytes, and checks each."""
        end = self.received + count
        while self.received < end:
            self._take(min(end - self.received, PIECE_MAX))

    def receive_all(self) -> None:
        """Receives all that was sent."""
        self.receive(self.sent - self.received)

    def receive_until_reset(self) -> None:
        """Receives until the reset that must come; it may receive less than was sent."""
        try:
            while self.received <= self.sent:
                self._take(PIECE_MAX)
        except ConnectionResetError:
            return
        raise AssertionError("more came than was sent")

    def carry(self, count: int, flags: int = 0) -> None:
        self.send(count, flags)
        self.receive_all()

    def fill(self) -> int:
        """Sends until all buffers on the way are full and stay full. Returns the number of bytes sent."""
        before = self.sent
        with non_blocking(self.source):
            while polled(self.source, select.POLLOUT, STALL_MS):
                self._offer()
        return self.sent - before

    @staticmethod
    def fill_all(lanes: "list[Lane]", limit: int) -> None:
        """fill() for many lanes at once, with at most `limit` bytes in each."""
        poll = select.poll()
        by_fd = {lane.source.fileno(): lane for lane in lanes}
        with ExitStack() as stack:
            for lane in lanes:
                stack.enter_context(non_blocking(lane.source))
                poll.register(lane.source, select.POLLOUT)
            while ready := poll.poll(STALL_MS):
                for fd, _ in ready:
                    by_fd[fd]._offer()
                    if by_fd[fd].sent >= limit:
                        poll.unregister(fd)

    def pump(self, total: int) -> None:
        """Sends until the lane has sent `total` bytes, and receives them meanwhile."""
        poll = select.poll()
        with non_blocking(self.source), non_blocking(self.sink):
            poll.register(self.sink, select.POLLIN)
            while self.received < total:
                if self.sent < total:
                    poll.register(self.source, select.POLLOUT)
                elif self.source is not self.sink:
                    poll.register(self.source, 0)
                ready = dict(poll.poll(PATIENCE * 1000))
                assert ready, f"stuck with {self.received} of {self.sent} bytes"
                if ready.get(self.source.fileno(), 0) & select.POLLOUT:
                    self._offer(total - self.sent)
                if self.sink.fileno() in ready:
                    self._take(PIECE_MAX)

    def _offer(self, count: int = PIECE_MAX) -> None:
        try:
            self.sent += self.source.send(self._pattern.at(self.sent, count))
        except BlockingIOError:
            pass

    def _take(self, count: int) -> None:
        data = self.sink.recv(count)
        assert data, f"end of stream after {self.received} of {self.sent} bytes"
        self._pattern.check(self.received, data)
        self.received += len(data)


@contextmanager
def non_blocking(sock: socket.socket) -> Iterator[None]:
    timeout = sock.gettimeout()
    sock.setblocking(False)
    try:
        yield
    finally:
        sock.settimeout(timeout)


def polled(sock: socket.socket, events: int, timeout_ms: float) -> int:
    """The events that poll(2) reports for the socket within that time; 0 if there are none."""
    poll = select.poll()
    poll.register(sock, events)
    ready = poll.poll(timeout_ms)
    return ready[0][1] if ready else 0


def expect_reset_after_eof(sock: socket.socket) -> None:
    """Requires a reset on a socket that has already received the end of the stream.

    Receiving would return the end again, so this reads the socket's error.
    """
    poll = select.poll()
    poll.register(sock, 0)  # POLLERR and POLLHUP are always reported
    ready = poll.poll(PATIENCE * 1000)
    assert ready, "the connection stays open; a reset was expected"
    error = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    assert error != 0, "the connection ended in order; a reset was expected"


def make_shallow(sock: socket.socket) -> socket.socket:
    """Gives this socket, which is not connected yet, small buffers.

    Loopback's segments of 64 KiB let the other side's kernel keep megabytes for each connection,
    so these are as small as Ethernet's.
    """
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 1460)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16_384)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16_384)
    return sock


def shallow_listener() -> socket.socket:
    listener = make_shallow(Client())
    listener.bind(("127.0.0.1", 0))
    listener.listen(4096)
    return listener


class BlackHole:
    """An address that does not reply to a SYN: a listener with a full queue, which does not accept."""

    def __init__(self) -> None:
        self._listener = Client()
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen(0)
        self.address = address_text(self._listener.getsockname())
        self._fillers: list[socket.socket] = []
        while True:
            filler = Client()
            self._fillers.append(filler)
            filler.setblocking(False)
            filler.connect_ex(self._listener.getsockname())
            if not polled(filler, select.POLLOUT, 50):
                break

    def is_being_dialled(self) -> bool:
        """Whether a SYN of another process waits for a reply."""
        # Not from /proc/net/tcp, which is slow if thousands of connections have ended recently.
        port = self._listener.getsockname()[1]
        query = ["ss", "-Htn", "state", "syn-sent", "dport", "=", f":{port}"]
        found = subprocess.run(query, capture_output=True, text=True, check=True).stdout.split()
        own = {address_text(filler.getsockname()) for filler in self._fillers}
        return any(word.startswith("127.") and word not in own | {self.address} for word in found)

    def open_up(self) -> socket.socket:
        """Makes room in the queue, and returns the connection that then arrives."""
        own = {filler.getsockname() for filler in self._fillers}
        for filler in self._fillers[:-1]:
            self._listener.accept()[0].close()
        self._fillers[-1].close()
        while True:
            connection, peer = self._listener.accept()
            if peer not in own:
                connection.settimeout(PATIENCE)
                return connection
            connection.close()

    def close(self) -> None:
        for filler in self._fillers:
            filler.close()
        self._listener.close()

    def __enter__(self) -> "BlackHole":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def busy_share(pid: int, seconds: float) -> float:
    """The share of the next `seconds` that the threads of a process run or wait for a CPU.

    Waiting counts, because a thread that spins is busy all the time, even if other processes leave it
    little of a CPU.
    """

    def busy() -> float:
        total = 0
        for thread in Path(f"/proc/{pid}/task").iterdir():
            running, waiting, _ = (thread / "schedstat").read_text().split()
            total += int(running) + int(waiting)
        return total / 1e9

    began, before = time.monotonic(), busy()
    select.select([], [], [], seconds)
    return (busy() - before) / (time.monotonic() - began)


class Companion:
    """A process that runs one of the ROLES of roles.py, receives orders and sends replies."""

    def __init__(self, role: str, **settings: object):
        self.role = role
        self._process = subprocess.Popen(
            [sys.executable, Path(__file__).with_name("roles.py"), role, json.dumps(settings)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self._heard = b""

    @property
    def pid(self) -> int:
        return self._process.pid

    def tell(self, order: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(order.encode() + b"\n")
        self._process.stdin.flush()

    def hear(self, timeout: float = PATIENCE) -> dict:
        """Its next reply."""
        assert self._process.stdout is not None
        out = self._process.stdout.fileno()
        deadline = time.monotonic() + timeout
        while b"\n" not in self._heard:
            ready, _, _ = select.select([out], [], [], max(deadline - time.monotonic(), 0))
            assert ready, f"the {self.role} companion says nothing for {timeout} s"
            piece = os.read(out, 1 << 16)
            assert piece, f"the {self.role} companion has died; its stderr says why"
            self._heard += piece
        line, _, self._heard = self._heard.partition(b"\n")
        return json.loads(line)

    def ask(self, order: str, timeout: float = PATIENCE) -> dict:
        self.tell(order)
        return self.hear(timeout)

    def kill(self) -> None:
        """SIGKILL: the kernel closes its connections."""
        self._process.kill()
        self._process.wait()

    def close(self) -> None:
        self.kill()
        for stream in (self._process.stdin, self._process.stdout):
            assert stream is not None
            try:
                stream.close()
            except BrokenPipeError:
                pass

    def __enter__(self) -> "Companion":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def hear_all(companions: Iterable[Companion], order: str, timeout: float) -> list[dict]:
    """Sends all of them the order, then waits for the reply of each."""
    companions = list(companions)
    for companion in companions:
        companion.tell(order)
    return [companion.hear(timeout) for companion in companions]
