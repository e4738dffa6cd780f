# SPDX-License-Identifier: Apache-2.0
"""Bytes whose places are known, and ways to move them through the proxy.

Every byte that a test sends comes from a Pattern, so that the receiver can tell at each position
which byte belongs there: lost, doubled, swapped and foreign bytes all show. A Lane is one direction
of one connection, driven by the test. For what needs many connections or many megabytes, a
Companion runs one of the roles of roles.py as a process of its own.
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

# Nobody has made room for so long: a writer that is stuck. Not an event, because nothing announces
# that something will not happen.
STALL_MS = 250 if SLOW_FACTOR == 1 else 1000

# The largest piece that is sent or asked for at once.
PIECE_MAX = 256 * 1024

# A prime, so that bytes that went astray by a round number of bytes land on different ones.
_BLOCK_BYTES = 1_048_573


class Pattern:
    """An endless stream of bytes, another one for each seed, of which any piece can be had."""

    _block = random.Random(1).randbytes(_BLOCK_BYTES)
    _block += _block[:PIECE_MAX]

    def __init__(self, seed: int):
        self._shift = seed * 104_729 % _BLOCK_BYTES

    def at(self, position: int, count: int) -> bytes:
        begin = (self._shift + position) % _BLOCK_BYTES
        return self._block[begin : begin + min(count, PIECE_MAX)]

    def check(self, position: int, data: bytes) -> None:
        """Fails if `data` is not what stands at `position`."""
        for begin in range(0, len(data), PIECE_MAX):
            got = data[begin : begin + PIECE_MAX]
            wanted = self.at(position + begin, len(got))
            if got != wanted:
                wrong = next(i for i in range(len(got)) if got[i] != wanted[i])
                raise AssertionError(f"wrong byte at position {position + begin + wrong}")


class Lane:
    """One direction of one proxied connection: what goes in at `source` must come out at `sink`."""

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
        """Takes the next `count` bytes, each of them the right one."""
        end = self.received + count
        while self.received < end:
            self._take(min(end - self.received, PIECE_MAX))

    def receive_all(self) -> None:
        """Takes all that was sent."""
        self.receive(self.sent - self.received)

    def receive_until_reset(self) -> None:
        """Takes what comes, which may be less than was sent; then there must be a reset."""
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
        """Sends until everything on the way is full and stays so. Returns how much it took."""
        before = self.sent
        with non_blocking(self.source):
            while polled(self.source, select.POLLOUT, STALL_MS):
                self._offer()
        return self.sent - before

    @staticmethod
    def fill_all(lanes: "list[Lane]", limit: int) -> None:
        """fill() for many at once, but no lane with more than `limit` bytes."""
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
        """Sends until `total` bytes were sent in all, and receives them meanwhile."""
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
    """What poll(2) reports of the socket within that time; 0, nothing."""
    poll = select.poll()
    poll.register(sock, events)
    ready = poll.poll(timeout_ms)
    return ready[0][1] if ready else 0


def expect_reset_after_eof(sock: socket.socket) -> None:
    """A socket that has seen the end of the stream sees a reset too.

    The end was there first, so receiving does not tell; the socket's error does.
    """
    poll = select.poll()
    poll.register(sock, 0)  # POLLERR and POLLHUP come unasked
    ready = poll.poll(PATIENCE * 1000)
    assert ready, "the connection stays open; a reset was expected"
    error = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    assert error != 0, "the connection ended in order; a reset was expected"


def make_shallow(sock: socket.socket) -> socket.socket:
    """Makes little fill the connections of this socket, which is not connected yet.

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
    """An address that answers no SYN: a listener whose queue is full and that does not accept."""

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
        """Whether a SYN of somebody else waits for an answer."""
        # Not from /proc/net/tcp, which takes long where thousands of connections have ended lately.
        port = self._listener.getsockname()[1]
        query = ["ss", "-Htn", "state", "syn-sent", "dport", "=", f":{port}"]
        found = subprocess.run(query, capture_output=True, text=True, check=True).stdout.split()
        own = {address_text(filler.getsockname()) for filler in self._fillers}
        return any(word.startswith("127.") and word not in own | {self.address} for word in found)

    def open_up(self) -> socket.socket:
        """Makes room in the queue, and returns the connection that then comes in."""
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
    """How much of the next `seconds` the threads of a process run or wait for a CPU to run on.

    The waiting counts: whoever spins is busy all the time, however little of a CPU the other
    processes leave to it.
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
    """A process that runs one of the ROLES of roles.py, told what to do and asked what came of it."""

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
        """Its next answer."""
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
    """Gives all of them the order, then waits for the answer of each."""
    companions = list(companions)
    for companion in companions:
        companion.tell(order)
    return [companion.hear(timeout) for companion in companions]
