# SPDX-License-Identifier: Apache-2.0
"""The PROXY protocol to backends (send_proxy of a pool): real programs, and the bytes. In: test_proxy_protocol.py."""

import random
import re
import socket
import struct
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import proxy_protocol as pp
from admin import AdministeredProxy
from behind_proxy import CLIENT, FRONT, HEADER, HELLO, LINE, come, listed, named, trusting
from certs import Authority
from harness import PATIENCE, Listener, ManualBackend, RecordingBackend, expect_eof, until
from hello_site import NAME
from pools import CheckedBackend, check_table, pool_table, until_health
from proxy_programs import ApacheReceiver, HaproxyReceiver, NginxReceiver, NginxStreamReceiver, Receiver
from tls_servers import fetch

RECEIVERS = [NginxReceiver, NginxStreamReceiver, HaproxyReceiver, ApacheReceiver]


@pytest.fixture
def start_receiver(enter: Callable, tmp_path: Path, authority: Authority) -> Callable[..., Any]:
    """start_receiver(NginxReceiver, ...) returns a web server for NAME that demands a header."""
    return lambda kind, *where: enter(kind(tmp_path, authority.issue(NAME), *where))


@pytest.fixture
def start_sending(start_administered: Callable) -> Callable[..., AdministeredProxy]:
    """start_sending(backends, send_proxy="v1", ...) returns a proxy whose pool has these settings."""

    def start(
        backends: list, *listeners: Listener, splice: str = "inline", send_proxy: str = "v2", **settings: object
    ) -> AdministeredProxy:
        return start_administered(
            listeners=listeners or [Listener({NAME: "pool=app"})],
            tables={"pools": [pool_table(backends, send_proxy=send_proxy, **settings)]},
            splice=splice,
        )

    return start


def visit_from(
    proxy: AdministeredProxy, receiver: Receiver, authority: Authority, source: str | None = None, host: str | None = None
) -> str:
    """A client gets a page through the proxy, and is logged by the receiver: the rest of that line."""
    client = proxy.connect(source, host)
    fetch(client, authority, NAME)
    assert proxy.outcome(client)["msg"] == "connection closed"
    return receiver.line_of(client.name)


@pytest.mark.parametrize("version", ["v1", "v2"])
@pytest.mark.parametrize("kind", RECEIVERS)
def test_a_real_server_behind_logs_the_client(
    start_sending: Callable, start_receiver: Callable, authority: Authority, kind: type, version: str
) -> None:
    receiver = start_receiver(kind)
    proxy = start_sending([receiver], send_proxy=version)
    for source in ("127.0.0.66", "127.0.0.67"):
        visit_from(proxy, receiver, authority, source)


@pytest.mark.parametrize("version", ["v1", "v2"])
@pytest.mark.parametrize("kind", RECEIVERS)
@pytest.mark.parametrize(("listens", "receives"), [("127.0.0.1", "[::1]"), ("[::1]", "127.0.0.1")])
def test_client_and_backend_may_be_of_different_families(
    start_sending: Callable,
    start_receiver: Callable,
    authority: Authority,
    kind: type,
    version: str,
    listens: str,
    receives: str,
) -> None:
    receiver = start_receiver(kind, receives)
    proxy = start_sending([receiver], Listener({NAME: "pool=app"}, host=listens), send_proxy=version)
    visit_from(proxy, receiver, authority)


def test_a_client_of_ipv4_is_told_as_that_where_one_socket_is_for_both(
    start_sending: Callable, start_receiver: Callable, authority: Authority
) -> None:
    receiver = start_receiver(NginxReceiver)
    proxy = start_sending([receiver], Listener({NAME: "pool=app"}, host=""), send_proxy="v1")
    visit_from(proxy, receiver, authority, "127.0.0.66")
    visit_from(proxy, receiver, authority, host="::1")


def test_the_first_client_arrives_through_two_proxies(
    start_sending: Callable, start_receiver: Callable, authority: Authority
) -> None:
    receiver = start_receiver(NginxReceiver)
    inner = start_sending([receiver], Listener({NAME: "pool=app"}, settings={"proxy_protocol": {"from": ["127.0.0.1"]}}))
    outer = start_sending([inner.listener_name()])
    client = outer.connect("127.0.0.66")
    fetch(client, authority, NAME)
    line = inner.wait_log(msg="connection closed", client=client.name)
    assert line["via"].startswith("127.0.0.1:")
    receiver.line_of(client.name)
    for proxy in (outer, inner):
        assert proxy.lines_until_now(client=client.name, reason="completed")


OUT = {"v1": (LINE, b"PROXY UNKNOWN\r\n"), "v2": (HEADER, pp.v2_raw(pp.LOCAL, pp.UNSPEC))}


@pytest.mark.parametrize(("version", "headers"), OUT.items(), ids=OUT)
def test_a_header_in_is_told_on_byte_by_byte_the_same(
    start_sending: Callable, start_backend: Callable, version: str, headers: tuple
) -> None:
    backend = start_backend(RecordingBackend())
    proxy = start_sending([backend], trusting({NAME: "pool=app"}), send_proxy=version)
    with come(proxy, HEADER + HELLO) as connection:
        connection.shutdown(socket.SHUT_WR)
        expect_eof(connection)
    assert backend.streams(1)[-1] == headers[0] + HELLO
    with come(proxy, pp.v2_raw(pp.LOCAL, pp.TCP4, bytes(12)) + HELLO, None) as connection:
        connection.shutdown(socket.SHUT_WR)
        expect_eof(connection)
    assert backend.streams(2)[-1] == headers[1] + HELLO


@pytest.mark.parametrize("tlvs", [["authority"], ["unique_id"], ["crc32c"], ["authority", "unique_id", "crc32c"]])
def test_haproxy_behind_knows_the_name_and_the_id(
    start_sending: Callable, start_receiver: Callable, authority: Authority, tlvs: list
) -> None:
    receiver = start_receiver(HaproxyReceiver)
    proxy = start_sending([receiver], send_proxy_tlvs=tlvs)
    with proxy.admin.watch(kinds=["EVENT_KIND_CONNECTION_OPENED"]) as watch:
        rest = visit_from(proxy, receiver, authority)
        opened = watch.expect("connection_opened").connection
    assert rest.split() == [NAME if "authority" in tlvs else "-", opened.id if "unique_id" in tlvs else "-"]


def test_the_bytes_of_a_header_with_all_tlvs(start_sending: Callable, start_backend: Callable) -> None:
    backend = start_backend(RecordingBackend())
    proxy = start_sending([backend], send_proxy_tlvs=["crc32c", "unique_id", "authority"])
    with proxy.connect() as client:
        client.sendall(HELLO)
        client.shutdown(socket.SHUT_WR)
        expect_eof(client)
    header = backend.streams(1)[0].removesuffix(HELLO)
    begin = pp.v2(client.name, proxy.listener_name())
    assert header[16:28] == begin[16:]
    rest, found = header[28:], {}
    while rest:
        (size,) = struct.unpack("!H", rest[1:3])
        found[rest[0]], rest = rest[3 : 3 + size], rest[3 + size :]
    assert set(found) == {pp.AUTHORITY, pp.UNIQUE_ID, pp.CRC32C}
    assert found[pp.AUTHORITY] == NAME.encode()
    at = header.index(pp.tlv(pp.CRC32C, found[pp.CRC32C])) + 3
    assert pp.crc32c(header[:at] + bytes(4) + header[at + 4 :]) == struct.unpack("!I", found[pp.CRC32C])[0]


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_the_backend_that_is_left_after_failures_gets_one_header_and_every_byte(
    start_sending: Callable, start_backend: Callable, refusing: Callable, silent: Callable, engine: str, version: str
) -> None:
    backend = start_backend(RecordingBackend())
    settings = {"balance": "round_robin", "retries": 3, "dial_budget": "2s"}
    proxy = start_sending([refusing(), silent(), refusing(), backend], splice=engine, send_proxy=version, **settings)
    header = {"v1": pp.v1, "v2": pp.v2}[version]
    sent = Counter()
    for _ in range(4):
        body = random.randbytes(300_000)
        with proxy.connect() as client:
            client.sendall(HELLO + body)
            client.shutdown(socket.SHUT_WR)
            expect_eof(client)
        sent[header(client.name, proxy.listener_name()) + HELLO + body] += 1
        line = proxy.outcome(client)
        assert (line["backend"], line["bytes_up"]) == (backend.address, str(len(HELLO + body)))
    assert Counter(backend.streams(4)) == sent


@pytest.mark.parametrize("kind", [NginxReceiver, HaproxyReceiver, ApacheReceiver])
@pytest.mark.parametrize("version", ["v1", "v2"])
def test_a_backend_that_demands_a_header_is_up(
    start_sending: Callable, start_receiver: Callable, enter: Callable, authority: Authority, kind: type, version: str
) -> None:
    receiver, counting = start_receiver(kind), enter(CheckedBackend())
    if kind is not ApacheReceiver:
        until(lambda: len(receiver.complaints()) == 1, "it has complained of the start, which only connected")
    before = receiver.complaints()
    backends = [receiver, {"address": counting.address, "backup": True}]
    proxy = start_sending(backends, send_proxy=version, check=check_table("tls"))
    until_health(proxy, receiver, "UP", "ServerHello")
    counting.until_checked(5)
    visit_from(proxy, receiver, authority)
    assert receiver.complaints() == before
    assert not proxy.lines_until_now(msg="backend is down")


@pytest.mark.parametrize("kind", [NginxReceiver, HaproxyReceiver])
def test_a_backend_that_demands_a_header_and_gets_none_is_down(
    start_sending: Callable, start_receiver: Callable, kind: type
) -> None:
    receiver = start_receiver(kind)
    proxy = start_sending([receiver], send_proxy="none", check=check_table("tls", name=NAME))
    until_health(proxy, receiver, "DOWN")


@pytest.mark.parametrize("version", ["v1", "v2"])
@pytest.mark.parametrize("check", ["tcp", "tls"])
def test_the_header_of_a_check_names_no_client(
    start_sending: Callable, start_backend: Callable, version: str, check: str
) -> None:
    backend = start_backend(ManualBackend())
    start_sending([backend], send_proxy=version, check=check_table(check))
    for _ in range(2):
        with backend.accept() as upstream:
            start = upstream.recv(16, socket.MSG_WAITALL)
            if version == "v2":
                assert start == pp.v2_raw(pp.LOCAL, pp.UNSPEC)
            else:
                assert start.startswith(b"PROXY TCP4 ")


def test_a_unix_socket_is_told_the_client(
    start_sending: Callable, start_receiver: Callable, authority: Authority, enter: Callable
) -> None:
    where = Path(enter(tempfile.TemporaryDirectory(prefix="mcp-", dir="/tmp")))
    for kind in (NginxReceiver, HaproxyReceiver):
        receiver = start_receiver(kind, f"unix:{where}/{kind.__name__}")
        for version in ("v1", "v2"):
            proxy = start_sending([receiver], send_proxy=version)
            visit_from(proxy, receiver, authority, "127.0.0.66")


def test_a_header_shares_the_segment_of_the_client_s_first_bytes(start_sending: Callable, enter: Callable) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        proxy = start_sending([f"127.0.0.1:{listener.getsockname()[1]}"])

        def segments() -> int:
            client = enter(proxy.connect())
            client.sendall(HELLO)
            backend = enter(listener.accept()[0])
            backend.settimeout(PATIENCE)
            wanted = len(pp.v2(client.name, proxy.listener_name())) + len(HELLO)
            until(lambda: len(backend.recv(2 * wanted, socket.MSG_PEEK)) == wanted, "both are there")
            # tcpi_data_segs_in of struct tcp_info (linux/tcp.h)
            return struct.unpack_from("I", backend.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 160), 152)[0]

        # A machine that stops for 200 ms between the two makes it two: the kernel then holds the header no longer.
        assert 1 in [segments() for _ in range(5)]


# ---- changes, and a new server


def test_a_pool_tells_the_client_or_not_from_the_next_connection_on(
    start_sending: Callable, start_backend: Callable
) -> None:
    backend = start_backend(RecordingBackend())
    proxy = start_sending([backend], send_proxy="none")
    for count, words in enumerate(((), ("v1",), ("v2",), ("none",)), 1):
        for word in words:
            done = proxy.cli("pools", "set", "app", "--send-proxy", word)
            assert done.code == 0, done.err
        with proxy.connect() as client:
            client.sendall(HELLO)
            client.shutdown(socket.SHUT_WR)
            expect_eof(client)
        header = {"v1": pp.v1, "v2": pp.v2}.get(*words or ("none",), lambda *_: b"")
        assert backend.streams(count)[-1] == header(client.name, proxy.listener_name()) + HELLO


def test_a_successor_takes_and_tells_headers_as_before(
    start_sending: Callable, start_receiver: Callable, authority: Authority, enter: Callable, keep: Callable
) -> None:
    receiver = start_receiver(NginxReceiver)
    proxy = start_sending([receiver], trusting({NAME: "pool=app"}))
    waiting = keep(come(proxy, HEADER[:20]))
    until(lambda: len(listed(proxy)) == 1, "the first server has it")
    heir = enter(proxy.successor())
    proxy.wait_log(msg=re.compile("handed over"))
    waiting.sendall(HEADER[20:])
    fetch(waiting, authority, NAME)
    receiver.line_of(CLIENT)
    header, other = named("10.9.0.7:80")
    client = come(heir, header, other)
    fetch(client, authority, NAME)
    receiver.line_of(other)
    assert heir.outcome(client)["via"].startswith(f"{FRONT}:")
    assert proxy.wait_end() == 0
