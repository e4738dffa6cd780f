# SPDX-License-Identifier: Apache-2.0
"""Up is from the client to the backend, and down is from the backend to the client, wherever bytes are counted.

An echo has as many of both, so a test with echoes cannot distinguish them.
"""

import json
import re
import signal
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from harness import Backend, binary, client_hello, recv_exactly
from terminal import Terminal
from test_metrics import MeteredProxy

HELLO = client_hello("app.example.com")
SENT, ANSWERED = 1_000, 300_000
UP, DOWN = len(HELLO) + SENT, ANSWERED


def answer(connection: socket.socket) -> None:
    """A small request gets a large response."""
    recv_exactly(connection, UP)
    connection.sendall(bytes(DOWN))
    connection.recv(1)  # until the client closes


@pytest.fixture
def metered(start_administered: Callable, start_backend: Callable, engine: str) -> Iterator[MeteredProxy]:
    routes = {"app.example.com": start_backend(Backend(answer))}
    made = MeteredProxy(start_administered, routes=routes, splice=engine)
    yield made
    made.reserved.close()


def test_up_is_up_and_down_is_down_wherever_bytes_are_told(metered: MeteredProxy, enter: Callable) -> None:
    proxy, listener = metered.proxy, metered.proxy.listener_name()
    directions = {"up": UP, "down": DOWN}
    watch = enter(proxy.admin.watch(kinds=["EVENT_KIND_CONNECTION_CLOSED"]))
    screen = enter(Terminal([binary(), "top", "-c", proxy.config], columns=120))
    screen.wait("connections 0")
    # Only down can be so many in the time between two samples, which is a second, or some on a busy machine. The rate is on
    # the screen for as long, so it is watched from before the bytes.
    many, pages = r" +\d{2,}(\.\d+)? [kK]i?B/s", []
    watcher = enter(ThreadPoolExecutor(1))
    rate_shown = watcher.submit(screen.wait, lambda text: pages.append(text) or re.search(f"down{many}", text) is not None)
    with proxy.connect() as client:
        client.sendall(HELLO + bytes(SENT))
        recv_exactly(client, ANSWERED)
        now = metered.until(
            lambda s: s.get("mc_proxy_bytes_total", listener=listener, direction="down") == DOWN, "the answer is counted"
        )
        assert now.get("mc_proxy_bytes_total", listener=listener, direction="up") == UP
        (open_one,) = proxy.admin.connections()
        assert (open_one.bytes_up, open_one.bytes_down) == (UP, DOWN)
        shown = json.loads(proxy.cli("connections", "list", "--json").out)
        assert (int(shown["bytes_up"]), int(shown["bytes_down"])) == (UP, DOWN)
        rate_shown.result()
        assert [page for page in pages if re.search(f"up{many}", page)] == []

    closed = watch.expect("connection_closed").connection
    assert (closed.bytes_up, closed.bytes_down) == (UP, DOWN)
    line = proxy.outcome(client)
    assert (line["bytes_up"], line["bytes_down"]) == (str(UP), str(DOWN))
    ended = metered.until(lambda s: s.sum("mc_proxy_connections_active") == 0, "the connection has ended")
    for direction, moved in directions.items():
        assert ended.get("mc_proxy_bytes_total", listener=listener, direction=direction) == moved
        assert ended.get("mc_proxy_connection_bytes_sum", listener=listener, direction=direction) == moved
        route = {"listener": listener, "route": "app.example.com", "direction": direction}
        assert ended.get("mc_proxy_route_bytes_total", **route) == moved
    status = proxy.admin.GetStatus(routes_max=5)
    assert (status.bytes_up, status.bytes_down) == (UP, DOWN)
    (told,) = status.listeners
    assert [(one.bytes_up, one.bytes_down) for one in told.routes] == [(UP, DOWN)]
    screen.press("q")
    assert screen.end() == 0
    assert proxy.stop(signal.SIGTERM) == 0
    (stopped,) = proxy.lines(msg="stopped")
    assert (stopped["bytes_up"], stopped["bytes_down"]) == (str(UP), str(DOWN))
    proxy.start()
