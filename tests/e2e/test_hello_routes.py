# SPDX-License-Identifier: Apache-2.0
"""From the name to the dial: which route a hello takes, and what the firewall and the limits refuse."""

import re
import socket
from collections.abc import Callable
from itertools import takewhile

import pytest

import hello
from harness import (
    Client,
    Listener,
    ManualBackend,
    Proxy,
    accepting_pauses,
    client_hello,
    expect_eof,
    expect_rst,
    recv_exactly,
    send_byte_by_byte,
)
from hello_site import LONGEST_NAME, NAME, Site, complete, expect_refused, expect_routed


# ---- Names


@pytest.mark.parametrize(
    "name", ["APP.EXAMPLE.COM", "App.Example.Com", "app.example.com.", "APP.example.COM."]
)
def test_a_name_is_routed_in_any_spelling_and_reaches_the_backend_as_it_was_written(
    site: Site, name: str
) -> None:
    stream = client_hello(name)
    assert name.encode() in stream
    assert expect_routed(site, stream)["sni"] == NAME


def test_the_longest_name_is_routed(start_site: Callable[..., Site]) -> None:
    assert len(LONGEST_NAME) == 253
    expect_routed(start_site(LONGEST_NAME), client_hello(LONGEST_NAME))


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b".", id="the root"),
        pytest.param(b"192.0.2.1", id="IPv4"),
        pytest.param(b"2001:db8::1", id="IPv6"),
        pytest.param(b"[2001:db8::1]", id="IPv6 in brackets"),
        pytest.param(b"app.example.com\0", id="NUL at the end"),
        pytest.param(b"app.example.com\0.evil.example", id="NUL inside"),
        pytest.param(b"app..example.com", id="an empty label"),
        pytest.param(b".app.example.com", id="a dot in front"),
        pytest.param(b"app.example.com..", id="two dots behind"),
        pytest.param(b"*.example.com", id="a wildcard"),
        pytest.param(b"app.example.com:443", id="a port"),
        pytest.param(b"app example.com", id="a space"),
        pytest.param(b'app".example.com\n', id="what would forge a log line"),
        pytest.param("b\u00fccher.example".encode(), id="not ASCII"),
        pytest.param(b"x" * 64 + b".example.com", id="a label of 64"),
        pytest.param(LONGEST_NAME.encode() + b"e", id="254 characters"),
        pytest.param(b"a." * 127 + b"a", id="255 characters"),
        pytest.param(b"a" * 1000, id="1000 characters"),
    ],
)
def test_what_is_no_host_name_is_refused_even_with_a_default_route(
    start_site: Callable[..., Site], name: bytes
) -> None:
    site = start_site("*", log_level="debug")
    line = expect_refused(site, client_hello(name), "name_invalid")
    assert line["sni"] == "", "a name that was not valid is nobody's name"
    [refused] = site.proxy.lines(msg="name refused")
    shown = refused["name"]
    assert shown.startswith('"') and shown.isprintable() and len(shown) <= 128 * 4 + 8
    if name.isascii() and name.decode().isprintable() and b'"' not in name:
        assert shown.strip('".') == name.decode()[:128].strip(".")


@pytest.mark.parametrize(
    "stream",
    [
        pytest.param(client_hello(None), id="no server_name"),
        pytest.param(hello.records(hello.handshake(hello.hello_body(b""))), id="no extension"),
        pytest.param(
            hello.records(hello.handshake(hello.hello_body(None))), id="no extensions' block"
        ),
    ],
)
def test_a_hello_without_a_name_is_refused_even_with_a_default_route(
    start_site: Callable[..., Site], stream: bytes
) -> None:
    expect_refused(start_site(NAME, "*"), stream, "no_sni")


@pytest.mark.parametrize("name", ["-a.example.com", "a-.example.com", "-.example.com", "_a.example.com"])
def test_names_that_users_choose_below_a_wildcard_are_served(start_site: Callable[..., Site], name: str) -> None:
    line = expect_routed(start_site("*.example.com"), client_hello(name))
    assert (line["sni"], line["route"]) == (name, "*.example.com")


def test_an_unknown_name_is_refused(site: Site) -> None:
    line = expect_refused(site, client_hello("other.example.com"), "no_route")
    assert line["sni"] == "other.example.com"


def test_an_unknown_name_takes_the_default_route(start_site: Callable[..., Site]) -> None:
    line = expect_routed(start_site("*"), client_hello("other.example.com"))
    assert (line["sni"], line["route"]) == ("other.example.com", "*")


@pytest.mark.parametrize(
    ("name", "route"),
    [
        ("app.example.com", "app.example.com"),
        ("other.example.com", "*.example.com"),
        ("a.b.example.com", "*.example.com"),
        ("x.deep.example.com", "*.deep.example.com"),
        ("x.y.deep.example.com", "*.deep.example.com"),
        ("deep.example.com", "*.example.com"),
        ("X.DEEP.example.com.", "*.deep.example.com"),
        ("example.com", "*"),
        ("notexample.com", "*"),
        ("app.example.com.evil.test", "*"),
        ("com", "*"),
    ],
)
def test_the_most_precise_route_wins(
    start_proxy: Callable[..., Proxy], start_backend: Callable, name: str, route: str
) -> None:
    """Exact, then the longest suffix, then "*". A wildcard does not cover its own apex."""
    patterns = ("*", "*.example.com", "app.example.com", "*.deep.example.com")
    backends = {pattern: start_backend(ManualBackend()) for pattern in patterns}
    proxy = start_proxy(routes=backends)
    stream = client_hello(name)
    with proxy.connect() as client:
        client.sendall(stream)
        line = complete(proxy, client, backends[route], stream)
    assert line["route"] == route
    assert line["sni"] == name.lower().removesuffix(".")


def test_a_wildcard_does_not_cover_its_apex(start_site: Callable[..., Site]) -> None:
    expect_refused(start_site("*.example.com"), client_hello("example.com"), "no_route")


def test_each_listener_has_routes_of_its_own(
    start_proxy: Callable[..., Proxy], start_backend: Callable
) -> None:
    backends = [start_backend(ManualBackend()) for _ in range(2)]
    proxy = start_proxy(
        listeners=[
            Listener({NAME: backends[0]}),
            Listener({NAME: backends[1], "only.example": backends[1]}),
        ]
    )
    stream = client_hello(NAME)
    for i, backend in enumerate(backends):
        with proxy.connect(listener=i) as client:
            client.sendall(stream)
            line = complete(proxy, client, backend, stream)
        assert line["listener"] == f"127.0.0.1:{proxy.ports[i]}"
    with proxy.connect(listener=0) as client:
        client.sendall(client_hello("only.example"))
        expect_rst(client)
        assert proxy.outcome(client)["reason"] == "no_route"


# ---- Versions and extensions


@pytest.mark.parametrize("version", [0x0300, 0x0301, 0x0302, 0x0303, 0x0304])
def test_a_record_of_any_tls_version_is_routed(site: Site, version: int) -> None:
    expect_routed(site, client_hello(NAME, record_version=version))


@pytest.mark.parametrize("version", [0x0300, 0x0301, 0x0302, 0x0303])
def test_a_hello_of_any_tls_version_is_routed_byte_by_byte(site: Site, version: int) -> None:
    expect_routed(site, client_hello(NAME, version=version, tls13=False), send_byte_by_byte)


def test_a_hello_says_in_the_log_whether_it_offers_ech(site: Site) -> None:
    ech = hello.extension(hello.ENCRYPTED_CLIENT_HELLO, b"\0\0\1\0\1\x42\0\x20" + bytes(34))
    assert expect_routed(site, client_hello(NAME))["ech"] == "none"
    assert expect_routed(site, client_hello(NAME, extensions=ech))["ech"] == "offered"


def test_extensions_that_nobody_knows_do_not_matter(site: Site) -> None:
    """GREASE (RFC 8701), and hundreds of types that have no meaning yet."""
    grease = b"".join(hello.extension(n << 12 | 0xA00 | n << 4 | 0xA, b"\0") for n in range(16))
    unknown = b"".join(hello.extension(0x4000 + i, bytes(i % 7)) for i in range(500))
    expect_routed(site, client_hello(NAME, extensions=grease + unknown))


# ---- Firewall


def test_a_blocked_ip_is_reset_and_its_neighbour_is_served(start_site: Callable[..., Site]) -> None:
    site = start_site(firewall={"blocked_ips": ["127.0.0.2"]})
    site.proxy.expect_blocked("blocked_ip", source="127.0.0.2")
    with site.proxy.connect(source="127.0.0.3") as client:
        client.sendall(client_hello(NAME))
        complete(site.proxy, client, site.backend, client_hello(NAME))


def test_a_blocked_network_is_reset_and_its_neighbour_is_served(
    start_site: Callable[..., Site]
) -> None:
    site = start_site(firewall={"blocked_cidrs": ["127.0.8.0/24"]})
    for source in ("127.0.8.0", "127.0.8.255"):
        site.proxy.expect_blocked("blocked_cidr", source=source)
    for source in ("127.0.7.255", "127.0.9.0"):
        with site.proxy.connect(source=source) as client:
            client.sendall(client_hello(NAME))
            complete(site.proxy, client, site.backend, client_hello(NAME))


@pytest.mark.parametrize(
    ("rule", "reason"),
    [
        ({"blocked_ips": ["127.0.0.2"]}, "blocked_ip"),
        ({"blocked_cidrs": ["127.0.0.2/31"]}, "blocked_cidr"),
    ],
)
def test_an_ipv4_client_of_a_dual_stack_listener_is_blocked_as_ipv4(
    start_proxy: Callable[..., Proxy], start_backend: Callable, rule: dict[str, object], reason: str
) -> None:
    """To the kernel it is ::ffff:127.0.0.2; neither rules nor log may depend on that."""
    backend = start_backend(ManualBackend())
    proxy = start_proxy(listeners=[Listener({NAME: backend}, host="")], firewall=rule)
    proxy.expect_blocked(reason, source="127.0.0.2")
    for host in ("127.0.0.1", "::1"):
        with proxy.connect(host=host) as client:
            client.sendall(client_hello(NAME))
            line = complete(proxy, client, backend, client_hello(NAME))
        assert line["listener"] == f":{proxy.ports[0]}"


@pytest.mark.parametrize(
    ("rule", "reason"),
    [({"blocked_ips": ["::1"]}, "blocked_ip"), ({"blocked_cidrs": ["::/64"]}, "blocked_cidr")],
)
def test_an_ipv6_client_is_blocked(
    start_proxy: Callable[..., Proxy], rule: dict[str, object], reason: str
) -> None:
    proxy = start_proxy(listeners=[Listener({NAME: "127.0.0.1:9"}, host="[::1]")], firewall=rule)
    proxy.expect_blocked(reason)


def test_an_ipv6_client_is_routed_to_an_ipv6_backend(
    start_proxy: Callable[..., Proxy], start_backend: Callable
) -> None:
    backend = start_backend(ManualBackend("::1"))
    proxy = start_proxy(listeners=[Listener({NAME: backend}, host="[::1]")])
    with proxy.connect() as client:
        client.sendall(client_hello(NAME))
        line = complete(proxy, client, backend, client_hello(NAME))
    assert line["client"].startswith("[::1]:")
    assert line["backend"] == backend.address


# ---- Limits


def test_one_client_too_many_is_reset_until_another_has_ended(
    start_site: Callable[..., Site]
) -> None:
    site = start_site(max_connections=2, log_level="debug")
    stream = client_hello(NAME)
    with site.proxy.connect() as silent, site.proxy.connect() as client:
        client.sendall(stream)
        site.proxy.expect_blocked("connection_limit")
        silent.shutdown(socket.SHUT_WR)
        assert site.proxy.outcome(silent)["reason"] == "client_closed"
        with site.proxy.connect() as late:
            late.sendall(client_hello("other.example.com"))
            expect_rst(late)
            assert site.proxy.outcome(late)["reason"] == "no_route", "there was room for it"
        complete(site.proxy, client, site.backend, stream)


def test_blocked_clients_take_no_room(start_site: Callable[..., Site]) -> None:
    site = start_site(max_connections=1, firewall={"blocked_ips": ["127.0.0.2"]})
    with site.proxy.connect() as silent:
        site.proxy.expect_blocked("blocked_ip", source="127.0.0.2")
        site.proxy.expect_blocked("connection_limit")
        silent.sendall(client_hello(NAME))
        complete(site.proxy, silent, site.backend, client_hello(NAME))


PAUSED = re.compile("^accepting paused")

# Of the descriptors some twenty are the server's own; the rest is taken by clients in no time.
FEW_DESCRIPTORS = 64


@pytest.fixture
def crowd(enter: Callable) -> Callable[[Proxy], list[Client]]:
    """crowd(proxy): more silent clients than a proxy of FEW_DESCRIPTORS can accept."""

    def fill(proxy: Proxy) -> list[Client]:
        clients = [enter(proxy.connect()) for _ in range(FEW_DESCRIPTORS)]
        proxy.wait_log(level="ERROR", msg=PAUSED)
        return clients

    return fill


def test_out_of_descriptors_it_serves_what_it_has_rests_and_recovers(
    start_site: Callable[..., Site], crowd: Callable[[Proxy], list[Client]]
) -> None:
    """The field's bug: at EMFILE accept(2) fails at once, for ever, and a loop around it spins."""
    site = start_site(descriptors=FEW_DESCRIPTORS, max_connections=10_000, hello_timeout="1s")
    stream = client_hello(NAME)
    with site.proxy.connect() as client:
        client.sendall(stream)
        with site.backend.accept() as upstream:
            assert recv_exactly(upstream, len(stream)) == stream
            silent = crowd(site.proxy)
            spent_before = site.proxy.cpu_seconds()

            client.sendall(b"still")
            assert recv_exactly(upstream, 5) == b"still"
            upstream.sendall(b"there")
            assert recv_exactly(client, 5) == b"there"

            # The first silent client's time is up after a second, of which a spin would take all.
            site.proxy.wait_log(reason="hello_timeout")
            assert site.proxy.cpu_seconds() - spent_before < 0.5
            # One pause, of ten tries; or a short one before it, while another thread held the last descriptor (a library
            # reads a file of /proc).
            before = takewhile(lambda line: "reason" not in line, site.proxy.lines())
            assert accepting_pauses(before) in (1, 2)
        for other in silent:
            other.close()
        site.proxy.wait_log(msg="accepting again")
        expect_eof(client)
        client.shutdown(socket.SHUT_WR)
        assert site.proxy.outcome(client)["reason"] == "completed"
    expect_routed(site, stream)


def test_a_hello_whose_backend_finds_no_descriptor_is_reset(
    start_site: Callable[..., Site], crowd: Callable[[Proxy], list[Client]]
) -> None:
    site = start_site(descriptors=FEW_DESCRIPTORS, max_connections=10_000)
    with site.proxy.connect() as client:
        crowd(site.proxy)
        client.sendall(client_hello(NAME))
        expect_rst(client)
        line = site.proxy.outcome(client)
    assert (line["msg"], line["level"]) == ("dial failed", "WARN")
    assert (line["reason"], line["error"]) == ("no_resources", "Too many open files")
    assert line["backend"] == site.backend.address
