# SPDX-License-Identifier: Apache-2.0
"""The PROXY protocol from a proxy in front of this one: who the client is. To backends: test_send_proxy.py.

The headers of the tables are built by lib/proxy_protocol.py; real programs send and receive them too
(lib/proxy_programs.py). Many cases are of other programs' bug trackers: address bytes after LOCAL (go-proxyproto#12,
dovecot#125), TLVs that an exact length refuses (p2pool#399), a hello lost with its header (nats-server#8302), a line
without its end (squid#342), v4-mapped addresses (sniproxy#334).
"""

import random
import re
import socket
import struct
import subprocess
import time
import urllib.request
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

import proxy_protocol as pp
from admin import CIDR, COUNTRY, IP, AdministeredProxy, rule
from behind_proxy import (
    CLIENT,
    CLIENT6,
    FRONT,
    FRONTEND,
    FRONTEND6,
    HEADER,
    HELLO,
    LINE,
    TRUSTED,
    come,
    listed,
    named,
    trusting,
)
from certs import Authority
from geoip import write_database
from harness import (
    PATIENCE,
    SLOW_FACTOR,
    Backend,
    Client,
    Listener,
    ManualBackend,
    TlsBackend,
    client_hello,
    echo,
    expect_echo,
    expect_eof,
    expect_rst,
    reserve_port,
    rst_close,
    send_byte_by_byte,
    send_until_refused,
    until,
)
from hello_site import NAME, Site, complete, wait_until_seen
from pools import pool_table
from proxy_programs import HaproxySender, NginxSender, StunnelSender
from sites import HttpsSite


@pytest.fixture
def start_behind_proxy(start_administered: Callable, start_backend: Callable) -> Callable[..., Site]:
    """start_behind_proxy(required=False, ...) returns a site with these settings of proxy_protocol. It has one worker."""

    def start(log_level: str = "info", firewall: dict | None = None, **settings: object) -> Site:
        backend = start_backend(ManualBackend())
        listener = trusting({NAME: backend}, **settings)
        proxy = start_administered(listeners=[listener], log_level=log_level, firewall=firewall, workers=1)
        return Site(proxy, backend)

    return start


@pytest.fixture
def site(start_behind_proxy: Callable) -> Site:
    return start_behind_proxy()


@pytest.fixture
def start_echoing(start_administered: Callable, backend: Backend) -> Callable[..., AdministeredProxy]:
    """start_echoing(required=False, ...): the same with a backend that echoes."""

    def start(firewall: dict | None = None, tables: dict | None = None, **settings: object) -> AdministeredProxy:
        return start_administered(listeners=[trusting({NAME: backend}, **settings)], firewall=firewall, tables=tables)

    return start


def expect_refused(site: Site, stream: bytes, reason: str, client: str | None = None) -> dict[str, str]:
    """What FRONT sends gets it reset, and no backend a connection. Returns the line of the log."""
    with come(site.proxy, client=client) as connection:
        send_until_refused(connection, stream)
        expect_rst(connection)
        line = site.proxy.outcome(connection)
    assert (line["msg"], line["reason"]) == ("connection refused", reason)
    assert not site.backend.has_connections()
    return line


# ---- in: headers


def line_of(size: int) -> bytes:
    """A line of so many bytes that names nobody."""
    return b"PROXY UNKNOWN ".ljust(size - 2, b"x") + b"\r\n"


GOOD = {
    "v1": (LINE, CLIENT),
    "v1_tcp6": (pp.v1(CLIENT6, FRONTEND6), CLIENT6),
    "v1_unknown": (b"PROXY UNKNOWN\r\n", None),
    "v1_unknown_of_107_bytes": (line_of(pp.LINE_MAX), None),
    "v2": (HEADER, CLIENT),
    "v2_tcp6": (pp.v2(CLIENT6, FRONTEND6), CLIENT6),
    "v2_mapped": (pp.v2("[::ffff:192.0.2.77]:4711", "[::ffff:192.0.2.1]:443"), CLIENT),
    "v2_local": (pp.v2_raw(pp.LOCAL, pp.UNSPEC), None),
    "v2_local_with_addresses": (pp.v2_raw(pp.LOCAL, pp.TCP4, bytes(12)), None),
    "v2_local_of_no_known_family": (pp.v2_raw(pp.LOCAL, 0xFF, bytes(5)), None),
    "v2_unspecified": (pp.v2_raw(pp.PROXY, pp.UNSPEC, pp.tlv(pp.NOOP, b"padding")), None),
    "v2_unix": (pp.v2_raw(pp.PROXY, pp.UNIX, bytes(216)), None),
    "v2_checksum": (pp.with_checksum(HEADER), CLIENT),
    "v2_tlvs": (pp.v2(CLIENT, FRONTEND, pp.tlv(pp.AUTHORITY, b"other.test") + pp.tlv(0xEE, b"")), CLIENT),
    "v2_unique_id_of_128_bytes": (pp.v2(CLIENT, FRONTEND, pp.tlv(pp.UNIQUE_ID, bytes(128))), CLIENT),
    "v2_of_16_kib": (pp.v2(CLIENT, FRONTEND, pp.tlv(pp.NOOP, bytes(16_384 - len(HEADER) - 3))), CLIENT),
}


@pytest.mark.parametrize(("header", "client"), GOOD.values(), ids=GOOD)
def test_a_header_in_one_segment_with_the_hello_names_the_client(site: Site, header: bytes, client: str | None) -> None:
    with come(site.proxy, header + HELLO, client) as connection:
        line = complete(site.proxy, connection, site.backend, HELLO)
    assert line["sni"] == NAME
    if client is None:
        assert "via" not in line
    else:
        assert line["via"].startswith(f"{FRONT}:")


@pytest.mark.parametrize("header", [LINE, HEADER, pp.with_checksum(HEADER)], ids=["v1", "v2", "v2_checksum"])
def test_a_header_and_a_hello_may_come_byte_by_byte(site: Site, header: bytes) -> None:
    with come(site.proxy) as connection:
        send_byte_by_byte(connection, header + HELLO)
        complete(site.proxy, connection, site.backend, HELLO)


@pytest.mark.parametrize("header", [LINE, HEADER], ids=["v1", "v2"])
def test_a_pause_may_be_at_any_byte(site: Site, header: bytes) -> None:
    for cut in range(1, len(header) + 2):
        with come(site.proxy) as connection:
            stream = header + HELLO
            connection.sendall(stream[:cut])
            wait_until_seen(site, connection)
            connection.sendall(stream[cut:])
            complete(site.proxy, connection, site.backend, HELLO)


def test_a_client_is_known_as_soon_as_its_header_has_come(site: Site) -> None:
    with come(site.proxy, HEADER) as connection:
        until(lambda: [one["client"] for one in listed(site.proxy)] == [CLIENT], "the client is listed")
        connection.sendall(HELLO)
        complete(site.proxy, connection, site.backend, HELLO)


def with_urgent_byte(client: Client, stream: bytes, at: int) -> None:
    client.sendall(stream[:at])
    client.send(stream[at : at + 1], socket.MSG_OOB)
    client.sendall(stream[at + 1 :])


@pytest.mark.parametrize("header", [LINE, HEADER], ids=["v1", "v2"])
def test_an_urgent_byte_at_the_start_of_header_or_hello_is_a_byte_like_others(site: Site, header: bytes) -> None:
    for at in (0, len(header)):
        with come(site.proxy) as connection:
            with_urgent_byte(connection, header + HELLO, at)
            complete(site.proxy, connection, site.backend, HELLO)


@pytest.mark.parametrize("header", [LINE, HEADER], ids=["v1", "v2"])
def test_an_urgent_byte_inside_of_a_header_lasts_until_the_time_limit(start_behind_proxy: Callable, header: bytes) -> None:
    """Linux shows nobody the bytes behind it who leaves those before it in the queue, and no sender has urgent bytes."""
    site = start_behind_proxy(timeout="3s")
    with come(site.proxy, client=None) as connection:
        with_urgent_byte(connection, header + HELLO, 5)
        expect_rst(connection)
        assert site.proxy.outcome(connection)["reason"] == "proxy_timeout"


NO_HEADER, LINE_WRONG, ADDRESSES = "no PROXY header", "malformed line", "wrong addresses"
TLV_WRONG, FAMILY = "malformed TLV", "unsupported address family"
ADDRESS_BYTES = HEADER[16:]

BAD = {
    "hello": (HELLO, NO_HEADER),
    "first_byte_of_a_hello": (HELLO[:1], NO_HEADER),
    "http": (b"GET / HTTP/1.1\r\n\r\n", NO_HEADER),
    "almost_v1": (b"PROXX", NO_HEADER),
    "almost_v2": (pp.SIGNATURE[:11] + b"\r", NO_HEADER),
    "v1_of_108_bytes": (line_of(pp.LINE_MAX + 1), "header too long"),
    "v1_without_an_end": (b"PROXY UNKNOWN ".ljust(200, b"x"), "header too long"),
    "v1_lf_alone": (LINE.replace(b"\r\n", b"\n"), LINE_WRONG),
    "v1_cr_alone": (LINE.replace(b"\r\n", b"\rx"), LINE_WRONG),
    "v1_two_spaces": (LINE.replace(b" 443", b"  443"), LINE_WRONG),
    "v1_udp": (LINE.replace(b"TCP4", b"UDP4"), FAMILY),
    "v1_leading_zero": (LINE.replace(b" 443", b" 0443"), ADDRESSES),
    "v1_port_too_large": (LINE.replace(b" 443", b" 65536"), ADDRESSES),
    "v1_v6_as_v4": (pp.v1(CLIENT6, FRONTEND6).replace(b"TCP6", b"TCP4"), ADDRESSES),
    "v2_version": (pp.v2_raw(0x11, pp.TCP4, ADDRESS_BYTES), "unknown version"),
    "v2_command": (pp.v2_raw(0x22, pp.TCP4, ADDRESS_BYTES), "unknown command"),
    "v2_udp": (pp.v2_raw(pp.PROXY, pp.UDP4, ADDRESS_BYTES), FAMILY),
    "v2_tcp4_one_byte_short": (pp.v2_raw(pp.PROXY, pp.TCP4, bytes(11)), ADDRESSES),
    "v2_tcp4_one_byte_more": (pp.v2_raw(pp.PROXY, pp.TCP4, bytes(13)), TLV_WRONG),
    "v2_tcp6_one_byte_short": (pp.v2_raw(pp.PROXY, pp.TCP6, bytes(35)), ADDRESSES),
    "v2_tcp6_one_byte_more": (pp.v2_raw(pp.PROXY, pp.TCP6, bytes(37)), TLV_WRONG),
    "v2_unix_one_byte_short": (pp.v2_raw(pp.PROXY, pp.UNIX, bytes(215)), ADDRESSES),
    "v2_unix_one_byte_more": (pp.v2_raw(pp.PROXY, pp.UNIX, bytes(217)), TLV_WRONG),
    "v2_tlv_overrun": (pp.v2(CLIENT, FRONTEND, bytes([pp.NOOP]) + struct.pack("!H", 5) + b"four"), TLV_WRONG),
    "v2_tlv_one_byte_left": (pp.v2(CLIENT, FRONTEND, pp.tlv(pp.NOOP, b"four") + b"!"), TLV_WRONG),
    "v2_unique_id_of_129_bytes": (pp.v2(CLIENT, FRONTEND, pp.tlv(pp.UNIQUE_ID, bytes(129))), TLV_WRONG),
    "v2_checksum_one_bit_wrong": (pp.with_checksum(HEADER, damage=1), "wrong checksum"),
    "v2_checksum_twice": (pp.with_checksum(pp.with_checksum(HEADER)), TLV_WRONG),
    "v2_too_long": (pp.v2_raw(pp.PROXY, pp.TCP4, b"", length=16_384 - 15), "header too long"),
}


@pytest.mark.parametrize(("stream", "error"), BAD.values(), ids=BAD)
def test_a_wrong_header_is_refused_at_once_and_told_why(site: Site, stream: bytes, error: str) -> None:
    line = expect_refused(site, stream, "proxy_header")
    assert line["error"] == error
    assert "via" not in line


@pytest.mark.parametrize("wrong", [1, -1])
def test_a_length_that_is_wrong_by_one_byte_of_the_hello_is_found_there(site: Site, wrong: int) -> None:
    expect_refused(site, pp.v2_raw(pp.LOCAL, pp.TCP4, bytes(12), length=12 + wrong) + HELLO, "not_tls")


@pytest.mark.parametrize("second", [LINE, HEADER], ids=["v1", "v2"])
def test_a_second_header_is_no_tls(site: Site, second: bytes) -> None:
    line = expect_refused(site, HEADER + second + HELLO, "not_tls", CLIENT)
    assert line["via"].startswith(f"{FRONT}:")


# ---- in: who may send one, and when


def test_others_may_not_connect_by_default(start_behind_proxy: Callable) -> None:
    site = start_behind_proxy(others="refuse")
    site.proxy.expect_blocked("proxy_header")
    with come(site.proxy, HEADER + HELLO) as connection:
        complete(site.proxy, connection, site.backend, HELLO)


@pytest.mark.parametrize("header", [LINE, HEADER], ids=["v1", "v2"])
def test_the_header_of_others_who_connect_themselves_is_no_tls(site: Site, header: bytes) -> None:
    with site.proxy.connect() as client:
        send_until_refused(client, header + HELLO)
        expect_rst(client)
        line = site.proxy.outcome(client)
    assert line["reason"] == "not_tls"
    assert not site.proxy.lines_until_now(client=CLIENT)
    with site.proxy.connect() as client:
        client.sendall(HELLO)
        line = complete(site.proxy, client, site.backend, HELLO)
    assert "via" not in line


def test_a_header_that_is_not_required_may_be_there_or_not(start_behind_proxy: Callable) -> None:
    site = start_behind_proxy(required=False)
    for header, client in ((b"", None), (HEADER, CLIENT), (LINE, CLIENT)):
        with come(site.proxy, header + HELLO, client) as connection:
            line = complete(site.proxy, connection, site.backend, HELLO)
        assert ("via" in line) == (client is not None)
    for stream in (b"GET / HTTP/1.1\r\n\r\n", b"PROXX"):
        expect_refused(site, stream, "not_tls")
    assert expect_refused(site, LINE.replace(b" 443", b" 0443"), "proxy_header")["error"] == ADDRESSES


def test_a_header_and_a_hello_have_a_time_limit_each(start_administered: Callable, start_backend: Callable) -> None:
    backend = start_backend(ManualBackend())
    late = trusting({NAME: backend}, timeout="3s")
    short = Listener({NAME: backend}, settings={"proxy_protocol": TRUSTED, "hello_timeout": f"{300 * SLOW_FACTOR}ms"})
    proxy = start_administered(listeners=[late, short], workers=1)
    began = time.monotonic()
    with ExitStack() as stack:
        waiting = [stack.enter_context(come(proxy, part, None)) for part in (b"", LINE[:-1], HEADER[:20])]
        silent = stack.enter_context(come(proxy, HEADER, listener=1))
        expect_rst(silent)
        line = proxy.outcome(silent)
        assert (line["reason"], line["client"]) == ("hello_timeout", CLIENT)
        for connection in waiting:
            expect_rst(connection)
            assert proxy.outcome(connection)["reason"] == "proxy_timeout"
        assert time.monotonic() - began >= 3


@pytest.mark.parametrize("leave", [Client.close, rst_close], ids=["in_order", "reset"])
@pytest.mark.parametrize("header", [pp.v2_raw(pp.LOCAL, pp.UNSPEC), pp.v2_raw(pp.LOCAL, pp.TCP4, bytes(12))])
def test_a_check_by_the_proxy_in_front_is_no_failure(start_behind_proxy: Callable, header: bytes, leave: Callable) -> None:
    site = start_behind_proxy(log_level="debug")
    connection = come(site.proxy, header, None)
    wait_until_seen(site, connection)
    leave(connection)
    line = site.proxy.outcome(connection)
    assert (line["reason"], line["level"]) == ("proxy_local", "DEBUG")
    assert dict(site.proxy.admin.GetStatus().ended) == {"completed": 1, "proxy_local": 1}


def test_a_proxy_that_leaves_before_its_header_is_told_quietly_if_it_has_said_nothing(start_behind_proxy: Callable) -> None:
    site = start_behind_proxy(log_level="debug")
    for part, level in ((b"", "DEBUG"), (HEADER[:10], "INFO")):
        with come(site.proxy, part, None) as connection:
            connection.shutdown(socket.SHUT_WR)
            line = site.proxy.outcome(connection)
        assert (line["reason"], line["level"]) == ("client_closed", level)


# ---- in: the client that is named is the client


def test_the_named_client_is_shown_everywhere(start_echoing: Callable, backend: Backend) -> None:
    proxy = start_echoing()
    with proxy.admin.watch() as watch, come(proxy, HEADER) as connection:
        expect_echo(connection, HELLO)
        via = "{}:{}".format(*connection.getsockname())
        (shown,) = listed(proxy)
        assert (shown["client"], shown["via"], shown["backend"]) == (CLIENT, via, backend.address)
        opened = watch.expect("connection_opened").connection
        assert (opened.client, opened.via) == (CLIENT, via)
        connection.shutdown(socket.SHUT_WR)
        expect_eof(connection)
        closed = watch.expect("connection_closed").connection
        assert (closed.client, closed.via) == (CLIENT, via)
        line = proxy.outcome(connection)
        assert (line["client"], line["via"]) == (CLIENT, via)
        with come(proxy, HEADER + client_hello("nowhere.test")) as refused:
            expect_rst(refused)
        told = watch.expect("connection_refused")
        assert (told.reason, told.connection.client) == ("no_route", CLIENT)
        assert told.connection.via.startswith(f"{FRONT}:")


BLOCKED = {"blocked_ip": (IP, "192.0.2.77"), "blocked_cidr": (CIDR, "192.0.2.0/24"), "blocked_country": (COUNTRY, "FR")}


@pytest.fixture
def geolocating(tmp_path: Path) -> dict[str, str]:
    """The firewall's table: 192.0.2.0/24 is in FR, and FRONT in DE."""
    return {"geoip_db": str(write_database(tmp_path / "GeoLite2-Country.mmdb", "country"))}


@pytest.mark.parametrize(("reason", "blocked"), BLOCKED.items(), ids=BLOCKED)
def test_a_named_client_that_is_blocked_is_refused_and_the_proxy_that_names_it_is_not(
    start_behind_proxy: Callable, geolocating: dict, reason: str, blocked: tuple
) -> None:
    site = start_behind_proxy(firewall=geolocating)
    site.proxy.admin.AddFirewallRule(rule=rule(*blocked))
    for header in (LINE, HEADER):
        line = expect_refused(site, header + HELLO, reason, CLIENT)
        assert line["via"].startswith(f"{FRONT}:")
        assert line["sni"] == "", "it is refused before its hello"
    header, other = named("10.9.0.7:80")
    with come(site.proxy, header + HELLO, other) as connection:
        complete(site.proxy, connection, site.backend, HELLO)
    assert dict(site.proxy.admin.GetStatus().ended) == {reason: 2, "completed": 1}


@pytest.mark.parametrize("value", [value for _, value in BLOCKED.values()], ids=BLOCKED)
def test_a_new_rule_cuts_the_connections_of_the_named_client(
    start_echoing: Callable, geolocating: dict, value: str
) -> None:
    proxy = start_echoing(firewall=geolocating)
    header, other = named("10.9.0.7:80")
    with come(proxy, HEADER) as blocked, come(proxy, header, other) as admitted, proxy.open_connection() as direct:
        for connection in (blocked, admitted):
            expect_echo(connection, HELLO)
        done = proxy.cli("firewall", "add", value, "--cut")
        assert done.code == 0, done.err
        expect_rst(blocked)
        assert proxy.outcome(blocked)["reason"] == "firewall_cut"
        for connection in (admitted, direct):
            expect_echo(connection, b"goes on")


def test_a_proxy_that_is_blocked_itself_does_not_get_in_and_is_cut(start_echoing: Callable) -> None:
    proxy = start_echoing()
    with come(proxy, HEADER) as connection, proxy.open_connection() as direct:
        expect_echo(connection, HELLO)
        proxy.admin.AddFirewallRule(rule=rule(IP, FRONT), cut_established=True)
        expect_rst(connection)
        assert proxy.outcome(connection)["reason"] == "firewall_cut"
        proxy.expect_blocked("blocked_ip", FRONT)
        expect_echo(direct, b"goes on")


def test_many_clients_at_once_are_not_mistaken_for_each_other(start_administered: Callable, backend: Backend) -> None:
    proxy = start_administered(listeners=[trusting({NAME: backend})], workers=4)

    def visit(number: int) -> tuple[str, str]:
        client = f"10.1.{number // 256}.{number % 256}:{10_000 + number}"
        header = pp.v1(client, FRONTEND) if number % 2 else pp.with_checksum(pp.v2(client, FRONTEND))
        with come(proxy, header, client) as connection:
            expect_echo(connection, HELLO + number.to_bytes(4))
            return client, "{}:{}".format(*connection.getsockname())

    with ThreadPoolExecutor(32) as many:
        came = sorted(many.map(visit, range(1000)))
    until(lambda: len(proxy.lines(msg="connection closed")) == len(came), "each has ended")
    assert sorted((line["client"], line["via"]) for line in proxy.lines(msg="connection closed")) == came


def test_a_filter_means_the_named_client(start_echoing: Callable, enter: Callable) -> None:
    proxy = start_echoing()
    for i in range(6):
        header, client = named(f"192.0.2.{i}:1000" if i < 4 else f"10.9.0.{i}:1000")
        expect_echo(enter(come(proxy, header, client)), HELLO)
    assert {one["client"] for one in listed(proxy, "--source", "10.9.0.0/24")} == {"10.9.0.4:1000", "10.9.0.5:1000"}
    assert len(listed(proxy, "--source", "192.0.2.0/24")) == 4
    assert listed(proxy, "--source", FRONT) == []
    assert proxy.cli("connections", "close", "--source", "192.0.2.3").out == "closed 1 connection\n"
    until(lambda: len(listed(proxy)) == 5, "the others are still there")


def test_a_hash_of_the_source_is_of_the_named_client(start_administered: Callable, start_backend: Callable) -> None:
    pool = pool_table([start_backend(Backend(echo)) for _ in range(4)], balance="hash_source")
    proxy = start_administered(listeners=[trusting({NAME: "pool=app"})], tables={"pools": [pool]})

    def home(number: int) -> str:
        header, client = named(f"127.0.1.{number}:{random.randrange(1, 65536)}")
        with come(proxy, header, client) as connection:
            expect_echo(connection, HELLO)
        return proxy.outcome(connection)["backend"]

    homes = [home(i) for i in range(20)]
    assert len(set(homes)) == 4
    assert [home(i) for i in range(20)] == homes
    assert [proxy.expect_served(source=f"127.0.1.{i}") for i in range(1, 20)] == homes[1:], "as if they came themselves"


def test_each_reason_is_counted(start_echoing: Callable, enter: Callable) -> None:
    metrics = enter(reserve_port("127.0.0.1"))
    address = "{}:{}".format(*metrics.getsockname())
    proxy = start_echoing(tables={"metrics": {"addr": address}}, timeout="3s")
    proxy.admin.AddFirewallRule(rule=rule(CIDR, "10.0.0.0/8"))
    streams = [
        (b"PROXY UNKNOWN", None, "proxy_timeout"),
        (HELLO, None, "proxy_header"),
        (pp.with_checksum(HEADER, damage=8), None, "proxy_header"),
        (*named("10.9.0.7:80"), "blocked_cidr"),
    ]
    for stream, client, _ in streams:
        with come(proxy, stream, client) as connection:
            expect_rst(connection)
    with come(proxy, pp.v2_raw(pp.LOCAL, pp.UNSPEC), None) as connection:
        connection.shutdown(socket.SHUT_WR)
        expect_eof(connection)
    wanted = Counter(reason for _, _, reason in streams) + Counter(proxy_local=1)
    until(lambda: dict(proxy.admin.GetStatus().ended) == wanted, "the status has all")
    with urllib.request.urlopen(f"http://{address}/metrics", timeout=PATIENCE) as scrape:
        text = scrape.read().decode()
    counts = re.findall(r'^mc_proxy_connections_ended_total\{.*reason="(\w+)".*\} (\d+)$', text, re.MULTILINE)
    assert {reason: int(count) for reason, count in counts if int(count) > 0} == wanted


# ---- in: real programs

V2_OF_ALL = ("send-proxy-v2", "proxy-v2-options", "authority,crc32c,unique-id")

SENDERS = {
    "nginx": (NginxSender, (), False),
    "haproxy_v1": (HaproxySender, ("send-proxy",), False),
    "haproxy_v2": (HaproxySender, ("send-proxy-v2",), False),
    "haproxy_v2_tlvs": (HaproxySender, V2_OF_ALL, True),
    "stunnel": (StunnelSender, (), True),
}


@pytest.mark.parametrize(("kind", "flags", "ends_tls"), SENDERS.values(), ids=SENDERS)
def test_a_real_proxy_in_front_names_its_client(
    start_administered: Callable,
    start_backend: Callable,
    enter: Callable,
    tmp_path: Path,
    authority: Authority,
    kind: type,
    flags: tuple,
    ends_tls: bool,
) -> None:
    certificate = authority.issue(NAME)
    makes_tls = kind is HaproxySender and ends_tls
    backend = start_backend(TlsBackend(echo, certificate) if makes_tls else Backend(echo))
    proxy = start_administered(listeners=[trusting({NAME: backend}, others="refuse")])
    sender = enter(kind(tmp_path, proxy.listener_name(), FRONT, *flags, certificate=certificate if ends_tls else None))
    with proxy.admin.watch(kinds=["EVENT_KIND_CONNECTION_OPENED"]) as watch, Client() as client:
        stream = sender.reach(client, "127.0.0.66", NAME)
        with stream:
            expect_echo(stream, HELLO)
            event = watch.expect("connection_opened").connection
            (shown,) = (one for one in listed(proxy) if one["client"] == client.name)
            assert event.client == client.name
            assert event.via == shown["via"]
            assert shown["via"].startswith(f"{FRONT}:")
    line = proxy.outcome(client)
    assert (line["msg"], line["sni"], line["via"]) == ("connection closed", NAME, event.via)


def test_curl_names_itself(start_administered: Callable, enter: Callable, authority: Authority) -> None:
    proxy = start_administered(listeners=[trusting({NAME: enter(HttpsSite(authority, NAME))}, others="refuse")])
    done = subprocess.run(
        [
            "curl", "--silent", "--show-error", "--fail", "--interface", FRONT, "--haproxy-protocol",
            "--cacert", authority.ca, "--connect-to", f"::{proxy.listener_name()}", f"https://{NAME}/",
        ],
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert NAME in done.stdout, done.stderr
    line = proxy.wait_log(msg="connection closed", sni=NAME)
    assert line["client"] == line["via"]


@pytest.mark.parametrize("version", ["send-proxy", "send-proxy-v2"])
def test_the_checks_of_haproxy_in_front_leave_no_line(
    start_administered: Callable, backend: Backend, enter: Callable, tmp_path: Path, version: str
) -> None:
    """HAProxy sends a header and resets the connection at once, most often before it is accepted."""
    proxy = start_administered(listeners=[trusting({NAME: backend}, others="refuse")])
    enter(HaproxySender(tmp_path, proxy.listener_name(), FRONT, version, "check", "inter", "100ms"))

    def ended() -> dict[str, int]:
        return dict(proxy.admin.GetStatus().ended)

    until(lambda: sum(ended().values()) > 5, "it has checked")
    assert set(ended()) <= {"proxy_local", "client_closed", "client_reset"}
    assert not proxy.lines_until_now(client=re.compile(""))
