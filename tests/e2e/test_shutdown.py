# SPDX-License-Identifier: Apache-2.0
"""How the server begins and ends: signals, open connections, ports, and a stderr that goes away.

The first SIGTERM or SIGINT closes the listeners at once and leaves open connections
shutdown_timeout to end; then, or at a second signal, the rest is reset on both sides. It always
ends by itself, with exit code 0. What cannot start says why, and exits with 1.
"""

import fcntl
import re
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from harness import (
    PATIENCE,
    SLOW_FACTOR,
    Backend,
    Client,
    Listener,
    Proxy,
    binary,
    client_hello,
    expect_echo,
    expect_eof,
    expect_rst,
    recv_exactly,
    until,
)
from traffic import MIB, BlackHole, Companion

HELLO = client_hello("app.example.com")

# Long enough to be noticed by a test that fails, never waited for by one that passes.
LONG = "60s"

TERM, INT = signal.SIGTERM, signal.SIGINT
ORDERS = pytest.mark.parametrize("order", [TERM, INT], ids=["SIGTERM", "SIGINT"])


def say_hello(client: Client) -> Client:
    """Sends the hello, and waits for its echo: then the connection is in its relay."""
    expect_echo(client, HELLO)
    return client


def ask_to_stop(proxy: Proxy, order: int = signal.SIGTERM) -> None:
    """Returns when the listeners are closed."""
    proxy.send_signal(order)
    proxy.wait_log(msg=re.compile("^stopping"))
    until(lambda: not accepts(proxy), "the listener is closed")


def accepts(proxy: Proxy) -> bool:
    with Client() as client:
        return client.connect_ex(("127.0.0.1", proxy.ports[0])) == 0


def assert_refused(proxy: Proxy) -> None:
    with Client() as client, pytest.raises(ConnectionRefusedError):
        client.connect(("127.0.0.1", proxy.ports[0]))


# ---- the end


def test_without_connections_it_ends_at_once(start_proxy: Callable, backend: Backend) -> None:
    proxy = start_proxy(routes={"*": backend}, shutdown_timeout=LONG)
    say_hello(proxy.connect()).close()
    proxy.wait_log(msg="connection closed")
    assert proxy.stop() == 0
    assert proxy.lines(msg="stopped", accepted="1", ended="completed=1")


@ORDERS
def test_idle_connections_live_until_shutdown_timeout(
    start_proxy: Callable, backend: Backend, keep: Callable, engine: str, order: int
) -> None:
    proxy = start_proxy(routes={"*": backend}, splice=engine, shutdown_timeout=f"{SLOW_FACTOR}s")
    clients = [say_hello(keep(proxy.connect())) for _ in range(5)]
    began = time.monotonic()
    ask_to_stop(proxy, order)
    for client in clients:  # the listeners are closed, and nothing else has happened
        expect_echo(client)
    assert_refused(proxy)
    for client in clients:
        expect_rst(client)
    assert time.monotonic() - began >= 0.9 * SLOW_FACTOR
    assert proxy.wait_end() == 0
    assert len(proxy.lines(msg="connection closed", reason="shutdown")) == len(clients)


def test_a_server_that_is_killed_leaves_ends_of_streams(start_proxy: Callable, backend: Backend, keep: Callable) -> None:
    proxy = start_proxy(routes={"*": backend})
    client = say_hello(keep(proxy.connect()))
    proxy.kill()
    expect_eof(client)  # the kernel's doing; the runbook says so


def test_the_backend_sees_the_reset_of_a_connection_that_was_cut(open_relay: Callable) -> None:
    # Not an end of stream: the backend would take half a request for a whole one.
    relay = open_relay()
    assert relay.proxy.stop() == 0
    expect_rst(relay.backend)
    expect_rst(relay.client)


def test_a_transfer_that_ends_in_time_is_complete(open_relay: Callable) -> None:
    relay = open_relay(shutdown_timeout=LONG)
    relay.down.fill()
    ask_to_stop(relay.proxy)
    relay.down.pump(30 * MIB)
    assert_refused(relay.proxy)
    relay.backend.shutdown(socket.SHUT_WR)
    expect_eof(relay.client)
    relay.client.shutdown(socket.SHUT_WR)
    expect_eof(relay.backend)
    # With its last connection the server ends too: it does not wait for the timeout.
    assert relay.proxy.wait_end() == 0
    line = relay.proxy.outcome(relay.client)
    assert (line["reason"], int(line["bytes_down"])) == ("completed", 30 * MIB)


def test_a_stalled_transfer_is_cut_at_shutdown_timeout(open_relay: Callable) -> None:
    relay = open_relay()
    relay.down.fill()
    assert relay.proxy.stop() == 0
    expect_rst(relay.backend)
    relay.down.receive_until_reset()
    assert relay.proxy.outcome(relay.client)["reason"] == "shutdown"


@pytest.mark.parametrize(
    "orders",
    [(TERM, TERM), (INT, INT), (TERM, INT)],
    ids=lambda orders: "+".join(order.name for order in orders),
)
def test_a_second_signal_cuts_at_once(
    start_proxy: Callable, backend: Backend, keep: Callable, engine: str, orders: tuple[int, int]
) -> None:
    proxy = start_proxy(routes={"*": backend}, splice=engine, shutdown_timeout=LONG)
    client = say_hello(keep(proxy.connect()))
    silent = keep(proxy.connect())
    ask_to_stop(proxy, orders[0])
    expect_echo(client)
    proxy.send_signal(orders[1])
    expect_rst(client)
    expect_rst(silent)
    assert proxy.wait_end() == 0
    assert proxy.outcome(client)["reason"] == "shutdown"


def test_clients_in_the_hello_stage_are_served_until_the_timeout_and_then_reset(
    start_proxy: Callable, backend: Backend, keep: Callable
) -> None:
    proxy = start_proxy(routes={"*": backend}, shutdown_timeout=f"{SLOW_FACTOR}s")
    at_first = proxy.fds()["socket"]
    silent, half, late = (keep(proxy.connect()) for _ in range(3))
    half.sendall(HELLO[:50])
    late.sendall(HELLO[:50])
    until(lambda: proxy.fds()["socket"] == at_first + 3, "all three are accepted")
    ask_to_stop(proxy)
    late.sendall(HELLO[50:])
    assert recv_exactly(late, len(HELLO)) == HELLO
    late.shutdown(socket.SHUT_WR)
    expect_eof(late)
    expect_rst(silent)
    expect_rst(half)
    assert proxy.wait_end() == 0
    for client, message, reason in (
        (silent, "connection refused", "shutdown"),
        (half, "connection refused", "shutdown"),
        (late, "connection closed", "completed"),
    ):
        line = proxy.outcome(client)
        assert (line["msg"], line["reason"]) == (message, reason)


def test_a_client_in_the_dial_stage_is_reset_at_the_timeout(
    start_proxy: Callable, keep: Callable
) -> None:
    hole = keep(BlackHole())
    proxy = start_proxy(routes={"*": hole}, connect_timeout=LONG)
    client = keep(proxy.connect())
    client.sendall(HELLO)
    until(hole.is_being_dialled, "the proxy dials")
    assert proxy.stop() == 0
    expect_rst(client)
    assert proxy.outcome(client)["reason"] == "shutdown"
    assert not hole.is_being_dialled(), "the dial goes on without the proxy"


def test_a_dial_that_is_under_way_at_the_signal_may_still_succeed(
    start_proxy: Callable, keep: Callable
) -> None:
    hole = keep(BlackHole())
    proxy = start_proxy(routes={"*": hole}, connect_timeout=LONG, shutdown_timeout=LONG)
    client = keep(proxy.connect())
    client.sendall(HELLO)
    until(hole.is_being_dialled, "the proxy dials")
    ask_to_stop(proxy)
    backend = keep(hole.open_up())
    assert recv_exactly(backend, len(HELLO)) == HELLO
    backend.close()
    expect_eof(client)
    client.close()
    assert proxy.wait_end() == 0


@pytest.mark.parametrize("workers", [1, 2])
def test_clients_that_wait_in_the_backlog_are_served_not_reset(
    start_proxy: Callable, backend: Backend, keep: Callable, workers: int
) -> None:
    # Their handshake was over before the signal: for them this server was up.
    proxy = start_proxy(routes={"*": backend}, workers=workers, shutdown_timeout=LONG)
    proxy.send_signal(signal.SIGSTOP)
    clients = [keep(proxy.connect()) for _ in range(100)]
    for client in clients:
        client.sendall(HELLO)
    proxy.send_signal(signal.SIGTERM)
    proxy.send_signal(signal.SIGCONT)
    for client in clients:
        assert recv_exactly(client, len(HELLO)) == HELLO
        client.shutdown(socket.SHUT_WR)
        expect_eof(client)
    assert proxy.wait_end() == 0
    assert proxy.lines(msg="stopped", accepted=str(len(clients)), ended=f"completed={len(clients)}")


def test_clients_that_come_while_it_stops_are_served_or_refused_but_never_hang(
    start_proxy: Callable, backend: Backend
) -> None:
    proxy = start_proxy(routes={"*": backend}, shutdown_timeout=LONG)
    outcomes: list[str] = []

    def come_and_go() -> None:
        while True:
            with Client() as client:
                try:
                    client.connect(("127.0.0.1", proxy.ports[0]))
                    client.sendall(HELLO)
                    recv_exactly(client, len(HELLO))
                    outcomes.append("served")
                except ConnectionRefusedError:
                    return
                except (ConnectionResetError, BrokenPipeError):
                    outcomes.append("reset")  # it came when the listener closed

    threads = [threading.Thread(target=come_and_go) for _ in range(4)]
    for thread in threads:
        thread.start()
    until(lambda: len(outcomes) >= 100, "clients come and go")
    proxy.send_signal(signal.SIGTERM)
    for thread in threads:
        thread.join(PATIENCE)
        assert not thread.is_alive(), "a client hangs"
    assert proxy.wait_end() == 0
    assert outcomes.count("reset") <= len(threads)


# ---- signals that are no order to stop


def test_sighup_without_a_geoip_database_changes_nothing(
    start_proxy: Callable, backend: Backend, keep: Callable
) -> None:
    proxy = start_proxy(routes={"*": backend})
    client = say_hello(keep(proxy.connect()))
    for count in (1, 2, 3):
        proxy.send_signal(signal.SIGHUP)
        proxy.wait_log(count=count, msg="received SIGHUP, reloading GeoIP database")
        expect_echo(client)
        say_hello(proxy.connect()).close()


def test_sigpipe_is_nothing_to_it(start_proxy: Callable, backend: Backend, keep: Callable) -> None:
    proxy = start_proxy(routes={"*": backend})
    client = say_hello(keep(proxy.connect()))
    proxy.send_signal(signal.SIGPIPE)
    expect_echo(client)


def test_a_stopped_and_continued_server_goes_on(
    start_proxy: Callable, backend: Backend, keep: Callable, engine: str
) -> None:
    # SIGSTOP interrupts every system call, the wait for the ring too.
    proxy = start_proxy(routes={"*": backend}, splice=engine)
    client = say_hello(keep(proxy.connect()))
    for _ in range(5):
        proxy.send_signal(signal.SIGSTOP)
        client.sendall(b"still there?")
        proxy.send_signal(signal.SIGCONT)
        assert recv_exactly(client, 12) == b"still there?"


# ---- a backend that dies


def test_a_killed_backend_ends_its_connections_and_is_refused_from_then_on(
    start_proxy: Callable, start_backend: Callable, keep: Callable, engine: str
) -> None:
    backend = start_backend(Companion("echo", hosts=["127.0.0.1"]))
    proxy = start_proxy(routes={"*": backend.hear()["addresses"][0]}, splice=engine)
    client = say_hello(keep(proxy.connect()))
    backend.kill()
    expect_eof(client)  # the kernel ends what a killed process had open, in order if all was read
    client.close()
    assert proxy.outcome(client)["reason"] == "completed"
    late = keep(proxy.connect())
    late.sendall(HELLO)
    expect_rst(late)
    assert proxy.outcome(late)["reason"] == "dial_refused"


# ---- ports


def test_a_killed_server_can_be_started_again_at_once(
    start_proxy: Callable, backend: Backend, keep: Callable
) -> None:
    # Its connections linger in the kernel, and its rings are taken down behind its back.
    proxy = start_proxy(routes={"*": backend})
    for _ in range(3):
        orphans = [say_hello(keep(proxy.connect())) for _ in range(20)]
        orphans += [keep(proxy.connect()) for _ in range(20)]
        proxy.kill()
        proxy.start()
        say_hello(keep(proxy.connect()))


def test_a_stopped_server_can_be_started_again_at_once(
    start_proxy: Callable, backend: Backend, keep: Callable
) -> None:
    proxy = start_proxy(routes={"*": backend})
    for _ in range(3):
        say_hello(keep(proxy.connect()))
        assert proxy.stop() == 0
        proxy.start()


@contextmanager
def unstarted(directory: Path, **options: Any) -> Iterator[Proxy]:
    """The configuration of a Proxy, and the port that is kept for it."""
    proxy = Proxy(directory, **options)
    try:
        yield proxy
    finally:
        proxy.close()


def run_server(config: Path) -> subprocess.CompletedProcess[str]:
    """Of a server that must not start: its exit code and errors."""
    return subprocess.run(
        [binary(), "server", "-c", config],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


def assert_address_in_use(ended: subprocess.CompletedProcess[str], port: int) -> None:
    assert ended.returncode == 1
    assert "address already in use" in ended.stderr
    assert "ss -tlnp" in ended.stderr
    assert str(port) in ended.stderr
    assert "serving" not in ended.stderr


@pytest.mark.parametrize(
    "options", [(), (socket.SO_REUSEADDR, socket.SO_REUSEPORT)], ids=["plain", "sharing"]
)
def test_a_port_of_another_program_is_not_shared(
    tmp_path: Path, keep: Callable, options: tuple[int, ...]
) -> None:
    # One that allows sharing would silently get a part of the connections.
    holder = keep(Client())
    for option in options:
        holder.setsockopt(socket.SOL_SOCKET, option, 1)
    holder.bind(("127.0.0.1", 0))
    holder.listen()
    port = holder.getsockname()[1]
    with unstarted(tmp_path, routes={"*": "127.0.0.1:9"}) as proxy:
        text = proxy.config.read_text().replace(str(proxy.ports[0]), str(port))
        config = tmp_path / "in-use.toml"
        config.write_text(text)
        assert_address_in_use(run_server(config), port)
    holder.settimeout(0)
    with Client() as client:
        client.connect(holder.getsockname())
        holder.accept()[0].close()


def test_a_second_server_on_the_same_port_does_not_start(
    start_proxy: Callable, backend: Backend, keep: Callable, tmp_path: Path
) -> None:
    proxy = start_proxy(routes={"*": backend}, workers=2)
    client = say_hello(keep(proxy.connect()))
    other = tmp_path / "other.toml"  # with a database of its own, or that would be in use too
    other.write_text(proxy.config.read_text().replace(str(proxy.database), str(tmp_path / "other.db")))
    assert_address_in_use(run_server(other), proxy.ports[0])
    expect_echo(client)
    for _ in range(20):  # none of them goes to the one that did not start
        say_hello(keep(proxy.connect()))


def test_one_port_in_use_means_that_none_is_opened(tmp_path: Path, keep: Callable) -> None:
    listeners = [Listener({"*": "127.0.0.1:9"}), Listener({"*": "127.0.0.1:9"})]
    with unstarted(tmp_path, listeners=listeners) as proxy:
        holder = keep(Client())
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind(("127.0.0.1", proxy.ports[1]))
        holder.listen()
        assert_address_in_use(run_server(proxy.config), proxy.ports[1])
        assert_refused(proxy)


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ("[proxy]\nsplice = \"inline\"\nworker = 2\n", "worker"),
        ("[proxy]\nidle_timeout = \"5 parsecs\"\n", "idle_timeout"),
        ("[proxy\n", "line"),
    ],
    ids=["unknown-key", "bad-value", "no-toml"],
)
def test_a_wrong_configuration_starts_nothing(tmp_path: Path, wrong: str, named: str) -> None:
    with unstarted(tmp_path, routes={"*": "127.0.0.1:9"}) as proxy:
        head = proxy.config.read_text().partition("[proxy]")[0]
        proxy.config.write_text(head + wrong)
        ended = run_server(proxy.config)
        assert ended.returncode == 78  # EX_CONFIG: systemd tries nothing again
        assert named in ended.stderr
        assert str(proxy.config) in ended.stderr
        assert "serving" not in ended.stderr
        assert_refused(proxy)


def test_a_configuration_that_is_not_there_starts_nothing(tmp_path: Path) -> None:
    ended = run_server(tmp_path / "nowhere.toml")
    assert ended.returncode == 78  # EX_CONFIG: systemd tries nothing again
    assert "nowhere.toml" in ended.stderr


# ---- a stderr that nobody reads


@contextmanager
def with_stderr_of(proxy: Proxy) -> Iterator[subprocess.Popen[bytes]]:
    """The server, with a stderr that belongs to the test. Ends in order, or fails."""
    command = [str(binary()), "server", "-c", str(proxy.config)]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)
    assert process.stderr is not None
    try:
        while b"msg=serving" not in (line := process.stderr.readline()):
            assert line, "it did not start"
        yield process
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 0
    finally:
        process.kill()
        process.wait()
        process.stderr.close()


def test_a_stderr_whose_reader_has_gone_ends_nothing(
    tmp_path: Path, backend: Backend, keep: Callable
) -> None:
    # Each line is then answered with SIGPIPE, which ends a program that does not expect it.
    with unstarted(tmp_path, routes={"*": backend}) as proxy, with_stderr_of(proxy) as process:
        assert process.stderr is not None
        process.stderr.close()
        for _ in range(50):
            say_hello(proxy.connect()).close()
        client = say_hello(keep(proxy.connect()))
        process.send_signal(signal.SIGHUP)  # which is logged by another thread
        expect_echo(client)
        client.close()


def test_a_stderr_whose_reader_has_stopped_delays_nothing(
    tmp_path: Path, backend: Backend, keep: Callable
) -> None:
    # A log that is written by the thread that serves would stop it when the pipe is full, and a
    # log that is written to the last line would keep the process from its end.
    with unstarted(tmp_path, routes={"*": backend}) as proxy, with_stderr_of(proxy) as process:
        assert process.stderr is not None
        capacity = fcntl.fcntl(process.stderr, fcntl.F_GETPIPE_SZ)
        lines = 0
        while lines * 150 < 2 * capacity:  # the shortest such line is longer
            say_hello(proxy.connect()).close()
            lines += 1
        expect_echo(say_hello(keep(proxy.connect())))
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 0
        unread = process.stderr.read().count(b"\n")
        assert unread < lines, "the pipe was never full: the test has tested nothing"
