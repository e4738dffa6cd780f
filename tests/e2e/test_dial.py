# SPDX-License-Identifier: Apache-2.0
"""Where a dial leads: an interface that comes and goes, the proxy itself, and the kernel's errors."""

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from admin import AdministeredProxy
from harness import Backend, Listener, Proxy, client_hello, echo, expect_rst, until


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True)


def add_interface(name: str) -> None:
    """An interface with the address fe80::1, whose number is always another."""
    ip("link", "add", name, "type", "bridge")
    ip("link", "set", name, "up")
    ip("-6", "addr", "add", "fe80::1/64", "dev", name, "nodad")


def expect_reset(proxy: Proxy, name: str) -> dict[str, str]:
    """A client for this name is reset. Returns the log line with the reason."""
    with proxy.connect() as client:
        client.sendall(client_hello(name))
        expect_rst(client)
        return proxy.outcome(client)


def test_a_backend_is_on_the_interface_that_has_the_name_now(
    own_network: None, start_administered: Callable, backend: Backend, start_backend: Callable
) -> None:
    add_interface("wg0")
    proxy: AdministeredProxy = start_administered(routes={"app.example.com": backend})
    address = f"[fe80::1%wg0]:{start_backend(Backend(echo, host='::')).address.rpartition(':')[2]}"
    assert proxy.cli("routes", "add", "ll.example.com", address).code == 0
    proxy.expect_served("ll.example.com")

    ip("link", "delete", "wg0")
    line = expect_reset(proxy, "ll.example.com")
    assert (line["msg"], line["reason"], line["error"]) == ("dial failed", "dial_failed", "no interface wg0")
    assert line["backend"] == address
    assert proxy.routes()["ll.example.com"] == address

    # It came back with another number; the server gets no notice.
    add_interface("wg0")
    proxy.expect_served("ll.example.com")


def test_a_missing_interface_stops_no_start(own_network: None, start_administered: Callable, backend: Backend) -> None:
    proxy: AdministeredProxy = start_administered(
        routes={"app.example.com": backend, "seed.example.com": "[fe80::1%eth9]:443"}
    )
    add_interface("wg0")
    assert proxy.cli("routes", "add", "ll.example.com", "[fe80::1%wg0]:443").code == 0
    for end in (proxy.stop, proxy.kill):
        end()
        subprocess.run(["ip", "link", "delete", "wg0"], stderr=subprocess.DEVNULL)
        assert proxy.cli("check").code == 0
        proxy.start()
        proxy.expect_served("app.example.com")
        assert expect_reset(proxy, "ll.example.com")["error"] == "no interface wg0"
        assert expect_reset(proxy, "seed.example.com")["error"] == "no interface eth9"
    assert "[fe80::1%wg0]:443" in proxy.cli("routes", "list").out


def test_a_dial_that_reached_itself_is_refused(own_network: None, start_administered: Callable) -> None:
    # Of few ports the kernel soon gives a connection the one that it is to reach.
    Path("/proc/sys/net/ipv4/ip_local_port_range").write_text("40000 40010")
    proxy = start_administered(routes={"app.example.com": "127.0.0.1:40004"})

    def reached_itself() -> bool:
        line = expect_reset(proxy, "app.example.com")
        assert line["reason"] == "dial_refused"
        return line["error"].startswith("connected to itself")

    until(reached_itself, "the kernel connects a socket to itself")
    status = proxy.cli("status", "--json", "--routes", "1").out
    assert not proxy.lines_until_now(msg="connection closed")
    assert re.search(r'"dial_failures": "?[1-9]', status)


@pytest.mark.parametrize("port", [0, 443])  # no connecting socket can have the second one
def test_a_loop_through_an_own_address_ends_at_its_first_turn(own_network: None, tmp_path: Path, port: int) -> None:
    ip("addr", "add", "10.77.0.1/32", "dev", "lo")
    listener = Listener({"loop.example.com": "10.77.0.1:1"}, host="", port=port)
    with AdministeredProxy(tmp_path, listeners=[listener]) as proxy:
        port = proxy.ports[0]
        refused = proxy.cli("routes", "add", "other.example.com", f"10.77.0.1:{port}")
        assert refused.code == 1
        assert "leads back to the listener" in refused.err
        # As in a database that was made before the machine had that address.
        assert proxy.stop() == 0
        subprocess.run(
            ["sqlite3", proxy.database, f"UPDATE routes SET backend = '10.77.0.1:{port}'"], check=True
        )
        proxy.start()
        line = expect_reset(proxy, "loop.example.com")
        assert (line["reason"], line["error"]) == ("dial_refused", "the backend is a listener of this proxy")
        assert proxy.stop() == 0
        assert proxy.lines(msg="stopped")[-1]["accepted"] == "2"
        proxy.start()


@pytest.mark.parametrize("address", ["[::1]:443", "[2001:db8::1]:443"])
def test_a_family_that_the_machine_does_not_have_is_a_failed_dial(
    own_network: None, tmp_path: Path, address: str
) -> None:
    Path("/proc/sys/net/ipv6/conf/all/disable_ipv6").write_text("1")
    with Proxy(tmp_path, routes={"app.example.com": address}) as proxy:
        line = expect_reset(proxy, "app.example.com")
    assert line["reason"] == "dial_failed"


@pytest.mark.parametrize(
    ("address", "remedy"),
    [
        ("[fe80::1]:443", "a link-local address needs its interface"),
        ("224.0.0.1:443", "takes no connections"),
        ("255.255.255.255:443", "takes no connections"),
        ("[ff02::1]:443", "takes no connections"),
    ],
)
def test_an_address_that_no_connection_can_reach_is_refused(proxy: AdministeredProxy, address: str, remedy: str) -> None:
    refused = proxy.cli("routes", "add", "b.example.com", address)
    assert refused.code == 1
    assert remedy in refused.err
