# SPDX-License-Identifier: Apache-2.0
"""starttls = "postgres": a real PostgreSQL server and its own client, psql, through the proxy; and by hand what psql does not
send. Source of the messages: PostgreSQL's documentation, "Frontend/Backend Protocol", section "Message Formats".
"""

import getpass
import glob
import os
import shutil
import signal
import socket
import ssl
import struct
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from admin import AdministeredProxy
from certs import Authority
from harness import (
    PATIENCE,
    Backend,
    Listener,
    expect_rst,
    recv_exactly,
    send_byte_by_byte,
    until,
)
from hello_site import SHORT
from pools import pool_table
from test_clients import ClientFailedError, openssl_with, run
from programs import Program
from tls_servers import OpensslServer

NAME = "db.example.com"

SSL_REQUEST = struct.pack("!II", 8, 80877103)
GSSENC_REQUEST = struct.pack("!II", 8, 80877104)
STARTUP_BODY = struct.pack("!I", 196608) + b"user\0postgres\0database\0postgres\0\0"
STARTUP = struct.pack("!I", 4 + len(STARTUP_BODY)) + STARTUP_BODY

# Neither psql nor its server waits for the other's end of TLS, so each may reset the other.
SERVED = ("completed", "client_reset", "backend_reset")

HAS_TLS = "select ssl from pg_stat_ssl where pid = pg_backend_pid()"
SLEEPS = "select count(*) from pg_stat_activity where query like '%pg_sleep(60)' and state = 'active'"


class PostgresServer(Program):
    """PostgreSQL with an empty database, TLS for NAME, and without passwords. Does not run as root, which it refuses."""

    _ACCOUNT = "postgres"  # of Debian's package

    def __init__(self, directory: Path, authority: Authority):
        super().__init__(directory)
        programs = sorted(glob.glob("/usr/lib/postgresql/*/bin"))
        assert programs, "postgres is not installed; on Debian: apt-get install postgresql"
        self._programs = Path(programs[-1])
        # Not below `directory`, because the directories of pytest are closed to other accounts.
        self._data = Path(tempfile.mkdtemp(prefix="mcp-", dir="/tmp"))
        shutil.chown(self._data, self._ACCOUNT)
        certificate = authority.issue(NAME)
        initdb = [self._programs / "initdb", "-D", self._data, "--auth=trust", "--no-sync", "--no-locale", "-E", "UTF8"]
        done = subprocess.run([*self._as_account(), *map(str, initdb)], capture_output=True, text=True, cwd="/", check=False)
        assert done.returncode == 0, f"initdb: {done.stderr}"
        for file, name, mode in ((certificate.certificate, "server.crt", 0o644), (certificate.key, "server.key", 0o600)):
            copy = shutil.copy(file, self._data / name)
            shutil.chown(copy, self._ACCOUNT)
            os.chmod(copy, mode)

    def command(self, _: Path) -> list[object]:
        settings = {
            "listen_addresses": "127.0.0.1", "port": self.port, "unix_socket_directories": "", "ssl": "on",
            "fsync": "off", "shared_buffers": "1MB", "max_connections": 30, "max_wal_senders": 0, "autovacuum": "off",
        }  # fmt: skip
        flags = [word for key, value in settings.items() for word in ("-c", f"{key}={value}")]
        return [*self._as_account(), self._programs / "postgres", "-D", self._data, *flags]

    def kill(self) -> None:
        """It ends its connections, and removes its shared memory, which SIGKILL would leave behind."""
        self._running().send_signal(signal.SIGQUIT)
        self._end()

    def __exit__(self, *arguments: object) -> None:
        super().__exit__(*arguments)
        shutil.rmtree(self._data)

    def _as_account(self) -> list[str]:
        if getpass.getuser() != "root":
            return ["env"]
        return ["setpriv", f"--reuid={self._ACCOUNT}", f"--regid={self._ACCOUNT}", "--clear-groups"]


@pytest.fixture(scope="module")
def postgres(tmp_path_factory: pytest.TempPathFactory, authority: Authority) -> Iterator[PostgresServer]:
    with PostgresServer(tmp_path_factory.mktemp("postgres"), authority) as server:
        yield server


def psql_command(port: int, query: str, host: str = NAME, **options: object) -> list[str]:
    words = {"host": host, "hostaddr": "127.0.0.1", "port": port, "user": "postgres", "dbname": "postgres"} | options
    return ["psql", "-X", "-At", "-c", query, " ".join(f"{key}={value}" for key, value in words.items())]


def psql(port: int, query: str, **options: object) -> str:
    """Returns the result of a query. Fails with psql's own message."""
    return run(*psql_command(port, query, **options), env=os.environ | {"LC_ALL": "C"}).strip()


@pytest.fixture
def start_listener(start_administered: Callable, postgres: PostgresServer) -> Callable[..., AdministeredProxy]:
    """start_listener(backends, **settings): a listener with starttls, whose one name leads to the pool "db"."""

    def start(backends: list | None = None, pool: dict[str, object] | None = None, **settings: object) -> AdministeredProxy:
        listener = Listener({NAME: "pool=db"}, settings={"starttls": "postgres"} | settings)
        table = pool_table(backends or [postgres], name="db", **(pool or {}))
        return start_administered(listeners=[listener], tables={"pools": [table]}, workers=1)

    return start


# ---- psql


@pytest.mark.parametrize("sslmode", ["prefer", "require", "verify-full"])
def test_a_query_over_tls_gets_its_result(
    start_listener: Callable, postgres: PostgresServer, authority: Authority, sslmode: str
) -> None:
    proxy = start_listener()
    query = "select ssl, current_setting('port') from pg_stat_ssl where pid = pg_backend_pid()"
    assert psql(proxy.ports[0], query, sslmode=sslmode, sslrootcert=authority.ca) == f"t|{postgres.port}"
    line = proxy.wait_log(msg="connection closed", reason=SERVED)
    assert (line["sni"], line["route"], line["backend"]) == (NAME, NAME, postgres.address)


def test_a_large_result_arrives_unchanged(start_listener: Callable) -> None:
    proxy = start_listener()
    count = 300_000
    query = f"select string_agg(n::text, ',') from generate_series(1, {count}) n"
    assert psql(proxy.ports[0], query, sslmode="require") == ",".join(map(str, range(1, count + 1)))


def test_the_certificate_of_another_name_is_not_trusted(start_listener: Callable, authority: Authority) -> None:
    """The proof that verify-full verifies."""
    proxy = start_listener()
    assert proxy.cli("routes", "add", "other.example.com", "pool=db").code == 0
    with pytest.raises(ClientFailedError, match="does not match"):
        psql(proxy.ports[0], HAS_TLS, host="other.example.com", sslmode="verify-full", sslrootcert=authority.ca)


def test_a_name_without_a_route_is_refused(start_listener: Callable) -> None:
    proxy = start_listener()
    with pytest.raises(ClientFailedError, match="SSL"):
        psql(proxy.ports[0], HAS_TLS, host="other.example.com", sslmode="require")
    line = proxy.wait_log(msg="connection refused")
    assert (line["reason"], line["sni"]) == ("no_route", "other.example.com")


def test_the_name_s_refusal_reaches_the_user_as_an_alert(start_listener: Callable) -> None:
    proxy = start_listener(refuse="alert")
    with pytest.raises(ClientFailedError, match="unrecognized name"):
        psql(proxy.ports[0], HAS_TLS, host="other.example.com", sslmode="require")


def test_a_client_that_knows_no_name_goes_to_the_pool_for_such_clients(start_listener: Callable, postgres: PostgresServer) -> None:
    """psql sends no name if its host is an address."""
    proxy = start_listener(no_sni="db")
    assert psql(proxy.ports[0], HAS_TLS, host="127.0.0.1", sslmode="require") == "t"
    line = proxy.wait_log(msg="connection closed", reason=SERVED)
    assert (line["route"], line["pool"], line["backend"]) == ("no_sni", "db", postgres.address)


def test_a_query_without_tls_goes_to_the_pool_for_such_clients(start_listener: Callable, postgres: PostgresServer) -> None:
    proxy = start_listener(not_tls="db")
    assert psql(proxy.ports[0], HAS_TLS, sslmode="disable") == "f"
    line = proxy.wait_log(msg="connection closed", reason=SERVED)
    assert (line["route"], line["pool"], line["backend"]) == ("not_tls", "db", postgres.address)


def test_a_query_without_tls_is_refused_where_there_is_no_such_pool(start_listener: Callable) -> None:
    proxy = start_listener()
    with pytest.raises(ClientFailedError, match=r"reset|closed"):
        psql(proxy.ports[0], HAS_TLS, sslmode="disable")
    assert proxy.wait_log(msg="connection refused")["reason"] == "not_tls"


# ---- cancelling


@pytest.fixture
def interrupt_sleep(postgres: PostgresServer, enter: Callable) -> Callable[[int], subprocess.Popen[str]]:
    """interrupt_sleep(port): a psql that sleeps in the server, and is interrupted as by Ctrl-C. psql then asks the server, on
    a connection of its own, to cancel the query: before version 17 always without TLS."""

    def start(port: int) -> subprocess.Popen[str]:
        psql_process = enter(
            subprocess.Popen(
                psql_command(port, "select pg_sleep(60)", sslmode="require"),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
                env=os.environ | {"LC_ALL": "C"},
            )
        )
        until(lambda: psql(postgres.port, SLEEPS, sslmode="disable") == "1", "the query runs")
        psql_process.send_signal(signal.SIGINT)
        return psql_process

    return start


def test_a_query_can_be_cancelled_through_the_pool_for_clients_without_tls(
    start_listener: Callable, interrupt_sleep: Callable
) -> None:
    proxy = start_listener(not_tls="db")
    interrupted = interrupt_sleep(proxy.ports[0])
    _, errors = interrupted.communicate(timeout=PATIENCE)
    assert "canceling statement due to user request" in errors
    cancel = proxy.wait_log(msg="connection closed", route="not_tls")
    assert (cancel["reason"], cancel["bytes_up"]) == ("completed", "16")


def test_without_that_pool_a_cancel_is_refused_and_the_query_goes_on(
    start_listener: Callable, interrupt_sleep: Callable, postgres: PostgresServer
) -> None:
    proxy = start_listener()
    interrupted = interrupt_sleep(proxy.ports[0])
    try:
        assert proxy.wait_log(msg="connection refused")["reason"] == "not_tls"
        assert psql(postgres.port, SLEEPS, sslmode="disable") == "1"
    finally:
        end = "select pg_terminate_backend(pid) from pg_stat_activity where query like '%pg_sleep(60)' and pid <> pg_backend_pid()"
        psql(postgres.port, end, sslmode="disable")
        interrupted.communicate(timeout=PATIENCE)


# ---- by hand


def expect_login(client: socket.socket, authority: Authority) -> None:
    """After the reply "S": TLS, and a login without a password."""
    context = ssl.create_default_context(cafile=authority.ca)
    with context.wrap_socket(client, server_hostname=NAME) as tls:
        tls.sendall(STARTUP)
        assert recv_exactly(tls, 9) == struct.pack("!cII", b"R", 8, 0), "AuthenticationOk"


def test_a_request_that_arrives_byte_by_byte_is_answered(start_listener: Callable, authority: Authority) -> None:
    proxy = start_listener()
    with proxy.connect() as client:
        send_byte_by_byte(client, SSL_REQUEST)
        assert recv_exactly(client, 1) == b"S"
        expect_login(client, authority)


def test_a_request_for_gss_is_declined_and_the_next_for_tls_is_answered(start_listener: Callable, authority: Authority) -> None:
    """gssencmode=prefer with a ticket of Kerberos."""
    proxy = start_listener()
    with proxy.connect() as client:
        client.sendall(GSSENC_REQUEST)
        assert recv_exactly(client, 1) == b"N"
        client.sendall(SSL_REQUEST)
        assert recv_exactly(client, 1) == b"S"
        expect_login(client, authority)


def test_after_gss_is_declined_a_client_may_go_on_without_tls(start_listener: Callable) -> None:
    proxy = start_listener(not_tls="db")
    with proxy.connect() as client:
        client.sendall(GSSENC_REQUEST)
        assert recv_exactly(client, 1) == b"N"
        client.sendall(STARTUP)
        assert recv_exactly(client, 1) == b"R"
        client.shutdown(socket.SHUT_WR)
    assert proxy.outcome(client)["route"] == "not_tls"


def test_a_second_request_for_gss_is_refused(start_listener: Callable) -> None:
    proxy = start_listener()
    with proxy.connect() as client:
        client.sendall(GSSENC_REQUEST)
        assert recv_exactly(client, 1) == b"N"
        client.sendall(GSSENC_REQUEST)
        expect_rst(client)
        assert proxy.outcome(client)["reason"] == "starttls"


@pytest.mark.parametrize("request_bytes", [SSL_REQUEST, GSSENC_REQUEST], ids=["ssl", "gss"])
@pytest.mark.parametrize("more", [b"\x16", STARTUP], ids=["a byte", "a message"])
def test_bytes_behind_a_request_are_refused(start_listener: Callable, request_bytes: bytes, more: bytes) -> None:
    """CVE-2021-23214: somebody on the way has put them there, to be taken for bytes of the client."""
    proxy = start_listener(not_tls="db")
    with proxy.connect() as client:
        client.sendall(request_bytes + more)
        expect_rst(client)
        line = proxy.outcome(client)
    assert (line["msg"], line["reason"]) == ("connection refused", "starttls")


def test_a_client_that_asked_for_tls_does_not_go_on_without(start_listener: Callable) -> None:
    proxy = start_listener(not_tls="db")
    with proxy.connect() as client:
        client.sendall(SSL_REQUEST)
        assert recv_exactly(client, 1) == b"S"
        client.sendall(STARTUP)
        expect_rst(client)
        line = proxy.outcome(client)
    assert (line["msg"], line["reason"]) == ("connection refused", "not_tls")


@pytest.mark.parametrize("sent", [b"", SSL_REQUEST[:7], SSL_REQUEST, GSSENC_REQUEST], ids=["nothing", "7 bytes", "ssl", "gss"])
def test_a_client_that_does_not_go_on_is_refused_in_time(start_listener: Callable, sent: bytes) -> None:
    proxy = start_listener(hello_timeout=SHORT, not_tls="db")
    with proxy.connect() as client:
        client.sendall(sent)
        if len(sent) == 8:
            assert recv_exactly(client, 1) in b"SN"
        expect_rst(client)
        assert proxy.outcome(client)["reason"] == "hello_timeout"


@pytest.mark.parametrize("sent", [SSL_REQUEST[:7], GSSENC_REQUEST], ids=["7 bytes", "gss"])
def test_a_client_that_leaves_is_no_fault(start_listener: Callable, sent: bytes) -> None:
    proxy = start_listener(not_tls="db")
    with proxy.connect() as client:
        client.sendall(sent)
        if len(sent) == 8:
            assert recv_exactly(client, 1) == b"N"
        client.shutdown(socket.SHUT_WR)
        assert proxy.outcome(client)["reason"] == "client_closed"


# ---- TLS at once


def test_tls_without_a_request_passes_as_it_is(
    start_listener: Callable, start_backend: Callable, authority: Authority, tmp_path: Path
) -> None:
    """sslnegotiation=direct of PostgreSQL 17: the backend gets no request either, which this server would not understand."""
    server = start_backend(OpensslServer(tmp_path, authority.issue(NAME), "-alpn", "postgresql"))
    proxy = start_listener([server])
    visit = openssl_with("-alpn", "postgresql")
    assert "HTTP/1.0 200" in visit(NAME, proxy.ports[0], authority.ca, tmp_path)
    line = proxy.wait_log(msg="connection closed")
    assert (line["sni"], line["backend"]) == (NAME, server.address)


# ---- the backend's reply


class Declining(Backend):
    """A server of PostgreSQL's protocol that has no TLS."""

    def __init__(self) -> None:
        self.asked = 0
        super().__init__(self._decline)

    def _decline(self, connection: socket.socket) -> None:
        assert recv_exactly(connection, 8) == SSL_REQUEST
        self.asked += 1
        connection.sendall(b"N")
        expect_eof_or_reset(connection)


def expect_eof_or_reset(connection: socket.socket) -> None:
    try:
        assert connection.recv(1) == b"", "the client's hello came, though TLS was declined"
    except ConnectionResetError:
        pass


def test_a_backend_that_declines_tls_is_left_for_another_one(
    start_listener: Callable, start_backend: Callable, postgres: PostgresServer
) -> None:
    declining = start_backend(Declining())
    proxy = start_listener([declining, postgres], pool={"balance": "round_robin"})
    for _ in range(2):
        assert psql(proxy.ports[0], HAS_TLS, sslmode="require") == "t"
    assert declining.asked >= 1
    proxy.wait_log(msg="connection closed", reason=SERVED, tries="2", backend=postgres.address)


def test_where_every_backend_declines_tls_the_client_is_reset_and_the_log_says_why(
    start_listener: Callable, start_backend: Callable, authority: Authority
) -> None:
    declining = start_backend(Declining())
    proxy = start_listener([declining])
    with pytest.raises(ClientFailedError, match="SSL"):
        psql(proxy.ports[0], HAS_TLS, sslmode="require")
    line = proxy.wait_log(msg="dial failed")
    assert (line["reason"], line["backend"]) == ("dial_failed", declining.address)
    assert "declined TLS" in line["error"]


@pytest.mark.parametrize("how", ["end", "silence"])
def test_a_backend_that_does_not_reply_is_left_for_another_one(
    start_listener: Callable, start_backend: Callable, postgres: PostgresServer, how: str
) -> None:
    def serve(connection: socket.socket) -> None:
        recv_exactly(connection, 8)
        if how == "silence":
            expect_eof_or_reset(connection)

    broken = start_backend(Backend(serve))
    proxy = start_listener([broken, postgres], pool={"balance": "round_robin", "dial_budget": "2s"})
    for _ in range(2):
        assert psql(proxy.ports[0], HAS_TLS, sslmode="require") == "t"
    proxy.wait_log(msg="connection closed", reason=SERVED, tries="2", backend=postgres.address)
