# SPDX-License-Identifier: Apache-2.0
"""Names as backends, with real name servers: whatever DNS does, no connection is lost, and clients are served as long as there is
an address that was once good."""

import ctypes
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from admin import AdministeredProxy
from harness import PATIENCE, Backend, Client, client_hello, echo, expect_echo, until
from name_servers import Dnsmasq, NameServer, Unbound
from pools import NAME, backends_of, pool_table

CLONE_NEWNS = 0x00020000  # sched.h

PORT = 8443
BACKEND = f"app.internal:{PORT}"

pytestmark = pytest.mark.usefixtures("own_network")


@pytest.fixture
def dnsmasq(own_network: None, enter: Callable, tmp_path: Path) -> Callable[..., Dnsmasq]:
    """dnsmasq({"app.internal": ["127.0.0.11"]}, ...) returns a server that runs."""
    return lambda records, **options: enter(Dnsmasq(tmp_path, records, **options))


@pytest.fixture
def start_named(own_network: None, start_administered: Callable) -> Callable[..., AdministeredProxy]:
    """start_named(server, ...) returns a proxy that asks this name server for the one backend of its pool "app"."""

    def start(server: NameServer | None, backends: tuple[str, ...] = (BACKEND,), **settings: object) -> AdministeredProxy:
        dns: dict[str, object] = {"ttl_min": "1s", "ttl_max": "2s"}
        if server is not None:
            dns["servers"] = [server.address]
        pool = pool_table(list(backends), **settings)
        return start_administered(routes={NAME: "pool=app"}, tables={"pools": [pool], "dns": dns})

    return start


@pytest.fixture
def backends(own_network: None, start_backend: Callable) -> list[Backend]:
    """Those at 127.0.0.11, .12 and .13, at one port."""
    return [start_backend(Backend(echo, f"127.0.0.{number}", PORT)) for number in (11, 12, 13)]


def addresses(*numbers: int) -> list[str]:
    return [f"127.0.0.{number}" for number in numbers]


def until_addresses(proxy: AdministeredProxy, *wanted: str) -> None:
    until(lambda: sorted(backends_of(proxy)) == sorted(wanted), f"the backends are {wanted}")


def until_warned(proxy: AdministeredProxy, words: str, client: Client) -> None:
    """The client's connection goes on meanwhile."""

    def holds() -> bool:
        expect_open(client)
        return any(words in text for text in proxy.admin.GetStatus().warnings)

    until(holds, f"a warning has {words}", 2 * PATIENCE)


def until_well(proxy: AdministeredProxy, client: Client) -> None:
    def holds() -> bool:
        expect_open(client)
        return not proxy.admin.GetStatus().warnings

    until(holds, "there is no warning", 2 * PATIENCE)


def expect_open(client: Client) -> None:
    """The connection goes on."""
    expect_echo(client, b"still here")


def serve_during(proxy: AdministeredProxy, seconds: float) -> set[str]:
    """Clients come all the time, and each is served. Returns by whom."""
    end = time.monotonic() + seconds
    served = {proxy.expect_served()}
    while time.monotonic() < end:
        served.add(proxy.expect_served())
    return served


# ---- answers


def test_a_name_is_each_of_its_addresses_and_follows_dns(
    dnsmasq: Callable, start_named: Callable, backends: list[Backend], enter: Callable
) -> None:
    server = dnsmasq({"app.internal": addresses(11, 12)})
    proxy = start_named(server, balance="round_robin")
    until_addresses(proxy, "127.0.0.11:8443", "127.0.0.12:8443")
    assert {proxy.expect_served() for _ in range(4)} == {"127.0.0.11:8443", "127.0.0.12:8443"}
    told = backends_of(proxy)["127.0.0.11:8443"]
    assert told.resolved_from == BACKEND
    assert f"127.0.0.11:8443 ({BACKEND})" in proxy.cli("backends", "list", "app").out
    revision = proxy.revision()

    clients = [enter(proxy.open_connection()) for _ in range(4)]
    server.change({"app.internal": addresses(12, 13)})
    until_addresses(proxy, "127.0.0.12:8443", "127.0.0.13:8443")
    assert {proxy.expect_served() for _ in range(4)} == {"127.0.0.12:8443", "127.0.0.13:8443"}
    for client in clients:
        expect_open(client)
    assert proxy.revision() == revision
    server.change({"app.internal": addresses(11, 12)})
    until_addresses(proxy, "127.0.0.11:8443", "127.0.0.12:8443")
    assert backends_of(proxy)["127.0.0.11:8443"].active_connections == 2


def test_a_state_is_set_by_the_name_and_its_connections_are_closed(
    dnsmasq: Callable, start_named: Callable, backends: list[Backend], enter: Callable
) -> None:
    proxy = start_named(dnsmasq({"app.internal": addresses(11, 12)}), (BACKEND, "127.0.0.13:8443"), balance="round_robin")
    until_addresses(proxy, "127.0.0.11:8443", "127.0.0.12:8443", "127.0.0.13:8443")
    for _ in range(6):
        enter(proxy.open_connection())
    refused = proxy.cli("backends", "set", "app", "127.0.0.11:8443", "--state", "drain")
    assert refused.code != 0
    assert f"is an address of the backend {BACKEND}; write that name" in refused.err
    done = proxy.cli("backends", "set", "app", BACKEND, "--state", "drain", "--close-sessions")
    assert (done.code, "closed 4 connections" in done.out) == (0, True), done
    assert serve_during(proxy, 0.1) == {"127.0.0.13:8443"}


def test_a_ttl_of_zero_is_no_flood_of_queries(dnsmasq: Callable, start_named: Callable, backends: list[Backend]) -> None:
    server = dnsmasq({"app.internal": addresses(11)}, ttl=0)
    proxy = start_named(server)
    until_addresses(proxy, "127.0.0.11:8443")
    before = server.asked("app.internal")
    began = time.monotonic()
    until(lambda: server.asked("app.internal") >= before + 4, "it is asked again and again")
    assert time.monotonic() - began > 3 * 0.9, "more often than ttl_min allows"
    assert proxy.expect_served() == "127.0.0.11:8443"


def test_of_many_addresses_the_first_64_are_used(dnsmasq: Callable, start_named: Callable, start_backend: Callable) -> None:
    start_backend(Backend(echo, "0.0.0.0", PORT))
    many = [f"127.0.1.{number}" for number in range(1, 201)]
    proxy = start_named(dnsmasq({"app.internal": many}), balance="round_robin")  # an answer that needs TCP
    until_addresses(proxy, *(f"{address}:{PORT}" for address in many[:64]))
    assert len({proxy.expect_served() for _ in range(64)}) > 32


def test_a_name_may_have_ipv6_addresses_only(dnsmasq: Callable, start_named: Callable, start_backend: Callable) -> None:
    start_backend(Backend(echo, "::1", PORT))
    proxy = start_named(dnsmasq({"app.internal": ["::1"]}))
    until_addresses(proxy, f"[::1]:{PORT}")
    assert proxy.expect_served() == f"[::1]:{PORT}"


# ---- failures


def test_servfail_for_long_loses_no_connection_and_no_address(
    dnsmasq: Callable, start_named: Callable, backends: list[Backend], enter: Callable, tmp_path: Path
) -> None:
    origin = dnsmasq({"app.internal": addresses(11, 12)})
    resolver = enter(Unbound(tmp_path, origin))
    proxy = start_named(resolver, balance="round_robin")
    until_addresses(proxy, "127.0.0.11:8443", "127.0.0.12:8443")
    client = enter(proxy.open_connection())
    origin.refuse()
    until_warned(proxy, "app.internal: SERVFAIL since", client)
    assert serve_during(proxy, 5) == {"127.0.0.11:8443", "127.0.0.12:8443"}
    assert "SERVFAIL" in proxy.cli("status").out
    origin.recover()
    until_well(proxy, client)
    origin.change({"app.internal": addresses(13)})
    until_addresses(proxy, "127.0.0.13:8443")
    assert proxy.expect_served() == "127.0.0.13:8443"
    expect_open(client)


def test_nxdomain_keeps_the_addresses_and_the_name_may_come_back(
    dnsmasq: Callable, start_named: Callable, backends: list[Backend], enter: Callable
) -> None:
    server = dnsmasq({"app.internal": addresses(11)})
    proxy = start_named(server)
    until_addresses(proxy, "127.0.0.11:8443")
    client = enter(proxy.open_connection())
    server.change({"other.internal": addresses(11)})
    until_warned(proxy, "app.internal: no such name since", client)
    assert serve_during(proxy, 2) == {"127.0.0.11:8443"}
    server.change({"app.internal": addresses(12)})
    until_addresses(proxy, "127.0.0.12:8443")
    until_well(proxy, client)
    assert proxy.expect_served() == "127.0.0.12:8443"
    expect_open(client)


def test_a_server_that_does_not_reply_is_told_as_that(
    dnsmasq: Callable, start_named: Callable, backends: list[Backend], enter: Callable
) -> None:
    server = dnsmasq({"app.internal": addresses(11)})
    proxy = start_named(server)
    until_addresses(proxy, "127.0.0.11:8443")
    client = enter(proxy.open_connection())
    server.freeze()
    until_warned(proxy, "app.internal: no reply since", client)
    assert serve_during(proxy, 0.5) == {"127.0.0.11:8443"}
    server.thaw()
    until_well(proxy, client)
    expect_open(client)


# ---- the start


def test_without_dns_and_without_an_answer_clients_are_refused_until_dns_is_there(
    dnsmasq: Callable, start_named: Callable, backends: list[Backend]
) -> None:
    server = dnsmasq({"app.internal": addresses(11)})
    server.kill()
    proxy = start_named(server)
    until(lambda: "not resolved: name server not reachable" in backends_of(proxy)[BACKEND].reason, "it is not resolved")
    assert backends_of(proxy)[BACKEND].resolved_from == BACKEND
    proxy.expect_refused("backend_unresolved")
    server.start()
    until_addresses(proxy, "127.0.0.11:8443")
    assert proxy.expect_served() == "127.0.0.11:8443"


def test_without_dns_a_start_serves_with_the_last_answers(
    dnsmasq: Callable, start_named: Callable, backends: list[Backend], enter: Callable
) -> None:
    server = dnsmasq({"app.internal": addresses(11, 12)})
    proxy = start_named(server, balance="round_robin")
    until_addresses(proxy, "127.0.0.11:8443", "127.0.0.12:8443")
    until(lambda: proxy.rows("SELECT addresses FROM resolved_names") == [("127.0.0.11 127.0.0.12",)], "they are stored")
    assert proxy.stop() == 0
    server.kill()
    proxy.start()
    assert {proxy.expect_served() for _ in range(4)} == {"127.0.0.11:8443", "127.0.0.12:8443"}
    until_warned(proxy, "app.internal: name server not reachable since", enter(proxy.open_connection()))
    assert proxy.expect_served() in {"127.0.0.11:8443", "127.0.0.12:8443"}


# ---- /etc/resolv.conf


@pytest.fixture
def own_etc(own_network: None, tmp_path: Path) -> Iterator[Path]:
    """This thread, and the processes that it starts, have an /etc of their own, with what the C library reads."""
    libc = ctypes.CDLL(None, use_errno=True)
    etc = tmp_path / "etc"
    etc.mkdir()
    for name in ("passwd", "group", "nsswitch.conf", "hosts", "localtime"):
        if Path("/etc", name).exists():
            shutil.copy(Path("/etc", name), etc / name)
    before = os.open("/proc/thread-self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
    assert libc.unshare(CLONE_NEWNS) == 0, f"unshare: {os.strerror(ctypes.get_errno())}; it takes root"
    try:
        subprocess.run(["mount", "--make-rprivate", "/"], check=True)
        subprocess.run(["mount", "--bind", etc, "/etc"], check=True)
        yield etc
    finally:
        assert libc.setns(before, CLONE_NEWNS) == 0, f"setns: {os.strerror(ctypes.get_errno())}"
        os.close(before)


def write_resolv_conf(etc: Path, host: str) -> None:
    """As programs that manage it do: another file in its place."""
    (etc / "resolv.conf.new").write_text(f"nameserver {host}\n")
    (etc / "resolv.conf.new").rename(etc / "resolv.conf")


def test_a_resolv_conf_that_is_replaced_is_read_again(
    own_etc: Path, dnsmasq: Callable, start_named: Callable, backends: list[Backend], enter: Callable
) -> None:
    first = dnsmasq({"app.internal": addresses(11)}, host="127.0.0.1", port=53)
    dnsmasq({"app.internal": addresses(12)}, host="127.0.0.2", port=53)
    write_resolv_conf(own_etc, "127.0.0.1")
    proxy = start_named(None)
    until_addresses(proxy, "127.0.0.11:8443")
    client = enter(proxy.open_connection())
    first.kill()
    write_resolv_conf(own_etc, "127.0.0.2")
    until_addresses(proxy, "127.0.0.12:8443")
    assert proxy.expect_served() == "127.0.0.12:8443"
    expect_open(client)


# ---- Unix sockets


def test_a_unix_socket_is_a_backend_of_a_pool(own_network: None, start_named: Callable, tmp_path: Path, enter: Callable) -> None:
    path = tmp_path / "app.sock"
    listener = enter(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
    listener.bind(str(path))
    listener.listen()
    listener.settimeout(10)
    proxy = start_named(None, (f"unix:{path}",), check={"kind": "tcp", "interval": "100ms", "fast_interval": "100ms"})
    until(lambda: backends_of(proxy)[f"unix:{path}"].reason == "connected", "it is checked")
    with proxy.connect() as client:
        client.sendall(client_hello(NAME))
        while True:
            served, _ = listener.accept()
            with served:
                served.settimeout(10)
                hello = served.recv(1 << 16)
                if not hello:
                    continue  # a check
                served.sendall(hello)
                assert client.recv(1 << 16) == hello
                break
