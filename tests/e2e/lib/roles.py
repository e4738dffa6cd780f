# SPDX-License-Identifier: Apache-2.0
"""The roles that a Companion (traffic.py) runs in a process of its own: many connections, many megabytes.

Each role reads orders from its standard input, one per line, and replies in JSON on its standard output.
"""

import heapq
import json
import os
import random
import select
import socket
import struct
import sys
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import count as counting

from hello import client_hello
from sockets import PATIENCE, address_text
from traffic import Pattern, polled


class Reactor:
    """epoll and timers: thousands of sockets in one thread."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._handlers: dict[int, Callable[[int], None]] = {}
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._ticket = counting()

    def watch(self, fd: int, events: int, handler: Callable[[int], None]) -> None:
        self._handlers[fd] = handler
        self._epoll.register(fd, events)

    def change(self, fd: int, events: int) -> None:
        self._epoll.modify(fd, events)

    def forget(self, fd: int) -> None:
        """Must be called before the descriptor is closed."""
        del self._handlers[fd]
        self._epoll.unregister(fd)

    def after(self, seconds: float, action: Callable[[], None]) -> None:
        heapq.heappush(self._timers, (time.monotonic() + seconds, next(self._ticket), action))

    def run(self, finished: Callable[[], bool]) -> None:
        while not finished():
            rest = self._timers[0][0] - time.monotonic() if self._timers else -1
            for fd, events in self._epoll.poll(max(rest, 0) if self._timers else None, 512):
                handler = self._handlers.get(fd)
                if handler is not None:  # None: another handler of this turn has forgotten it
                    handler(events)
            while self._timers and self._timers[0][0] <= time.monotonic():
                heapq.heappop(self._timers)[2]()


def answer(**fields: object) -> None:
    """Sends a reply to the test that started this process."""
    print(json.dumps(fields), flush=True)


def orders() -> Iterator[list[str]]:
    """The orders of the test, one per line, until the test ends."""
    for line in sys.stdin:
        yield line.split()


def open_many(hosts: Iterable[str]) -> list[socket.socket]:
    listeners = [socket.create_server((host, 0), backlog=4096) for host in hosts]
    answer(addresses=[address_text(listener.getsockname()) for listener in listeners])
    return listeners


class EchoServer:
    """Role "echo": sends back what it receives, on every address of `hosts`, each on a port of its own.

    Closes a connection that ends, in order or not. Sends its addresses at the start, and in reply to
    every order the number of connections that it has accepted and that are open.
    """

    def __init__(self, hosts: list[str]):
        self._reactor = Reactor()
        self._accepted = 0
        self._open = 0
        self._ended = False
        self._listeners = open_many(hosts)
        for listener in self._listeners:
            listener.setblocking(False)
            self._reactor.watch(listener.fileno(), select.EPOLLIN, self._acceptor(listener))
        self._reactor.watch(sys.stdin.fileno(), select.EPOLLIN, self._obey)

    def run(self) -> None:
        self._reactor.run(lambda: self._ended)

    def _obey(self, _: int) -> None:
        if os.read(sys.stdin.fileno(), 4096):
            answer(accepted=self._accepted, open=self._open)
        else:
            self._ended = True

    def _acceptor(self, listener: socket.socket) -> Callable[[int], None]:
        def accept(_: int) -> None:
            for _ in range(64):
                try:
                    connection, _ = listener.accept()
                except BlockingIOError:
                    return
                connection.setblocking(False)
                self._accepted += 1
                self._open += 1
                self._reactor.watch(connection.fileno(), select.EPOLLIN, self._echoer(connection))

        return accept

    def _echoer(self, connection: socket.socket) -> Callable[[int], None]:
        def echo(_: int) -> None:
            try:
                data = connection.recv(1 << 16)
                sent = connection.send(data)
            except OSError:
                data, sent = b"", 0
            assert sent == len(data), "more came than the socket takes back"
            if not data:
                self._reactor.forget(connection.fileno())
                connection.close()
                self._open -= 1

        return echo


class Clients:
    """The common part of the client roles: the target, the source addresses and the names."""

    def __init__(self, port: int, sources: list[str], names: list[str]):
        self._target = ("127.0.0.1", port)
        self._sources = sources
        self._hellos = [client_hello(name) for name in names]

    def connect(self, number: int) -> socket.socket:
        sock = socket.socket()
        # The kernel's timeout, because Python's own polls before each call.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", int(PATIENCE), 0))
        # The kernel then chooses the port at connect(): it only has to be free for this target.
        sock.setsockopt(socket.SOL_IP, _IP_BIND_ADDRESS_NO_PORT, 1)
        sock.bind((self._sources[number % len(self._sources)], 0))
        sock.connect(self._target)
        return sock

    def hello(self, number: int) -> bytes:
        return self._hellos[number % len(self._hellos)]


_IP_BIND_ADDRESS_NO_PORT = 24  # linux/in.h; Python 3.11 has no name for it


def expect_echo(sock: socket.socket, sent: bytes) -> None:
    received = b""
    while len(received) < len(sent):
        piece = sock.recv(len(sent))
        assert piece, "end of stream instead of an echo"
        received += piece
    assert received == sent, "the echo is not what was sent"


class Holder(Clients):
    """Role "hold": opens connections and keeps them. Orders:

    open N      opens N more connections, each with its hello and one echo
    silent N    opens N more connections that send nothing
    echo        one more echo over each that has sent; the silent ones must still be open
    close       closes all
    """

    _BATCH = 100

    def __init__(self, port: int, sources: list[str], names: list[str]):
        super().__init__(port, sources, names)
        self._speaking: list[socket.socket] = []
        self._silent: list[socket.socket] = []

    def run(self) -> None:
        for order, *arguments in orders():
            if order == "open":
                self._open(int(arguments[0]))
            elif order == "silent":
                self._silent += [self.connect(number) for number in range(int(arguments[0]))]
            elif order == "echo":
                self._echo()
            elif order == "close":
                self._close()
            answer(speaking=len(self._speaking), silent=len(self._silent))

    def _open(self, count: int) -> None:
        for begin in range(0, count, self._BATCH):
            batch = range(begin, min(begin + self._BATCH, count))
            socks = [self.connect(number) for number in batch]
            flights = [self.hello(number) + b"%d" % number for number in batch]
            self._exchange(socks, flights)
            self._speaking += socks

    def _echo(self) -> None:
        for begin in range(0, len(self._speaking), self._BATCH):
            socks = self._speaking[begin : begin + self._BATCH]
            self._exchange(socks, [b"still there, %d" % i for i in range(len(socks))])
        for sock in self._silent:
            assert not polled(sock, select.POLLIN, 0), "a silent connection was ended"

    def _exchange(self, socks: list[socket.socket], flights: list[bytes]) -> None:
        for sock, flight in zip(socks, flights, strict=True):
            sock.sendall(flight)
        for sock, flight in zip(socks, flights, strict=True):
            expect_echo(sock, flight)

    def _close(self) -> None:
        for sock in self._speaking + self._silent:
            sock.close()
        self._speaking, self._silent = [], []


class Churner(Clients):
    """Role "churn": short connections of all kinds, many a second. The first `names` lead to an
    echo, the last one to a dead backend. The reply to the order "run N" has the number of
    connections of each kind, under the reason with which the proxy must have ended them; and how
    many of them may have ended before the proxy accepted them. "fail N" has the same reply, and
    connects only to the dead backend.
    """

    _BATCH = 64
    # The share of each kind, in percent.
    _MIX = (
        ["completed"] * 45 + ["client_reset"] * 25 + ["client_closed"] * 10 + ["half_reset"] * 5
        + ["no_route"] * 10 + ["dial_refused"] * 5
    )  # fmt: skip

    def __init__(self, port: int, sources: list[str], names: list[str], seed: int):
        super().__init__(port, sources, names[:-1])
        self._random = random.Random(seed)
        self._unknown = client_hello("nobody.knows.test")
        self._dead = client_hello(names[-1])

    def run(self) -> None:
        for order, count in orders():
            mix = ["dial_refused"] if order == "fail" else self._MIX
            kinds = self._random.choices(mix, k=int(count))
            for begin in range(0, len(kinds), self._BATCH):
                self._batch(begin, kinds[begin : begin + self._BATCH])
            ended = Counter(kinds)
            half_reset = ended.pop("half_reset", 0)
            ended["client_reset"] += half_reset
            answer(ended=ended, half_reset=half_reset)

    def _batch(self, begin: int, kinds: list[str]) -> None:
        socks = [self.connect(begin + i) for i in range(len(kinds))]
        flights = [self._flight(begin + i, kind) for i, kind in enumerate(kinds)]
        for sock, flight in zip(socks, flights, strict=True):
            sock.send(flight)
        for sock, flight, kind in zip(socks, flights, kinds, strict=True):
            self._finish(sock, flight, kind)

    def _flight(self, number: int, kind: str) -> bytes:
        if kind == "no_route":
            return self._unknown
        if kind == "dial_refused":
            return self._dead
        hello = self.hello(number)
        if kind in ("client_closed", "half_reset"):
            return hello[: len(hello) // 2]
        return hello + b"%d" % number

    def _finish(self, sock: socket.socket, flight: bytes, kind: str) -> None:
        if kind in ("completed", "client_reset"):
            expect_echo(sock, flight)
        elif kind in ("no_route", "dial_refused"):
            try:
                data = sock.recv(64)
            except ConnectionResetError:
                pass
            else:
                raise AssertionError(f"{kind}: a reset was expected, not {data!r}")
        if kind in ("client_reset", "half_reset"):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        sock.close()


@dataclass(frozen=True)
class Plan:
    """The plan of one connection of the integrity test, known to both of its ends."""

    index: int
    up: int  # bytes that the client sends, besides its hello
    down: int  # bytes that the backend sends
    first: str  # who ends its stream first: "client", "backend", or "any"
    resets: str  # who cuts the connection: "client", "backend", or "none"
    reset_at: float  # after this fraction of its bytes

    @staticmethod
    def of(index: int, seed: int, mean_bytes: int) -> "Plan":
        dice = random.Random(seed * 1_000_003 + index)
        # One connection in twelve is reset, short ones and long ones.
        resets = dice.choice(["client", "backend"]) if dice.random() < 1 / 12 else "none"
        return Plan(
            index,
            up=int(dice.expovariate(1 / mean_bytes)) + 1,
            down=int(dice.expovariate(1 / mean_bytes)) + 1,
            first="any" if resets != "none" else dice.choice(["client", "backend", "any"]),
            resets=resets,
            reset_at=dice.random(),
        )

    @property
    def head(self) -> bytes:
        """The bytes that the client sends before its pattern; they name the plan to the backend."""
        hello = client_hello(f"c{self.index}.integrity.test")
        return hello + _PREAMBLE.pack(self.index, zlib.crc32(hello))


_PREAMBLE = struct.Struct("!II")  # the plan's index, and a checksum of the hello before it


class End:
    """One end of one connection: sends its pattern, checks the other's, pauses, ends as planned."""

    _PIECE_BITS_MAX = 16
    _READ = 1 << 16
    _TURNS = 4  # sends, or receives, per event, so that other connections get their turn

    def __init__(self, crowd: "Crowd", sock: socket.socket, plan: Plan, side: str):
        self._crowd = crowd
        self._sock = sock
        self._plan = plan
        self._resets = plan.resets == side
        self._dice = random.Random(f"{plan} {side}")
        mine, its = (plan.up, plan.down) if side == "client" else (plan.down, plan.up)
        self._out = Pattern(2 * plan.index + (side == "backend"))
        self._in = Pattern(2 * plan.index + (side == "client"))
        self._out_total, self._in_total = mine, its
        self._sent = self._received = 0
        # The end that ends second keeps a part of its bytes until it has seen the other's end.
        self._may_send = mine if plan.first in (side, "any") else mine * 3 // 4
        if self._resets:
            self._may_send = int(mine * plan.reset_at)
        self._out_ended = self._in_ended = False
        self._out_paused = self._in_paused = False
        sock.setblocking(False)
        crowd.reactor.watch(sock.fileno(), select.EPOLLIN | select.EPOLLOUT, self._happened)

    def _happened(self, events: int) -> None:
        try:
            if events & select.EPOLLERR or (events & select.EPOLLIN and not self._in_paused):
                self._receive(to_the_end=bool(events & select.EPOLLERR))
            if events & select.EPOLLOUT and not self._out_paused:
                self._send()
        except BlockingIOError:
            pass
        except (ConnectionResetError, BrokenPipeError):
            self._was_reset()
            return
        except AssertionError as problem:
            self._end(f"wrong: {problem}")
            return
        self._go_on()

    def _go_on(self) -> None:
        """Decides the next step after an event."""
        if self._resets and self._sent == self._may_send and self._received > 0:
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self._end("reset")
        elif self._out_ended and self._in_ended:
            self._end("completed")
        else:
            wants_in = not self._in_ended and not self._in_paused
            wants_out = self._sent < self._may_send and not self._out_paused
            if not self._resets and self._sent == self._out_total and not self._out_ended:
                self._end_out()
                return
            self._crowd.reactor.change(
                self._sock.fileno(), select.EPOLLIN * wants_in | select.EPOLLOUT * wants_out
            )

    def _end_out(self) -> None:
        try:
            self._sock.shutdown(socket.SHUT_WR)
        except OSError:  # not connected any more
            self._was_reset()
            return
        self._out_ended = True
        self._go_on()

    def _was_reset(self) -> None:
        self._end("reset" if self._plan.resets != "none" else "wrong: reset, but nobody did")

    def _send(self) -> None:
        for _ in range(self._TURNS):
            rest = self._may_send - self._sent
            if rest == 0:
                return
            # Small pieces are as frequent as large ones.
            piece = min(int(2 ** self._dice.uniform(0, self._PIECE_BITS_MAX)), rest)
            self._sent += self._sock.send(self._out.at(self._sent, piece))
            if self._dice.random() < 0.01:
                self._out_paused = True
                self._crowd.reactor.after(self._dice.uniform(0.001, 0.02), self._resume_out)
                return

    def _receive(self, to_the_end: bool) -> None:
        for turn in counting():
            if turn >= self._TURNS and not to_the_end:
                return
            data = self._sock.recv(self._READ)
            if not data:
                self._stream_ended()
                return
            self._in.check(self._received, data)
            self._received += len(data)
            assert self._received <= self._in_total, "more came than was sent"
            if self._dice.random() < 0.02:
                self._in_paused = True
                self._crowd.reactor.after(self._dice.uniform(0.001, 0.02), self._resume_in)
                if not to_the_end:
                    return
            if len(data) < self._READ and not to_the_end:
                return  # that was all

    def _stream_ended(self) -> None:
        reset_by_other = self._plan.resets != "none" and not self._resets
        assert not reset_by_other, "the other end was reset, and this one sees an end in order"
        assert self._received == self._in_total, f"ended at {self._received} of {self._in_total}"
        self._in_ended = True
        if not self._resets:
            self._may_send = self._out_total

    def _resume_out(self) -> None:
        self._out_paused = False
        if self._sock.fileno() >= 0:
            self._go_on()

    def _resume_in(self) -> None:
        self._in_paused = False
        if self._sock.fileno() >= 0:
            self._go_on()

    def give_up(self) -> None:
        self._end(
            f"wrong: stuck at {self._sent} of {self._out_total} sent, "
            f"{self._received} of {self._in_total} received"
        )

    def _end(self, how: str) -> None:
        self._crowd.reactor.forget(self._sock.fileno())
        self._sock.close()
        self._crowd.ended(self, self._plan, how, self._sent, self._received)


class Crowd:
    """Many Ends of one side, in one process, and their results."""

    def __init__(self, seed: int, connections: int, mean_bytes: int):
        self.reactor = Reactor()
        self._plans = [Plan.of(index, seed, mean_bytes) for index in range(connections)]
        self._open: set[End] = set()
        self._outcomes: Counter[str] = Counter()
        self._wrong: list[str] = []
        self._sent = self._received = 0
        self._out_of_patience = False

    def begin(self, sock: socket.socket, index: int, side: str) -> None:
        self._open.add(End(self, sock, self._plans[index], side))

    def ended(self, end: End, plan: Plan, how: str, sent: int, received: int) -> None:
        self._open.discard(end)
        self._outcomes[how.split(":")[0]] += 1
        self._sent += sent
        self._received += received
        if how.startswith("wrong"):
            self._wrong.append(f"{plan}: {how}")

    def lose_patience(self, after: float) -> None:
        def lost() -> None:
            self._out_of_patience = True

        self.reactor.after(after, lost)

    def run_to_the_end(self) -> None:
        """Runs until every connection has ended, or counts as stuck."""
        count = len(self._plans)
        self.reactor.run(lambda: self._out_of_patience or self._outcomes.total() == count)
        for end in list(self._open):
            end.give_up()
        answer(
            outcomes=self._outcomes, wrong=self._wrong, sent=self._sent, received=self._received
        )


class IntegrityClients(Crowd):
    """Role "integrity_clients": the order "run" opens all connections at once. The reply comes when
    the last of them has ended, or after `patience` seconds."""

    def __init__(self, port: int, patience: float, **plans: int):
        super().__init__(**plans)
        self._port = port
        self._patience = patience

    def run(self) -> None:
        for _ in orders():
            for plan in self._plans:
                sock = socket.create_connection(("127.0.0.1", self._port), PATIENCE)
                sock.sendall(plan.head)
                self.begin(sock, plan.index, "client")
            self.lose_patience(self._patience)
            self.run_to_the_end()


class IntegrityBackend(Crowd):
    """Role "integrity_backend": sends its address at the start. The reply to an order comes when the
    last connection has ended, or after PATIENCE."""

    def __init__(self, **plans: int):
        super().__init__(**plans)
        self._listener = open_many(["127.0.0.1"])[0]
        self._listener.setblocking(False)

    def run(self) -> None:
        self.reactor.watch(self._listener.fileno(), select.EPOLLIN, self._accept)
        self.reactor.watch(sys.stdin.fileno(), select.EPOLLIN, self._obey)
        self.run_to_the_end()
        for _ in orders():  # stay until the test has ended
            pass

    def _obey(self, _: int) -> None:
        self.reactor.forget(sys.stdin.fileno())
        self.lose_patience(PATIENCE)

    def _accept(self, _: int) -> None:
        connection, _ = self._listener.accept()
        connection.setblocking(False)
        head = bytearray()

        def read_head(_: int) -> None:
            """The hello, whose length is in its record header, and the preamble."""
            wanted = 5 if len(head) < 5 else 5 + int.from_bytes(head[3:5], "big") + _PREAMBLE.size
            piece = connection.recv(wanted - len(head))
            assert piece, f"the stream ended inside its head: {head!r}"
            head.extend(piece)
            if len(head) == wanted > 5:
                self.reactor.forget(connection.fileno())
                index, checksum = _PREAMBLE.unpack(head[-_PREAMBLE.size :])
                assert zlib.crc32(head[: -_PREAMBLE.size]) == checksum, "a hello was changed"
                self.begin(connection, index, "backend")

        self.reactor.watch(connection.fileno(), select.EPOLLIN, read_head)


ROLES = {
    "echo": EchoServer,
    "hold": Holder,
    "churn": Churner,
    "integrity_clients": IntegrityClients,
    "integrity_backend": IntegrityBackend,
}

if __name__ == "__main__":
    ROLES[sys.argv[1]](**json.loads(sys.argv[2])).run()
