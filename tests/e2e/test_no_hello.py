# SPDX-License-Identifier: Apache-2.0
"""The ways to a pool without a name: not_tls, silent and no_sni. A real SSH server beside TLS on one port, and by hand what
must not take these ways."""

import json
import os
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest

import hello
from admin import AdministeredProxy, refused
from certs import Authority
from harness import (
    SLOW_FACTOR,
    Backend,
    Client,
    Listener,
    client_hello,
    echo,
    expect_echo,
    expect_rst,
    recv_exactly,
    send_byte_by_byte,
    send_until_refused,
)
from hello_site import SHORT
from pools import pool_table
from sites import HttpsSite
from test_clients import ClientFailedError, curl_with, openssl_with, run
from programs import Program

NAME = "app.example.com"
SILENT = {"after": "300ms", "pool": "other"}
# So long that a client on a busy machine has sent its first byte before.
PATIENT = {"after": f"{1000 * SLOW_FACTOR}ms", "pool": "other"}
A_LITTLE_LATER = f"{1200 * SLOW_FACTOR}ms"
BANNER = b"220 mail.example.com ESMTP\r\n"


class SshServer(Program):
    """OpenSSH's server, for the user who runs the tests, by a key."""

    def __init__(self, directory: Path):
        super().__init__(directory)
        self._keys = directory / "keys"
        self._keys.mkdir()
        for name in ("host", "user"):
            run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", self._keys / name)
        os.makedirs("/run/sshd", exist_ok=True)  # as its unit does: there it locks up what has not logged in yet

    def command(self, directory: Path) -> list[object]:
        config = directory / "sshd_config"
        config.write_text(
            f"""
ListenAddress {self.address}
HostKey {self._keys / "host"}
AuthorizedKeysFile {self._keys / "user.pub"}
PidFile none
StrictModes no
PermitRootLogin prohibit-password
PasswordAuthentication no
UsePAM no
"""
        )
        return ["/usr/sbin/sshd", "-D", "-e", "-f", config]

    def run(self, port: int, command: str, stdin: bytes = b"") -> str:
        """Runs a command in the server, by a client that knows the server's key."""
        known = self._keys / "known_hosts"
        known.write_text(f"sshd {(self._keys / 'host.pub').read_text()}")
        options = {"UserKnownHostsFile": known, "HostKeyAlias": "sshd", "IdentitiesOnly": "yes", "BatchMode": "yes"}
        words = [word for key, value in options.items() for word in ("-o", f"{key}={value}")]
        return run("ssh", "-F", "none", *words, "-i", self._keys / "user", "-p", port, "127.0.0.1", command, stdin=stdin)


@pytest.fixture
def start_listener(start_administered: Callable, backend: Backend) -> Callable[..., AdministeredProxy]:
    """start_listener(other, **settings): a listener with a route to a backend that echoes, and a pool "other"."""

    def start(other: Any, routes: dict[str, Any] | None = None, log_level: str = "info", **settings: object) -> AdministeredProxy:
        listener = Listener(routes or {NAME: backend}, settings=settings)
        tables = {"pools": [pool_table([other], name="other")]}
        return start_administered(listeners=[listener], tables=tables, log_level=log_level, workers=1)

    return start


def expect_way(proxy: AdministeredProxy, client: Client, way: str, backend: Any) -> None:
    """The line of a connection that has ended."""
    line = proxy.outcome(client)
    assert (line["msg"], line["route"], line["pool"]) == ("connection closed", way, "other")
    assert (line["backend"], line["sni"]) == (backend.address, "")


# ---- what is not TLS


def test_ssh_and_tls_share_a_port(
    start_listener: Callable, start_backend: Callable, authority: Authority, tmp_path: Path
) -> None:
    sshd = start_backend(SshServer(tmp_path))
    site = start_backend(HttpsSite(authority, NAME))
    proxy = start_listener(sshd, {NAME: site}, not_tls="other")
    port = proxy.ports[0]
    sent = b"0123456789abcdef" * 65536  # 1 MiB
    with ThreadPoolExecutor(3) as at_once:
        through_ssh = at_once.submit(sshd.run, port, "cat; echo done", sent)
        pages = [at_once.submit(visit, NAME, port, authority.ca, tmp_path) for visit in (curl_with(), openssl_with())]
        assert through_ssh.result() == f"{sent.decode()}done\n"
        assert all(site.text in page.result() for page in pages)
    line = proxy.wait_log(msg="connection closed", route="not_tls")
    assert (line["reason"], line["pool"], line["backend"]) == ("completed", "other", sshd.address)
    assert int(line["bytes_up"]) > len(sent) and int(line["bytes_down"]) > len(sent)
    assert proxy.wait_log(msg="connection closed", route=NAME)["backend"] == site.address


@pytest.mark.parametrize("send", [Client.sendall, send_byte_by_byte])
def test_a_first_byte_that_is_not_of_tls_leads_to_the_pool(start_listener: Callable, start_backend: Callable, send: Callable) -> None:
    other = start_backend(Backend(echo))
    proxy = start_listener(other, not_tls="other")
    for opening in (b"SSH-2.0-x\r\n", b"GET / HTTP/1.0\r\n\r\n", b"\0", b"\x15\x03\x01\0\2\1\0"):
        with proxy.connect() as client:
            send(client, opening)
            assert recv_exactly(client, len(opening)) == opening
            client.shutdown(socket.SHUT_WR)
        expect_way(proxy, client, "not_tls", other)
    proxy.expect_served()


def test_an_open_connection_is_listed_with_its_way_and_its_pool(start_listener: Callable, start_backend: Callable) -> None:
    other = start_backend(Backend(echo))
    proxy = start_listener(other, not_tls="other")
    with proxy.connect() as client:
        expect_echo(client, b"SSH-2.0-x\r\n")
        (told,) = proxy.admin.connections(pool="other")
        assert (told.route, told.pool, told.backend, told.sni) == ("not_tls", "other", other.address, "")
        (shown,) = map(json.loads, proxy.cli("connections", "list", "--pool", "other", "--json").out.splitlines())
        assert (shown["route"], shown["pool"], shown["backend"]) == ("not_tls", "other", other.address)
        assert proxy.admin.close_connections(pool="other") == 1
        expect_rst(client)


def malformed_hellos() -> list[Any]:
    body = hello.hello_body(hello.server_name(NAME))
    return [
        pytest.param(b"\x80\x2e\x01\x03\x01\0\x15\0\0\0\x10" + bytes(range(37)), "sslv2", id="SSLv2"),
        pytest.param(hello.record(hello.handshake(body, 2)), "malformed_handshake", id="another message"),
        pytest.param(hello.record(hello.handshake(body[:40])), "malformed_handshake", id="a hello that is cut"),
        pytest.param(client_hello(NAME, record_version=0x0201), "malformed_record", id="another version"),
        pytest.param(client_hello(None, extensions=hello.extension(0, b"\0")), "malformed_extension", id="an extension"),
        pytest.param(client_hello("no name"), "name_invalid", id="a name"),
    ]


@pytest.mark.parametrize(("stream", "reason"), malformed_hellos())
def test_a_hello_that_is_wrong_is_refused_whatever_pools_there_are(
    start_listener: Callable, start_backend: Callable, stream: bytes, reason: str
) -> None:
    proxy = start_listener(start_backend(Backend(echo)), not_tls="other", no_sni="other", silent=PATIENT)
    with proxy.connect() as client:
        send_until_refused(client, stream)
        expect_rst(client)
        line = proxy.outcome(client)
    assert (line["msg"], line["reason"]) == ("connection refused", reason)


# ---- a client that waits for the server


def greet(connection: socket.socket) -> None:
    """A server that speaks first, as those of mail and of MySQL do."""
    connection.sendall(BANNER)
    echo(connection)


def test_a_client_that_waits_is_greeted_and_then_talks(start_listener: Callable, start_backend: Callable) -> None:
    other = start_backend(Backend(greet))
    proxy = start_listener(other, silent=SILENT)
    with proxy.connect() as client:
        assert recv_exactly(client, len(BANNER)) == BANNER
        for word in (b"EHLO me\r\n", b"\x16\x03\x01", b"QUIT\r\n"):  # no byte is looked at any more
            expect_echo(client, word)
        client.shutdown(socket.SHUT_WR)
    expect_way(proxy, client, "silent", other)
    proxy.expect_served()


def test_a_client_that_says_nothing_for_longer_than_hello_timeout_stays_with_its_server(
    start_listener: Callable, start_backend: Callable
) -> None:
    """The hello that it never sent is not awaited any more."""
    other = start_backend(Backend(greet))
    proxy = start_listener(other, silent=PATIENT, hello_timeout=A_LITTLE_LATER)
    with proxy.connect() as waiting, proxy.connect() as stuck:
        stuck.sendall(b"\x16")
        assert recv_exactly(waiting, len(BANNER)) == BANNER
        expect_rst(stuck)  # which connected later
        assert proxy.outcome(stuck)["reason"] == "hello_timeout"
        expect_echo(waiting)


def test_one_byte_of_tls_is_not_silence(start_listener: Callable, start_backend: Callable) -> None:
    proxy = start_listener(start_backend(Backend(greet)), silent=PATIENT, hello_timeout=A_LITTLE_LATER)
    with proxy.connect() as client:
        client.sendall(b"\x16")
        expect_rst(client)
        line = proxy.outcome(client)
    assert (line["msg"], line["reason"]) == ("connection refused", "hello_timeout")


def test_a_client_that_ends_before_it_is_silent_for_long_enough_reaches_no_pool(
    start_listener: Callable, start_backend: Callable
) -> None:
    proxy = start_listener(start_backend(Backend(greet)), log_level="debug", silent=PATIENT)
    with proxy.connect() as client:
        client.shutdown(socket.SHUT_WR)
        line = proxy.outcome(client)
    assert (line["msg"], line["reason"]) == ("connection refused", "client_closed")


# ---- a hello without a name


def test_a_hello_without_a_name_reaches_the_pool_s_server(
    start_listener: Callable, start_backend: Callable, authority: Authority, tmp_path: Path
) -> None:
    other = start_backend(HttpsSite(authority, "other.example.com"))
    proxy = start_listener(other, no_sni="other")
    shown = run(
        "openssl", "s_client", "-connect", f"127.0.0.1:{proxy.ports[0]}", "-noservername", "-CAfile", authority.ca,
        "-verify_return_error", "-quiet", "-ign_eof", stdin=b"GET / HTTP/1.0\r\n\r\n",
    )  # fmt: skip
    assert other.text in shown
    line = proxy.wait_log(msg="connection closed")
    assert (line["route"], line["pool"], line["backend"], line["sni"]) == ("no_sni", "other", other.address, "")
    with pytest.raises(ClientFailedError):
        curl_with()("unknown.example.com", proxy.ports[0], authority.ca, tmp_path)
    assert proxy.wait_log(msg="connection refused")["reason"] == "no_route"


# ---- without these settings, and without their pool


@pytest.mark.parametrize(
    ("sent", "reason"),
    [(b"SSH-2.0-x\r\n", "not_tls"), (client_hello(None), "no_sni"), (b"", "hello_timeout")],
    ids=["not TLS", "no name", "silent"],
)
def test_each_way_is_off_unless_the_listener_has_its_pool(
    start_listener: Callable, start_backend: Callable, sent: bytes, reason: str
) -> None:
    others = {"not_tls": {"no_sni": "other"}, "no_sni": {"not_tls": "other"}, "hello_timeout": {"not_tls": "other"}}
    proxy = start_listener(start_backend(Backend(greet)), hello_timeout=SHORT, **others[reason])
    with proxy.connect() as client:
        client.sendall(sent)
        expect_rst(client)
        line = proxy.outcome(client)
    assert (line["msg"], line["reason"]) == ("connection refused", reason)


def test_a_listener_s_pool_cannot_be_removed(start_listener: Callable, start_backend: Callable) -> None:
    other = start_backend(Backend(echo))
    proxy = start_listener(other, not_tls="other")
    before = proxy.everything()
    with refused(grpc.StatusCode.FAILED_PRECONDITION, '"other"', proxy.listener_name(), "clients without TLS"):
        proxy.admin.RemovePool(name="other")
    assert proxy.everything() == before
    with proxy.connect() as client:
        expect_echo(client, b"SSH-2.0-x\r\n")


def test_a_pool_that_the_database_lacks_is_warned_of_and_its_clients_are_reset(
    start_listener: Callable, start_backend: Callable
) -> None:
    proxy = start_listener(start_backend(Backend(echo)))
    proxy.admin.RemovePool(name="other")
    assert proxy.stop() == 0
    text = proxy.config.read_text()
    proxy.config.write_text(text.replace("[[listeners]]\n", '[[listeners]]\nnot_tls = "other"\n'))
    proxy.start()
    (warning,) = [line for line in proxy.lines(level="WARN") if "other" in " ".join(line.values())]
    assert proxy.listener_name() in " ".join(warning.values())
    with proxy.connect() as client:
        client.sendall(b"SSH-2.0-x\r\n")
        expect_rst(client)
        line = proxy.outcome(client)
    assert (line["msg"], line["reason"], line["route"], line["pool"]) == ("dial failed", "no_backend", "not_tls", "other")
    proxy.expect_served()
