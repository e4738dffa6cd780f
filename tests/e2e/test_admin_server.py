# SPDX-License-Identifier: Apache-2.0
"""The server behind the admin API: what it keeps, its status, its snapshots, how it starts and ends."""

import contextlib
import re
import shutil
import signal
import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path

import grpc
import pytest

from admin import (
    CIDR,
    IP,
    MALLORY,
    SERVICE,
    TRENT,
    Admin,
    AdministeredProxy,
    add,
    api,
    block,
    put,
    refused,
    remove,
    route,
    rows,
    rule,
    unblock,
)
from harness import PATIENCE, Backend, Listener, client_hello, echo, expect_echo, expect_rst, reserve_port, until

StatusCode = grpc.StatusCode


# ---- what is kept


def test_a_restart_keeps_everything_and_the_configuration_seeds_no_second_time(start_administered, backend) -> None:
    proxy = start_administered(routes={"app.example.com": backend}, firewall={"blocked_ips": [MALLORY]})
    name = proxy.listener_name()
    proxy.admin.ApplyChanges(
        changes=[
            remove(name, "app.example.com"),
            add(name, "new.example.com", backend),
            unblock(IP, MALLORY),
            block(CIDR, "198.51.100.0/24"),
        ]
    )
    before = proxy.everything()
    assert proxy.stop() == 0
    proxy.start()
    assert proxy.everything() == before
    proxy.expect_served("new.example.com", source=MALLORY)
    proxy.expect_refused("no_route", "app.example.com")

    # Killed right after a response: the acknowledged change is there.
    assert proxy.admin.AddFirewallRule(rule=rule(IP, TRENT)).revision == 3
    proxy.kill()
    proxy.start()
    assert proxy.rules() == [(IP, TRENT), (CIDR, "198.51.100.0/24")]
    proxy.expect_refused("blocked_ip", "new.example.com", source=TRENT)
    assert len(proxy.lines(msg="database is new, seeded from the configuration")) == 1


def test_a_deleted_database_is_seeded_anew(start_administered, backend) -> None:
    """RUNBOOK, "Database Corruption": what was added at run time is lost."""
    proxy = start_administered(routes={"app.example.com": backend}, firewall={"blocked_ips": [MALLORY]})
    proxy.admin.AddRoute(listener_addr=proxy.listener_name(), route=route("new.example.com", backend))
    assert proxy.stop() == 0
    proxy.database.unlink()
    proxy.start()
    assert proxy.routes() == {"app.example.com": backend.address}
    assert proxy.rules() == [(IP, MALLORY)]
    assert proxy.revision() == 1


def test_a_server_that_could_not_start_has_seeded_nothing(start_administered, backend, tmp_path: Path) -> None:
    """Else an error in the first configuration would stay in force after it is corrected."""
    proxy = start_administered(routes={"*": backend})
    proxy.stop()
    proxy.database.unlink()
    right = proxy.config.read_text()
    broken = tmp_path / "broken.mmdb"
    broken.write_bytes(b"no database")
    countries = f'[firewall]\ngeoip_db = "{broken}"\nblocked_countries = ["DE"]\n'
    proxy.config.write_text(right.replace("[firewall]\n", countries))
    refused_start = proxy.cli("server")
    assert refused_start.code == 1 and "broken.mmdb" in refused_start.err
    proxy.config.write_text(right)
    proxy.start()
    assert proxy.rules() == []
    assert proxy.routes() == {"*": backend.address}


def test_rules_of_the_file_that_are_not_in_force_are_warned_of(start_administered, backend) -> None:
    proxy = start_administered(routes={"*": backend})
    proxy.stop()
    assert not proxy.lines(level="WARN")
    blocked = f'[firewall]\nblocked_ips = ["{MALLORY}"]\n'
    proxy.config.write_text(proxy.config.read_text().replace("[firewall]\n", blocked))
    proxy.start()
    assert "not in force" in proxy.wait_log(level="WARN", routes=0, rules=1)["msg"]
    proxy.expect_served(source=MALLORY)


# ---- status


def test_the_status_counts_connections_by_listener_by_route_and_by_reason(start_administered, backend) -> None:
    with reserve_port("127.0.0.1") as closed:
        nobody = f"127.0.0.1:{closed.getsockname()[1]}"
        proxy = start_administered(
            listeners=[Listener({"app.example.com": backend, "*": backend, "dead.example.com": nobody}), Listener({})],
            firewall={"blocked_ips": [MALLORY]},
        )
        before = proxy.admin.GetStatus(routes_max=10)
        assert (before.total_connections, before.active_connections, dict(before.ended)) == (0, 0, {})
        assert before.version == proxy.wait_log(msg="serving")["version"].removeprefix("v")
        assert abs(before.started_at.seconds - time.time()) < 60
        assert 0 <= before.uptime.ToMilliseconds() < 60_000
        assert before.state == api.GetStatusResponse(state="SERVER_STATE_SERVING").state
        assert [(one.addr, one.route_count) for one in before.listeners] == [
            (proxy.listener_name(0), 3),
            (proxy.listener_name(1), 0),
        ]

        proxy.expect_served("app.example.com")
        proxy.expect_served("app.example.com")
        proxy.expect_refused("dial_refused", "dead.example.com")
        proxy.expect_refused("blocked_ip", source=MALLORY)
        proxy.expect_refused("no_route", listener=1)
        with proxy.open_connection("other.example.com"):
            wanted = {"completed": 2, "dial_refused": 1, "blocked_ip": 1, "no_route": 1}
            # A connection has ended before its sockets are closed, and is active until they are.
            until(
                lambda: [(dict(s.ended), s.active_connections) for s in [proxy.admin.GetStatus()]] == [(wanted, 1)],
                f"the reasons are {wanted}, and one connection is active",
            )
            status = proxy.admin.GetStatus(routes_max=10)
            assert (status.total_connections, status.active_connections, status.firewall_rule_count) == (6, 1, 1)
            assert [(one.active_connections, one.accepted_connections) for one in status.listeners] == [(1, 5), (0, 1)]
            routes = status.listeners[0].routes
            # The route with an open connection first, then by all so far.
            assert [
                (one.route.hostname, one.active_connections, one.total_connections, one.dial_failures) for one in routes
            ] == [("*", 1, 1, 0), ("app.example.com", 0, 2, 0), ("dead.example.com", 0, 1, 1)]
            assert routes[1].bytes_up == routes[1].bytes_down > 0
            # The connection that is open has moved its hello, there and back.
            so_far = routes[1].bytes_up + len(client_hello("other.example.com"))
            until(
                lambda: [(s.bytes_up, s.bytes_down) for s in [proxy.admin.GetStatus()]] == [(so_far, so_far)],
                f"{so_far} bytes have gone up and down",
            )
            assert routes[1].route.backend == backend.address
            (busiest,) = proxy.admin.GetStatus(routes_max=1).listeners[0].routes
            assert busiest.route.hostname == "*"
            assert not proxy.admin.GetStatus().listeners[0].routes
        until(lambda: proxy.admin.GetStatus().active_connections == 0, "no connection is open")


def test_a_route_goes_on_counting_when_its_backend_changes_and_begins_anew_when_it_is_added_again(
    proxy, backend, start_backend
) -> None:
    name, other = proxy.listener_name(), start_backend(Backend(echo))

    def total() -> int:
        return proxy.admin.GetStatus(routes_max=1).listeners[0].routes[0].total_connections

    proxy.expect_served()
    proxy.admin.ApplyChanges(changes=[put(name, "app.example.com", other)])
    assert proxy.expect_served() == other.address
    assert total() == 2
    proxy.admin.RemoveRoute(listener_addr=name, hostname="app.example.com")
    proxy.admin.AddRoute(listener_addr=name, route=route("app.example.com", backend))
    assert total() == 0


# ---- snapshots


def test_a_snapshot_is_one_state_and_is_restored_by_copying_it(proxy, backend, tmp_path: Path) -> None:
    """RUNBOOK, "Restore from Backup"."""
    name = proxy.listener_name()
    routes = [route(f"h{i}.example.com", backend) for i in range(20_000)]
    proxy.admin.ReplaceRoutes(listener_addr=name, routes=routes)
    pieces = proxy.admin.CreateSnapshot()
    first = next(pieces)
    assert 0 < len(first.chunk) < first.size
    # Its client has not read it yet, and the server takes changes.
    proxy.admin.AddRoute(listener_addr=name, route=route("later.example.com", backend))
    snapshot = tmp_path / "snapshot.db"
    snapshot.write_bytes(first.chunk + b"".join(piece.chunk for piece in pieces))
    assert snapshot.stat().st_size == first.size
    with contextlib.closing(sqlite3.connect(snapshot)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    assert rows(snapshot, "SELECT revision FROM state") == [(2,)]
    assert len(proxy.admin.snapshot()) >= first.size
    assert [one.name for one in tmp_path.iterdir() if "snapshot-" in one.name] == []

    assert proxy.stop() == 0
    shutil.copyfile(snapshot, proxy.database)
    proxy.start()
    assert proxy.revision() == 2
    assert proxy.admin.GetStatus().listeners[0].route_count == 20_000
    proxy.expect_served("h19999.example.com")
    proxy.expect_refused("no_route", "later.example.com")


def test_only_so_many_snapshots_are_made_at_one_time(proxy, backend) -> None:
    routes = [route(f"h{i}.{'x' * 60}.{'y' * 60}.example.com", backend) for i in range(60_000)]
    proxy.admin.ReplaceRoutes(listener_addr=proxy.listener_name(), routes=routes)
    with contextlib.ExitStack() as stack:
        # Clients that do not read on: more is on the way than fits into the sockets and the window, which gRPC would make
        # as large as the whole snapshot when it takes the connection for a fast one.
        unread = []
        for _ in range(4):
            client = stack.enter_context(Admin(f"unix:{proxy.admin_socket}", window=16_384))
            unread.append(client.CreateSnapshot())
            assert next(unread[-1]).size > 8 << 20
        with refused(StatusCode.RESOURCE_EXHAUSTED, "4 snapshots are being made already"):
            proxy.admin.snapshot()
        unread[0].cancel()
        until(lambda: succeeds(proxy.admin.snapshot), "there is a place again")


def succeeds(call: Callable[[], object]) -> bool:
    try:
        call()
    except grpc.RpcError as error:
        assert error.code() == StatusCode.RESOURCE_EXHAUSTED, error
        return False
    return True


# ---- out of descriptors


def test_a_server_without_descriptors_says_that_accepting_is_paused(start_administered, backend) -> None:
    proxy = start_administered(routes={"*": backend}, descriptors=64, max_connections=10_000)
    watched = proxy.admin.watch_health(SERVICE)
    assert next(watched) == "SERVING"
    with contextlib.ExitStack() as stack:
        for _ in range(64):
            stack.enter_context(proxy.connect())
        assert next(watched) == "NOT_SERVING"
        status = proxy.admin.GetStatus()
        assert status.state == api.GetStatusResponse(state="SERVER_STATE_PAUSED").state
        proxy.admin.AddFirewallRule(rule=rule(IP, MALLORY))  # changes are taken all the same
    assert next(watched) == "SERVING"
    proxy.expect_served()


@pytest.mark.parametrize(("workers", "descriptors", "few"), [(1, 128, 40), (2, 128, 40), (64, 512, 100)])
def test_at_the_limit_of_descriptors_an_operator_is_let_in_and_can_make_room(start_administered, backend, workers, descriptors, few) -> None:
    """By commands, each of which makes a connection of its own: one that was there already would show nothing."""
    proxy = start_administered(routes={"*": backend}, descriptors=descriptors, max_connections=10_000, workers=workers, hello_timeout="120s")
    proxy.admin.close()
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(proxy.connect()) for _ in range(descriptors)]
        proxy.wait_log(msg="accepting paused")
        for _ in range(3):
            status = proxy.cli("status")
            assert status.code == 0 and "accepting paused" in status.out, status
        listed = proxy.cli("connections", "list")
        assert listed.code == 0, listed
        # Which of the clients were accepted is the workers' luck: each has its own queue, and the descriptors are shared.
        accepted = [client for client in clients if " {}:{} ".format(*client.getsockname()) in listed.out]
        assert len(accepted) == listed.out.count(" hello ") > few, listed
        cut = proxy.cli("firewall", "add", "--cut", MALLORY)
        assert cut.code == 0, cut
        closed = proxy.cli("connections", "close", "--source", "127.0.0.1")
        assert closed.code == 0, closed
        for client in accepted:
            expect_rst(client)
    proxy.wait_log(msg="accepting again")
    proxy.admin = Admin(f"unix:{proxy.admin_socket}")
    proxy.expect_served()


# ---- the end


def test_while_it_stops_the_server_answers_but_takes_no_changes(start_administered, backend) -> None:
    proxy = start_administered(routes={"app.example.com": backend}, shutdown_timeout="60s")
    admin, name = proxy.admin, proxy.listener_name()
    for service in ("", SERVICE):
        assert admin.health(service) == "SERVING"
    with refused(StatusCode.NOT_FOUND):
        admin.health("unknown.Service")
    watched = admin.watch_health(SERVICE)
    assert next(watched) == "SERVING"

    with proxy.open_connection() as client:
        before = proxy.everything()
        proxy.send_signal(signal.SIGTERM)
        assert next(watched) == "NOT_SERVING"
        for service in ("", SERVICE):
            assert admin.health(service) == "NOT_SERVING"
        for call in (
            lambda: admin.AddRoute(listener_addr=name, route=route("new.example.com", backend)),
            lambda: admin.RemoveRoute(listener_addr=name, hostname="app.example.com"),
            lambda: admin.ReplaceRoutes(listener_addr=name),
            lambda: admin.AddFirewallRule(rule=rule(IP, MALLORY)),
            lambda: admin.RemoveFirewallRule(rule=rule(IP, MALLORY)),
            lambda: admin.ApplyChanges(changes=[block(IP, MALLORY)]),
        ):
            with refused(StatusCode.UNAVAILABLE, "the server is stopping and takes no more changes"):
                call()
        status = admin.GetStatus()
        assert status.state == api.GetStatusResponse(state="SERVER_STATE_STOPPING").state
        assert status.active_connections == 1
        assert proxy.everything() == before
        assert len(admin.snapshot()) > 0
        expect_echo(client)
    assert proxy.wait_end() == 0
    assert not proxy.admin_socket.exists()
    proxy.start()


def test_a_stop_does_not_wait_for_what_large_messages_have_left_behind(proxy, backend) -> None:
    """gRPC may go on polling for 10 s after a socket was full once."""
    routes = [route(f"h{i}.example.com", backend) for i in range(50_000)]
    proxy.admin.ReplaceRoutes(listener_addr=proxy.listener_name(), routes=routes)
    assert len(proxy.admin.snapshot()) > 1 << 20
    assert proxy.stop(timeout=PATIENCE / 2) == 0
    proxy.start()


def test_a_stop_begins_at_once_however_many_changes_wait(start_administered, backend) -> None:
    proxy = start_administered(routes={"*": backend}, shutdown_timeout="60s")
    with contextlib.closing(sqlite3.connect(proxy.database, isolation_level=None)) as shell:
        shell.execute("BEGIN IMMEDIATE")  # each change waits a quarter of a second for this
        waiting = [
            threading.Thread(target=refuse_quietly, args=(proxy, f"192.0.2.{i}"), daemon=True) for i in range(16)
        ]
        for thread in waiting:
            thread.start()
        proxy.wait_log(level="ERROR", msg="change refused by the database; nothing was changed")
        proxy.send_signal(signal.SIGTERM)
        proxy.wait_log(msg=re.compile("^stopping"))
        with contextlib.suppress(ConnectionRefusedError):
            while True:  # the stop does not wait for its turn among them
                with proxy.connect():
                    pass
                assert len(proxy.lines(level="ERROR", action="add_firewall_rule")) < len(waiting) - 1
        for thread in waiting:
            thread.join(PATIENCE)
        shell.execute("ROLLBACK")
    assert proxy.wait_end() == 0
    proxy.start()


def refuse_quietly(proxy: AdministeredProxy, address: str) -> None:
    with Admin(f"unix:{proxy.admin_socket}") as admin, contextlib.suppress(grpc.RpcError):
        admin.AddFirewallRule(rule=rule(IP, address))
