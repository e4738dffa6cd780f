# SPDX-License-Identifier: Apache-2.0
"""Pools: connections spread over several backends, go on to a living one, and leave one that is drained."""

import itertools
import json
import random
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest

from admin import Admin, api, enum_name, refused
from harness import (
    Backend,
    Proxy,
    client_hello,
    echo,
    expect_echo,
    expect_rst,
    until,
)
from pools import NAME, backends_of
from repeated import Repeated


def four(start_backend: Callable) -> list[Backend]:
    return [start_backend(Backend(echo)) for _ in range(4)]


# ---- the choice


@pytest.mark.parametrize("balance", ["random_two", "round_robin", "least_connections"])
def test_open_connections_spread_over_all_backends(start_pool: Callable, start_backend: Callable, enter: Callable, balance: str) -> None:
    backends = four(start_backend)
    proxy = start_pool(backends, balance=balance)
    for _ in range(40):
        enter(proxy.open_connection())
    active = {address: told.active_connections for address, told in backends_of(proxy).items()}
    assert sum(active.values()) == 40
    assert all(8 <= count <= 12 for count in active.values()), active
    shown = proxy.cli("connections", "list", "--pool", "app", "--json").out.splitlines()
    assert Counter(json.loads(line)["backend"] for line in shown) == active


@pytest.mark.parametrize("balance", ["hash_source", "hash_name"])
def test_a_hash_brings_a_client_to_the_same_backend_also_after_a_restart(
    start_pool: Callable, start_backend: Callable, balance: str
) -> None:
    proxy = start_pool(four(start_backend), balance=balance)
    assert proxy.cli("routes", "add", "*.example.com", "pool=app").code == 0

    def homes() -> list[str]:
        return [proxy.expect_served(f"a{i}.example.com", source=f"127.0.0.{i + 2}") for i in range(20)]

    before = homes()
    assert len(set(before)) == 4
    assert homes() == before
    assert proxy.stop() == 0
    proxy.start()
    assert homes() == before


def test_weights_count_and_weight_zero_is_for_when_there_is_no_other(start_pool: Callable, start_backend: Callable) -> None:
    a, b, c = (start_backend(Backend(echo)) for _ in range(3))
    tables = [{"address": a.address, "weight": 300}, {"address": b.address, "weight": 100}, {"address": c.address, "weight": 0}]
    proxy = start_pool(tables, balance="round_robin")
    assert Counter(proxy.expect_served() for _ in range(40)) == {a.address: 30, b.address: 10}
    for one in (a, b):
        assert proxy.cli("backends", "set", "app", one.address, "--state", "drain").code == 0
    assert proxy.expect_served() == c.address


def test_a_backup_is_for_when_no_other_lives(start_pool: Callable, start_backend: Callable) -> None:
    main, spare = start_backend(Backend(echo)), start_backend(Backend(echo))
    proxy = start_pool([main, {"address": spare.address, "backup": True}])
    assert {proxy.expect_served() for _ in range(10)} == {main.address}
    main.close()
    assert {proxy.expect_served() for _ in range(10)} == {spare.address}


def test_a_backend_has_no_more_connections_than_its_maximum_whoever_accepts_them(
    start_pool: Callable, start_backend: Callable, enter: Callable
) -> None:
    backend = start_backend(Backend(echo))
    proxy = start_pool([{"address": backend.address, "max_connections": 10}], proxy={"workers": 4})
    for _ in range(10):
        enter(proxy.open_connection())
    for _ in range(10):
        proxy.expect_refused("backend_full")
    ten = backends_of(proxy)[backend.address]
    assert (ten.active_connections, ten.total_connections) == (10, 10)


def test_a_maximum_is_exact_while_many_clients_come_at_once(start_pool: Callable, start_backend: Callable) -> None:
    most = 25
    lock, now, peak = threading.Lock(), [0], [0]

    def count(connection: socket.socket) -> None:
        with lock:
            now[0] += 1
            peak[0] = max(peak[0], now[0])
        try:
            echo(connection)
        finally:
            with lock:
                now[0] -= 1

    backend = start_backend(Backend(count))
    proxy = start_pool([{"address": backend.address, "max_connections": most}], proxy={"workers": 4})

    def come(_: int) -> bool:
        with proxy.connect() as client:
            try:
                expect_echo(client, client_hello(NAME))
            except (ConnectionError, AssertionError):
                return False
            return True

    with ThreadPoolExecutor(64) as many:
        served = Counter(many.map(come, range(1000)))
    assert served[True] >= most
    assert peak[0] <= most, "the backend saw more connections at a time"
    until(lambda: backends_of(proxy)[backend.address].active_connections == 0, "all have ended")


# ---- a failed dial goes on to another backend


def test_a_client_whose_first_backends_are_dead_is_served_by_the_next(
    start_pool: Callable, start_backend: Callable, refusing: Callable, silent: Callable
) -> None:
    alive = start_backend(Backend(echo))
    dead = [refusing(), silent(), refusing()]
    proxy = start_pool([*dead, alive], retries=3, dial_budget="2s", balance="round_robin")
    began = time.monotonic()
    for _ in range(8):
        with proxy.open_connection() as client:
            expect_echo(client, random.randbytes(100_000))
        line = proxy.outcome(client)
        assert (line["msg"], line["backend"], line["pool"]) == ("connection closed", alive.address, "app")
        assert 1 <= int(line["tries"]) <= 4
    assert time.monotonic() - began < 8 * 2
    told = backends_of(proxy)
    for address in dead:
        assert told[address].dial_failures > 0
        assert told[address].active_connections == 0
    assert told[alive.address].total_connections == 8
    assert not proxy.lines_until_now(msg="dial failed")


def test_where_all_fail_the_client_is_reset_within_the_budget(start_pool: Callable, silent: Callable) -> None:
    proxy = start_pool([silent() for _ in range(3)], retries=8, dial_budget="900ms")
    began = time.monotonic()
    with proxy.connect() as client:
        client.sendall(client_hello(NAME))
        expect_rst(client)
    assert time.monotonic() - began >= 0.85
    line = proxy.outcome(client)
    assert (line["msg"], line["reason"], line["tries"]) == ("dial failed", "dial_timeout", "3")


def test_a_route_with_a_backend_of_its_own_tries_once(start_administered: Callable, refusing: Callable) -> None:
    proxy = start_administered(routes={NAME: refusing()})
    with proxy.connect() as client:
        client.sendall(client_hello(NAME))
        expect_rst(client)
    line = proxy.outcome(client)
    assert (line["reason"], "tries" in line, "pool" in line) == ("dial_refused", False, False)


def test_a_backend_that_fails_in_a_row_is_ejected_and_forgiven(
    start_pool: Callable, start_backend: Callable, refusing: Callable
) -> None:
    alive, dead = start_backend(Backend(echo)), refusing()
    proxy = start_pool([alive, dead], balance="round_robin")
    with proxy.admin.watch(kinds=["EVENT_KIND_BACKEND_HEALTH_CHANGED"]) as watch:
        for _ in range(20):
            proxy.expect_served()
        event = watch.expect("backend_health_changed")
    assert (event.pool, event.address, event.reason) == ("app", dead, "Connection refused")
    told = backends_of(proxy)[dead]
    assert enum_name(told, "health") == "BACKEND_HEALTH_EJECTED"
    assert (told.dial_failures, told.reason) == (5, "Connection refused")
    line = proxy.wait_log(msg="backend ejected")
    assert (line["pool"], line["backend"], line["level"]) == ("app", dead, "WARN")
    assert dead in proxy.cli("status").out
    assert backends_of(proxy)[alive.address].dial_failures == 0


def test_with_one_backend_nothing_is_ejected(start_pool: Callable, refusing: Callable) -> None:
    dead = refusing()
    proxy = start_pool([dead])
    for _ in range(10):
        proxy.expect_refused("dial_refused")
    assert backends_of(proxy)[dead].dial_failures == 10


# ---- states


def test_a_drained_backend_keeps_its_sessions_and_gets_no_new_ones(
    start_pool: Callable, start_backend: Callable, enter: Callable
) -> None:
    a, b = start_backend(Backend(echo)), start_backend(Backend(echo))
    proxy = start_pool([a, b], balance="round_robin")
    sessions = [enter(proxy.open_connection()) for _ in range(10)]
    told = proxy.cli("backends", "set", "app", a.address, "--state", "drain")
    assert told.code == 0, told.err
    assert {proxy.expect_served() for _ in range(20)} == {b.address}
    for session in sessions:
        expect_echo(session, b"goes on")
    assert backends_of(proxy)[a.address].active_connections == 5
    closed = proxy.cli("backends", "set", "app", a.address, "--state", "maintenance", "--close-sessions")
    assert closed.code == 0, closed.err
    until(lambda: backends_of(proxy)[a.address].active_connections == 0, "its sessions are reset")
    assert backends_of(proxy)[b.address].active_connections == 5
    assert len(proxy.lines_until_now(msg="connection closed", reason="closed_by_operator")) == 5
    assert proxy.cli("backends", "set", "app", a.address, "--state", "ready").code == 0
    assert Counter(proxy.expect_served() for _ in range(10)) == {a.address: 5, b.address: 5}


def test_states_and_pools_outlive_a_kill_and_a_snapshot(
    start_pool: Callable, start_backend: Callable, tmp_path: Path, start_administered: Callable
) -> None:
    a, b = start_backend(Backend(echo)), start_backend(Backend(echo))
    proxy = start_pool([a, b], slow_start="3s", retries=1)
    assert proxy.cli("backends", "set", "app", a.address, "--state", "drain").code == 0
    assert proxy.cli("pools", "add", "other", b.address, "--balance", "hash_name").code == 0
    before = proxy.admin.ListPools()
    copy = tmp_path / "copy.db"
    assert proxy.cli("snapshot", "-o", copy).code == 0
    proxy.kill()
    proxy.start()
    after = proxy.admin.ListPools()
    assert [pool.pool for pool in after.pools] == [pool.pool for pool in before.pools]
    assert after.revision == before.revision
    assert {proxy.expect_served() for _ in range(5)} == {b.address}
    assert proxy.stop() == 0
    for end in ("", "-wal", "-shm"):
        Path(f"{proxy.database}{end}").unlink(missing_ok=True)
    copy.rename(proxy.database)
    proxy.start()
    assert [pool.pool for pool in proxy.admin.ListPools().pools] == [pool.pool for pool in before.pools]


def test_no_connection_fails_while_each_backend_is_drained_in_turn(start_pool: Callable, start_backend: Callable) -> None:
    backends = four(start_backend)
    proxy = start_pool(backends)
    with Repeated(proxy.expect_served, threads=8) as clients:
        for backend in backends:
            address = backend.address
            assert proxy.cli("backends", "set", "app", address, "--state", "drain").code == 0
            until(lambda address=address: backends_of(proxy)[address].active_connections == 0, "it is drained")
            clients.more(50)
            assert proxy.cli("backends", "set", "app", address, "--state", "ready").code == 0
            total = backends_of(proxy)[address].total_connections
            until(lambda address=address, total=total: backends_of(proxy)[address].total_connections > total, "it serves again")
    assert clients.failures == []
    assert not proxy.lines_until_now(msg="dial failed")


# ---- changes, and bad ones


def test_pools_are_changed_by_commands(start_pool: Callable, start_backend: Callable) -> None:
    a, b, c = (start_backend(Backend(echo)) for _ in range(3))
    proxy = start_pool([a])
    for words in (
        ("pools", "add", "more", b.address, c.address, "--balance", "round_robin", "--retries", "1"),
        ("routes", "add", "more.example.com", "pool=more"),
        ("backends", "add", "app", b.address, "--weight", "50", "--backup"),
        ("backends", "set", "app", b.address, "--weight", "70"),
        ("backends", "remove", "app", a.address),
        ("pools", "set", "more", "--balance", "least_connections"),
    ):
        done = proxy.cli(*words)
        assert done.code == 0, f"{words}: {done.err}"
    assert proxy.expect_served() == b.address
    assert proxy.expect_served("more.example.com") in (b.address, c.address)
    pools = {told.pool.name: told.pool for told in proxy.admin.ListPools().pools}
    assert [(one.address, one.weight, one.backup) for one in pools["app"].backends] == [(b.address, 70, True)]
    assert (enum_name(pools["more"], "balance"), pools["more"].retries) == ("BALANCE_LEAST_CONNECTIONS", 1)
    assert "more.example.com pool=more" in proxy.cli("routes", "list").out
    assert proxy.cli("routes", "remove", "more.example.com").code == 0
    assert proxy.cli("pools", "remove", "more").code == 0
    assert "more" not in proxy.cli("pools", "list").out
    details = [detail for (detail,) in proxy.rows("SELECT detail FROM audit ORDER BY id")]
    assert any("pool more" in detail for detail in details), details


def test_what_would_leave_a_route_without_a_pool_is_refused(start_pool: Callable, start_backend: Callable) -> None:
    backend = start_backend(Backend(echo))
    proxy = start_pool([backend])
    before = proxy.everything()
    for words, told in (
        (("pools", "remove", "app"), NAME),
        (("routes", "add", "new.example.com", "pool=nothing"), "nothing"),
        (("backends", "remove", "app", backend.address), "last backend"),
        (("backends", "remove", "app", "127.0.0.1:1"), "127.0.0.1:1"),
        (("pools", "add", "app", "127.0.0.1:1"), "app"),
        (("pools", "remove", "nothing"), "nothing"),
        (("backends", "add", "app", backend.address), backend.address),
        (("pools", "add", "bad name", "127.0.0.1:1"), "bad name"),
    ):
        done = proxy.cli(*words)
        assert done.code == 1, words
        assert told in done.err, f"{words}: {done.err}"
    assert proxy.everything() == before
    assert proxy.expect_served() == backend.address


def test_a_request_may_add_a_pool_and_its_routes_in_any_order(start_pool: Callable, start_backend: Callable) -> None:
    backend = start_backend(Backend(echo))
    proxy = start_pool([backend])
    new = api.Pool(name="new", backends=[api.Backend(address=backend.address)])
    to_new = api.ListenerRoute(listener_addr=proxy.listener_name(), route=api.Route(hostname="new.example.com", pool="new"))
    proxy.admin.ApplyChanges(changes=[api.Change(add_route=to_new), api.Change(add_pool=new)])
    assert proxy.expect_served("new.example.com") == backend.address
    with refused(grpc.StatusCode.FAILED_PRECONDITION, "new.example.com"):
        proxy.admin.RemovePool(name="new")
    gone = api.ListenerHostname(listener_addr=proxy.listener_name(), hostname="new.example.com")
    proxy.admin.ApplyChanges(changes=[api.Change(remove_pool=api.PoolName(name="new")), api.Change(remove_route=gone)])
    proxy.expect_refused("no_route", "new.example.com")


def test_each_wrong_field_is_told_by_its_path(start_pool: Callable, start_backend: Callable) -> None:
    proxy = start_pool([start_backend(Backend(echo))])
    wrong = api.Pool(
        name="x", retries=9, backends=[api.Backend(address="127.0.0.1:1"), api.Backend(address="nowhere", weight=2000)]
    )
    with refused(grpc.StatusCode.INVALID_ARGUMENT) as told:
        proxy.admin.ApplyChanges(changes=[api.Change(put_pool=wrong)])
    paths = {"changes[0].put_pool.retries", "changes[0].put_pool.backends[1].address", "changes[0].put_pool.backends[1].weight"}
    assert set(told.fields) == paths
    with refused(grpc.StatusCode.INVALID_ARGUMENT) as told:
        proxy.admin.AddRoute(
            listener_addr=proxy.listener_name(), route=api.Route(hostname="b.example.com", backend="127.0.0.1:1", pool="app")
        )
    assert set(told.fields) == {"route.pool"}


def test_the_file_s_mistakes_are_told_all_at_once(tmp_path: Path) -> None:
    config = tmp_path / "mc-proxy.toml"
    config.write_text(
        f"""
[[listeners]]
addr = "127.0.0.1:0"
[[listeners.routes]]
hostname = "a.example.com"
pool = "nothing"
[[listeners.routes]]
hostname = "b.example.com"
pool = "app"
backend = "127.0.0.1:1"
[[pools]]
name = "app"
retries = 9
balance = "fastest"
  [[pools.backends]]
  address = "127.0.0.1:1"
  weight = 1001
  [[pools.backends]]
  address = "127.0.0.1:1"
[[pools]]
name = "empty"
backends = []
[database]
path = "{tmp_path}/mc-proxy.db"
"""
    )
    with Proxy(tmp_path, routes={}) as proxy:
        proxy.config.write_text(config.read_text())
        told = proxy.cli("check").err + proxy.cli("check").out
    for words in ("nothing", "retries", "fastest", "weight", "the same address", "at least one is required", "leave one"):
        assert words in told, f"{words} in:\n{told}"


def test_nothing_acknowledged_is_lost_when_the_server_is_killed_while_pools_change(start_pool: Callable) -> None:
    proxy = start_pool(["127.0.0.1:1", "127.0.0.1:2"])
    chance = random.Random(1)
    states = ["BACKEND_STATE_READY", "BACKEND_STATE_DRAIN", "BACKEND_STATE_MAINTENANCE"]
    acknowledged: list[tuple[str, dict[str, object]]] = []
    numbers = itertools.count()  # never the same again: the last change before a kill may have been made

    def change_until_it_ends(admin: Admin) -> None:
        try:
            for number in numbers:
                if number % 3 == 0:
                    pool = api.Pool(name=f"p{number}", backends=[api.Backend(address="10.0.0.1:443")])
                    admin.AddPool(pool=pool)
                    acknowledged.append(("added", {"name": f"p{number}"}))
                else:
                    state = chance.choice(states)
                    address = f"127.0.0.1:{1 + number % 2}"
                    admin.SetBackendState(pool="app", address=address, state=state)
                    acknowledged.append(("set", {"address": address, "state": state}))
        except grpc.RpcError:
            pass

    kills = 0
    while len(acknowledged) < 2000:
        with Admin(f"unix:{proxy.admin_socket}") as admin, ThreadPoolExecutor(1) as operator:
            done = operator.submit(change_until_it_ends, admin)
            wanted = len(acknowledged) + chance.randrange(1, 150)
            until(lambda wanted=wanted: len(acknowledged) >= wanted or done.done(), "changes are made")
            proxy.kill()
            done.result()
        kills += 1
        proxy.start()
        pools = {told.pool.name: told.pool for told in proxy.admin.ListPools().pools}
        for kind, what in acknowledged:
            if kind == "added":
                assert what["name"] in pools
        last = {what["address"]: what["state"] for kind, what in acknowledged if kind == "set"}
        now = {one.address: enum_name(one, "state") for one in pools["app"].backends}
        # One more change may have been made, and not acknowledged.
        assert sum(now[address] != state for address, state in last.items()) <= 1
    assert kills >= 10
