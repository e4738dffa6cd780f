# SPDX-License-Identifier: Apache-2.0
"""ListConnections and CloseConnections, and the commands for them: who is connected, and ending some of it."""

import itertools
import json
import re
import threading
import time
from collections.abc import Callable

import grpc
import pytest

from admin import MALLORY, TRENT, AdministeredProxy, ClientTls, ServerTls, Admin, api, enum_name, refused
from harness import (
    PATIENCE,
    Backend,
    Listener,
    ManualBackend,
    client_hello,
    echo,
    expect_echo,
    expect_rst,
    until,
)
from traffic import Companion, Lane

StatusCode = grpc.StatusCode


def clients_of(connections: list) -> set[str]:
    return {connection.client for connection in connections}


# ---- list


def test_a_connection_is_listed_with_all_that_is_known_of_it_at_its_stage(start_administered, start_backend) -> None:
    backend = start_backend(ManualBackend())
    proxy = start_administered(routes={"*.example.com": backend})
    with proxy.connect(MALLORY) as client:
        until(lambda: len(proxy.admin.connections()) == 1, "it is listed")
        (listed,) = proxy.admin.connections()
        assert listed.listener_addr == proxy.listener_name()
        assert listed.client == client.name
        assert (listed.sni, listed.backend, listed.route) == ("", "", "")
        assert enum_name(listed, "stage") == "CONNECTION_STAGE_HELLO"
        first = listed.id

        hello = client_hello("App.Example.com")
        client.sendall(hello)
        with backend.accept() as upstream:
            up, down = Lane(client, upstream, 1), Lane(upstream, client, 2)
            assert upstream.recv(len(hello)) == hello
            up.carry(100_000)
            down.carry(50_000)
            (listed,) = proxy.admin.connections()
            assert listed.id == first
            assert (listed.sni, listed.route) == ("app.example.com", "*.example.com")
            assert listed.backend == backend.address
            assert enum_name(listed, "stage") == "CONNECTION_STAGE_RELAY"
            assert (listed.bytes_up, listed.bytes_down) == (len(hello) + 100_000, 50_000)
            assert abs(listed.started_at.ToSeconds() - time.time()) < PATIENCE
            assert listed.idle.ToMilliseconds() < 1000 * PATIENCE
    until(lambda: not proxy.admin.connections(), "it has gone")


def test_a_filter_chooses_by_listener_name_source_backend_and_id(start_administered, start_backend, enter) -> None:
    one, two = start_backend(Backend(echo)), start_backend(Backend(echo))
    routes = {"a.example.com": one, "*.b.example.com": two, "*": one}
    proxy = start_administered(listeners=[Listener(routes), Listener(routes)])
    opened = [
        enter(proxy.open_connection(name, source, listener)).name
        for name, source, listener in (
            ("a.example.com", MALLORY, 0),
            ("x.b.example.com", MALLORY, 1),
            ("a.example.com", TRENT, 1),
            ("other.test", TRENT, 0),
        )
    ]
    silent = enter(proxy.connect(MALLORY)).name
    until(lambda: len(proxy.admin.connections()) == 5, "all are there")

    def chosen(**filter: object) -> list[int]:
        found = clients_of(proxy.admin.connections(**filter))
        assert len(found) == proxy.admin.CloseConnections(filter=filter, all=not filter, dry_run=True).closed
        return [i for i, name in enumerate([*opened, silent]) if name in found]

    assert chosen() == [0, 1, 2, 3, 4]
    assert chosen(listener_addr=proxy.listener_name(1)) == [1, 2]
    assert chosen(sni="A.example.COM.") == [0, 2]
    assert chosen(sni="*.example.com") == [0, 1, 2]
    assert chosen(sni="*.b.example.com") == [1]
    assert chosen(sni="*") == [0, 1, 2, 3]
    assert chosen(source=MALLORY) == [0, 1, 4]
    assert chosen(source="127.0.0.0/8") == [0, 1, 2, 3, 4]
    assert chosen(source="::/0") == []
    assert chosen(backend=two.address) == [1]
    assert chosen(sni="*.example.com", source=TRENT) == [2]
    (listed,) = proxy.admin.connections(backend=two.address)
    assert chosen(id=listed.id) == [1]
    assert chosen(id=listed.id, source=TRENT) == []


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("sni", "a..b", "a label is empty"),
        ("sni", "192.0.2.1", "not a host name"),
        ("source", "localhost", "not an IP address"),
        ("source", "198.51.100.7/24", "198.51.100.0/24"),
        ("backend", "10.0.0.256:443", "not an IP address"),
        ("id", "17", '"0-17"'),
    ],
)
def test_a_filter_that_cannot_be_right_is_refused_by_its_field(proxy, field: str, value: str, words: str) -> None:
    for call in (
        lambda: proxy.admin.connections(**{field: value}),
        lambda: proxy.admin.close_connections(**{field: value}),
    ):
        with refused(StatusCode.INVALID_ARGUMENT) as refusal:
            call()
        assert list(refusal.fields) == [f"filter.{field}"]
        assert words in refusal.fields[f"filter.{field}"]
    with refused(StatusCode.NOT_FOUND, '":1"', proxy.listener_name()):
        proxy.admin.connections(listener_addr=":1")


@pytest.mark.heavy
def test_5000_idle_connections_are_listed_each_once_while_traffic_goes_on(
    start_administered: Callable, start_backend: Callable
) -> None:
    count = 5000
    sources = [f"127.0.1.{i}" for i in range(1, 9)]
    crowd = start_backend(Companion("echo", hosts=["127.0.2.1", "127.0.2.2"]))
    held = [f"b{i}.test" for i in range(2)]
    busy = start_backend(Backend(echo))
    routes = dict(zip(held, crowd.hear()["addresses"], strict=True)) | {"busy.test": busy}
    proxy = start_administered(routes=routes, workers=2)
    clients = start_backend(Companion("hold", port=proxy.ports[0], sources=sources, names=held))
    clients.ask(f"open {count}", 6 * PATIENCE)

    stop, rounds, failures = threading.Event(), itertools.count(), []

    def talk() -> None:
        try:
            while not stop.is_set():
                with proxy.open_connection("busy.test", MALLORY) as client:
                    expect_echo(client, b"x" * 10_000)
                next(rounds)
        except Exception as error:  # noqa: BLE001 - the test reports it
            failures.append(error)

    talker = threading.Thread(target=talk)
    talker.start()
    try:
        for _ in range(3):
            listed = proxy.admin.connections()
            assert len({connection.id for connection in listed}) == len(listed)
            assert sum(connection.sni in held for connection in listed) == count
        assert len(proxy.admin.connections(sni="b1.test")) == count / 2
        assert len(proxy.admin.connections(source="127.0.1.3")) == count / 8
        before = next(rounds)
        until(lambda: next(rounds) > before + 10, "traffic goes on")
        assert proxy.admin.close_connections(sni="b0.test") == count / 2
        until(lambda: crowd.ask("count")["open"] == count / 2, "they are closed")
        assert len(proxy.admin.connections(sni="*.test", source="127.0.1.0/24")) == count / 2
    finally:
        stop.set()
        talker.join()
    assert not failures


# ---- close


def test_those_that_match_are_reset_on_both_sides_and_no_byte_of_others_is_lost(
    start_administered: Callable, start_backend: Callable, enter: Callable
) -> None:
    backend = start_backend(ManualBackend())
    proxy = start_administered(routes={"*.example.com": backend})

    def open_lanes(name: str, seed: int) -> tuple:
        hello = client_hello(name)
        client = enter(proxy.connect())
        client.sendall(hello)
        upstream = enter(backend.accept())
        assert upstream.recv(len(hello)) == hello
        return client, upstream, Lane(client, upstream, seed), Lane(upstream, client, seed + 100)

    victims = [open_lanes("a.example.com", seed) for seed in range(3)]
    others = [open_lanes("b.example.com", seed) for seed in range(10, 13)]
    for _, _, up, down in victims + others:
        up.send(30_000)
        down.send(30_000)
    assert proxy.admin.close_connections(sni="a.example.com") == 3
    for client, upstream, up, down in victims:
        down.receive_until_reset()
        up.receive_until_reset()
        line = proxy.outcome(client)
        assert (line["msg"], line["reason"]) == ("connection closed", "closed_by_operator")
    for _, _, up, down in others:
        up.carry(200_000)
        down.carry(200_000)
    assert proxy.admin.GetStatus().ended["closed_by_operator"] == 3
    line = proxy.wait_log(msg="connections closed", filter="sni=a.example.com", closed=3)
    assert re.match(r"uid=\d+", line["by"])


def test_connections_are_closed_in_any_stage_and_all_only_if_that_is_said(proxy, start_backend, enter) -> None:
    open_ones = [enter(proxy.open_connection()), enter(proxy.connect())]
    until(lambda: len(proxy.admin.connections()) == 2, "both are there")
    with refused(StatusCode.INVALID_ARGUMENT, "`all`"):
        proxy.admin.CloseConnections()
    with refused(StatusCode.INVALID_ARGUMENT, "leave one of them out"):
        proxy.admin.CloseConnections(filter=api.ConnectionFilter(sni="*"), all=True)
    assert proxy.admin.CloseConnections(all=True, dry_run=True).closed == 2
    assert not proxy.lines_until_now(msg="connections closed")
    expect_echo(open_ones[0])
    assert proxy.admin.CloseConnections(all=True).closed == 2
    for client in open_ones:
        expect_rst(client)
    assert proxy.admin.CloseConnections(all=True).closed == 0
    proxy.wait_log(msg="connections closed", filter="all", closed=0)
    proxy.expect_served()


# ---- readers


def test_listings_that_nobody_reads_are_few_and_hold_up_nobody(start_administered, start_backend, enter) -> None:
    crowd = start_backend(Companion("echo", hosts=["127.0.2.3"]))
    (address,) = crowd.hear()["addresses"]
    # Long names make long rows: what gRPC takes without a reader is a fraction of the listing.
    name = ".".join(["n" * 60] * 4)
    proxy = start_administered(routes={name: address})
    clients = start_backend(Companion("hold", port=proxy.ports[0], sources=["127.0.1.9"], names=[name]))
    clients.ask("open 3000", 6 * PATIENCE)
    reader = enter(Admin(f"unix:{proxy.admin_socket}", window=16_384))
    stuck = [reader.ListConnections() for _ in range(4)]
    for stream in stuck:
        assert len(next(stream).connections) > 0
    with refused(StatusCode.RESOURCE_EXHAUSTED, "4 calls list or close connections already"):
        proxy.admin.connections()
    with proxy.open_connection(name, MALLORY) as client:
        answer = proxy.admin.AddFirewallRule(
            rule=api.FirewallRule(type="FIREWALL_RULE_TYPE_IP", value=MALLORY), cut_established=True
        )
        assert answer.revision == 2
        expect_rst(client)
    for stream in stuck:
        stream.cancel()

    def listed() -> int:
        try:
            return len(proxy.admin.connections())
        except grpc.RpcError as error:
            assert error.code() == StatusCode.RESOURCE_EXHAUSTED
            return 0

    until(lambda: listed() == 3000, "the places are free again")



def test_strangers_can_neither_list_nor_close(start_administered, backend, authority) -> None:
    server = authority.issue("localhost")
    proxy = start_administered(routes={"app.example.com": backend}, tls=ServerTls(server, authority.ca))
    with proxy.open_connection() as client:
        with Admin(f"localhost:{proxy.admin_port}", ClientTls(authority.ca)) as stranger:
            for call in (stranger.connections, lambda: stranger.CloseConnections(all=True)):
                with refused(StatusCode.UNAVAILABLE):
                    call()
            with refused(StatusCode.UNAVAILABLE):
                next(stranger.WatchEvents())
        expect_echo(client)


# ---- the command line


def test_the_commands_list_and_close(proxy: AdministeredProxy, enter) -> None:
    answer = proxy.cli("connections", "list")
    assert (answer.code, answer.err) == (0, "")
    titles = answer.out.split()
    assert titles == ["ID", "LISTENER", "CLIENT", "SNI", "BACKEND", "STAGE", "AGE", "IDLE", "UP", "DOWN"]

    mallory = enter(proxy.open_connection(source=MALLORY))
    expect_echo(mallory, b"x" * 20_000)
    trent = enter(proxy.connect(TRENT))
    until(lambda: len(proxy.admin.connections()) == 2, "both are there")
    title, *rows = proxy.cli("connections", "list").out.splitlines()
    assert len(rows) == 2
    row = next(row for row in rows if mallory.name in row)
    assert row.split()[3] == "app.example.com" and " relay " in row
    assert re.search(r"  \d+s +\d+s +20\.\d kB +20\.\d kB$", row)
    for column in ("CLIENT", "SNI", "BACKEND"):
        assert row[title.index(column) - 1] == " " and row[title.index(column)] != " "
    row = next(row for row in rows if trent.name in row)
    assert row.split()[3:6] == ["-", "-", "hello"]

    answer = proxy.cli("connections", "list", "--json", "--source", MALLORY)
    (line,) = answer.out.splitlines()
    listed = json.loads(line)
    assert (listed["client"], listed["stage"]) == (mallory.name, "CONNECTION_STAGE_RELAY")

    answer = proxy.cli("connections", "close", "--id", listed["id"], "--dry-run")
    assert (answer.code, answer.out) == (0, "would close 1 connection\n")
    answer = proxy.cli("connections", "close", "--id", listed["id"])
    assert (answer.code, answer.out) == (0, "closed 1 connection\n")
    expect_rst(mallory)
    answer = proxy.cli("connections", "close", "--json", "--all")
    assert json.loads(answer.out) == {"closed": "1"}
    expect_rst(trent)
    answer = proxy.cli("connections", "close", "--all")
    assert (answer.code, answer.out) == (0, "closed 0 connections\n")


def test_to_close_what_is_not_there_is_an_error(proxy, enter) -> None:
    mallory = enter(proxy.open_connection(source=MALLORY))
    for which in (("--id", "0-999999"), ("--source", TRENT), ("--sni", "other.example.com", "--source", MALLORY)):
        answer = proxy.cli("connections", "close", *which)
        assert (answer.code, answer.out) == (1, "") and answer.err.startswith("mc-proxy: no connection matches")
        answer = proxy.cli("connections", "close", "--json", *which)
        assert answer.code == 1 and json.loads(answer.out) == {"closed": "0"}
        answer = proxy.cli("connections", "close", "--dry-run", *which)
        assert (answer.code, answer.out, answer.err) == (0, "would close 0 connections\n", "")
    expect_echo(mallory, b"still open")


def test_the_commands_say_what_is_wrong(proxy) -> None:
    answer = proxy.cli("connections", "close")
    assert (answer.code, answer.out) == (2, "") and "--all" in answer.err
    answer = proxy.cli("connections", "close", "--all", "--sni", "*")
    assert answer.code == 1 and "--all: set together with a filter" in answer.err
    answer = proxy.cli("connections", "list", "--source", "nowhere", "--sni", "a..b")
    assert answer.code == 1
    assert '--source: "nowhere": not an IP address' in answer.err and "--sni:" in answer.err
    answer = proxy.cli("connections", "list", "--listener", ":1")
    assert answer.code == 1 and 'no listener ":1"' in answer.err
    proxy.stop()
    answer = proxy.cli("connections", "list")
    assert answer.code == 3 and answer.out == ""
    proxy.start()
