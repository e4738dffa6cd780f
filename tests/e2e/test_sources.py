# SPDX-License-Identifier: Apache-2.0
"""Where a backend is dialled from ([proxy] sources), backends at Unix sockets, and limits of single listeners."""

import contextlib
import hashlib
import json
import os
import socket
import ssl
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from certs import Authority
from harness import (
    PATIENCE,
    Backend,
    Client,
    Listener,
    ManualBackend,
    Proxy,
    address_text,
    client_hello,
    echo,
    expect_echo,
    expect_eof,
    expect_rst,
    recv_exactly,
    recv_to_eof,
    until,
)
from hello_site import SHORT
from pools import pool_table
from sites import blocks, digest
from tls_servers import NginxServer

NAME = "app.example.com"
HELLO = client_hello(NAME)
ONE, TWO = "127.0.0.5", "127.0.0.6"


# ---- source addresses


def sources_seen(proxy: Proxy, backend: ManualBackend, times: int) -> list[str]:
    seen = []
    for _ in range(times):
        with proxy.connect() as client:
            client.sendall(HELLO)
            with backend.accept() as upstream:
                seen.append(upstream.getpeername()[0])
    return seen


def test_a_backend_sees_each_source_in_turn(start_proxy: Callable, start_backend: Callable) -> None:
    backend = start_backend(ManualBackend())
    proxy = start_proxy(routes={NAME: backend}, sources=[ONE, TWO], workers=1)
    seen = sources_seen(proxy, backend, 6)
    assert seen in ([ONE, TWO] * 3, [TWO, ONE] * 3)


def test_every_worker_takes_turns(start_proxy: Callable, start_backend: Callable) -> None:
    backend = start_backend(ManualBackend())
    proxy = start_proxy(routes={NAME: backend}, sources=[ONE, TWO], workers=4)
    assert set(sources_seen(proxy, backend, 40)) == {ONE, TWO}


def test_a_backend_of_another_family_is_dialled_from_what_the_kernel_chooses(start_proxy: Callable, start_backend: Callable) -> None:
    v4, v6 = start_backend(ManualBackend()), start_backend(ManualBackend("::1"))
    proxy = start_proxy(routes={NAME: v6, "four.example.com": v4}, sources=[ONE], workers=1)
    assert sources_seen(proxy, v6, 2) == ["::1", "::1"]
    with proxy.connect() as client:
        client.sendall(client_hello("four.example.com"))
        with v4.accept() as upstream:
            assert upstream.getpeername()[0] == ONE


def test_a_source_that_the_machine_lacks_is_left_out(start_proxy: Callable, start_backend: Callable) -> None:
    """As after a network that has lost an address: what can be dialled from is used."""
    backend = start_backend(ManualBackend())
    proxy = start_proxy(routes={NAME: backend}, sources=["192.0.2.1", TWO], workers=1)
    assert sources_seen(proxy, backend, 4) == [TWO] * 4


def test_where_the_machine_has_no_source_the_dial_fails_and_says_why(start_proxy: Callable, backend: Backend) -> None:
    proxy = start_proxy(routes={NAME: backend}, sources=["192.0.2.1"], workers=1)
    with proxy.connect() as client:
        client.sendall(HELLO)
        expect_rst(client)
        line = proxy.outcome(client)
    assert (line["msg"], line["reason"], line["error"]) == ("dial failed", "dial_failed", "Cannot assign requested address")


def test_only_with_sources_may_the_process_call_bind(start_proxy: Callable, backend: Backend) -> None:
    refused = []
    for settings in ({}, {"sources": [ONE]}):
        proxy = start_proxy(routes={NAME: backend}, **settings)
        proxy.expect_served()
        refused.append(int(proxy.wait_log(msg="confined")["seccomp"].split()[0]))
        told = proxy.cli("check").out
        assert ("bind(2) allowed" in told) == bool(settings), told
    assert refused[0] == refused[1] + 1


# ---- more connections than ports

PORTS = range(20_000, 20_100)  # outside of the kernel's own range, from which the servers of the test have theirs
CLIENT_PORTS = range(10_000, 15_000)


@pytest.fixture
def narrow(own_network: None) -> Callable[[], None]:
    """narrow() leaves the kernel PORTS for what is dialled from now on, in a network of the test's own."""

    def narrow_range() -> None:
        Path("/proc/sys/net/ipv4/ip_local_port_range").write_text(f"{PORTS[0]} {PORTS[-1]}\n")

    return narrow_range


class Crowd:
    """Clients that hold their connections. Their own ports are not among PORTS, which a bind would take from the proxy."""

    def __init__(self, proxy: Proxy, stack: contextlib.ExitStack):
        self._proxy = proxy
        self._stack = stack
        self._ports = iter(CLIENT_PORTS)

    def come(self, count: int) -> list[Client]:
        """So many more clients are served."""
        return [self._served() for _ in range(count)]

    def expect_failure(self) -> None:
        client = self._connect()
        expect_rst(client)
        line = self._proxy.outcome(client)
        assert (line["msg"], line["reason"], line["error"]) == ("dial failed", "dial_failed", "Cannot assign requested address")

    def _connect(self) -> Client:
        client = self._stack.enter_context(Client())
        client.bind(("127.0.0.1", next(self._ports)))
        client.name = address_text(client.getsockname())
        client.connect(("127.0.0.1", self._proxy.ports[0]))
        client.sendall(HELLO)
        return client

    def _served(self) -> Client:
        client = self._connect()
        assert recv_exactly(client, len(HELLO)) == HELLO
        return client


@pytest.fixture
def crowd(narrow: Callable, start_proxy: Callable, start_backend: Callable) -> Iterator[Callable[..., Crowd]]:
    """crowd(sources): clients of a proxy that dials from these, with PORTS, to one backend that echoes."""
    with contextlib.ExitStack() as stack:

        def start(sources: list[str], **options: object) -> Crowd:
            settings = {"sources": sources} if sources else {}
            tables = {"pools": [pool_table([start_backend(Backend(echo))])]}
            proxy = start_proxy(routes={NAME: "pool=app"}, tables=tables, **settings, **options)
            narrow()
            return Crowd(proxy, stack)

        yield start


@pytest.mark.parametrize("sources", [[], [ONE], [ONE, TWO]], ids=["the kernel's", "one", "two"])
def test_each_source_has_its_ports_and_beyond_them_a_dial_fails(crowd: Callable[..., Crowd], sources: list[str]) -> None:
    clients = crowd(sources, workers=1)
    held = clients.come(max(1, len(sources)) * len(PORTS))
    for _ in range(3):
        clients.expect_failure()
    for client in held:
        expect_echo(client)
    for client in held[:2]:
        client.shutdown(socket.SHUT_WR)
        expect_eof(client)


def test_the_want_of_ports_is_not_the_backend_s_fault(crowd: Callable[..., Crowd]) -> None:
    """It is not ejected: a client that has left gives its port to the next one."""
    clients = crowd([ONE], workers=1)
    held = clients.come(len(PORTS))
    for _ in range(20):
        clients.expect_failure()
    held[0].setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    held[0].close()
    clients._proxy.wait_log(client=held[0].name, reason="client_reset")
    clients.come(1)


def test_several_workers_share_the_ports_of_all_sources(crowd: Callable[..., Crowd]) -> None:
    clients = crowd([ONE, TWO], workers=2)
    clients.come(2 * len(PORTS))
    clients.expect_failure()


# ---- Unix sockets


class UnixBackend:
    """Runs handler(connection) in a thread for each connection to a Unix socket."""

    def __init__(self, path: Path, handler: Callable[[socket.socket], None] = echo):
        self._handler = handler
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.bind(str(path))
        self._socket.listen(64)
        self._threads = [threading.Thread(target=self._accept_all, daemon=True)]
        self._threads[0].start()

    def _accept_all(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            connection.settimeout(PATIENCE)
            self._threads.append(threading.Thread(target=self._serve, args=(connection,), daemon=True))
            self._threads[-1].start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            self._handler(connection)

    def __enter__(self) -> "UnixBackend":
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(PATIENCE)
        self._socket.close()


@pytest.fixture
def unix_path() -> Iterator[Path]:
    """Short, because a socket's path has at most 107 bytes."""
    with tempfile.TemporaryDirectory(prefix="mcp-", dir="/tmp") as folder:
        yield Path(folder) / "backend.sock"


@pytest.fixture
def start_unix(start_administered: Callable, unix_path: Path) -> Callable[..., Proxy]:
    """start_unix(...): a proxy whose one route leads to a pool with the Unix socket."""

    def start(**options: object) -> Proxy:
        return start_administered(routes={NAME: "pool=app"}, tables={"pools": [pool_table([f"unix:{unix_path}"])]}, **options)

    return start


def test_bytes_go_both_ways_to_a_unix_socket_and_each_end_by_itself(
    start_unix: Callable, start_backend: Callable, unix_path: Path, engine: str
) -> None:
    def serve(connection: socket.socket) -> None:
        received = recv_to_eof(connection)  # the client's end, while the backend still has to say something
        connection.sendall(hashlib.sha256(received).digest())

    start_backend(UnixBackend(unix_path, serve))
    proxy = start_unix(splice=engine)
    body = b"".join(blocks(8 << 20))
    with proxy.connect() as client:
        client.sendall(HELLO)
        client.sendall(body)
        client.shutdown(socket.SHUT_WR)
        assert recv_to_eof(client) == hashlib.sha256(HELLO + body).digest()
        line = proxy.outcome(client)
    assert (line["reason"], line["pool"], line["backend"]) == ("completed", "app", f"unix:{unix_path}")
    assert (line["bytes_up"], line["bytes_down"]) == (str(len(HELLO) + len(body)), "32")


def test_a_backend_at_a_unix_socket_may_end_first(
    start_unix: Callable, start_backend: Callable, unix_path: Path, engine: str
) -> None:
    late: list[bytes] = []

    def serve(connection: socket.socket) -> None:
        recv_exactly(connection, len(HELLO))
        for piece in blocks(8 << 20):
            connection.sendall(piece)
        connection.shutdown(socket.SHUT_WR)
        late.append(recv_to_eof(connection))

    start_backend(UnixBackend(unix_path, serve))
    proxy = start_unix(splice=engine)
    with proxy.connect() as client:
        client.sendall(HELLO)
        assert hashlib.sha256(recv_to_eof(client)).hexdigest() == digest(blocks(8 << 20))
        client.sendall(b"late")
        client.shutdown(socket.SHUT_WR)
        assert proxy.outcome(client)["reason"] == "completed"
    until(lambda: late == [b"late"], "the backend has what came after its end")


def test_a_unix_socket_that_is_missing_fails_the_dial_and_serves_when_it_is_there(
    start_unix: Callable, unix_path: Path, enter: Callable
) -> None:
    proxy = start_unix()
    with proxy.connect() as client:
        client.sendall(HELLO)
        expect_rst(client)
        line = proxy.outcome(client)
    assert (line["msg"], line["reason"], line["error"]) == ("dial failed", "dial_failed", "No such file or directory")
    assert line["backend"] == f"unix:{unix_path}"
    enter(UnixBackend(unix_path))
    assert proxy.expect_served() == f"unix:{unix_path}"


def test_a_route_may_lead_to_a_unix_socket_itself(start_proxy: Callable, start_backend: Callable, unix_path: Path) -> None:
    start_backend(UnixBackend(unix_path))
    proxy = start_proxy(routes={NAME: f"unix:{unix_path}"})
    assert proxy.expect_served() == f"unix:{unix_path}"


def test_a_unix_socket_without_a_server_refuses(start_unix: Callable, unix_path: Path) -> None:
    with UnixBackend(unix_path):
        pass
    proxy = start_unix()
    proxy.expect_refused("dial_refused")


def test_sources_do_not_matter_to_a_unix_socket(start_unix: Callable, start_backend: Callable, unix_path: Path) -> None:
    start_backend(UnixBackend(unix_path))
    proxy = start_unix(sources=[ONE])
    proxy.expect_served()


def test_a_connection_to_a_unix_socket_is_listed(start_unix: Callable, start_backend: Callable, unix_path: Path) -> None:
    start_backend(UnixBackend(unix_path))
    proxy = start_unix()
    with proxy.open_connection() as client:
        (told,) = map(json.loads, proxy.cli("connections", "list", "--json").out.splitlines())
        assert told["backend"] == f"unix:{unix_path}"
        assert proxy.admin.close_connections(backend=f"unix:{unix_path}") == 1
        expect_rst(client)


class UnixNginx(NginxServer):
    """nginx at a port of its own and at a Unix socket, with a file of random data."""

    def __init__(self, directory: Path, certificate: object, unix: Path):
        self.data = b"".join(blocks(32 << 20))
        (directory / "data").write_bytes(self.data)
        os.chmod(directory, 0o755)
        super().__init__(directory, certificate, f"listen unix:{unix} ssl; location /data {{ root {directory}; }}")  # type: ignore[arg-type]


def test_nginx_at_a_unix_socket_serves_a_large_file(
    start_unix: Callable, start_backend: Callable, authority: Authority, unix_path: Path, engine: str
) -> None:
    with tempfile.TemporaryDirectory(prefix="mcp-", dir="/tmp") as folder:
        os.chmod(unix_path.parent, 0o755)
        nginx = start_backend(UnixNginx(Path(folder), authority.issue(NAME), unix_path))
        proxy = start_unix(splice=engine)
        context = ssl.create_default_context(cafile=authority.ca)
        with proxy.connect() as raw, context.wrap_socket(raw, server_hostname=NAME) as client:
            client.sendall(f"GET /data HTTP/1.0\r\nHost: {NAME}\r\n\r\n".encode())
            head, _, body = recv_to_eof(client).partition(b"\r\n\r\n")
        assert head.split()[1] == b"200", head
        assert hashlib.sha256(body).digest() == hashlib.sha256(nginx.data).digest()
        assert proxy.wait_log(msg="connection closed")["backend"] == f"unix:{unix_path}"


# ---- limits of one listener


@pytest.fixture
def start_two(start_proxy: Callable, backend: Backend) -> Callable[..., Proxy]:
    """start_two(own, **settings): a listener with settings of its own, and one without."""

    def start(own: dict[str, object], **settings: object) -> Proxy:
        listeners = [Listener({NAME: backend}, settings=own), Listener({NAME: backend})]
        return start_proxy(listeners=listeners, **settings)

    return start


def test_a_listener_s_max_connections_holds_for_it_alone(start_two: Callable, enter: Callable) -> None:
    proxy = start_two({"max_connections": 2}, workers=4)
    first = enter(proxy.open_connection())
    enter(proxy.open_connection())
    for _ in range(4):
        proxy.expect_blocked("connection_limit")
    for _ in range(3):
        enter(proxy.open_connection(listener=1))
    first.shutdown(socket.SHUT_WR)
    expect_eof(first)
    proxy.wait_log(msg="connection closed")  # then its place is free, for every worker
    enter(proxy.open_connection())
    proxy.expect_blocked("connection_limit")


def test_the_limit_of_all_listeners_still_holds(start_two: Callable, enter: Callable) -> None:
    proxy = start_two({"max_connections": 5}, workers=1, max_connections=2)
    enter(proxy.open_connection())
    enter(proxy.open_connection(listener=1))
    for listener in (0, 1):
        proxy.expect_blocked("connection_limit", listener=listener)


@pytest.mark.parametrize("quick", [0, 1])
def test_a_listener_s_hello_timeout_holds_for_it_alone(start_two: Callable, quick: int) -> None:
    own, common = (SHORT, "1m") if quick == 0 else ("1m", SHORT)
    proxy = start_two({"hello_timeout": own}, workers=1, hello_timeout=common)
    with proxy.connect(listener=1 - quick) as slow, proxy.connect(listener=quick) as client:
        client.sendall(HELLO[:9])
        slow.sendall(HELLO[:9])
        expect_rst(client)
        assert proxy.outcome(client)["reason"] == "hello_timeout"
        slow.sendall(HELLO[9:])
        assert recv_exactly(slow, len(HELLO)) == HELLO


@pytest.mark.parametrize("quick", [0, 1])
def test_a_listener_s_idle_timeout_holds_for_it_alone(start_two: Callable, quick: int) -> None:
    own, common = (SHORT, "1m") if quick == 0 else ("1m", SHORT)
    proxy = start_two({"idle_timeout": own}, workers=1, idle_timeout=common)
    with proxy.open_connection(listener=1 - quick) as slow, proxy.open_connection(listener=quick) as client:
        expect_rst(client)
        assert proxy.outcome(client)["reason"] == "idle_timeout"
        expect_echo(slow)


def test_an_idle_timeout_of_zero_is_none(start_two: Callable) -> None:
    proxy = start_two({"idle_timeout": "0s"}, workers=1, idle_timeout=SHORT)
    with proxy.open_connection() as patient, proxy.open_connection(listener=1) as client:
        expect_rst(client)
        expect_echo(patient)
