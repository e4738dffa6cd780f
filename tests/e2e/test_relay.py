# SPDX-License-Identifier: Apache-2.0
"""The relay: every byte, in order, both ways, and each connection's end as it really was.

An end of stream may overtake no byte, and a reset must never turn into one: who reads until the end
takes a cut stream for a whole one. What the proxy says in its log is held against what the two ends
have seen. Every test runs with both engines. The proxy does not look at what follows a ClientHello,
so plain bytes are as good as TLS here.
"""

import select
import signal
import socket
import statistics
import threading
import time
from collections.abc import Callable
from itertools import cycle, islice
from pathlib import Path

import pytest

from harness import (
    PATIENCE,
    SLOW_FACTOR,
    Backend,
    Client,
    ManualBackend,
    Proxy,
    address_text,
    echo,
    expect_eof,
    expect_rst,
    recv_exactly,
    rst_close,
    until,
    wait_until_delivered,
)
from relays import HELLO
from traffic import (
    MIB,
    BlackHole,
    Lane,
    busy_share,
    expect_reset_after_eof,
    make_shallow,
    non_blocking,
    polled,
    shallow_listener,
)

# A proxy that has nothing to do is hardly busy. One that spins always is.
BUSY_AT_REST = 0.5

# kPipesPerWorker and kPipesKept of src/proxy/limits.hpp. A pipe is two descriptors.
PIPES_PER_WORKER = 512
PIPES_KEPT = 16

BOTH_SIDES = pytest.mark.parametrize("side", ["client", "backend"])
BOTH_WAYS = pytest.mark.parametrize("way", ["up", "down"])


def other(side: str) -> str:
    return "backend" if side == "client" else "client"


def assert_at_rest(proxy: Proxy) -> None:
    """Catches a relay that is notified of something again and again and does nothing about it.

    What it had to do before may take it a moment longer; one that spins never comes to rest.
    """
    shares = []
    for _ in range(20):
        shares.append(busy_share(proxy.pid, 0.25))
        if shares[-1] < BUSY_AT_REST:
            return
    raise AssertionError(f"the proxy does not come to rest, with nothing to move: {shares}")


# ---- bytes


def test_the_backend_may_speak_first(
    start_proxy: Callable, start_backend: Callable, engine: str
) -> None:
    # A relay that waits for the client's next byte before it listens to the backend hangs here.
    def greet(connection: socket.socket) -> None:
        connection.sendall(b"220 welcome")
        echo(connection)

    proxy = start_proxy(routes={"*": start_backend(Backend(greet))}, splice=engine)
    with proxy.connect() as client:
        client.sendall(HELLO)
        assert recv_exactly(client, 11 + len(HELLO)) == b"220 welcome" + HELLO


def test_what_comes_along_with_the_hello_follows_it(
    start_proxy: Callable, engine: str, keep: Callable
) -> None:
    # 3 MiB that are under way while the proxy still reads the hello and dials.
    listener = keep(ManualBackend())
    proxy = start_proxy(routes={"*": listener}, splice=engine)
    client = keep(proxy.connect())
    client.sendall(HELLO)
    lane = Lane(client, client, seed=1)
    lane.send(100_000)
    lane.sink = keep(listener.accept())
    assert recv_exactly(lane.sink, len(HELLO)) == HELLO
    lane.pump(3 * MIB)


@BOTH_WAYS
def test_a_stalled_reader_holds_up_its_writer_and_nothing_else(
    open_relay: Callable, way: str
) -> None:
    relay = open_relay()
    lane = relay.lane(way)
    opposite = relay.down if lane is relay.up else relay.up
    before = relay.proxy.memory().rss
    lane.fill()
    assert lane.sent < 50 * MIB, "the writer was not held up: where are all those bytes?"
    assert_at_rest(relay.proxy)
    for size in (1, 1000, 300_000):
        opposite.pump(opposite.sent + size)
    grown = relay.proxy.memory().rss - before
    assert grown < MIB * SLOW_FACTOR, f"a stalled reader costs {grown} bytes of the proxy's own"
    lane.pump(50 * MIB)
    relay.close_in_order()


def test_both_ways_stalled_at_once_recover(open_relay: Callable) -> None:
    relay = open_relay()
    relay.up.fill()
    relay.down.fill()
    assert_at_rest(relay.proxy)
    relay.up.receive_all()
    relay.up.carry(MIB)
    relay.down.receive_all()
    relay.down.carry(100_000)
    relay.close_in_order()


def test_a_trickle_of_single_bytes_arrives_whole(open_relay: Callable) -> None:
    relay = open_relay()
    for _ in range(3000 // SLOW_FACTOR):
        relay.up.send(1)
        relay.down.send(1)
    relay.up.receive_all()
    relay.down.receive_all()
    relay.close_in_order()


def test_messages_of_all_sizes_go_back_and_forth_without_delay(open_relay: Callable) -> None:
    # SPLICE_F_MORE, or Nagle's algorithm, would hold each of them back for 40 to 208 ms.
    relay = open_relay()
    sizes = [1, 2, 63, 64, 65, 1000, 1447, 1448, 1449, 4095, 4096, 4097, 16_384, 65_535, 65_536]
    times = []
    for size in islice(cycle(sizes), 400 // SLOW_FACTOR):
        began = time.monotonic()
        relay.up.carry(size)
        relay.down.carry(size)
        times.append(time.monotonic() - began)
    assert statistics.median(times) < 0.020 * SLOW_FACTOR
    relay.close_in_order()


def test_idle_connections_hold_no_pipes(open_relays: Callable) -> None:
    relays = open_relays(40, workers=1)
    for relay in relays:
        relay.up.pump(MIB)
        relay.down.pump(MIB)
    # One more: the server's own stderr.
    until(lambda: relays[0].proxy.fds()["pipe"] <= 2 * PIPES_KEPT + 1, "pipes are given back")


# ---- half-close


@BOTH_SIDES
def test_data_flows_on_after_the_other_side_has_ended(open_relay: Callable, side: str) -> None:
    relay = open_relay()
    mine, its = (relay.up, relay.down) if side == "client" else (relay.down, relay.up)
    mine.carry(100_000)
    relay.end(side).shutdown(socket.SHUT_WR)
    expect_eof(relay.end(other(side)))
    for size in (1, 1000, MIB):  # a close of the whole connection would lose these
        its.pump(its.sent + size)
    relay.end(other(side)).shutdown(socket.SHUT_WR)
    expect_eof(relay.end(side))
    relay.expect_outcome("completed")


@BOTH_WAYS
def test_the_end_of_the_stream_waits_for_the_last_byte(open_relay: Callable, way: str) -> None:
    # The writer ends while megabytes of it are stuck in sockets and in the pipe.
    relay = open_relay()
    lane = relay.lane(way)
    lane.fill()
    lane.source.shutdown(socket.SHUT_WR)
    assert_at_rest(relay.proxy)
    lane.receive_all()
    expect_eof(lane.sink)
    lane.sink.shutdown(socket.SHUT_WR)
    expect_eof(lane.source)
    relay.expect_outcome("completed")


def test_both_ends_of_stream_may_cross(open_relay: Callable) -> None:
    relay = open_relay()
    relay.proxy.send_signal(signal.SIGSTOP)  # so that it finds both at once
    relay.up.send(5000)
    relay.down.send(5000)
    relay.client.shutdown(socket.SHUT_WR)
    relay.backend.shutdown(socket.SHUT_WR)
    relay.proxy.send_signal(signal.SIGCONT)
    for lane in (relay.up, relay.down):
        lane.receive_all()
        expect_eof(lane.sink)
    relay.expect_outcome("completed")


# ---- reset


@BOTH_SIDES
def test_a_reset_goes_through(open_relay: Callable, side: str) -> None:
    relay = open_relay()
    relay.up.carry(1000)
    relay.down.carry(1000)
    rst_close(relay.end(side))
    expect_rst(relay.end(other(side)))
    relay.expect_outcome(f"{side}_reset")


@BOTH_SIDES
def test_a_reset_with_data_stuck_both_ways_stays_a_reset(open_relay: Callable, side: str) -> None:
    # The first call that meets a reset takes the error with it; after it the stream looks ended.
    relay = open_relay()
    relay.up.fill()
    relay.down.fill()
    rst_close(relay.end(side))
    lane = relay.up if side == "client" else relay.down
    lane.receive_until_reset()
    relay.expect_outcome(f"{side}_reset", bytes_moved=False)


@BOTH_SIDES
def test_a_reset_in_a_stream_that_flows_stays_a_reset(open_relay: Callable, side: str) -> None:
    relay = open_relay()
    lane = relay.up if side == "client" else relay.down
    lane.pump(MIB)
    lane.send(100_000)
    rst_close(lane.source)
    lane.receive_until_reset()
    relay.expect_outcome(f"{side}_reset", bytes_moved=False)


@BOTH_SIDES
@pytest.mark.parametrize("ended", ["client", "backend"])
def test_a_reset_after_a_half_close_goes_through(
    open_relay: Callable, side: str, ended: str
) -> None:
    relay = open_relay()
    relay.end(ended).shutdown(socket.SHUT_WR)
    expect_eof(relay.end(other(ended)))
    lane = relay.down if ended == "client" else relay.up
    lane.carry(10_000)
    rst_close(relay.end(side))
    if side == ended:
        expect_reset_after_eof(relay.end(other(side)))
    else:
        expect_rst(relay.end(other(side)))
    relay.expect_outcome(f"{side}_reset")


@BOTH_SIDES
@pytest.mark.parametrize("size", [1, 60, 10_000, 60_000])
def test_what_came_before_a_reset_is_delivered(open_relay: Callable, side: str, size: int) -> None:
    # The proxy is stopped meanwhile, so that it finds the data and the reset at the same time.
    relay = open_relay()
    lane = relay.up if side == "client" else relay.down
    relay.proxy.send_signal(signal.SIGSTOP)
    lane.send(size)
    wait_until_delivered(lane.source)
    rst_close(lane.source)
    relay.proxy.send_signal(signal.SIGCONT)
    lane.receive_all()
    expect_rst(lane.sink)
    relay.expect_outcome(f"{side}_reset")


def test_bytes_of_a_connection_that_was_cut_never_reach_another(open_relays: Callable) -> None:
    # Pipes are used again. Those that still hold bytes when their connection is cut must not be.
    *cut, last = open_relays(4, workers=1)
    for relay in cut:
        relay.up.fill()
        relay.down.fill()
    for relay in cut:
        rst_close(relay.client)
        relay.expect_outcome("client_reset", bytes_moved=False)
    last.up.pump(3 * MIB)
    last.down.pump(3 * MIB)
    last.close_in_order()


@BOTH_SIDES
def test_a_peer_that_closes_with_unread_data_is_a_reset(open_relay: Callable, side: str) -> None:
    # The kernel of a peer that crashes or gives up sends a reset when it had not read everything.
    relay = open_relay()
    lane = relay.down if side == "client" else relay.up
    lane.send(1000)
    assert polled(lane.sink, select.POLLIN, PATIENCE * 1000)
    lane.sink.close()
    expect_rst(lane.source)
    relay.expect_outcome(f"{side}_reset")


# ---- urgent data


@BOTH_WAYS
@pytest.mark.parametrize("size", [1, 2, 50, 1000, 100_000])
def test_an_urgent_byte_does_not_wait_for_the_next(
    open_relay: Callable, way: str, size: int
) -> None:
    # splice(2) stops before the byte and returns EAGAIN. What was sent must arrive
    # although nothing follows it that could wake the relay up once more.
    lane = open_relay().lane(way)
    for _ in range(5):
        lane.carry(size, socket.MSG_OOB)
        lane.carry(size)


@BOTH_WAYS
def test_urgent_bytes_in_mid_stream_arrive_in_their_places(open_relay: Callable, way: str) -> None:
    relay = open_relay()
    lane = relay.lane(way)
    for size in (1, 10, 5000, 40_000):
        lane.send(size, socket.MSG_OOB)
        lane.send(size)
        lane.receive_all()
    lane.fill()
    with non_blocking(lane.source):
        for _ in range(1000):  # behind all that is stuck; there is room for so few
            lane.send(1, socket.MSG_OOB)
    assert_at_rest(relay.proxy)
    lane.receive_all()
    lane.pump(lane.sent + 3 * MIB)
    assert_at_rest(relay.proxy)
    relay.close_in_order()


@pytest.mark.parametrize("after", [0, 10_000])
def test_the_end_of_the_stream_does_not_swallow_an_urgent_byte(
    open_relay: Callable, after: int
) -> None:
    # Once the end has come, splice(2) returns 0 before an urgent byte, as if it were the end.
    relay = open_relay()
    relay.proxy.send_signal(signal.SIGSTOP)
    for lane in (relay.up, relay.down):
        lane.send(100, socket.MSG_OOB)
        lane.send(after)
        lane.source.shutdown(socket.SHUT_WR)
        wait_until_delivered(lane.source)
    relay.proxy.send_signal(signal.SIGCONT)
    for lane in (relay.up, relay.down):
        lane.receive_all()
        expect_eof(lane.sink)
    relay.expect_outcome("completed")


def test_signals_that_stop_and_continue_the_server_cost_no_urgent_byte(open_relay: Callable) -> None:
    # Before an urgent byte Linux's receive returns EAGAIN while a signal is pending, which is not a socket that is empty.
    relay = open_relay()
    over = threading.Event()

    def stop_and_continue() -> None:
        while not over.wait(0.00002):
            relay.proxy.send_signal(signal.SIGSTOP)
            relay.proxy.send_signal(signal.SIGCONT)

    stopping = threading.Thread(target=stop_and_continue)
    stopping.start()
    try:
        for _ in range(6000):
            relay.up.send(20_000, socket.MSG_OOB)
            relay.up.receive_all()
    finally:
        over.set()
        stopping.join()
    relay.up.source.shutdown(socket.SHUT_WR)
    relay.down.source.shutdown(socket.SHUT_WR)
    relay.expect_outcome("completed")


@BOTH_SIDES
def test_a_reset_does_not_swallow_an_urgent_byte(open_relay: Callable, side: str) -> None:
    relay = open_relay()
    lane = relay.up if side == "client" else relay.down
    relay.proxy.send_signal(signal.SIGSTOP)
    lane.send(100, socket.MSG_OOB)
    lane.send(10_000)
    wait_until_delivered(lane.source)
    rst_close(lane.source)
    relay.proxy.send_signal(signal.SIGCONT)
    lane.receive_all()
    expect_rst(lane.sink)
    relay.expect_outcome(f"{side}_reset")


def test_an_urgent_byte_inside_the_hello_fails_closed(
    start_proxy: Callable, engine: str, keep: Callable
) -> None:
    # Peeking stops before the byte, and what cannot be seen cannot be routed. The socket polls as
    # readable all the time.
    listener = keep(ManualBackend())
    proxy = start_proxy(routes={"*": listener}, splice=engine, hello_timeout="1s")
    client = keep(proxy.connect())
    client.send(HELLO[:40], socket.MSG_OOB)
    client.sendall(HELLO[40:])
    assert_at_rest(proxy)
    expect_rst(client)
    line = proxy.outcome(client)
    assert (line["msg"], line["reason"]) == ("connection refused", "hello_timeout")
    assert not listener.has_connections()


# ---- dial


def refused_address(keep: Callable) -> str:
    """Where nobody listens, and nobody will: the port is taken."""
    sock = keep(Client())
    sock.bind(("127.0.0.1", 0))
    return address_text(sock.getsockname())


def test_a_dead_backend_gives_the_client_a_reset_and_the_operator_a_warning(
    start_proxy: Callable, engine: str, keep: Callable
) -> None:
    address = refused_address(keep)
    proxy = start_proxy(routes={"*": address}, splice=engine)
    client = keep(proxy.connect())
    client.sendall(HELLO + b"early")
    expect_rst(client)
    line = proxy.outcome(client)
    assert (line["level"], line["msg"], line["reason"]) == ("WARN", "dial failed", "dial_refused")
    assert (line["backend"], line["sni"]) == (address, "app.example.com")
    assert line["error"] == "Connection refused"


def test_a_backend_without_a_way_to_it_gives_the_client_a_reset(
    own_network: None, start_proxy: Callable, engine: str, keep: Callable
) -> None:
    proxy = start_proxy(routes={"*": "[2001:db8::1]:443"}, splice=engine)  # no network
    client = keep(proxy.connect())
    client.sendall(HELLO)
    expect_rst(client)
    line = proxy.outcome(client)
    assert (line["level"], line["msg"], line["reason"]) == ("WARN", "dial failed", "dial_failed")


def test_a_backend_that_does_not_answer_is_given_up_after_connect_timeout(
    start_proxy: Callable, engine: str, keep: Callable
) -> None:
    hole = keep(BlackHole())
    proxy = start_proxy(routes={"*": hole}, splice=engine, connect_timeout="400ms")
    client = keep(proxy.connect())
    began = time.monotonic()
    client.sendall(HELLO)
    expect_rst(client)
    assert time.monotonic() - began >= 0.36
    line = proxy.outcome(client)
    assert (line["level"], line["msg"], line["reason"]) == ("WARN", "dial failed", "dial_timeout")
    assert line["error"] == "Connection timed out"
    assert not hole.is_being_dialled(), "the socket is still open"


@pytest.mark.parametrize("leave", [socket.socket.close, rst_close], ids=["fin", "rst"])
def test_a_client_that_leaves_during_a_dial_in_vain_leaves_nothing_behind(
    start_proxy: Callable, engine: str, keep: Callable, leave: Callable
) -> None:
    hole = keep(BlackHole())
    proxy = start_proxy(routes={"*": hole}, splice=engine, connect_timeout="500ms")
    before = proxy.fds()
    client = keep(proxy.connect())
    client.sendall(HELLO)
    until(hole.is_being_dialled, "the proxy dials")
    leave(client)
    assert proxy.outcome(client)["reason"] in ("dial_timeout", "client_closed", "client_reset")
    until(lambda: proxy.fds() == before, "no descriptor is left")


@pytest.mark.parametrize("leave", ["fin", "rst"])
def test_a_client_that_leaves_during_a_slow_dial_is_not_misunderstood(
    start_proxy: Callable, engine: str, keep: Callable, leave: str
) -> None:
    # The dial succeeds after the client has left: what it sent, and how it left, are still true.
    hole = keep(BlackHole())
    proxy = start_proxy(routes={"*": hole}, splice=engine)
    client = keep(proxy.connect())
    client.sendall(HELLO + b"and that was it")
    until(hole.is_being_dialled, "the proxy dials")
    if leave == "rst":
        rst_close(client)
        backend = keep(hole.open_up())
        with pytest.raises(ConnectionResetError):
            while backend.recv(1000):
                pass
        assert proxy.outcome(client)["reason"] == "client_reset"
    else:
        client.shutdown(socket.SHUT_WR)
        backend = keep(hole.open_up())
        assert recv_exactly(backend, len(HELLO) + 15) == HELLO + b"and that was it"
        expect_eof(backend)
        backend.sendall(b"bye")
        backend.close()
        assert recv_exactly(client, 3) == b"bye"
        expect_eof(client)
        assert proxy.outcome(client)["reason"] == "completed"


def test_a_backend_that_ends_at_once_is_seen_to_end(
    start_proxy: Callable, start_backend: Callable, engine: str, keep: Callable
) -> None:
    def end_first(connection: socket.socket) -> None:
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(1000):
            pass

    proxy = start_proxy(routes={"*": start_backend(Backend(end_first))}, splice=engine)
    client = keep(proxy.connect())
    client.sendall(HELLO)
    expect_eof(client)
    client.shutdown(socket.SHUT_WR)
    assert proxy.outcome(client)["reason"] == "completed"


def test_a_backend_that_resets_at_once_is_seen_to_reset(
    start_proxy: Callable, start_backend: Callable, engine: str, keep: Callable
) -> None:
    proxy = start_proxy(routes={"*": start_backend(Backend(rst_close))}, splice=engine)
    for _ in range(20):  # before the proxy has sent the hello, while it sends it, and after
        client = keep(proxy.connect())
        client.sendall(HELLO)
        expect_rst(client)
        assert proxy.outcome(client)["reason"] in ("backend_reset", "dial_failed")


def test_without_descriptors_a_dial_fails_and_the_proxy_recovers(
    start_proxy: Callable, start_backend: Callable, engine: str, keep: Callable
) -> None:
    backend = start_backend(Backend(echo))
    # More connections than the descriptors allow: the operator's mistake, and a warning.
    limits = {"descriptors": 64, "max_connections": 1000}
    proxy = start_proxy(routes={"*": backend}, splice=engine, workers=1, **limits)
    clients = [keep(proxy.connect()) for _ in range(70)]
    paused = proxy.wait_log(level="ERROR", error="Too many open files")
    assert paused["msg"].startswith("accepting paused")
    assert_at_rest(proxy)
    clients[0].sendall(HELLO)
    expect_rst(clients[0])
    line = proxy.outcome(clients[0])
    assert (line["level"], line["msg"], line["reason"]) == ("WARN", "dial failed", "no_resources")
    for client in clients[:-1]:
        client.close()
    clients[-1].sendall(HELLO)
    assert recv_exactly(clients[-1], len(HELLO)) == HELLO


# ---- idle timeout


IDLE = 1.0 if SLOW_FACTOR == 1 else 3.0


def test_an_idle_connection_is_reset_on_both_sides(open_relay: Callable) -> None:
    relay = open_relay(idle_timeout=f"{IDLE}s")
    relay.up.carry(1000)
    began = time.monotonic()
    expect_rst(relay.client)
    expect_rst(relay.backend)
    assert time.monotonic() - began > IDLE * 0.9
    relay.expect_outcome("idle_timeout")


def test_a_half_closed_connection_that_idles_is_reset(open_relay: Callable) -> None:
    relay = open_relay(idle_timeout=f"{IDLE}s")
    relay.client.shutdown(socket.SHUT_WR)
    expect_eof(relay.backend)
    expect_rst(relay.client)
    expect_reset_after_eof(relay.backend)
    relay.expect_outcome("idle_timeout")


@BOTH_WAYS
def test_outstanding_bytes_do_not_keep_a_connection_alive(open_relay: Callable, way: str) -> None:
    # The reader has died with its connection open: progress counts, not intent.
    relay = open_relay(idle_timeout=f"{IDLE}s")
    lane = relay.lane(way)
    lane.fill()
    expect_rst(lane.source)
    lane.receive_until_reset()
    relay.expect_outcome("idle_timeout", bytes_moved=False)


@BOTH_WAYS
def test_activity_in_one_direction_keeps_both_alive(open_relay: Callable, way: str) -> None:
    relay = open_relay(idle_timeout=f"{IDLE}s")
    lane = relay.lane(way)
    until_then = time.monotonic() + 2.5 * IDLE
    while time.monotonic() < until_then:
        lane.carry(1)
        assert not polled(lane.source, select.POLLIN, IDLE * 200), "it was ended"
    (relay.down if lane is relay.up else relay.up).carry(1000)
    relay.close_in_order()


def test_a_slow_reader_that_makes_progress_is_not_idle(open_relay: Callable) -> None:
    # It takes byte after byte out of the proxy's socket, which holds so many that for a while the
    # relay need not move any: to cut it then would lose all that it has not read yet.
    relay = open_relay(idle_timeout=f"{IDLE}s")
    relay.down.fill()
    for _ in range(25):
        relay.down.receive(100_000)
        assert not polled(relay.backend, select.POLLIN, IDLE * 100), "it was ended"
    relay.down.receive_all()
    relay.close_in_order()


def keeps_alive(end: socket.socket) -> bool:
    """Whether the kernel watches over the proxy's side of this connection (tr 2, Linux's proc_net_tcp.rst)."""
    ours = f"{end.getpeername()[1]:04X}", f"{end.getsockname()[1]:04X}"
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in Path(table).read_text().splitlines()[1:]:
            _, local, remote, _, _, timer, *_ = line.split()
            if (local[-4:], remote[-4:]) == ours:
                return timer.startswith("02:")
    raise AssertionError(f"no socket of the proxy belongs to {end}")


@pytest.mark.parametrize(("timeout", "kernel"), [("0s", True), ("3h", True), ("5m", False)])
def test_the_kernel_watches_for_peers_that_vanish_where_no_timeout_does(
    open_relay: Callable, timeout: str, kernel: bool
) -> None:
    relay = open_relay(idle_timeout=timeout)
    relay.up.carry(10)
    relay.down.carry(10)
    until(
        lambda: (keeps_alive(relay.client), keeps_alive(relay.backend)) == (kernel, kernel),
        f"keep-alive is {kernel}",
    )


# ---- many


# Its queues hold 320 MB of TCP's memory, of which a machine has one share for all (tcp_mem: pressure from 1.2 GB on where
# there are 24 GB). Beside others that fill queues the kernel closes windows, and a sender then waits for its persist timer,
# 10 s and more: the test must be alone.
@pytest.mark.heavy
def test_beyond_the_pool_of_pipes_the_relay_copies(
    start_proxy: Callable, engine: str, keep: Callable
) -> None:
    # More stalled directions than the worker may have pipes: those beyond must neither fail, nor
    # wait for a pipe that others hold, nor spin, nor mix their bytes up.
    connections = (PIPES_PER_WORKER + 88) // 2
    listener = keep(shallow_listener())
    routes = {"*": address_text(listener.getsockname())}
    proxy = start_proxy(routes=routes, splice=engine, workers=1)
    pipes_before = proxy.fds()["pipe"]
    memory_before = proxy.memory().rss
    lanes = []
    for i in range(connections):
        client = make_shallow(keep(Client()))
        client.connect(("127.0.0.1", proxy.ports[0]))
        client.sendall(HELLO)
        backend = keep(listener.accept()[0])
        backend.settimeout(PATIENCE)
        assert recv_exactly(backend, len(HELLO)) == HELLO
        lanes += [Lane(client, backend, seed=2 * i), Lane(backend, client, seed=2 * i + 1)]
    Lane.fill_all(lanes, limit=500_000)
    assert proxy.fds()["pipe"] - pipes_before == 2 * PIPES_PER_WORKER
    assert_at_rest(proxy)
    # First the last: they have no pipe, and get on without one while the others are stuck.
    copying = lanes[-80:]
    for lane in copying:
        lane.pump(lane.sent + 100_000)
    for lane in lanes:
        lane.receive_all()
        lane.carry(10_000)
    for lane in lanes:
        lane.source.shutdown(socket.SHUT_WR)
    for lane in lanes:
        expect_eof(lane.sink)
    assert len({lane.sent for lane in lanes}) > 1
    proxy.wait_log(count=connections, msg="connection closed", reason="completed")
    assert proxy.fds()["pipe"] - pipes_before <= 2 * PIPES_KEPT
    grown = proxy.memory().rss - memory_before
    assert grown < 4 * MIB * SLOW_FACTOR, f"{grown} bytes grown for {len(lanes)} stalled directions"

