# SPDX-License-Identifier: Apache-2.0
"""WatchEvents, and the command for it: what happens, as it happens, and what happened since a revision."""

import contextlib
import json
import random
import signal
import sqlite3
import subprocess
import threading
from collections import Counter

import grpc
import pytest

from admin import IP, MALLORY, TRENT, Admin, AdministeredProxy, enum_name, refused, route, rule
from harness import PATIENCE, binary, expect_rst, until

StatusCode = grpc.StatusCode

def add_routes(proxy: AdministeredProxy, count: int) -> None:
    for i in range(count):
        proxy.admin.AddRoute(listener_addr=proxy.listener_name(), route=route(f"r{i}.example.com", "192.0.2.1:443"))


# ---- what is sent


def test_each_thing_that_happens_to_a_connection_is_one_event(proxy, backend) -> None:
    proxy.admin.AddRoute(listener_addr=proxy.listener_name(), route=route("down.example.com", "127.0.0.1:1"))
    proxy.admin.AddFirewallRule(rule=rule(IP, MALLORY))
    with proxy.admin.watch() as watch:
        assert (watch.started.revision, watch.started.lost_changes) == (3, 0)
        assert enum_name(watch.started, "state") == "SERVER_STATE_SERVING"

        with proxy.open_connection(source=TRENT) as client:
            opened = watch.expect("connection_opened").connection
            assert opened.client == client.name
            assert (opened.sni, opened.route, opened.backend) == ("app.example.com", "app.example.com", backend.address)
            assert opened.listener_addr == proxy.listener_name()
            assert [one.id for one in proxy.admin.connections()] == [opened.id]
        closed = watch.expect("connection_closed")
        line = proxy.outcome(client)
        assert closed.connection.id == opened.id
        assert closed.reason == line["reason"]
        assert (closed.connection.bytes_up, closed.connection.bytes_down) == (
            int(line["bytes_up"]),
            int(line["bytes_down"]),
        )
        assert closed.duration.ToMilliseconds() < 1000 * PATIENCE

        proxy.expect_refused("dial_refused", "down.example.com", TRENT)
        failed = watch.expect("dial_failed")
        assert (failed.reason, failed.error) == ("dial_refused", "Connection refused")
        assert (failed.connection.backend, failed.connection.sni) == ("127.0.0.1:1", "down.example.com")

        proxy.expect_refused("no_route", "nowhere.example.com", TRENT)
        denied = watch.expect("connection_refused")
        assert (denied.reason, denied.connection.sni) == ("no_route", "nowhere.example.com")

        proxy.expect_refused("blocked_ip", source=MALLORY)
        denied = watch.expect("connection_refused")
        assert (denied.reason, denied.connection.id) == ("blocked_ip", "")
        assert denied.connection.client.startswith(f"{MALLORY}:")


def test_a_change_of_policy_is_told_as_the_audit_table_has_it(proxy, backend) -> None:
    with proxy.admin.watch() as watch:
        answer = proxy.admin.AddRoute(listener_addr=proxy.listener_name(), route=route("b.example.com", backend))
        change = watch.expect("policy_changed")
        assert change.revision == answer.revision
        assert (change.revision, change.who, change.action, change.detail) == proxy.last_audit()


def test_only_the_kinds_that_are_asked_for_are_told(proxy) -> None:
    with proxy.admin.watch(kinds=["EVENT_KIND_POLICY_CHANGED", "EVENT_KIND_CONNECTION_REFUSED"]) as watch:
        proxy.expect_served()
        proxy.expect_refused("no_route", "nowhere.example.com")
        watch.expect("connection_refused")
        proxy.admin.AddFirewallRule(rule=rule(IP, MALLORY))
        watch.expect("policy_changed")
    for kind in (0, 99):
        with refused(StatusCode.INVALID_ARGUMENT) as refusal, proxy.admin.watch(kinds=[1, kind]):
            pass
        assert list(refusal.fields) == ["kinds[1]"]


def test_a_closed_connection_and_a_cut_one_tell_why(proxy) -> None:
    with proxy.admin.watch(kinds=["EVENT_KIND_CONNECTION_CLOSED"]) as watch:
        with proxy.open_connection(source=MALLORY) as client:
            proxy.admin.close_connections(source=MALLORY)
            assert watch.expect("connection_closed").reason == "closed_by_operator"
            expect_rst(client)
        with proxy.open_connection(source=MALLORY) as client:
            proxy.admin.AddFirewallRule(rule=rule(IP, MALLORY), cut_established=True)
            assert watch.expect("connection_closed").reason == "firewall_cut"
            expect_rst(client)


def test_a_watch_can_begin_with_the_dial_failures_that_nobody_watched(proxy) -> None:
    proxy.admin.AddRoute(listener_addr=proxy.listener_name(), route=route("down.example.com", "127.0.0.1:1"))
    kinds = ["EVENT_KIND_DIAL_FAILED", "EVENT_KIND_CONNECTION_REFUSED"]
    for _ in range(3):
        proxy.expect_refused("dial_refused", "down.example.com")
    proxy.expect_refused("no_route", "nowhere.test")
    with proxy.admin.watch(kinds=kinds, past_dial_failures={"seconds": 60}) as watch:
        for _ in range(3):
            name, event = watch.next()
            assert (name, event.connection.sni) == ("dial_failed", "down.example.com")
        proxy.expect_refused("no_route", "nowhere.test")
        watch.expect("connection_refused")
    for past in ({"past_dial_failures": {"seconds": 0}}, {}):
        with proxy.admin.watch(kinds=kinds, **past) as watch:
            proxy.expect_refused("no_route", "nowhere.test")
            assert watch.next()[0] == "connection_refused"
    with proxy.admin.watch(past_dial_failures={"seconds": 300_000_000_000}) as watch:
        watch.expect("dial_failed")
    with refused(StatusCode.INVALID_ARGUMENT) as refusal, proxy.admin.watch(past_dial_failures={"seconds": -1}):
        pass
    assert list(refusal.fields) == ["past_dial_failures"]


# ---- from a revision on


def test_a_watch_from_a_revision_tells_every_change_since_then_and_goes_on(proxy) -> None:
    add_routes(proxy, 4)
    with proxy.admin.watch(since_revision=0) as watch:
        assert watch.started.revision == 0
        assert watch.expect("policy_changed").action == "seed"
        assert [watch.expect("policy_changed").revision for _ in range(4)] == [2, 3, 4, 5]
        proxy.admin.AddFirewallRule(rule=rule(IP, MALLORY))
        assert watch.expect("policy_changed").revision == 6
    with proxy.admin.watch(since_revision=4) as watch:
        assert [watch.expect("policy_changed").revision for _ in range(2)] == [5, 6]
    with proxy.admin.watch(since_revision=6) as watch:
        proxy.admin.RemoveFirewallRule(rule=rule(IP, MALLORY))
        assert watch.expect("policy_changed").revision == 7
    with refused(StatusCode.OUT_OF_RANGE, "since_revision is 8", "current revision is 7"):
        with proxy.admin.watch(since_revision=8):
            pass


def watch_when_there_is_room(proxy: AdministeredProxy, stack: contextlib.ExitStack, **fields: object):
    """A watch that has been cancelled keeps its place until its thread has seen that."""
    while True:
        try:
            return stack.enter_context(proxy.admin.watch(**fields))
        except grpc.RpcError as error:
            if error.code() != grpc.StatusCode.RESOURCE_EXHAUSTED:
                raise


def test_reconnections_among_changes_miss_none_and_show_none_twice(proxy) -> None:
    changes, seed = 300, random.Random(4)
    writer = threading.Thread(target=add_routes, args=(proxy, changes))
    writer.start()
    seen, last = [], 1
    while last < changes + 1:
        with contextlib.ExitStack() as stack:
            watch = watch_when_there_is_room(proxy, stack, since_revision=last, kinds=["EVENT_KIND_POLICY_CHANGED"])
            # Few enough for the limit of a call, however slow the disk is that each of them is synced to.
            for _ in range(min(seed.randrange(1, 10), changes + 1 - last)):
                last = watch.expect("policy_changed").revision
                seen.append(last)
    writer.join()
    assert seen == list(range(2, changes + 2))


def test_a_watch_outlives_a_restart_by_the_last_revision_that_it_saw(proxy) -> None:
    with proxy.admin.watch(since_revision=0) as watch:
        last = watch.expect("policy_changed").revision
        proxy.send_signal(signal.SIGTERM)
        assert enum_name(watch.expect("server_state_changed"), "state") == "SERVER_STATE_STOPPING"
        with refused(StatusCode.UNAVAILABLE):  # and why, unless the client notices the end first
            watch.next()
    assert proxy.wait_end() == 0
    proxy.start()
    add_routes(proxy, 2)
    with proxy.admin.watch(since_revision=last) as watch:
        assert [watch.expect("policy_changed").revision for _ in range(2)] == [2, 3]


def test_a_watch_that_reaches_back_too_far_is_told_how_much_it_misses(proxy) -> None:
    add_routes(proxy, 8)
    # As if there had been 100,000 more since.
    with sqlite3.connect(proxy.database) as database:
        database.execute("DELETE FROM audit WHERE revision <= 5")
    database.close()
    with proxy.admin.watch(since_revision=2) as watch:
        assert (watch.started.revision, watch.started.lost_changes) == (5, 3)
        assert [watch.expect("policy_changed").revision for _ in range(4)] == [6, 7, 8, 9]
    with proxy.admin.watch(since_revision=5) as watch:
        assert (watch.started.revision, watch.started.lost_changes) == (5, 0)


# ---- bounds


def test_a_slow_reader_is_told_what_it_has_lost_and_others_lose_nothing(proxy) -> None:
    proxy.admin.AddFirewallRule(rule=rule(IP, MALLORY))
    count = 7000
    kinds = ["EVENT_KIND_CONNECTION_REFUSED", "EVENT_KIND_POLICY_CHANGED"]
    quick: Counter[str] = Counter()

    def read_quickly(watch) -> None:
        while quick["connection_refused"] < count:
            quick[watch.next()[0]] += 1

    with (
        Admin(f"unix:{proxy.admin_socket}", window=16_384) as client,
        client.watch(kinds=kinds) as slow,
        proxy.admin.watch(kinds=kinds) as watch,
    ):
        reader = threading.Thread(target=read_quickly, args=(watch,))
        reader.start()
        for _ in range(count):
            proxy.connect(MALLORY).close()
        reader.join()
        assert quick == Counter(connection_refused=count)

        proxy.admin.AddFirewallRule(rule=rule(IP, TRENT))
        slowly: Counter[str] = Counter()
        lost = 0
        while not slowly["policy_changed"] or slowly["connection_refused"] + lost < count:
            kind, event = slow.next()
            slowly[kind] += 1
            if kind == "events_lost":
                assert enum_name(event, "kind") == "EVENT_KIND_CONNECTION_REFUSED"
                lost += event.count
        assert slowly["policy_changed"] == 1
        assert lost > 0
        assert slowly["connection_refused"] + lost == count


def test_only_so_many_watch_at_a_time_and_all_else_is_served_meanwhile(proxy) -> None:
    watches = [proxy.admin.WatchEvents() for _ in range(8)]
    for stream in watches:
        assert next(stream).HasField("watch_started")
    with refused(StatusCode.RESOURCE_EXHAUSTED, "8 watch already"), proxy.admin.watch():
        pass
    proxy.expect_served()
    assert proxy.admin.GetStatus().revision == 1
    assert proxy.admin.connections() == []
    add_routes(proxy, 1)
    watches.pop().cancel()

    def can_watch() -> bool:
        try:
            with proxy.admin.watch():
                return True
        except grpc.RpcError as error:
            assert error.code() == StatusCode.RESOURCE_EXHAUSTED
            return False

    until(can_watch, "a place is free again")
    for stream in watches:
        stream.cancel()


def test_a_server_with_watches_ends_at_once_also_if_they_do_not_read(proxy) -> None:
    watches = [proxy.admin.WatchEvents() for _ in range(8)]
    for stream in watches:
        assert next(stream).HasField("watch_started")
    assert proxy.stop() == 0
    proxy.start()


# ---- the command line


@pytest.fixture
def start_command(proxy):
    started = []

    def start(*words: str) -> subprocess.Popen:
        # As in a terminal: a shell in the background, which may run these tests, has it ignored.
        command = ["env", "--default-signal=INT", binary(), "events", "-c", proxy.config, *words]
        started.append(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


def test_the_command_prints_a_line_for_each_event_until_it_is_interrupted(proxy, backend, start_command) -> None:
    command = start_command("--since-revision", "0")
    line = command.stdout.readline()
    assert line.endswith(" watch_started revision=0 state=serving\n")
    assert line[:20].startswith("20") and line.split()[0].endswith("Z")
    assert " policy_changed revision=1 action=seed " in command.stdout.readline()
    with proxy.open_connection() as client:
        line = command.stdout.readline()
        assert " connection_opened id=" in line
        assert f" client={client.name} sni=app.example.com backend={backend.address} route=app.example.com\n" in line
    assert " connection_closed id=" in command.stdout.readline()
    command.send_signal(signal.SIGINT)
    assert command.wait(PATIENCE) == -signal.SIGINT


def test_the_command_prints_json_and_only_the_kinds_that_are_named(proxy, start_command) -> None:
    command = start_command("--json", "--kind", "connection_refused", "--kind", "policy_changed")
    assert json.loads(command.stdout.readline())["watch_started"]["state"] == "SERVER_STATE_SERVING"
    proxy.expect_served()
    proxy.expect_refused("no_route", "nowhere.example.com")
    event = json.loads(command.stdout.readline())
    assert event["connection_refused"]["reason"] == "no_route"
    add_routes(proxy, 1)
    assert json.loads(command.stdout.readline())["policy_changed"]["revision"] == "2"
    proxy.stop()
    out, err = command.communicate(timeout=PATIENCE)
    assert (command.returncode, out) == (3, "")
    assert "--since-revision 2" in err
    proxy.start()


def test_the_command_ends_with_the_reader_of_its_output(proxy, start_command) -> None:
    command = start_command()
    command.stdout.readline()
    command.stdout.close()
    proxy.expect_served()
    assert command.wait(PATIENCE) in (-signal.SIGPIPE, 0, 1)


def test_the_command_says_what_is_wrong(proxy) -> None:
    answer = proxy.cli("events", "--kind", "weather")
    assert answer.code == 2 and "policy_changed" in answer.err
    answer = proxy.cli("events", "--since-revision", "5")
    assert answer.code == 1 and "current revision is 1" in answer.err
