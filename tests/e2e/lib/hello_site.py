# SPDX-License-Identifier: Apache-2.0
"""The common part of the tests of hellos (test_hello.py, test_hello_routes.py): a proxy, a backend that the test drives,
and checks of what happens to a client that sends some bytes."""

import socket
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from harness import (
    SLOW_FACTOR,
    Client,
    ManualBackend,
    Proxy,
    client_hello,
    expect_eof,
    expect_rst,
    recv_exactly,
    send_until_refused,
    wait_until_delivered,
)

NAME = "app.example.com"
ANSWER = b"the backend's answer"
KIB = 1024

# A short hello_timeout that is longer than the delays of a client on a busy machine.
SHORT = f"{300 * SLOW_FACTOR}ms"

# The longest possible host name: 253 characters, in labels of at most 63.
LONGEST_NAME = ".".join(["a" * 63, "b" * 63, "c" * 63, "d" * 61])


@dataclass
class Site:
    """A proxy with one worker and one route, NAME, to a backend that the test drives."""

    proxy: Proxy
    backend: ManualBackend


@pytest.fixture
def start_site(start_proxy: Callable[..., Proxy], start_backend: Callable) -> Callable[..., Site]:
    """start_site(names, **options): the names all lead to one backend."""

    def start(*names: str, **options: object) -> Site:
        backend = start_backend(ManualBackend())
        routes = dict.fromkeys(names or (NAME,), backend)
        return Site(start_proxy(routes=routes, **{"workers": 1} | options), backend)

    return start


@pytest.fixture
def site(start_site: Callable[..., Site]) -> Site:
    return start_site()


def complete(proxy: Proxy, client: Client, backend: ManualBackend, stream: bytes) -> dict[str, str]:
    """Requires that the backend gets exactly the `stream` that the client has sent, the client a reply, and the backend
    then a single byte.

    Ends the connection in order, and returns its line of the log.
    """
    with backend.accept() as upstream:
        assert recv_exactly(upstream, len(stream)) == stream
        upstream.sendall(ANSWER)
        assert recv_exactly(client, len(ANSWER)) == ANSWER
        # The hello may have raised SO_RCVLOWAT: the kernel must now wait for a single byte.
        client.sendall(b"!")
        assert recv_exactly(upstream, 1) == b"!"
        client.shutdown(socket.SHUT_WR)
        expect_eof(upstream)
    expect_eof(client)
    line = proxy.outcome(client)
    assert (line["msg"], line["reason"]) == ("connection closed", "completed")
    assert (line["bytes_up"], line["bytes_down"]) == (str(len(stream) + 1), str(len(ANSWER)))
    return line


def expect_routed(
    site: Site, stream: bytes, send: Callable[[Client, bytes], None] = Client.sendall
) -> dict[str, str]:
    """A client that sends `stream` is routed to the site's backend. Returns its line of the log."""
    with site.proxy.connect() as client:
        send(client, stream)
        return complete(site.proxy, client, site.backend, stream)


def expect_refused(site: Site, stream: bytes, reason: str) -> dict[str, str]:
    """A client that sends `stream` is reset, and no backend gets a connection. Returns its line."""
    with site.proxy.connect() as client:
        send_until_refused(client, stream)
        expect_rst(client)
        line = site.proxy.outcome(client)
    assert (line["msg"], line["reason"]) == ("connection refused", reason)
    assert not site.backend.has_connections()
    return line


def wait_until_seen(site: Site, client: Client) -> None:
    """Returns when the proxy has read all that the client has sent.

    The bytes are in the proxy's kernel, and after that its only worker has served another client
    from hello to end. So the event stands for the pause that a slow network makes.
    """
    wait_until_delivered(client)
    expect_routed(site, client_hello(NAME))
