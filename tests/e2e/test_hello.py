# SPDX-License-Identifier: Apache-2.0
"""From accept to dial: which hello is routed where, which is refused, and by what reason.

Many cases are borrowed from the tests and the bug trackers of other proxies: nginx (split inside
the name), Envoy (byte by byte), tlsfuzzer (records of one byte, lengths that lie), Traefik
(CVE-2026-32305: a hello in several records fell through to the default), tldr.fail (half a hello,
a pause, the rest). In every accepted case the backend must receive the client's bytes exactly.
"""

import re
import socket
from collections.abc import Callable
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

import pytest

import hello
from harness import (
    SLOW_FACTOR,
    Client,
    Listener,
    ManualBackend,
    Proxy,
    RecordingBackend,
    client_hello,
    expect_eof,
    expect_rst,
    recv_exactly,
    rst_close,
    send_byte_by_byte,
    send_until_refused,
    wait_until_delivered,
)

NAME = "app.example.com"
ANSWER = b"the backend's answer"
KIB = 1024

# A hello_timeout that is soon over, and yet longer than a busy machine makes a client wait.
SHORT = f"{300 * SLOW_FACTOR}ms"

# The longest host name there is: 253 characters, in labels of at most 63.
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
    """Of a client that has sent `stream`: it reaches the backend exactly, and an answer comes back.

    Ends the connection in order, and returns its line of the log.
    """
    with backend.accept() as upstream:
        assert recv_exactly(upstream, len(stream)) == stream
        upstream.sendall(ANSWER)
        assert recv_exactly(client, len(ANSWER)) == ANSWER
        client.shutdown(socket.SHUT_WR)
        expect_eof(upstream)
    expect_eof(client)
    line = proxy.outcome(client)
    assert (line["msg"], line["reason"]) == ("connection closed", "completed")
    assert (line["bytes_up"], line["bytes_down"]) == (str(len(stream)), str(len(ANSWER)))
    return line


def expect_routed(
    site: Site, stream: bytes, send: Callable[[Client, bytes], None] = Client.sendall
) -> dict[str, str]:
    """A client that sends `stream` is routed to the site's backend. Returns its line of the log."""
    with site.proxy.connect() as client:
        send(client, stream)
        return complete(site.proxy, client, site.backend, stream)


def expect_refused(site: Site, stream: bytes, reason: str) -> dict[str, str]:
    """A client that sends `stream` is reset, and no backend hears of it. Returns its line."""
    with site.proxy.connect() as client:
        send_until_refused(client, stream)
        expect_rst(client)
        line = site.proxy.outcome(client)
    assert (line["msg"], line["reason"]) == ("connection refused", reason)
    assert not site.backend.has_connections()
    return line


def wait_until_seen(site: Site, client: Client) -> None:
    """Returns when the proxy has looked at all that the client has sent.

    The bytes are in the proxy's kernel, and after that its only worker has served another client
    from hello to end. So the event stands for the pause that a slow network makes.
    """
    wait_until_delivered(client)
    expect_routed(site, client_hello(NAME))


# ---- How a hello arrives


def test_a_hello_in_one_segment_is_routed(site: Site) -> None:
    line = expect_routed(site, client_hello(NAME))
    assert (line["sni"], line["route"]) == (NAME, NAME)
    assert line["backend"] == site.backend.address
    assert line["listener"] == f"127.0.0.1:{site.proxy.ports[0]}"


def test_a_hello_that_arrives_byte_by_byte_is_routed(site: Site) -> None:
    expect_routed(site, client_hello(NAME), send_byte_by_byte)


def test_a_hello_cut_inside_the_server_name_is_routed(site: Site) -> None:
    stream = client_hello(NAME)
    cut = stream.index(NAME.encode()) + len(NAME) // 2
    with site.proxy.connect() as client:
        client.sendall(stream[:cut])
        wait_until_seen(site, client)
        client.sendall(stream[cut:])
        complete(site.proxy, client, site.backend, stream)


def test_a_hello_of_two_segments_with_a_pause_between_is_routed(site: Site) -> None:
    """tldr.fail: what post-quantum key shares made of every browser's hello."""
    stream = client_hello(NAME, pad_to=1800)
    with site.proxy.connect() as client:
        client.sendall(stream[: len(stream) // 2])
        wait_until_seen(site, client)
        client.sendall(stream[len(stream) // 2 :])
        complete(site.proxy, client, site.backend, stream)


def test_a_hello_that_pauses_at_every_header_is_routed(site: Site) -> None:
    """One byte before and after each place where the parser learns a length."""
    stream = client_hello(NAME, record_sizes=[3, 40])
    second, third = 5 + 3, 5 + 3 + 5 + 40
    cuts = [0, 1, 4, 5, 6, second, second + 4, second + 6, third, third + 5, len(stream)]
    with site.proxy.connect() as client:
        for begin, end in zip(cuts, cuts[1:], strict=False):
            client.sendall(stream[begin:end])
            if end != len(stream):
                wait_until_seen(site, client)
        complete(site.proxy, client, site.backend, stream)


def test_a_hello_in_records_of_one_byte_is_routed(site: Site) -> None:
    message = hello.hello_message(NAME)
    expect_routed(site, hello.records(message, [1] * len(message)))


def test_a_hello_in_records_of_one_byte_that_arrives_byte_by_byte_is_routed(site: Site) -> None:
    message = hello.hello_message(NAME, tls13=False)
    expect_routed(site, hello.records(message, [1] * len(message)), send_byte_by_byte)


def test_a_hello_cut_into_two_records_is_routed_wherever_the_cut_is(site: Site) -> None:
    """CVE-2026-32305 was such a hello, which fell through to the default route."""
    message = hello.hello_message(NAME)
    name_at = message.index(NAME.encode())
    around_the_name = range(name_at - 9, name_at + len(NAME) + 1)
    for cut in sorted(
        {1, 3, 4, 5, *range(6, len(message), 13), *around_the_name, len(message) - 1}
    ):
        expect_routed(site, hello.records(message, [cut]))


@pytest.mark.parametrize("size", [16 * KIB, 16 * KIB + 1, 60 * KIB, 64 * KIB])
def test_a_large_hello_is_routed(site: Site, size: int) -> None:
    expect_routed(site, client_hello(NAME, pad_to=size))


def test_a_hello_of_64_kib_that_pauses_is_routed(site: Site) -> None:
    """The bytes that wait to be complete are more than fits a socket's first receive window."""
    stream = client_hello(NAME, pad_to=64 * KIB)
    with site.proxy.connect() as client:
        for begin in range(0, len(stream), 20 * KIB):
            client.sendall(stream[begin : begin + 20 * KIB])
            if begin + 20 * KIB < len(stream):
                wait_until_seen(site, client)
        complete(site.proxy, client, site.backend, stream)


def test_a_large_hello_in_small_segments_is_routed(site: Site) -> None:
    def send(client: Client, stream: bytes) -> None:
        for begin in range(0, len(stream), 100):
            client.sendall(stream[begin : begin + 100])

    expect_routed(site, client_hello(NAME, pad_to=16 * KIB), send)


def test_a_large_hello_in_small_records_is_routed(site: Site) -> None:
    """Nearly as many raw bytes as a hello may take: each six of them carry one of the message."""
    message = hello.hello_message(NAME, pad_to=21 * KIB)
    expect_routed(site, hello.records(message, [1] * len(message)))


def test_a_hello_of_more_than_64_kib_is_refused(site: Site) -> None:
    expect_refused(site, client_hello(NAME, pad_to=64 * KIB + 1), "hello_too_large")


def test_a_hello_that_only_announces_more_than_64_kib_is_refused_at_once(site: Site) -> None:
    """Four bytes of the message tell; nobody makes the proxy wait for the rest."""
    header = (1 << 24 | 64 * KIB - 4 + 1).to_bytes(4, "big")
    expect_refused(site, hello.record(header, length=16384), "hello_too_large")


def test_a_hello_in_too_many_records_is_refused(site: Site) -> None:
    """128 KiB of raw bytes is the limit, and what is missing counts as soon as it is announced."""
    message = hello.hello_message(NAME, pad_to=60 * KIB)
    expect_refused(site, hello.records(message, [1] * len(message)), "hello_too_large")


def test_hellos_of_many_clients_that_arrive_in_turns_are_not_mixed_up(
    start_proxy: Callable[..., Proxy], start_backend: Callable, enter: Callable
) -> None:
    """One worker has one parser, and lends its buffers to whoever has bytes at the moment."""
    backend = start_backend(RecordingBackend())
    proxy = start_proxy(routes={"*.example.com": backend}, workers=1)
    streams = [
        client_hello(f"client-{i}.example.com", pad_to=1 * KIB + 100 * i, record_sizes=[200] * i)
        for i in range(100)
    ]
    clients = [enter(proxy.connect()) for _ in streams]
    for begin in range(0, max(map(len, streams)), 500):
        for client, stream in zip(clients, streams, strict=True):
            client.sendall(stream[begin : begin + 500])
    for i, client in enumerate(clients):
        client.shutdown(socket.SHUT_WR)
        expect_eof(client)
        assert proxy.outcome(client)["sni"] == f"client-{i}.example.com"
    assert sorted(backend.streams(len(streams))) == sorted(streams)


def test_what_follows_the_hello_in_the_same_segment_reaches_the_backend(site: Site) -> None:
    """As with 0-RTT: the client's early data is in records behind the hello."""
    early_data = hello.record(b"GET / HTTP/1.1\r\n\r\n" * 50, version=0x0303, kind=23)
    expect_routed(
        site, client_hello(NAME, extensions=hello.extension(hello.EARLY_DATA)) + early_data
    )


def test_what_follows_the_hello_while_it_is_dialled_reaches_the_backend(site: Site) -> None:
    """More than the pipe of a relay holds, and sent before the backend has accepted."""
    early_data = hello.record(bytes(range(256)) * 60, version=0x0303, kind=23) * 60
    stream = client_hello(NAME) + early_data
    with site.proxy.connect() as client:
        client.settimeout(None)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2 * len(stream))
        client.sendall(stream)
        complete(site.proxy, client, site.backend, stream)


# ---- Hellos that never become whole


def test_half_a_hello_and_its_end_is_a_client_that_closed(site: Site) -> None:
    with site.proxy.connect() as client:
        client.sendall(client_hello(NAME)[:60])
        wait_until_seen(site, client)
        client.shutdown(socket.SHUT_WR)
        line = site.proxy.outcome(client)
    assert (line["msg"], line["reason"]) == ("connection refused", "client_closed")


def test_half_a_hello_together_with_its_end_is_a_client_that_closed(site: Site) -> None:
    with site.proxy.connect() as client:
        client.sendall(client_hello(NAME)[:60])
        client.shutdown(socket.SHUT_WR)
        assert site.proxy.outcome(client)["reason"] == "client_closed"


def test_an_end_before_the_first_byte_is_a_client_that_closed(site: Site) -> None:
    with site.proxy.connect() as client:
        client.shutdown(socket.SHUT_WR)
        expect_eof(client)
        assert site.proxy.outcome(client)["reason"] == "client_closed"


def test_half_a_hello_and_a_reset_is_a_client_that_reset(site: Site) -> None:
    client = site.proxy.connect()
    client.sendall(client_hello(NAME)[:60])
    wait_until_seen(site, client)
    rst_close(client)
    assert site.proxy.outcome(client)["reason"] == "client_reset"


def test_half_a_hello_and_silence_ends_by_the_hello_timeout(
    start_site: Callable[..., Site]
) -> None:
    site = start_site(hello_timeout=SHORT)
    expect_refused(site, client_hello(NAME)[:60], "hello_timeout")


def test_silence_ends_by_the_hello_timeout(start_site: Callable[..., Site]) -> None:
    expect_refused(start_site(hello_timeout=SHORT), b"", "hello_timeout")


def test_a_hello_that_drips_does_not_outlive_the_hello_timeout(
    start_site: Callable[..., Site]
) -> None:
    """The deadline is one for the whole hello: slowloris gains nothing by another byte."""
    site = start_site(hello_timeout=SHORT)
    with site.proxy.connect() as client:
        client.settimeout(0.01)
        with pytest.raises(ConnectionResetError):
            for byte in client_hello(NAME, pad_to=16 * KIB):
                client.sendall(bytes([byte]))
                with pytest.raises(TimeoutError):
                    client.recv(1)
        assert site.proxy.outcome(client)["reason"] == "hello_timeout"


def test_a_whole_hello_stops_the_hello_timeout(start_site: Callable[..., Site]) -> None:
    site = start_site(hello_timeout=SHORT)
    stream = client_hello(NAME)
    with site.proxy.connect() as client, site.proxy.connect() as silent:
        client.sendall(stream)
        expect_rst(silent)  # by then the first client's time would be up as well
        complete(site.proxy, client, site.backend, stream)


# ---- What is no hello


@pytest.mark.parametrize(
    "stream",
    [
        pytest.param(b"GET / HTTP/1.1\r\nHost: app.example.com\r\n\r\n", id="http"),
        pytest.param(b"SSH-2.0-OpenSSH_9.2\r\n", id="ssh"),
        pytest.param(bytes(64), id="zeros"),
        pytest.param(b"\xff" * 64, id="ones"),
        pytest.param(hello.record(b"\x02\x28", kind=hello.ALERT), id="an alert"),
        pytest.param(hello.record(b"x" * 40, kind=23), id="application data"),
        pytest.param(hello.record(b"\x01", kind=20), id="change cipher spec"),
        pytest.param(b"\x80\x2e\x04\x00\x02" + bytes(43), id="an SSLv2 server hello"),
        pytest.param(
            b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n" + client_hello(NAME), id="PROXY protocol"
        ),
    ],
)
def test_what_is_not_tls_is_refused(site: Site, stream: bytes) -> None:
    expect_refused(site, stream, "not_tls")


@pytest.mark.parametrize("version", [0x0002, 0x0300, 0x0301, 0x0303])
def test_an_sslv2_hello_is_refused(site: Site, version: int) -> None:
    stream = b"\x80\x2e\x01" + version.to_bytes(2, "big") + b"\x00\x15\x00\x00\x00\x10" + bytes(37)
    expect_refused(site, stream, "sslv2")


@pytest.mark.parametrize("length", [0, 16385, 18433, 0xFFFF])
def test_a_record_length_that_cannot_be_is_refused(site: Site, length: int) -> None:
    message = hello.hello_message(NAME)
    expect_refused(site, hello.record(message, length=length), "malformed_record")


@pytest.mark.parametrize("version", [0x0000, 0x0200, 0x0305, 0x0403])
def test_a_record_of_an_unknown_version_is_refused(site: Site, version: int) -> None:
    expect_refused(site, client_hello(NAME, record_version=version), "malformed_record")


def test_an_empty_record_inside_a_hello_is_refused(site: Site) -> None:
    message = hello.hello_message(NAME)
    stream = hello.record(message[:9]) + hello.record(b"") + hello.record(message[9:])
    expect_refused(site, stream, "malformed_record")


def test_an_alert_inside_a_hello_is_refused(site: Site) -> None:
    message = hello.hello_message(NAME)
    alert = hello.record(b"\x01\x00", kind=hello.ALERT)
    expect_refused(site, hello.record(message[:9]) + alert, "malformed_record")


@pytest.mark.parametrize("kind", [0, 2, 4, 11, 255])
def test_another_handshake_message_is_refused(site: Site, kind: int) -> None:
    body = hello.hello_body(hello.server_name(NAME))
    expect_refused(site, hello.record(hello.handshake(body, kind)), "malformed_handshake")


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param({"session_id": bytes(33)}, id="session id of 33 bytes"),
        pytest.param({"ciphers": b""}, id="no cipher suite"),
        pytest.param({"ciphers": bytes(7)}, id="half a cipher suite"),
        pytest.param({"compressions": b""}, id="no compression method"),
        pytest.param({"version": 0x0203}, id="version 2.3"),
    ],
)
def test_a_hello_whose_fields_are_wrong_is_refused(site: Site, fields: dict[str, Any]) -> None:
    expect_refused(site, client_hello(NAME, **fields), "malformed_handshake")


def test_a_hello_that_ends_inside_a_field_is_refused(site: Site) -> None:
    body = hello.hello_body(hello.server_name(NAME))[:70]
    expect_refused(site, hello.record(hello.handshake(body)), "malformed_handshake")


def test_a_second_message_behind_the_hello_in_its_record_is_refused(site: Site) -> None:
    """What would be read differently by whoever takes the record for the message."""
    message = hello.hello_message(NAME)
    expect_refused(site, hello.record(message + message), "malformed_handshake")


@pytest.mark.parametrize(
    "block",
    [
        pytest.param(hello.server_name(NAME)[:-1], id="the name overruns the block"),
        pytest.param(hello.server_name(NAME) + b"\x00", id="half an extension's type"),
        pytest.param(hello.server_name(NAME) + b"\x00\x17\x00", id="half an extension's length"),
        pytest.param(hello.server_name(NAME) + b"\x00\x17\xff\xff", id="an extension overruns"),
        pytest.param(hello.extension(hello.SERVER_NAME), id="server_name without a list"),
        pytest.param(
            hello.extension(hello.SERVER_NAME, b"\0\0"), id="server_name with an empty list"
        ),
        pytest.param(
            hello.extension(hello.SERVER_NAME, b"\0\x05\0\0\x09app"),
            id="the name overruns its list",
        ),
        pytest.param(
            hello.extension(hello.SERVER_NAME, b"\0\x06\1\0\3app"), id="a name of another type"
        ),
        pytest.param(
            hello.extension(hello.SERVER_NAME, b"\0\x06\0\0\3app!"), id="a byte behind the list"
        ),
        pytest.param(hello.server_name(NAME, "other.example.com"), id="two names"),
        pytest.param(hello.server_name(NAME, NAME), id="one name twice"),
        pytest.param(hello.server_name(NAME) * 2, id="server_name twice"),
        pytest.param(
            hello.server_name(NAME) + hello.extension(23) * 2, id="another extension twice"
        ),
        pytest.param(
            hello.server_name(NAME) + hello.extension(hello.ALPN, b"\0\0"), id="an empty ALPN list"
        ),
    ],
)
def test_extensions_that_do_not_add_up_are_refused(site: Site, block: bytes) -> None:
    stream = hello.records(hello.handshake(hello.hello_body(block)))
    expect_refused(site, stream, "malformed_extension")


def test_bytes_behind_the_extensions_are_refused(site: Site) -> None:
    body = hello.hello_body(hello.server_name(NAME)) + b"\0"
    expect_refused(site, hello.record(hello.handshake(body)), "malformed_extension")


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
        pytest.param(b"-app.example.com", id="a hyphen in front"),
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
    line = expect_refused(start_site("*"), client_hello(name), "name_invalid")
    assert line["sni"] == "", "a name that was not valid is nobody's name"


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


def expect_blocked(proxy: Proxy, client: Client, reason: str) -> None:
    """The client is reset before it has said a word."""
    with client:
        expect_rst(client)
        line = proxy.outcome(client)
    assert (line["msg"], line["reason"]) == ("connection refused", reason)
    assert "sni" not in line, "the firewall comes before the hello"


def test_a_blocked_ip_is_reset_and_its_neighbour_is_served(start_site: Callable[..., Site]) -> None:
    site = start_site(firewall={"blocked_ips": ["127.0.0.2"]})
    expect_blocked(site.proxy, site.proxy.connect(source="127.0.0.2"), "blocked_ip")
    with site.proxy.connect(source="127.0.0.3") as client:
        client.sendall(client_hello(NAME))
        complete(site.proxy, client, site.backend, client_hello(NAME))


def test_a_blocked_network_is_reset_and_its_neighbour_is_served(
    start_site: Callable[..., Site]
) -> None:
    site = start_site(firewall={"blocked_cidrs": ["127.0.8.0/24"]})
    for source in ("127.0.8.0", "127.0.8.255"):
        expect_blocked(site.proxy, site.proxy.connect(source=source), "blocked_cidr")
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
    expect_blocked(proxy, proxy.connect(source="127.0.0.2"), reason)
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
    expect_blocked(proxy, proxy.connect(), reason)


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
    site = start_site(max_connections=2)
    stream = client_hello(NAME)
    with site.proxy.connect() as silent, site.proxy.connect() as client:
        client.sendall(stream)
        expect_blocked(site.proxy, site.proxy.connect(), "connection_limit")
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
        expect_blocked(site.proxy, site.proxy.connect(source="127.0.0.2"), "blocked_ip")
        expect_blocked(site.proxy, site.proxy.connect(), "connection_limit")
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
            before = takewhile(lambda line: "reason" not in line, site.proxy.lines())
            assert sum(bool(PAUSED.search(line["msg"])) for line in before) == 1, "it says so once"
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
