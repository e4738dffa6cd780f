# SPDX-License-Identifier: Apache-2.0
"""A server replaces another: no connection refused or reset, no change lost, and the
old one's connections finish. What fails on the way leaves the old one serving.
"""

import fcntl
import os
import re
import select
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from admin import AdministeredProxy, grpc, refused, route
from harness import (
    PATIENCE,
    SLOW_FACTOR,
    Backend,
    Listener,
    Proxy,
    binary,
    client_hello,
    expect_echo,
    expect_eof,
    recv_exactly,
    until,
)
from repeated import Repeated
from stopped_thread import stopped_thread

HELLO = client_hello("app.example.com")
GENERATIONS = 10
LONG_EACH = 20  # connections, of each generation


def short_connections(proxy: Proxy) -> Repeated:
    """Connections one after the other, until the end of the block."""

    def come_and_go() -> None:
        with proxy.connect() as client:
            expect_echo(client, HELLO)
            client.shutdown(socket.SHUT_WR)
            expect_eof(client)

    return Repeated(come_and_go)


class Manager:
    """Passes listening sockets to a server as systemd does (sd_listen_fds(3)), and gets its notifications (sd_notify(3))."""

    def __init__(self, directory: Path):
        self.path = directory / "notify.sock"
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(self.path))
        self.stored: list[int] = []
        self._passed: list[int] = []
        self.told: list[str] = []
        self._listener = threading.Thread(target=self._listen)
        self._listener.start()

    def _listen(self) -> None:
        while True:
            text, descriptors, _, _ = socket.recv_fds(self._socket, 4096, 64)
            if not text:
                return
            self.stored += descriptors
            self.told.append(text.decode())

    def hear(self, what: str) -> None:
        """Waits for a notification that holds this line."""
        until(lambda: any(what in text.splitlines() for text in self.told), f"the manager is told {what}")

    def run(self, proxy: Proxy, sockets: list[int]) -> None:
        """Makes the next start of the proxy one by this manager."""
        # High ones, which the shell moves to where they belong; then LISTEN_PID, which exec leaves as it is.
        high = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 100) for fd in sockets]
        self._passed += high
        moves = " ".join(f"{3 + i}<&{fd} {fd}<&-" for i, fd in enumerate(high))
        proxy._environment = {**os.environ, "NOTIFY_SOCKET": str(self.path)}
        if high:
            proxy._environment["LISTEN_FDS"] = str(len(high))
        proxy._command = ["bash", "-c", f'export LISTEN_PID=$$; exec "$0" "$@" {moves}', *proxy._command]
        proxy.manager = {"pass_fds": high}

    def __enter__(self) -> "Manager":
        return self

    def __exit__(self, *_: object) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:
            end.sendto(b"", str(self.path))
        self._listener.join()
        self._socket.close()
        for fd in self.stored + self._passed:
            os.close(fd)


def listening_on(proxy: Proxy) -> socket.socket:
    """The socket of a socket unit at the proxy's port: no SO_REUSEPORT, blocking, of its own."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind(("127.0.0.1", proxy.ports[0]))
    sock.listen(4096)
    return sock


@pytest.mark.parametrize("sockets", ["own", "of_the_manager"])
def test_ten_successions_under_load_refuse_and_reset_nobody(
    tmp_path: Path, backend: Backend, enter: Callable, keep: Callable, sockets: str
):
    proxy = Proxy(tmp_path, routes={"app.example.com": backend}, shutdown_timeout="120s", log_level="warn")
    proxy.config.write_text(proxy.config.read_text().replace('level = "warn"', 'level = "info"'))
    manager = enter(Manager(tmp_path))
    passed = [enter(listening_on(proxy)).fileno()] if sockets == "of_the_manager" else []
    if passed:
        manager.run(proxy, passed)
    servers, held = [enter(proxy)], []
    with short_connections(proxy) as short:
        for generation in range(GENERATIONS):
            short.more(50)
            for _ in range(LONG_EACH):
                client = keep(proxy.connect())
                expect_echo(client, HELLO)
                held.append(client)
            # Each is used while servers come and go; and the backend gives up one that is silent for PATIENCE, which is
            # less than the whole takes on a busy machine.
            for client in held:
                expect_echo(client, b"generation %d" % generation)
            heir = servers[-1].successor()
            if passed:
                manager.run(heir, passed)
            servers.append(enter(heir))
            servers[-2].wait_log(msg=re.compile("handed over"))
        short.more(50)
    assert short.failures == []
    for number, client in enumerate(held):
        expect_echo(client, b"still here %d" % number)
        client.shutdown(socket.SHUT_WR)
        expect_eof(client)
    for server in servers[:-1]:
        assert server.wait_end() == 0
        ended = server.wait_log(msg="stopped")["ended"]
        assert re.fullmatch(r"completed=\d+", ended), f"other ends than in order: {ended}"
    assert len(held) == GENERATIONS * LONG_EACH


@pytest.mark.parametrize(("before", "after"), [(1, 2), (2, 1)])
def test_a_successor_with_another_number_of_workers_serves_every_queue(
    tmp_path: Path, backend: Backend, enter: Callable, before: int, after: int
):
    proxy = enter(Proxy(tmp_path, routes={"app.example.com": backend}, workers=before))
    proxy.config.write_text(proxy.config.read_text().replace(f"workers = {before}", f"workers = {after}"))
    with short_connections(proxy) as short:
        short.more(20)
        enter(proxy.successor())
        assert proxy.wait_end() == 0
        short.more(100)
    assert short.failures == []


class Taker:
    """The successor's side of a hand-over, step by step."""

    def __init__(self, proxy: Proxy):
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._socket.settimeout(PATIENCE)
        here = os.open(proxy.database.parent, os.O_PATH)
        self._socket.connect(f"/proc/self/fd/{here}/{proxy.database.name}.handover")
        os.close(here)
        self.sockets: list[int] = []

    def ask(self, what: str) -> None:
        self._socket.sendall(what.encode())
        answer = b"more"
        while answer == b"more":
            answer, descriptors, _, _ = socket.recv_fds(self._socket, 4096, 200)
            self.sockets += descriptors
        assert answer == b"done"

    def __enter__(self) -> "Taker":
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()
        for fd in self.sockets:
            os.close(fd)


STEPS = ["mc-proxy handover 1: sockets", "database", "accepting"]


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_a_successor_that_dies_on_the_way_leaves_everything_as_it_was(
    proxy: AdministeredProxy, backend: Backend, steps: int
):
    with Taker(proxy) as taker:
        for step in STEPS[:steps]:
            taker.ask(step)
        waiting = proxy.connect()  # in the kernel's queue, at the last step
        waiting.sendall(HELLO)
    proxy.wait_log(msg=re.compile("successor did not take over"))
    with waiting:
        assert recv_exactly(waiting, len(HELLO)) == HELLO
    assert proxy.cli("routes", "add", "other.example.com", backend.address).code == 0
    assert "active=" in proxy.cli("status").out
    with proxy.connect() as client:
        expect_echo(client, client_hello("other.example.com"))
    assert proxy.stop() == 0
    assert not proxy.admin_socket.exists()  # it is this server's again, and goes with it


def test_changes_are_refused_and_not_lost_while_the_database_changes_hands(proxy: AdministeredProxy, backend: Backend):
    listener = proxy.listener_name()
    proxy.admin.GetStatus()  # its connection is the old server's
    with Taker(proxy) as taker:
        for step in STEPS[:2]:
            taker.ask(step)
        with refused(grpc.StatusCode.UNAVAILABLE, "successor"):
            proxy.admin.AddRoute(listener_addr=listener, route=route("late.example.com", backend))
    proxy.wait_log(msg=re.compile("successor did not take over"))
    assert "warning: a restart or upgrade failed" in proxy.cli("status").out
    proxy.admin.AddRoute(listener_addr=listener, route=route("late.example.com", backend))


def test_every_acknowledged_change_survives_successions_in_the_middle_of_changes(
    proxy: AdministeredProxy, backend: Backend, enter: Callable
):
    made: list[str] = []
    ended = threading.Event()

    def change() -> None:
        while not ended.is_set():
            name = f"host-{len(made)}.example.com"
            if proxy.cli("routes", "add", name, backend.address).code == 0:
                made.append(name)

    thread = threading.Thread(target=change)
    thread.start()
    servers: list[Proxy] = [proxy]
    try:
        for _ in range(3):
            before = len(made)
            until(lambda: len(made) >= before + 5, "changes are made")
            servers.append(enter(servers[-1].successor()))
    finally:
        ended.set()
        thread.join()
    kept = proxy.cli("routes", "list").out
    assert [name for name in made if name not in kept] == []
    for old in servers[:-1]:
        assert old.wait_end() == 0


def test_a_successor_that_cannot_start_says_why_and_the_old_one_serves_on(proxy: AdministeredProxy, tmp_path: Path):
    good = proxy.config.read_text()
    proxy.config.write_text(good + '\n[firewall]\nblocked_countries = ["RU"]\n' if "[firewall]" not in good else
                            good.replace("[firewall]", '[firewall]\ngeoip_db = "/nowhere.mmdb"\nblocked_countries = ["RU"]'))
    done = subprocess.run([binary(), "server", "--take-over", "-c", proxy.config], capture_output=True, text=True,
                          timeout=PATIENCE)
    assert done.returncode == 78
    proxy.config.write_text(good)
    assert proxy.cli("status").code == 0
    with proxy.connect() as client:
        expect_echo(client, HELLO)


def test_a_successor_that_fails_with_the_database_open_gives_it_back(proxy: AdministeredProxy, backend: Backend):
    good, no_socket = proxy.config.read_text(), proxy.admin_socket.with_name("no.sock")
    no_socket.touch()
    proxy.config.write_text(good.replace(str(proxy.admin_socket), str(no_socket)))
    done = subprocess.run(
        [binary(), "server", "--take-over", "-c", proxy.config], capture_output=True, text=True, timeout=PATIENCE
    )
    assert done.returncode == 1
    assert "policy in force" in done.stderr and "the file there is not a socket" in done.stderr, done.stderr
    proxy.config.write_text(good)
    proxy.wait_log(msg=re.compile("successor did not take over"))
    assert "warning: a restart or upgrade failed" in proxy.cli("status").out
    proxy.admin.AddRoute(listener_addr=proxy.listener_name(), route=route("later.example.com", backend))
    assert proxy.last_audit()[0] == proxy.revision()
    proxy.expect_served("later.example.com")
    proxy.kill()
    proxy.start()
    assert "later.example.com" in proxy.routes()


def test_a_database_that_is_not_free_at_once_is_taken_back_when_it_is(proxy: AdministeredProxy, backend: Backend):
    """A process that died on the way holds the lock until the kernel has reaped it."""
    add = {"listener_addr": proxy.listener_name(), "route": route("late.example.com", backend)}
    with open(f"{proxy.database}.lock") as lock:
        with Taker(proxy) as taker:
            for step in STEPS[:2]:
                taker.ask(step)
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        proxy.wait_log(msg=re.compile("changes are refused until the database is free"))
        proxy.expect_served()
        with refused(grpc.StatusCode.UNAVAILABLE):
            proxy.admin.AddRoute(**add)

    def is_added() -> bool:
        try:
            proxy.admin.AddRoute(**add)
        except grpc.RpcError:
            return False
        return True

    until(is_added, "the database is taken back")
    assert proxy.last_audit()[0] == proxy.revision()


def test_a_successor_makes_the_api_s_socket_anew_where_somebody_has_removed_it(
    proxy: AdministeredProxy, enter: Callable
):
    proxy.admin_socket.unlink()
    heir = enter(proxy.successor())
    assert proxy.wait_end() == 0
    assert heir.admin.GetStatus().revision == 1
    assert heir.cli("status").code == 0


@pytest.mark.parametrize("end", ["fails", "succeeds"])
def test_a_stop_during_a_take_over_is_obeyed_when_it_is_known_who_serves(
    tmp_path: Path, backend: Backend, enter: Callable, end: str
):
    proxy = enter(Proxy(tmp_path, routes={"app.example.com": backend}, shutdown_timeout="120s"))
    with proxy.connect() as client:
        expect_echo(client, HELLO)
        with Taker(proxy) as taker:
            for step in STEPS[:2]:
                taker.ask(step)
            proxy.send_signal(signal.SIGTERM)
            taker.ask(STEPS[2])  # it gets the signal first
            if end == "succeeds":
                taker.ask("step down")
        proxy.wait_log(msg=re.compile("^handed over" if end == "succeeds" else "^stopping"))
        if end == "succeeds":  # and this process got the order to stop
            proxy.wait_log(msg=re.compile("^stopping: open connections"), active="1")
        expect_echo(client, b"not cut")
    assert proxy.wait_end() == 0
    decisive = re.compile("^handed over|did not take over|^stopping")
    first = proxy.lines(msg=decisive)[0]["msg"]
    assert ("handed over" if end == "succeeds" else "did not take over") in first  # and not: stopping
    assert proxy.lines(msg=re.compile("second signal")) == []


# ---- mc-proxy upgrade


def test_upgrade_puts_a_new_process_in_the_place_of_the_old(proxy: AdministeredProxy):
    held = proxy.connect()
    expect_echo(held, HELLO)
    answer = proxy.cli("upgrade")
    assert answer.code == 0, answer.err
    new, old = map(int, re.findall(r"pid (\d+)", answer.out))
    try:
        assert old == proxy.pid
        proxy.wait_log(msg="serving", count=2)  # the new one goes on with the old one's log
        with proxy.connect() as client:
            expect_echo(client, HELLO)
        with held:
            expect_echo(held, b"of the old one")
    finally:
        os.kill(new, signal.SIGTERM)
    proxy.wait_log(msg="stopped", count=2)
    assert proxy.wait_end() == 0


def test_upgrade_without_a_server_says_so(tmp_path: Path):
    proxy = Proxy(tmp_path, routes={})
    answer = proxy.cli("upgrade")
    proxy.close()
    assert answer.code == 3
    assert str(proxy.database) in answer.err


# ---- the keeper


def children_of(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.fixture
def kept(tmp_path: Path, backend: Backend, enter: Callable) -> Proxy:
    """A server with a keeper; `pid` is the keeper's."""
    proxy = Proxy(tmp_path, routes={"app.example.com": backend}, shutdown_timeout="120s")
    proxy._command.insert(2, "--keeper")
    return enter(proxy)


def test_the_keepers_stop_waits_for_the_connections_and_answers_as_the_server_does(kept: Proxy):
    with kept.connect() as client:
        expect_echo(client, HELLO)
        kept.send_signal(signal.SIGTERM)
        kept.wait_log(msg=re.compile("^stopping"))
        expect_echo(client, b"finishing")
    assert kept.wait_end() == 0


def test_a_signal_to_keeper_and_server_alike_counts_once(kept: Proxy):
    (server,) = children_of(kept.pid)
    with kept.connect() as client:
        expect_echo(client, HELLO)
        for pid in (kept.pid, server):
            os.kill(pid, signal.SIGHUP)
        kept.wait_log(msg=re.compile("^received SIGHUP"))
        for pid in (kept.pid, server):
            os.kill(pid, signal.SIGTERM)
        kept.wait_log(msg=re.compile("^stopping"))
        expect_echo(client, b"not cut")
    assert kept.wait_end() == 0
    assert len(kept.lines(msg=re.compile("^received SIGHUP"))) == 1
    assert kept.lines(msg=re.compile("second signal")) == []


@pytest.mark.parametrize(("wrong", "code"), [("[[listeners]]", 78), ("/mc-proxy-", 1)])
def test_the_keeper_ends_with_the_code_of_a_server_that_does_not_start(tmp_path: Path, wrong: str, code: int):
    """The exit code decides whether systemd retries (RestartPreventExitStatus=)."""
    proxy = Proxy(tmp_path, routes={})
    text = proxy.config.read_text()
    proxy.config.write_text(text.replace(wrong, "[[lizteners]]" if code == 78 else "/nowhere/mc-proxy-"))
    done = subprocess.run([binary(), "server", "--keeper", "-c", proxy.config], capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == code, done.stderr
    proxy.close()


def test_the_keeper_passes_on_what_systemctl_kill_sends_it_alone(kept: Proxy):
    for count in (1, 2):
        kept.send_signal(signal.SIGHUP)
        kept.wait_log(msg=re.compile("^received SIGHUP"), count=count)


def test_the_watchdogs_signal_ends_a_server_that_is_stopped_at_once(kept: Proxy):
    (server,) = children_of(kept.pid)
    os.kill(server, signal.SIGSTOP)
    until(lambda: Path(f"/proc/{server}/stat").read_text().split()[2] == "T", "the server is stopped")
    began = time.monotonic()
    kept.send_signal(signal.SIGABRT)
    assert kept.wait_end() == -signal.SIGABRT
    assert not Path(f"/proc/{server}").exists()
    assert time.monotonic() - began < 5 * SLOW_FACTOR  # the keeper gives up after 10 s


def test_a_second_signal_to_the_keeper_cuts(kept: Proxy):
    with kept.connect() as client:
        expect_echo(client, HELLO)
        kept.send_signal(signal.SIGTERM)
        kept.wait_log(msg=re.compile("^stopping"))
        kept.send_signal(signal.SIGTERM)
        kept.wait_log(msg=re.compile("second signal"))
    assert kept.wait_end() == 0


def test_the_server_does_not_outlive_a_keeper_that_is_killed(kept: Proxy):
    (server,) = children_of(kept.pid)
    with kept.connect() as client:  # for which it would take its time, if it were only asked to stop
        expect_echo(client, HELLO)
        kept.kill()
        until(lambda: not Path(f"/proc/{server}").exists(), "the server is gone with its keeper")


# ---- the service manager


def test_the_manager_is_told_and_keeps_the_sockets_over_a_crash(tmp_path: Path, backend: Backend, enter: Callable):
    manager = enter(Manager(tmp_path))
    proxy = Proxy(tmp_path, routes={"app.example.com": backend}, workers=2)
    manager.run(proxy, [])
    proxy.start()
    manager.hear("READY=1")
    manager.hear("WATCHDOG=1")
    manager.hear("STATUS=serving 1 listener, 0 connections open")
    assert f"FDNAME=127.0.0.1_{proxy.ports[0]}" in "\n".join(manager.told)
    assert len(manager.stored) == 2
    proxy.kill()
    with proxy.connect() as client:  # to nobody but the manager's copies
        client.sendall(HELLO)
        heir = proxy.successor("--take-over")
        manager.run(heir, manager.stored)
        with heir:
            assert recv_exactly(client, len(HELLO)) == HELLO
            heir.send_signal(signal.SIGHUP)
            heir.wait_log(msg=re.compile("GeoIP database not reloaded"))
    manager.hear("STOPPING=1")
    manager.hear("FDSTOREREMOVE=1")  # or the next clients would wait in vain
    assert f"FDSTOREREMOVE=1\nFDNAME=127.0.0.1_{proxy.ports[0]}" in manager.told
    assert any(text.startswith("RELOADING=1\nMONOTONIC_USEC=") for text in manager.told)
    proxy._release_ports()


def test_the_manager_gives_up_the_sockets_of_a_listener_that_is_configured_no_more(
    tmp_path: Path, backend: Backend, enter: Callable
):
    manager = enter(Manager(tmp_path))
    routes = {"app.example.com": backend}
    proxy = Proxy(tmp_path, listeners=[Listener(routes), Listener(routes)], workers=1)
    manager.run(proxy, [])
    proxy.start()
    until(lambda: len(manager.stored) == 2, "the manager has both sockets")
    proxy.kill()
    text = proxy.config.read_text()
    second = text.index("[[listeners]]", text.index("[[listeners]]") + 1)
    proxy.config.write_text(text[:second] + text[text.index("[database]") :])
    heir = proxy.successor()
    manager.run(heir, manager.stored)
    with heir:
        gone = f"FDSTOREREMOVE=1\nFDNAME=127.0.0.1_{proxy.ports[1]}"
        until(lambda: gone in manager.told, "what nobody listens with is given up: clients would wait there for ever")
        assert f"FDSTOREREMOVE=1\nFDNAME=127.0.0.1_{proxy.ports[0]}" not in manager.told
        with heir.connect() as client:
            expect_echo(client, HELLO)
    proxy._release_ports()


def test_the_watchdog_is_not_fed_while_one_worker_hangs(tmp_path: Path, backend: Backend, enter: Callable, keep: Callable):
    manager = enter(Manager(tmp_path))
    proxy = Proxy(tmp_path, routes={"app.example.com": backend}, workers=2)
    manager.run(proxy, [])
    served = 0

    def turn_of_the_main_loop() -> None:
        """It still turns: it reports a connection of the other worker to the manager."""
        nonlocal served
        told = f"STATUS=serving 1 listener, {served + 1} connection{'s' if served else ''} open"
        served += 1
        while True:
            client = keep(proxy.connect())
            client.sendall(HELLO)
            if select.select([client], [], [], 0.2)[0]:
                break  # the others wait in the queue of the one that hangs
        manager.hear(told)

    with proxy:
        manager.hear("WATCHDOG=1")
        workers = [task for task in Path(f"/proc/{proxy.pid}/task").iterdir() if (task / "comm").read_text().startswith("ring/")]
        assert len(workers) == 2
        with stopped_thread(int(workers[0].name)):
            turn_of_the_main_loop()
            fed = manager.told.count("WATCHDOG=1")
            turn_of_the_main_loop()
            turn_of_the_main_loop()
            assert manager.told.count("WATCHDOG=1") == fed
        until(lambda: manager.told.count("WATCHDOG=1") > fed, "it turns again, and is fed for")


def test_a_running_server_has_given_up_what_it_does_not_need(proxy: AdministeredProxy):
    status = Path(f"/proc/{proxy.pid}/status").read_text()
    fields = dict(re.findall(r"^(\w+):\t(.*)$", status, re.MULTILINE))
    assert fields["NoNewPrivs"] == "1"
    assert fields["Seccomp"] == "2"
    of_root = 1 << 0 | 1 << 1 | 1 << 3 | 1 << 14  # chown, dac_override, fowner, ipc_lock
    assert int(fields["CapEff"], 16) & ~of_root == 0
    for task in Path(f"/proc/{proxy.pid}/task").iterdir():
        of_task = dict(re.findall(r"^(\w+):\t(.*)$", (task / "status").read_text(), re.MULTILINE))
        assert (of_task["Seccomp"], int(of_task["CapEff"], 16) & ~of_root) == ("2", 0), of_task["Name"]
    line = proxy.wait_log(msg="confined")
    assert line["landlock"].startswith("abi ")
