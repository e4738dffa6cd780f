# SPDX-License-Identifier: Apache-2.0
"""From accept to the name: which hello is read, which is refused, and by what reason. What the name leads to is in
test_hello_routes.py.

Many cases are borrowed from the tests and the bug trackers of other proxies: nginx (split inside
the name), Envoy (byte by byte), tlsfuzzer (records of one byte, lengths that lie), Traefik
(CVE-2026-32305: a hello in several records fell through to the default), tldr.fail (half a hello,
a pause, the rest). In every accepted case the backend must receive the client's bytes exactly.
"""

import socket
from collections.abc import Callable
from typing import Any

import pytest

import hello
from harness import (
    OUTCOMES,
    Client,
    Proxy,
    RecordingBackend,
    client_hello,
    expect_eof,
    expect_rst,
    rst_close,
    send_byte_by_byte,
)
from hello_site import KIB, NAME, SHORT, Site, complete, expect_refused, expect_routed, wait_until_seen


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
    """Four bytes of the message prove it; no client makes the proxy wait for the rest."""
    header = (1 << 24 | 64 * KIB - 4 + 1).to_bytes(4, "big")
    expect_refused(site, hello.record(header, length=16384), "hello_too_large")


def test_a_hello_in_too_many_records_is_refused(site: Site) -> None:
    """128 KiB of raw bytes is the limit, and what is missing counts as soon as it is announced."""
    message = hello.hello_message(NAME, pad_to=60 * KIB)
    expect_refused(site, hello.records(message, [1] * len(message)), "hello_too_large")


def test_hellos_of_many_clients_that_arrive_in_turns_are_not_mixed_up(
    start_proxy: Callable[..., Proxy], start_backend: Callable, enter: Callable
) -> None:
    """One worker has one parser, and lends its buffers to the clients that have bytes at the moment."""
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


def test_an_end_before_the_first_byte_is_a_client_that_closed(start_site: Callable[..., Site]) -> None:
    site = start_site(log_level="debug")
    with site.proxy.connect() as client:
        client.shutdown(socket.SHUT_WR)
        expect_eof(client)
        line = site.proxy.outcome(client)
    assert (line["msg"], line["reason"], line["level"]) == ("connection refused", "client_closed", "DEBUG")
    with site.proxy.connect() as client:
        site.proxy.wait_log(msg="connection accepted", client=client.name)
        rst_close(client)
        line = site.proxy.outcome(client)
    assert (line["msg"], line["reason"], line["level"]) == ("connection refused", "client_reset", "DEBUG")
    with site.proxy.connect() as client:
        client.sendall(client_hello(NAME)[:1])
        client.shutdown(socket.SHUT_WR)
        assert site.proxy.outcome(client)["level"] == "INFO"


def test_health_checks_that_only_connect_are_counted_and_leave_no_line(start_site: Callable[..., Site]) -> None:
    site = start_site()
    for leave in [socket.socket.close, rst_close] * 20:
        with site.proxy.connect() as client:
            leave(client)
    with site.proxy.connect() as client:
        client.sendall(client_hello(NAME))
        complete(site.proxy, client, site.backend, client_hello(NAME))
    assert site.proxy.stop() == 0
    (ended,) = [line["ended"].split() for line in site.proxy.lines(msg="stopped")]
    counts = {reason: int(count) for reason, count in (word.split("=") for word in ended)}
    assert counts.pop("completed") == 1
    assert counts.keys() <= {"client_closed", "client_reset"} and sum(counts.values()) == 40
    assert len(site.proxy.lines(msg=OUTCOMES)) == 1


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


@pytest.mark.parametrize("version", [0x0000, 0x0200, 0x0403])
def test_a_record_of_an_unknown_version_is_refused(site: Site, version: int) -> None:
    expect_refused(site, client_hello(NAME, record_version=version), "malformed_record")


@pytest.mark.parametrize("version", [0x0305, 0x03FF])
def test_a_record_of_a_version_to_come_is_served(site: Site, version: int) -> None:
    # RFC 8446, section 5.1: the version of a record means nothing.
    expect_routed(site, client_hello(NAME, record_version=version))


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
    """Bytes that would be read differently by a reader that takes the record for the message."""
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
