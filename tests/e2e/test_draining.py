# SPDX-License-Identifier: Apache-2.0
"""Servers that another one has succeeded and that still have connections: those go on until they end, and the server
that serves lists, counts, closes, cuts and stops them.
"""

import json
import os
import re
import signal
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import pytest

from admin import CIDR, IP, MALLORY, TRENT, AdministeredProxy, refused, rule
from harness import PATIENCE, SLOW_FACTOR, Backend, Client, Listener, Proxy, client_hello, expect_echo, expect_rst, until
from test_metrics import MeteredProxy

HELLO = client_hello("app.example.com")
LONG = "120s"
DRAINING_MAX = 8


def opened(server: Proxy, source: str | None = None) -> Client:
    client = server.connect(source)
    expect_echo(client, HELLO)
    return client


class Line:
    """Servers one after the other, each the successor of the one before, and the connections that they have."""

    def __init__(self, first: AdministeredProxy):
        self.servers = [first]
        self.clients: list[Client] = []

    def connect(self, source: str | None = None) -> Client:
        self.clients.append(opened(self.serving, source))
        return self.clients[-1]

    def upgrade(self) -> AdministeredProxy:
        heir = self.serving.successor()
        heir.start()
        self.serving.wait_log(msg=re.compile("^handed over"))
        self.servers.append(heir)
        return heir

    def __enter__(self) -> "Line":
        return self

    def __exit__(self, *_: object) -> None:
        """Servers that drain end with their last connection."""
        for client in self.clients:
            client.close()
        for server in reversed(self.servers):
            if server.runs:
                assert (server.stop() if server is self.serving else server.wait_end()) == 0

    @property
    def serving(self) -> AdministeredProxy:
        return self.servers[-1]

    @property
    def draining(self) -> list[AdministeredProxy]:
        return self.servers[:-1]


@pytest.fixture
def line(start_administered: Callable, backend: Backend) -> Iterator[Line]:
    """Four servers, of which three drain with a connection each; the fourth has one too."""
    with Line(start_administered(routes={"app.example.com": backend}, shutdown_timeout=LONG)) as made:
        for _ in range(3):
            made.connect()
            made.upgrade()
        made.connect()
        yield made


def ended(server: Proxy) -> str:
    """The reasons that the connections of a server ended for: "completed=1"."""
    assert server.wait_end() == 0
    return server.wait_log(msg="stopped")["ended"]


def sockets_beside(proxy: Proxy) -> set[str]:
    return {path.name for path in proxy.database.parent.glob(f"{proxy.database.name}.draining.*")}


def test_connections_outlive_three_upgrades_and_are_listed_with_all_others(line: Line):
    for client in line.clients:
        expect_echo(client, b"1000 bytes" * 100)
    serving = line.serving
    listed = {one.client: one for one in serving.admin.connections()}
    assert set(listed) == {client.name for client in line.clients}
    for server, client in zip(line.servers, line.clients, strict=True):
        one = listed[client.name]
        assert (one.sni, one.listener_addr) == ("app.example.com", serving.listener_name())
        assert one.bytes_up == one.bytes_down == len(HELLO) + 1000
        prefix = "" if server is serving else f"{server.pid}/"
        assert re.fullmatch(rf"{prefix}\d+-\d+", one.id), one.id
    assert serving.cli("connections", "list").out.count("app.example.com") == 4


def test_status_tells_the_servers_that_drain_and_counts_their_connections(line: Line):
    status = line.serving.admin.GetStatus()
    assert [one.pid for one in status.draining] == [server.pid for server in line.draining]
    assert [(one.replies, one.active_connections) for one in status.draining] == [(True, 1)] * 3
    assert status.active_connections == 4
    assert [listener.active_connections for listener in status.listeners] == [4]
    assert status.total_connections == 1  # a counter of this server
    assert all(0 <= time.time() - one.since.seconds < PATIENCE for one in status.draining)
    text = line.serving.cli("status").out
    for server in line.draining:
        assert re.search(rf"^draining: pid {server.pid} v[\d.]+, 1 connection, for \d+s$", text, re.M), text
    assert f"{line.serving.listener_name()} routes=1 active=4" in text


def test_what_ends_by_itself_ends_its_server_and_its_socket(line: Line):
    for server, client in zip(line.draining, line.clients, strict=False):
        client.shutdown(socket.SHUT_WR)
        assert client.recv(1) == b""
        assert ended(server) == "completed=1"
    assert sockets_beside(line.serving) == set()
    assert list(line.serving.admin.GetStatus().draining) == []


def test_closing_reaches_the_connections_of_every_server(line: Line):
    source = "127.0.0.1"
    assert line.serving.admin.CloseConnections(filter={"source": source}, dry_run=True).closed == 4
    answer = line.serving.cli("connections", "close", "--source", source)
    assert (answer.code, answer.out) == (0, "closed 4 connections\n")
    for client in line.clients:
        expect_rst(client)
    assert [ended(server) for server in line.draining] == ["closed_by_operator=1"] * 3


def test_one_connection_of_one_server_is_closed_by_its_id(line: Line):
    second = line.clients[1]
    (listed,) = [one for one in line.serving.admin.connections() if one.client == second.name]
    assert [one.client for one in line.serving.admin.connections(id=listed.id)] == [second.name]
    assert line.serving.admin.close_connections(id=listed.id) == 1
    expect_rst(second)
    for client in (line.clients[0], *line.clients[2:]):
        expect_echo(client, b"not meant")
    assert line.serving.admin.close_connections(id=listed.id) == 0
    assert line.serving.cli("connections", "close", "--id", listed.id).code == 1


def test_a_listener_that_is_configured_no_more_is_asked_of_the_servers_that_have_it(
    start_administered: Callable, backend: Backend
):
    two = [Listener({"app.example.com": backend}), Listener({"app.example.com": backend})]
    with Line(start_administered(listeners=two)) as line:
        first = line.connect()
        second = line.servers[0].connect(listener=1)
        line.clients.append(second)
        expect_echo(second, HELLO)
        config = line.serving.config
        text = config.read_text()
        gone = line.serving.listener_name(1)
        begin = text.index("[[listeners]]", text.index("[[listeners]]") + 1)
        config.write_text(text[:begin] + text[text.index("[database]") :])
        serving = line.upgrade()
        assert [one.client for one in serving.admin.connections(listener_addr=gone)] == [second.name]
        assert serving.admin.close_connections(listener_addr=gone) == 1
        expect_rst(second)
        assert [one.client for one in serving.admin.connections(listener_addr=serving.listener_name())] == [first.name]
        assert [one.active_connections for one in serving.admin.GetStatus().listeners] == [1]


def test_a_filter_that_nobody_understands_is_refused_as_ever(line: Line):
    with refused(grpc.StatusCode.NOT_FOUND, ":1"):
        line.serving.admin.connections(listener_addr=":1")
    with refused(grpc.StatusCode.INVALID_ARGUMENT):
        line.serving.admin.connections(source="nowhere")
    assert line.serving.admin.connections(id="4711/0-1") == []


@pytest.mark.parametrize("kind", [IP, CIDR])
def test_a_new_rule_cuts_the_connections_of_every_server(
    start_administered: Callable, backend: Backend, kind: str
):
    with Line(start_administered(routes={"app.example.com": backend})) as line:
        for _ in range(2):
            line.connect(MALLORY)
            line.connect(TRENT)
            line.upgrade()
        value = MALLORY if kind == IP else f"{MALLORY}/32"
        line.serving.admin.AddFirewallRule(rule=rule(kind, value), cut_established=True)
        for cut, kept in (line.clients[:2], line.clients[2:]):
            expect_rst(cut)
            expect_echo(kept, b"not covered")
        for server in line.draining:
            server.wait_log(msg="connection closed", reason="firewall_cut")


def test_a_rule_without_cut_leaves_them(line: Line):
    line.serving.admin.AddFirewallRule(rule=rule(IP, "127.0.0.1"), cut_established=False)
    for client in line.clients:
        expect_echo(client, b"goes on")


def test_a_stop_gives_the_connections_of_every_server_shutdown_timeout(line: Line):
    line.serving.send_signal(signal.SIGTERM)
    for server in line.draining:
        server.wait_log(msg=re.compile("^stopping: the server that serves"))
    for client in line.clients:
        expect_echo(client, b"still")
    assert line.serving.wait_log(msg=re.compile("^stopping"))["draining_servers"] == "3"
    line.serving.send_signal(signal.SIGTERM)  # the second cuts
    for client in line.clients:
        expect_rst(client)
    for server in line.servers:
        assert ended(server) == "shutdown=1"


def test_a_stop_waits_for_the_servers_that_drain(line: Line):
    line.clients[3].close()
    line.serving.send_signal(signal.SIGTERM)
    line.serving.wait_log(msg="connection closed")
    for server in line.draining:
        server.wait_log(msg=re.compile("^stopping"))
    for client in line.clients[:3]:
        assert line.serving.lines(msg="stopped") == []
        client.close()
    # In the order of their ends: each has ended by the time that the last line is written.
    line.serving.wait_log(msg="stopped")
    assert sockets_beside(line.serving) == set()
    for server in line.servers:
        assert server.wait_end() == 0


def test_drain_timeout_resets_what_is_left(start_administered: Callable, backend: Backend):
    first = start_administered(routes={"app.example.com": backend}, shutdown_timeout=LONG, drain_timeout=f"{SLOW_FACTOR}s")
    with Line(first) as line:
        client = line.connect()
        line.upgrade()
        assert first.wait_log(msg=re.compile("^handed over"))["drain_timeout"] == f"{SLOW_FACTOR}s"
        expect_rst(client)
        assert ended(first) == "shutdown=1"


def test_a_stop_does_not_lengthen_drain_timeout(start_administered: Callable, backend: Backend):
    first = start_administered(routes={"app.example.com": backend}, shutdown_timeout=LONG, drain_timeout=f"{2 * SLOW_FACTOR}s")
    with Line(first) as line:
        client = line.connect()
        line.upgrade()
        first.send_signal(signal.SIGTERM)
        first.wait_log(msg=re.compile("^stopping"))
        expect_rst(client)
        assert ended(first) == "shutdown=1"


def test_a_signal_to_one_that_drains_gives_it_shutdown_timeout_and_a_second_cuts(line: Line):
    first, client = line.servers[0], line.clients[0]
    first.send_signal(signal.SIGTERM)
    first.wait_log(msg=re.compile("^stopping: open connections"))
    expect_echo(client, b"still")
    first.send_signal(signal.SIGTERM)
    expect_rst(client)
    assert ended(first) == "shutdown=1"
    expect_echo(line.clients[1], b"the others go on")


def test_one_that_does_not_reply_holds_up_nobody(line: Line):
    stuck = line.servers[1]
    stuck.send_signal(signal.SIGSTOP)
    try:
        began = time.monotonic()
        status = line.serving.admin.GetStatus()
        assert [one.replies for one in status.draining] == [True, False, True]
        assert status.active_connections == 3
        assert f"draining: pid {stuck.pid} does not reply" in line.serving.cli("status").out
        listed = {one.client for one in line.serving.admin.connections()}
        assert listed == {client.name for client in line.clients} - {line.clients[1].name}
        line.serving.admin.AddFirewallRule(rule=rule(IP, MALLORY), cut_established=True)
        # Four calls, each of which waits a second for it.
        assert time.monotonic() - began < 4 * SLOW_FACTOR + 4
    finally:
        stuck.send_signal(signal.SIGCONT)
    for words in ("did not reset", "does not reply"):
        line.serving.wait_log(msg=re.compile(words), level="WARN", draining=str(stuck.pid))
    until(lambda: all(one.replies for one in line.serving.admin.GetStatus().draining), "it replies again")


def test_one_that_was_killed_is_told_no_more(line: Line):
    line.servers[0].kill()
    until(lambda: len(line.serving.admin.GetStatus().draining) == 2, "it is told no more")
    assert len(sockets_beside(line.serving)) == 2


def test_the_next_server_after_a_crash_finds_them(line: Line):
    line.serving.kill()
    line.serving.start()
    assert len(line.serving.admin.GetStatus().draining) == 3
    assert len(line.serving.admin.connections()) == 3
    assert line.serving.admin.close_connections(source="127.0.0.1") == 3


def test_of_too_many_the_oldest_are_stopped(start_administered: Callable, backend: Backend):
    with Line(start_administered(routes={"app.example.com": backend}, shutdown_timeout=f"{SLOW_FACTOR}s")) as line:
        for _ in range(DRAINING_MAX + 1):
            line.connect()
            line.upgrade()
        told = line.serving.wait_log(msg=re.compile("^too many draining servers: "))
        assert (told["level"], told["draining"]) == ("WARN", str(line.servers[0].pid))
        expect_rst(line.clients[0])
        assert ended(line.servers[0]) == "shutdown=1"
        for client in line.clients[1:]:
            expect_echo(client, b"goes on")
        assert len(line.serving.admin.GetStatus().draining) == DRAINING_MAX


def test_one_that_drains_takes_no_changes_and_makes_no_snapshot(line: Line, tmp_path: Path):
    first = f"{line.serving.database}.draining.{line.servers[0].pid}"
    add = line.serving.cli("routes", "add", "new.example.com", "127.0.0.1:1", "--socket", first)
    assert (add.code, add.err) == (3, "mc-proxy: the server is stopping and takes no more changes\n")
    assert "new.example.com" not in line.serving.routes()
    assert line.serving.cli("status", "--socket", first).out.endswith("state: stopping\n")
    assert os.stat(first).st_mode & 0o777 == 0o600


def test_the_metrics_have_them(start_administered: Callable, backend: Backend):
    metered = MeteredProxy(start_administered, routes={"app.example.com": backend})
    with Line(metered.proxy) as line, metered.reserved:
        assert metered.scrape().get("mc_proxy_draining_servers") == 0
        line.connect()
        line.connect()
        line.upgrade()
        scrape = metered.until(lambda now: now.get("mc_proxy_draining_servers") == 1, "it is counted")
        assert scrape.get("mc_proxy_draining_connections_active") == 2
        assert scrape.sum("mc_proxy_connections_active") == 0  # those are of the server that serves


def test_top_shows_them(line: Line):
    page = line.serving.cli("top", "--once").out
    assert "connections 4 " in page and "draining servers 3 (3 connections)" in page, page


def test_upgrade_tells_what_remains(line: Line):
    answer = line.serving.cli("upgrade")
    assert answer.code == 0, answer.err
    new, old = map(int, re.findall(r"pid (\d+)", answer.out))
    try:
        assert answer.out == f"pid {new} serves; pid {old} keeps 1 connection until it ends\n"
        assert len(json.loads(line.serving.cli("status", "--json").out)["draining"]) == 4
    finally:
        os.kill(new, signal.SIGTERM)
