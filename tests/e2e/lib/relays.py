# SPDX-License-Identifier: Apache-2.0
"""Proxied connections whose two ends a test drives, after the hello."""

import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from harness import Client, ManualBackend, Proxy, client_hello, expect_eof, recv_exactly
from traffic import Lane

HELLO = client_hello("app.example.com")


class Relay:
    """One proxied connection, seen from both ends, after its hello has come through."""

    def __init__(self, proxy: Proxy, client: Client, backend: socket.socket):
        self.proxy = proxy
        self.client = client
        self.backend = backend
        self.up = Lane(client, backend, seed=1)
        self.down = Lane(backend, client, seed=2)

    def end(self, side: str) -> socket.socket:
        return self.client if side == "client" else self.backend

    def lane(self, way: str) -> Lane:
        return self.up if way == "up" else self.down

    def close_in_order(self) -> None:
        """Ends both streams, checks that they have, and that the log tells what was moved."""
        for side, other in ((self.client, self.backend), (self.backend, self.client)):
            side.shutdown(socket.SHUT_WR)
            expect_eof(other)
        self.expect_outcome("completed")

    def expect_outcome(self, reason: str, bytes_moved: bool = True) -> None:
        line = self.proxy.outcome(self.client)
        assert (line["msg"], line["reason"]) == ("connection closed", reason)
        if bytes_moved:
            assert int(line["bytes_up"]) == len(HELLO) + self.up.sent
            assert int(line["bytes_down"]) == self.down.sent


@pytest.fixture
def open_relays(start_proxy: Callable, engine: str) -> Iterator[Callable[..., list[Relay]]]:
    """open_relays(n, **settings of [proxy]): a new proxy, and n connections through it."""
    with ExitStack() as stack:

        def open_many(count: int, **settings: object) -> list[Relay]:
            listener = stack.enter_context(ManualBackend())
            proxy = start_proxy(routes={"*": listener}, splice=engine, **settings)
            relays = []
            for _ in range(count):
                client = stack.enter_context(proxy.connect())
                client.sendall(HELLO)
                backend = stack.enter_context(listener.accept())
                assert recv_exactly(backend, len(HELLO)) == HELLO
                relays.append(Relay(proxy, client, backend))
            return relays

        yield open_many


@pytest.fixture
def open_relay(open_relays: Callable) -> Callable[..., Relay]:
    """open_relay(**settings of [proxy]): a new proxy, and one connection through it."""
    return lambda **settings: open_relays(1, **settings)[0]
