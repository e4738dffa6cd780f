# SPDX-License-Identifier: Apache-2.0
"""Checks of backends: who is down and who is back, with real TLS servers and backends that fail in every way."""

import asyncio
import contextlib
import re
import resource
import signal
import socket
import ssl
import subprocess
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from admin import AdministeredProxy, enum_name
from certs import Authority
from harness import (
    PATIENCE,
    SLOW_FACTOR,
    Backend,
    ManualBackend,
    Proxy,
    client_hello,
    echo,
    expect_echo,
    expect_rst,
    recv_to_eof,
    reserve_port,
    rst_close,
    until,
)
from pools import (
    CHECK_NAME,
    NAME,
    NO_REPLY,
    SERVER_HELLO,
    SHORT_TIMEOUT,
    CheckedBackend,
    Door,
    Filter,
    backends_of,
    check_table,
    pool_table,
    until_health,
)
from repeated import Repeated
from sites import HttpsSite, blocks
from tls_servers import GnutlsServer, NginxServer, OpensslServer, TlsServer, get, visit

SERVERS = [OpensslServer, GnutlsServer, NginxServer]

# The intervals of checks are shorter by up to a tenth (health/limits.hpp).
SHORTEST_S = 0.2 * 0.9

KEPT_GET = f"GET / HTTP/1.1\r\nHost: {NAME}\r\n\r\n".encode()


@pytest.fixture
def start_checked(start_pool: Callable) -> Callable[..., AdministeredProxy]:
    """start_checked(backends, check={...}, ...) returns a proxy whose one route leads to the checked pool "app"."""

    def start(backends: list, check: dict | None = None, **settings: object) -> AdministeredProxy:
        return start_pool(backends, check=check_table(**(check or {})), **settings)

    return start


@pytest.fixture
def start_server(enter: Callable, tmp_path: Path, authority: Authority) -> Callable[..., Any]:
    """start_server(NginxServer, ...) returns a server of NAME that runs."""
    return lambda kind, *flags, **options: enter(kind(tmp_path, authority.issue(NAME), *flags, **options))


def forget_checks(backend: ManualBackend) -> None:
    """Of those that were made so far."""
    while backend.has_connections():
        pass


def expect_checks(backend: ManualBackend, intervals: int) -> None:
    """Waits for checks, and fails if more than one comes in an interval."""
    backend.accept().close()
    began = time.monotonic()
    for _ in range(intervals):
        backend.accept().close()
    # The first one may be seen late. Two checks for each interval would take half of the time.
    assert time.monotonic() - began > (intervals - 2) * SHORTEST_S, "the backend is checked too often"


# ---- real servers


@pytest.mark.parametrize("kind", SERVERS)
def test_a_real_server_is_down_while_it_hangs_or_is_dead_and_back_after(
    start_checked: Callable, start_server: Callable, enter: Callable, authority: Authority, kind: type[TlsServer]
) -> None:
    server, other = start_server(kind), enter(HttpsSite(authority, NAME))
    proxy = start_checked([server, other], check={"timeout": SHORT_TIMEOUT}, balance="round_robin")

    def visited() -> set[str]:
        return {visit(proxy, authority, NAME)[0] for _ in range(4)}

    def expect_down(reason: str, times: int) -> None:
        line = proxy.wait_log(msg="backend is down", count=times)
        assert (line["backend"], line["pool"], line["checks"]) == (server.address, "app", "3")
        assert reason in line["reason"]
        until_health(proxy, server, "DOWN", reason)
        assert visited() == {other.address}

    def expect_up(times: int) -> None:
        line = proxy.wait_log(msg="backend is up", level="INFO", count=times)
        assert (line["backend"], line["reason"], line["checks"]) == (server.address, "ServerHello", "2")
        assert visited() == {server.address, other.address}

    for backend in (server, other):
        until_health(proxy, backend, "UP", "ServerHello")
    assert "ServerHello" in proxy.cli("backends", "list").out
    assert visited() == {server.address, other.address}
    server.freeze()
    expect_down(NO_REPLY, 1)
    server.thaw()
    expect_up(1)
    server.kill()
    expect_down("Connection refused", 2)
    for words in (("backends", "list"), ("status",)):
        assert re.search(rf"{server.address}.*down.*Connection refused", proxy.cli(*words).out, re.DOTALL), words
    server.start()
    expect_up(2)
    assert len(proxy.lines_until_now(msg="backend is down")) == 2
    assert not proxy.lines(msg="backend is down", backend=other.address)


@pytest.mark.parametrize("kind", SERVERS)
def test_a_server_without_the_name_is_down_until_the_check_asks_for_one_that_it_serves(
    start_checked: Callable, start_server: Callable, kind: type[TlsServer]
) -> None:
    server = start_server(kind, only_for=NAME)
    proxy = start_checked([server])
    until_health(proxy, server, "DOWN", "alert unrecognized_name")
    assert proxy.wait_log(msg="backend is down")["reason"] == "alert unrecognized_name"
    assert proxy.cli("pools", "set", "app", "--check-name", NAME).code == 0
    until_health(proxy, server, "UP", "ServerHello")


@pytest.mark.parametrize(
    ("kind", "flags", "alert"),
    [
        (OpensslServer, ("-tls1_2", "-cipher", "AES128-CCM8:@SECLEVEL=0"), "handshake_failure"),
        (OpensslServer, ("-tls1_1", "-cipher", "ALL:@SECLEVEL=0"), "protocol_version"),
        (GnutlsServer, ("--priority", "NORMAL:-VERS-ALL:+VERS-TLS1.2:-CIPHER-ALL:+AES-128-CCM"), "handshake_failure"),
    ],
)
def test_a_server_that_refuses_the_hello_for_another_reason_is_alive(
    start_checked: Callable, start_server: Callable, enter: Callable, kind: type[TlsServer], flags: tuple, alert: str
) -> None:
    server, other = start_server(kind, *flags), enter(CheckedBackend())
    proxy = start_checked([server, other])
    until_health(proxy, server, "UP", f"alert {alert} (alive, but it refuses this hello)")
    line = proxy.wait_log(msg=re.compile("refuses the hello"))
    assert (line["backend"], line["name"], line["level"]) == (server.address, CHECK_NAME, "WARN")
    assert alert in line["reason"]
    other.until_checked(5)
    assert len(proxy.lines_until_now(msg=re.compile("refuses the hello"))) == 1
    assert not proxy.lines(msg="backend is down")


# ---- ways to fail


def test_a_tcp_check_asks_whether_somebody_listens(start_checked: Callable, enter: Callable) -> None:
    door, other = enter(Door().open()), enter(Backend(echo))
    proxy = start_checked([door, other], check={"kind": "tcp"}, balance="round_robin")
    for backend in (door, other):
        until_health(proxy, backend, "UP", "connected")
    with proxy.admin.watch(kinds=["EVENT_KIND_BACKEND_HEALTH_CHANGED"]) as watch:
        door.shut()
        event = watch.expect("backend_health_changed")
        told = (event.pool, event.address, enum_name(event, "health"), event.reason)
        assert told == ("app", door.address, "BACKEND_HEALTH_DOWN", "Connection refused")
        assert {proxy.expect_served() for _ in range(4)} == {other.address}
        door.open()
        event = watch.expect("backend_health_changed")
        assert (event.address, enum_name(event, "health"), event.reason) == (door.address, "BACKEND_HEALTH_UP", "connected")
    until_health(proxy, door, "UP", "connected")
    assert {proxy.expect_served() for _ in range(4)} == {door.address, other.address}


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (b"", "closed without a reply"),
        (b"SSH-2.0-OpenSSH_10.0\r\n", "not TLS"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "not TLS"),
        (b"\x16\x03", "not TLS"),
    ],
)
def test_a_backend_without_tls_is_down(start_checked: Callable, enter: Callable, reply: bytes, reason: str) -> None:
    def answer(connection: socket.socket) -> None:
        connection.recv(1 << 16)
        connection.sendall(reply)

    backend = enter(Backend(answer))
    proxy = start_checked([backend])
    until_health(proxy, backend, "DOWN", reason)


def test_a_backend_that_resets_is_seen_by_clients_only_where_no_check_sees_it(start_pool: Callable, enter: Callable) -> None:
    resetting, alive = enter(Backend(rst_close)), enter(CheckedBackend())
    proxy = start_pool([resetting, alive], balance="round_robin")
    reasons = set()
    for _ in range(4):
        with proxy.connect() as client, contextlib.suppress(ConnectionError):
            expect_echo(client, client_hello(NAME))
        reasons.add((proxy.outcome(client)["backend"], proxy.outcome(client)["reason"]))
    assert (resetting.address, "backend_reset") in reasons
    assert {reason for backend, reason in reasons if backend == resetting.address} == {"backend_reset"}
    check = ("--check", "tls", "--check-name", CHECK_NAME, "--check-interval", "200ms")
    assert proxy.cli("pools", "set", "app", *check).code == 0
    until_health(proxy, resetting, "DOWN")
    assert {proxy.expect_served() for _ in range(4)} == {alive.address}


def test_four_of_five_backends_fail_each_in_its_way_and_every_client_is_served(
    own_network: None, start_checked: Callable, start_server: Callable, enter: Callable, authority: Authority
) -> None:
    healthy = [False]

    class Resetting(HttpsSite):
        def wrap(self, connection: socket.socket) -> socket.socket:
            if healthy[0]:
                return super().wrap(connection)
            rst_close(connection)
            raise ConnectionResetError

    alive, resetting = enter(HttpsSite(authority, NAME)), enter(Resetting(authority, NAME))
    refusing, unreachable, frozen = (start_server(kind) for kind in SERVERS)
    dead = (refusing, unreachable, resetting, frozen)
    network = Filter()
    network.treat(unreachable.address, "drop")
    refusing.kill()
    frozen.freeze()
    budget = 2 * SLOW_FACTOR
    proxy = start_checked(
        [*dead, alive],
        check={"timeout": SHORT_TIMEOUT},
        dial_budget=f"{budget}s",
        retries=4,
        balance="round_robin",
    )
    for backend in dead:
        until_health(proxy, backend, "DOWN")
    reasons = [backends_of(proxy)[backend.address].reason for backend in dead]
    assert reasons[:2] + reasons[3:] == ["Connection refused", NO_REPLY, NO_REPLY]
    assert reasons[2] in ("Connection reset by peer", "closed without a reply")
    wanted = b"".join(blocks(100_000))
    for _ in range(20):
        began = time.monotonic()
        assert visit(proxy, authority, NAME, "/100000") == (alive.address, wanted)
        assert time.monotonic() - began < budget
    told = backends_of(proxy)
    assert [told[backend.address].total_connections for backend in dead] == [0] * 4
    assert told[alive.address].total_connections == 20
    healthy[0] = True
    refusing.start()
    network.let_all_in()
    frozen.thaw()
    for backend in dead:
        until_health(proxy, backend, "UP", "ServerHello")
    assert {visit(proxy, authority, NAME)[0] for _ in range(10)} == {backend.address for backend in (*dead, alive)}
    assert not proxy.lines_until_now(msg="dial failed")


# ---- a check is not traffic


@pytest.mark.parametrize("kind", ["tcp", "tls"])
def test_a_check_is_no_connection_to_anyone_and_leaves_nothing_behind(
    own_network: None, start_administered: Callable, enter: Callable, kind: str
) -> None:
    backend = enter(CheckedBackend())
    metrics = enter(reserve_port("127.0.0.1")).getsockname()[1]
    table = {"address": backend.address, "max_connections": 1}
    proxy = start_administered(
        routes={NAME: "pool=app"},
        tables={
            "pools": [pool_table([table], check=check_table("tls")), pool_table([table], "too", check=check_table("tcp"))],
            "metrics": {"addr": f"127.0.0.1:{metrics}"},
        },
    )
    pool = {"tls": "app", "tcp": "too"}[kind]
    until_health(proxy, backend, "UP", pool=pool)

    def counted() -> tuple:
        with urllib.request.urlopen(f"http://127.0.0.1:{metrics}/metrics", timeout=PATIENCE) as answer:
            lines = answer.read().decode().splitlines()
        series = [line for line in lines if re.match("mc_proxy_(backend_|connections?_|bytes|dial)", line)]
        assert any("backend_connections_total" in line for line in series)
        status = proxy.admin.GetStatus()
        told = backends_of(proxy, pool)[backend.address]
        shown = (told.total_connections, told.active_connections, told.dial_failures, told.bytes_up, told.bytes_down)
        return series, status.total_connections, status.active_connections, shown

    before = counted()
    backend.until_checked(8)
    assert counted() == before
    assert proxy.admin.connections() == []
    with proxy.open_connection() as only:
        backend.until_checked(5)
        until_health(proxy, backend, "UP", pool=pool)  # the one connection that it may have takes no check's place
        assert [one.client for one in proxy.admin.connections()] == [only.name]
        proxy.expect_refused("backend_full")
    query = ["ss", "-Htan", "state", "time-wait", "dport", "=", f":{backend.address.rpartition(':')[2]}"]
    left = subprocess.run(query, capture_output=True, text=True, check=True).stdout.splitlines()
    assert len(left) <= 1, f"more than the client's connection: {left}"


@pytest.mark.parametrize("kind", ["tcp", "tls"])
def test_a_check_ends_by_a_reset(start_checked: Callable, enter: Callable, kind: str) -> None:
    backend = enter(ManualBackend())
    start_checked([backend], check={"kind": kind})
    with backend.accept() as connection:
        if kind == "tls":
            assert CHECK_NAME.encode() in connection.recv(1 << 16)
            connection.sendall(SERVER_HELLO)
        expect_rst(connection)


def test_a_check_that_waits_does_not_keep_a_server_that_stops(start_checked: Callable, enter: Callable) -> None:
    backend = enter(ManualBackend())
    proxy = start_checked([backend], check={"timeout": "1h"})
    with backend.accept() as check:
        assert CHECK_NAME.encode() in check.recv(1 << 16)
        assert proxy.stop() == 0
        expect_rst(check)
    proxy.start()


def test_a_proxy_that_stood_still_blames_no_backend_for_it(start_checked: Callable, enter: Callable) -> None:
    backend = enter(ManualBackend())
    timeout = SLOW_FACTOR
    proxy = start_checked([backend], check={"fall": 1, "timeout": f"{timeout}s"})
    with backend.accept() as check:
        assert CHECK_NAME.encode() in check.recv(1 << 16)
        proxy.send_signal(signal.SIGSTOP)
        check.sendall(SERVER_HELLO)
        time.sleep(timeout + 0.6)  # more than the timeout and health/limits.hpp's kStallMax, which no event shows
        proxy.send_signal(signal.SIGCONT)
        expect_rst(check)
    with backend.accept() as check:
        assert CHECK_NAME.encode() in check.recv(1 << 16)
        check.sendall(SERVER_HELLO)
        expect_rst(check)
    until_health(proxy, backend, "UP", "ServerHello")
    assert not proxy.lines_until_now(msg="backend is down")


def test_pools_with_the_same_target_and_check_share_its_checks(start_administered: Callable, enter: Callable) -> None:
    backend = enter(ManualBackend())
    pools = [pool_table([backend], name, check=check_table("tcp")) for name in ("app", "too", "three")]
    proxy = start_administered(routes={NAME: "pool=app"}, tables={"pools": pools})
    expect_checks(backend, 10)
    for name in ("app", "too", "three"):
        until_health(proxy, backend, "UP", "connected", name)
    backend.close()
    for name in ("app", "too", "three"):
        until_health(proxy, backend, "DOWN", "Connection refused", name)
    downs = proxy.lines_until_now(msg="backend is down")
    assert sorted(line["pool"] for line in downs) == ["app", "three", "too"]


# ---- what a backend that goes down does to connections


def test_sessions_of_a_backend_that_goes_down_are_reset_where_the_pool_says_so_and_another_is_up(
    start_checked: Callable, enter: Callable
) -> None:
    a, b = enter(CheckedBackend()), enter(CheckedBackend())
    proxy = start_checked([a, b], balance="round_robin", on_down="reset")
    for backend in (a, b):
        until_health(proxy, backend, "UP", "ServerHello")
    sessions = [enter(proxy.open_connection()) for _ in range(10)]
    at = {one.client: one.backend for one in proxy.admin.connections()}
    of_a = [session for session in sessions if at[session.name] == a.address]
    of_b = [session for session in sessions if at[session.name] == b.address]
    assert (len(of_a), len(of_b)) == (5, 5)
    a.replies = False
    for session in of_a:
        expect_rst(session)
        line = proxy.outcome(session)
        assert (line["msg"], line["reason"], line["backend"]) == ("connection closed", "backend_down", a.address)
    for session in of_b:
        expect_echo(session, b"goes on")
    b.replies = False
    until_health(proxy, b, "DOWN", "closed without a reply")
    b.until_checked(3)
    for session in of_b:
        expect_echo(session, b"goes on although no backend is alive")
    assert len(proxy.lines_until_now(reason="backend_down")) == 5


def test_sessions_of_a_backend_that_goes_down_are_kept_by_default(start_checked: Callable, enter: Callable) -> None:
    a, b = enter(CheckedBackend()), enter(CheckedBackend())
    proxy = start_checked([a, b], balance="round_robin")
    until_health(proxy, a, "UP")
    sessions = [enter(proxy.open_connection()) for _ in range(4)]
    a.replies = False
    until_health(proxy, a, "DOWN", "closed without a reply")
    a.until_checked(3)
    for session in sessions:
        expect_echo(session, b"goes on")


@pytest.mark.parametrize(("all_down", "reason"), [("try", "dial_refused"), ("refuse", "no_backend")])
def test_a_server_starts_while_all_backends_are_down_and_serves_when_the_first_is_up(
    start_checked: Callable, enter: Callable, all_down: str, reason: str
) -> None:
    a, b = enter(Door()), enter(Door())
    proxy = start_checked([a, b], check={"kind": "tcp"}, all_down=all_down)
    for backend in (a, b):
        until_health(proxy, backend, "DOWN", "Connection refused")
    for _ in range(3):
        proxy.expect_refused(reason)
    a.open()
    if all_down == "refuse":  # else to connect is itself the test
        until_health(proxy, a, "UP")
    assert {proxy.expect_served() for _ in range(4)} == {a.address}


def test_a_backend_that_flaps_fails_no_client_and_changes_no_faster_than_it_flaps(
    own_network: None, start_checked: Callable, enter: Callable
) -> None:
    flapping, steady = enter(Backend(echo)), enter(Backend(echo))
    network = Filter()
    proxy = start_checked([flapping, steady], check={"kind": "tcp"}, balance="round_robin")
    for backend in (flapping, steady):
        until_health(proxy, backend, "UP")
    turns, flap, served = 6, threading.Event(), []
    with Repeated(lambda: served.append(proxy.expect_served()), threads=2) as clients:
        for turn in range(turns):
            if turn % 2 == 0:
                network.treat(flapping.address, "reject with tcp reset")
            else:
                network.let_all_in()
            flap.wait(0.5)  # the time in which it flaps
    assert clients.failures == []
    assert steady.address in served
    until_health(proxy, flapping, "UP")
    until(lambda: proxy.expect_served() == flapping.address, "it gets traffic")
    changes = proxy.lines_until_now(msg=("backend is down", "backend is up"), level=("WARN", "INFO"))
    assert len(changes) <= turns
    assert {line["backend"] for line in changes} <= {flapping.address}
    assert [line["msg"] for line in changes] == ["backend is down", "backend is up"] * (len(changes) // 2)
    assert not proxy.lines(msg="dial failed")


# ---- who checks, and whom


def test_a_successor_goes_on_with_the_checks_and_the_old_server_stops_them(start_checked: Callable, enter: Callable) -> None:
    steady, checked = enter(Backend(echo)), enter(ManualBackend())
    old = start_checked([steady, {"address": checked.address, "weight": 0}], check={"kind": "tcp"})
    until_health(old, checked, "UP")
    with old.open_connection() as session:  # keeps the old server
        heir = enter(old.successor())
        old.wait_log(msg=re.compile("^handed over"))
        for backend in (steady, checked):
            until_health(heir, backend, "UP", "connected")
        forget_checks(checked)
        expect_checks(checked, 8)  # of one server, not of two
        checked.close()
        heir.wait_log(msg="backend is down", backend=checked.address, reason="Connection refused")
        assert heir.expect_served() == steady.address
        expect_echo(session, b"goes on")
    assert old.wait_end() == 0
    assert not old.lines(msg="backend is down")


def test_maintenance_stops_the_checks_and_drain_does_not(start_checked: Callable, enter: Callable) -> None:
    a, b = enter(ManualBackend()), enter(ManualBackend())
    proxy = start_checked([a, b], check={"kind": "tcp"})

    def set_state(state: str) -> None:
        done = proxy.cli("backends", "set", "app", a.address, "--state", state)
        assert done.code == 0, done.err

    until_health(proxy, a, "UP")
    set_state("drain")
    forget_checks(a)
    expect_checks(a, 3)
    until_health(proxy, a, "UP", "connected")
    set_state("maintenance")
    until_health(proxy, a, "UNCHECKED")
    for backend in (a, b):
        forget_checks(backend)
    expect_checks(b, 4)
    assert not a.has_connections()
    set_state("ready")
    a.accept().close()
    until_health(proxy, a, "UP", "connected")


def test_a_check_that_is_taken_away_leaves_the_backend_unchecked(start_checked: Callable, refusing: Callable) -> None:
    dead = refusing()
    proxy = start_checked([dead], check={"kind": "tcp"}, all_down="refuse")
    until_health(proxy, dead, "DOWN", "Connection refused")
    proxy.expect_refused("no_backend")
    assert proxy.cli("pools", "set", "app", "--check", "none").code == 0
    until_health(proxy, dead, "UNCHECKED")
    proxy.expect_refused("dial_refused")


# ---- a rolling restart


class Visitors:
    """Clients that stay: each has a connection on which it has got a page, and when the server ends that in order, opens
    another one. `failures` has all other ends."""

    def __init__(self, proxy: Proxy, authority: Authority, count: int) -> None:
        self._port = proxy.ports[0]
        self._context = ssl.create_default_context(cafile=authority.ca)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, args=(count,))
        self._writers: dict[int, asyncio.StreamWriter] = {}
        self._at_once = asyncio.Semaphore(50)
        self.count = count
        self.at: dict[int, str] = {}  # the page of each that waits for nothing
        self.pages = 0
        self.failures: list[str] = []

    def staying_at(self, server: NginxServer) -> int:
        return list(self.at.values()).count(str(server.port))

    def all_stay(self) -> bool:
        return len(self.at) == self.count or bool(self.failures)

    def ask_again(self) -> None:
        """Every one gets a page once more on its connection."""
        goal = self.pages + self.count

        def ask() -> None:
            for writer in self._writers.values():
                writer.write(KEPT_GET)

        self._loop.call_soon_threadsafe(ask)
        until(lambda: self.pages >= goal or self.failures, "each gets a page")

    async def _visit(self, number: int) -> None:
        while True:
            async with self._at_once:
                reader, writer = await asyncio.open_connection(
                    "127.0.0.1", self._port, ssl=self._context, server_hostname=NAME
                )
                writer.write(KEPT_GET)
                page = await self._page(reader)
            assert page is not None, "it ends before the first page"
            self._writers[number] = writer
            while page is not None:
                self.at[number] = page
                page = await self._page(reader)
            del self.at[number], self._writers[number]
            writer.close()

    async def _page(self, reader: asyncio.StreamReader) -> str | None:
        """The next page; None if the connection has ended."""
        if not (line := await reader.readline()):
            return None
        head = line + await reader.readuntil(b"\r\n\r\n")
        page = await reader.readexactly(int(re.search(rb"Content-Length: (\d+)", head)[1]))
        assert line.startswith(b"HTTP/1.1 200")
        self.pages += 1
        return page.decode()

    async def _guarded(self, number: int) -> None:
        try:
            await self._visit(number)
        except (OSError, EOFError, AssertionError) as failure:
            self.failures.append(repr(failure))

    def _run(self, count: int) -> None:
        self._all = [self._loop.create_task(self._guarded(number)) for number in range(count)]
        with contextlib.suppress(asyncio.CancelledError):
            self._loop.run_until_complete(asyncio.gather(*self._all))

    async def _leave(self) -> None:
        for task in self._all:
            task.cancel()

    def __enter__(self) -> "Visitors":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._leave(), self._loop)
        self._thread.join(PATIENCE)
        for writer in self._writers.values():
            writer.transport.abort()
        self._loop.run_until_complete(asyncio.sleep(0))
        self._loop.close()


def passers(proxy: Proxy, authority: Authority) -> Repeated:
    """Clients that come for one page, one after the other."""
    context = ssl.create_default_context(cafile=authority.ca)

    def fetch() -> None:
        with context.wrap_socket(proxy.connect(), server_hostname=NAME) as tls:
            tls.sendall(get(NAME))
            assert recv_to_eof(tls).startswith(b"HTTP/1.1 200")

    return Repeated(fetch, threads=2)


@pytest.fixture
def many_descriptors() -> Iterator[None]:
    """For this process and those that it starts."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(max(soft, 8192), hard), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.heavy
def test_a_rolling_restart_of_real_servers_fails_nobody(
    many_descriptors: None, start_checked: Callable, start_server: Callable, authority: Authority
) -> None:
    servers = [start_server(NginxServer) for _ in range(4)]
    proxy = start_checked(servers)
    for server in servers:
        until_health(proxy, server, "UP", "ServerHello")

    def set_state(server: TlsServer, state: str) -> None:
        done = proxy.cli("backends", "set", "app", server.address, "--state", state)
        assert done.code == 0, done.err

    def told(server: TlsServer):
        return backends_of(proxy)[server.address]

    slow = 3 * PATIENCE  # a thousand handshakes
    with Visitors(proxy, authority, 1000) as visitors, passers(proxy, authority) as passing:
        until(visitors.all_stay, "all visitors are there", slow)
        for server in servers:
            passing.more(20)
            set_state(server, "drain")
            until(lambda s=server: told(s).active_connections == visitors.staying_at(s), "all others leave it")
            assert visitors.staying_at(server) > 100 or visitors.failures
            server.quit()
            until(lambda s=server: visitors.all_stay() and visitors.staying_at(s) == 0, "its visitors move", slow)
            passing.more(20)
            server.start()
            before = told(server).total_connections
            set_state(server, "ready")
            until_health(proxy, server, "UP", "ServerHello")
            until(lambda s=server, before=before: told(s).total_connections > before, "it serves again")
        visitors.ask_again()
        assert visitors.failures == []
        assert passing.failures == []
    # A client that answers the end of TLS with its own may find that nginx has left, and at the test's end clients just go.
    ends = {line["reason"] for line in proxy.lines_until_now(msg="connection closed")}
    assert ends <= {"completed", "client_reset", "backend_reset"}, ends
    assert not proxy.lines(msg=("dial failed", "connection refused"))
    assert [told(server).dial_failures for server in servers] == [0] * 4
