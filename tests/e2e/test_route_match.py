# SPDX-License-Identifier: Apache-2.0
"""Routes that ask for more than the name: what a client offers (ALPN), and where it comes from."""

import subprocess
from collections.abc import Callable

import pytest

from harness import PATIENCE, Listener, ManualBackend, Proxy, client_hello, recv_exactly
from hello_site import complete

NAME = "app.example.com"


@pytest.fixture
def backends(start_backend: Callable) -> dict[str, ManualBackend]:
    return {
        words: start_backend(ManualBackend())
        for words in ("*", "plain", "h2", "acme", "near", "nearer", "near and h2")
    }


@pytest.fixture
def proxy(start_proxy: Callable[..., Proxy], backends: dict[str, ManualBackend]) -> Proxy:
    def route(words: str, **match: object) -> dict[str, object]:
        return {"hostname": NAME, "backend": backends[words].address, **match}

    matching = [
        route("h2", alpn="h2"),
        route("acme", alpn="acme-tls/1"),
        route("near", source=["127.1.0.0/16", "::1"]),
        route("nearer", source=["127.1.2.0/24"]),
        route("near and h2", alpn="h2", source=["127.1.0.0/16"]),
        {"hostname": "api.example.com", "backend": backends["h2"].address, "alpn": "h2"},
    ]
    return start_proxy(listeners=[Listener({NAME: backends["plain"], "*": backends["*"]}, matching)])


@pytest.mark.parametrize(
    ("name", "offered", "source", "taken"),
    [
        (NAME, (), "127.0.0.1", "plain"),
        (NAME, ("http/1.1",), "127.0.0.1", "plain"),
        (NAME, ("http/1.1", "h2"), "127.0.0.1", "h2"),
        (NAME, ("acme-tls/1",), "127.0.0.1", "acme"),
        (NAME, ("acme-tls/1", "http/1.1"), "127.0.0.1", "plain"),
        (NAME, ("http/1.1",), "127.1.1.1", "near"),
        (NAME, ("http/1.1",), "127.1.2.1", "nearer"),
        (NAME, ("h2",), "127.1.2.1", "near and h2"),
        ("api.example.com", ("h2",), "127.0.0.1", "h2"),
        ("api.example.com", ("http/1.1",), "127.0.0.1", "*"),
    ],
)
def test_a_client_gets_the_closest_route_that_it_satisfies(
    proxy: Proxy,
    backends: dict[str, ManualBackend],
    name: str,
    offered: tuple[str, ...],
    source: str,
    taken: str,
) -> None:
    stream = client_hello(name, alpn_protocols=offered)
    with proxy.connect(source=source) as client:
        client.sendall(stream)
        line = complete(proxy, client, backends[taken], stream)
    assert line["route"] == ("*" if taken == "*" else name)


@pytest.mark.parametrize(
    ("offered", "taken"), [("h2,http/1.1", "h2"), ("acme-tls/1", "acme"), ("http/1.1", "plain")]
)
def test_the_hello_of_openssl_is_routed_by_what_it_offers(
    proxy: Proxy, backends: dict[str, ManualBackend], offered: str, taken: str
) -> None:
    client = subprocess.Popen(
        ["openssl", "s_client", "-connect", f"127.0.0.1:{proxy.ports[0]}", "-servername", NAME, "-alpn", offered],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    with backends[taken].accept() as upstream:
        assert recv_exactly(upstream, 1) == b"\x16"
    client.wait(PATIENCE)


def test_a_name_whose_routes_all_ask_for_more_has_none_for_other_clients(
    start_proxy: Callable[..., Proxy], backends: dict[str, ManualBackend]
) -> None:
    only = {"hostname": NAME, "backend": backends["near"].address, "source": ["127.0.0.2"]}
    proxy = start_proxy(listeners=[Listener(matching=[only])])
    proxy.expect_refused("no_route")
    with proxy.connect(source="127.0.0.2") as client:
        client.sendall(client_hello(NAME))
        complete(proxy, client, backends["near"], client_hello(NAME))


def test_a_client_of_a_dual_stack_listener_comes_from_its_ipv4_address(
    start_proxy: Callable[..., Proxy], backends: dict[str, ManualBackend]
) -> None:
    near = {"hostname": NAME, "backend": backends["near"].address, "source": ["127.0.0.0/8"]}
    proxy = start_proxy(listeners=[Listener({NAME: backends["plain"]}, [near], host="")])
    for host, taken in (("127.0.0.1", "near"), ("::1", "plain")):
        with proxy.connect(host=host) as client:
            client.sendall(client_hello(NAME))
            complete(proxy, client, backends[taken], client_hello(NAME))
