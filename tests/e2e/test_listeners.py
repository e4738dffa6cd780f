# SPDX-License-Identifier: Apache-2.0
"""Where the listeners listen: overlapping addresses, addresses that come later, sockets that systemd opened."""

import re
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from admin import AdministeredProxy
from harness import PATIENCE, Backend, Listener, Proxy, binary, client_hello, recv_exactly

HELLO = client_hello("app.example.com")


def saying(word: bytes) -> Callable[[socket.socket], None]:
    """A backend that sends its own name."""

    def serve(connection: socket.socket) -> None:
        connection.sendall(word)

    return serve


def served_at(address: str, port: int) -> bytes:
    """What a client of this address receives; nothing: it is refused or reset."""
    try:
        with socket.create_connection((address, port), timeout=PATIENCE) as client:
            client.sendall(HELLO)
            return recv_exactly(client, 4)
    except (ConnectionError, AssertionError):
        return b""


def write_addresses(config: Path, *addresses: str) -> None:
    """The addresses of the listeners, in their order; a listener without one goes."""
    tables = config.read_text().split("[[listeners]]\n")
    rest = [re.sub(r'^addr = ".*"$', f'addr = "{new}"', table, flags=re.M) for table, new in zip(tables[1:], addresses)]
    tail = tables[-1][tables[-1].index("[database]") :]
    kept = [table.split("[database]")[0] for table in rest]
    config.write_text("[[listeners]]\n".join(["", *kept]) + tail)


PAIRS = [
    ("", "127.0.0.1"),
    ("0.0.0.0", "127.0.0.1"),
    ("[::]", "[::1]"),
    ("", "[::1]"),
]


@pytest.mark.parametrize(("wide", "narrow"), PAIRS, ids=[f"{a or ':'} and {b}" for a, b in PAIRS])
@pytest.mark.parametrize("first", ["wide", "narrow"])
def test_of_listeners_that_overlap_the_more_specific_one_serves(
    start_administered: Callable, start_backend: Callable, enter: Callable, wide: str, narrow: str, first: str
) -> None:
    backends = {"wide": start_backend(Backend(saying(b"wide"))), "narrow": start_backend(Backend(saying(b"narr")))}
    hosts = {"wide": wide, "narrow": narrow}
    order = [first, "narrow" if first == "wide" else "wide"]
    proxy: AdministeredProxy = start_administered(
        listeners=[Listener({"app.example.com": backends[one]}, host=hosts[one].replace("[::]", "")) for one in order]
    )
    assert proxy.stop() == 0
    proxy.database.unlink()
    port = proxy.ports[order.index("wide")]  # which is kept free at every address
    write_addresses(proxy.config, *[f"{hosts[one]}:{port}" for one in order])
    assert proxy.cli("check").code == 0
    proxy.start()
    one = narrow.strip("[]")
    other = "::1" if one == "127.0.0.1" and wide in ("", "[::]") else "127.0.0.1" if wide == "" else "127.0.0.2" if wide == "0.0.0.0" else None
    for _ in range(8):
        assert served_at(one, port) == b"narr"
        if other is not None:
            assert served_at(other, port) == b"wide"
    checked = proxy.cli("check")
    assert checked.code == 0 and "the running server listens there" in checked.out
    heir = enter(proxy.successor())
    proxy.wait_end()
    assert served_at(one, port) == b"narr"
    assert heir.stop() == 0


def test_a_more_specific_listener_comes_and_goes_with_an_upgrade(
    start_administered: Callable, start_backend: Callable, enter: Callable
) -> None:
    wide, narrow = start_backend(Backend(saying(b"wide"))), start_backend(Backend(saying(b"narr")))
    proxy: AdministeredProxy = start_administered(
        listeners=[Listener({"app.example.com": wide}, host=""), Listener({"app.example.com": narrow})]
    )
    port = proxy.ports[0]
    both = proxy.config.read_text()
    assert proxy.stop() == 0
    proxy.database.unlink()
    write_addresses(proxy.config, f":{port}")
    proxy.start()
    assert served_at("127.0.0.1", port) == b"wide"
    proxy.config.write_text(both)
    write_addresses(proxy.config, f":{port}", f"127.0.0.1:{port}")
    checked = proxy.cli("check")
    assert checked.code == 0, checked.out
    heir = enter(proxy.successor())
    proxy.wait_end()
    heir.cli("routes", "add", "-l", f"127.0.0.1:{port}", "app.example.com", narrow.address)
    assert served_at("127.0.0.1", port) == b"narr"
    assert served_at("::1", port) == b"wide"
    write_addresses(proxy.config, f":{port}")
    last = enter(heir.successor())
    heir.wait_end()
    assert served_at("127.0.0.1", port) == b"wide"
    assert last.stop() == 0


def test_a_port_of_another_process_is_no_overlap(start_administered: Callable) -> None:
    proxy: AdministeredProxy = start_administered(listeners=[Listener({}), Listener({}, host="")])
    assert proxy.stop() == 0
    port = proxy.ports[1]
    write_addresses(proxy.config, f"127.0.0.1:{proxy.ports[0]}", f":{port}")
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind(("127.0.0.2", port))
        other.listen()
        assert proxy.cli("check").code == 1
        started = subprocess.run([binary(), "server", "-c", proxy.config], capture_output=True, text=True, timeout=PATIENCE)
        assert started.returncode == 1 and "address already in use" in started.stderr
    proxy.start()


def test_a_listener_with_freebind_serves_once_its_address_is_there(
    own_network: None, start_administered: Callable, start_backend: Callable, enter: Callable
) -> None:
    backend = start_backend(Backend(saying(b"here")))
    proxy: AdministeredProxy = start_administered(
        listeners=[Listener({"app.example.com": backend}), Listener({"app.example.com": backend})]
    )
    assert proxy.stop() == 0
    text = proxy.config.read_text()
    port = proxy.ports[1]
    for late in ("203.0.113.7", "[2001:db8::7]"):
        proxy.database.unlink(missing_ok=True)
        proxy.config.write_text(text.replace(f"127.0.0.1:{port}", f"{late}:{port}"))
        checked = proxy.cli("check")
        assert checked.code == 1 and "freebind = true" in checked.out
        proxy.config.write_text(text.replace(f'"127.0.0.1:{port}"', f'"{late}:{port}"\nfreebind = true'))
        assert proxy.cli("check").code == 0
        proxy.start()
        assert served_at("127.0.0.1", proxy.ports[0]) == b"here"
        address = late.strip("[]")
        subprocess.run(["ip", "address", "add", address, "dev", "lo"], check=True)
        assert served_at(address, port) == b"here"
        heir = enter(proxy.successor())
        proxy.wait_end()
        assert served_at(address, port) == b"here"
        assert heir.stop() == 0


def activated(config: Path, passed: socket.socket) -> subprocess.Popen[str]:
    """A server as systemd starts it for a socket unit: the socket is descriptor 3 (sd_listen_fds(3))."""
    script = f'exec 3<&{passed.fileno()}; export LISTEN_FDS=1 LISTEN_PID=$$; exec "$0" server -c "$1"'
    return subprocess.Popen(
        ["bash", "-c", script, binary(), config], pass_fds=[passed.fileno()], stderr=subprocess.PIPE, text=True
    )


def until_serving(server: subprocess.Popen[str]) -> str:
    """Its log until it serves or ends."""
    assert server.stderr is not None
    log = ""
    for line in server.stderr:
        log += line
        if "msg=serving" in line:
            break
    return log


@pytest.mark.parametrize(
    ("family", "host", "alone", "why"),
    [
        (socket.AF_INET6, "::", True, "accepts only IPv6; write BindIPv6Only=both"),
        (socket.AF_INET, "0.0.0.0", False, "holds the port at 0.0.0.0:{port}; in a socket unit write ListenStream={port}"),
        (socket.AF_INET6, "::", False, None),
    ],
    ids=["IPv6 alone", "IPv4 alone", "both"],
)
def test_a_socket_of_systemd_that_is_another_address_is_told_apart(
    start_proxy: Callable, family: int, host: str, alone: bool, why: str | None
) -> None:
    proxy: Proxy = start_proxy(listeners=[Listener({}, host="")])
    assert proxy.stop() == 0
    port = proxy.ports[0]
    with socket.socket(family) as passed:
        passed.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            passed.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, alone)
        passed.bind((host, port))
        passed.listen()
        with activated(proxy.config, passed) as server:
            log = until_serving(server)
            if why is None:
                server.terminate()
            assert server.wait(timeout=PATIENCE) == (0 if why is None else 1), log
    if why is not None:
        assert why.format(port=port) in log, log


@pytest.mark.parametrize("shared", [False, True], ids=["alone", "shared"])
def test_beside_a_socket_of_systemd_another_opens_where_the_kernel_lets_it(
    start_proxy: Callable, start_backend: Callable, shared: bool
) -> None:
    wide, narrow = start_backend(Backend(saying(b"wide"))), start_backend(Backend(saying(b"narr")))
    proxy: Proxy = start_proxy(listeners=[Listener({"app.example.com": wide}, host=""), Listener({"app.example.com": narrow})])
    assert proxy.stop() == 0
    proxy.database.unlink()
    port = proxy.ports[0]
    write_addresses(proxy.config, f":{port}", f"127.0.0.1:{port}")
    with socket.socket(socket.AF_INET6) as passed:
        passed.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        passed.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, shared)
        passed.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        passed.bind(("::", port))
        passed.listen()
        with activated(proxy.config, passed) as server:
            log = until_serving(server)
            if shared:
                assert "msg=serving" in log, log
                assert served_at("127.0.0.1", port) == b"narr"
                assert served_at("::1", port) == b"wide"
                server.terminate()
            assert server.wait(timeout=PATIENCE) == (0 if shared else 1)
    if not shared:
        assert f"or systemd does not share [::]:{port}: give it both addresses (ListenStream=) and ReusePort=yes" in log


def test_beside_a_socket_of_ours_no_foreign_one_gets_a_share(start_proxy: Callable) -> None:
    proxy: Proxy = start_proxy(listeners=[Listener({}, host=""), Listener({})])
    assert proxy.stop() == 0
    port = proxy.ports[0]
    write_addresses(proxy.config, f":{port}")
    proxy.start()
    both = proxy.config.read_text().replace("[database]", f'[[listeners]]\naddr = "127.0.0.1:{port}"\n[database]')
    proxy.config.write_text(both)
    with socket.socket() as foreign:
        foreign.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        foreign.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        foreign.bind(("127.0.0.1", port))
        foreign.listen()
        checked = proxy.cli("check")
        assert checked.code == 1 and f"listen 127.0.0.1:{port}: address already in use" in checked.out
        command = [binary(), "server", "--take-over", "-c", proxy.config]
        started = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
        assert started.returncode == 1 and f"listen 127.0.0.1:{port}: address already in use" in started.stderr
    assert proxy.cli("check").code == 0, "it was the foreign one"
