# SPDX-License-Identifier: Apache-2.0
"""The admin API's two ways in: TCP with mutual TLS and certificates that are renewed in place, and the Unix socket."""

import contextlib
import os
import re
import shutil
import socket
import ssl
import stat
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import pytest

from admin import IP, SERVICE, Admin, AdministeredProxy, ClientTls, ServerTls, refused, route, rule
from certs import Authority, Certificate
from harness import PATIENCE, Listener, Proxy, binary, until

StatusCode = grpc.StatusCode

ALICE = "/O=Example Ltd/CN=alice"


@pytest.fixture(scope="session")
def other_authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("other"), "another test authority")


@pytest.fixture(scope="session")
def namesake(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Another CA of the same name: only the signature differs."""
    return Authority(tmp_path_factory.mktemp("namesake"))


@pytest.fixture(scope="session")
def alice(authority: Authority) -> Certificate:
    return authority.issue_client(ALICE)


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory, authority: Authority) -> Iterator[AdministeredProxy]:
    """For tests that only read."""
    directory = tmp_path_factory.mktemp("tls")
    tls = ServerTls(authority.issue("localhost"), authority.ca)
    with AdministeredProxy(directory, listeners=[Listener({})], tls=tls) as proxy:
        yield proxy


def client(proxy: AdministeredProxy, ca: Path, certificate: Certificate | None) -> Admin:
    return Admin(f"localhost:{proxy.admin_port}", ClientTls(ca, certificate))


# ---- who may


def test_a_client_with_a_certificate_is_served_and_written_down_by_its_subject(
    start_administered, authority, alice
) -> None:
    tls = ServerTls(authority.issue("localhost"), authority.ca)
    proxy = start_administered(routes={}, tls=tls)
    with client(proxy, authority.ca, alice) as admin:
        assert admin.health(SERVICE) == "SERVING"
        admin.AddRoute(listener_addr=proxy.listener_name(), route=route("app.example.com", "192.0.2.1:443"))
        revision, who, action, _ = proxy.last_audit()
        assert (revision, action) == (2, "add_route")
        assert "O=Example Ltd" in who
        assert "CN=alice" in who
        proxy.wait_log(msg="policy changed", by=who)
        # The other way in, at the same time.
        proxy.admin.AddFirewallRule(rule=rule(IP, "192.0.2.1"))
        assert proxy.last_audit()[1].startswith(f"uid={os.getuid()}")


@pytest.mark.parametrize(
    "who", ["without a certificate", "of another CA", "of a CA of the same name", "expired", "server"]
)
def test_a_client_without_a_good_certificate_is_refused(proxy, authority, other_authority, namesake, who: str) -> None:
    certificate = {
        "without a certificate": lambda: None,
        "of another CA": lambda: other_authority.issue_client(ALICE),
        "of a CA of the same name": lambda: namesake.issue_client(ALICE),
        "expired": lambda: authority.issue_client(ALICE, expired=True),
        "server": lambda: authority.issue("localhost"),
    }[who]()
    with client(proxy, authority.ca, certificate) as admin, refused(StatusCode.UNAVAILABLE):
        admin.GetStatus()
    assert proxy.admin.GetStatus().revision == 1


def test_a_client_that_believes_another_ca_refuses_the_server(proxy, other_authority, alice) -> None:
    with client(proxy, other_authority.ca, alice) as admin, refused(StatusCode.UNAVAILABLE):
        admin.GetStatus()


def test_plain_text_is_refused(proxy) -> None:
    with Admin(f"localhost:{proxy.admin_port}") as admin, refused(StatusCode.UNAVAILABLE):
        admin.GetStatus()


def handshake(proxy: AdministeredProxy, authority: Authority, shown: Certificate, version: str) -> str:
    """The output of openssl for a handshake in this version, at the security level that allows old ones."""
    command = [
        "openssl", "s_client", "-connect", f"127.0.0.1:{proxy.admin_port}", version, "-alpn", "h2",
        "-cipher", "DEFAULT@SECLEVEL=0",
        "-CAfile", str(authority.ca), "-cert", str(shown.certificate), "-key", str(shown.key),
    ]  # fmt: skip
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=PATIENCE)
    return (done.stdout + done.stderr).decode(errors="replace")


@pytest.mark.parametrize(
    ("version", "cipher"),
    [("-tls1_1", None), ("-tls1", None), ("-tls1_2", "Cipher is ECDHE"), ("-tls1_3", "Cipher is TLS_AES")],
)
def test_only_tls_1_2_and_1_3_are_spoken(proxy, authority, alice, version: str, cipher: str | None) -> None:
    told = handshake(proxy, authority, alice, version)
    assert (cipher or "Cipher is (NONE)") in told
    if cipher is None:
        assert "unexpected eof" in told or "alert protocol version" in told  # the server's doing, not openssl's own


# ---- renewal


class Renewed:
    """A server whose certificate files are the test's own to write over."""

    def __init__(
        self, proxy: AdministeredProxy, files: Certificate, ca: Path, authority: Authority, shown: Certificate
    ):
        self.proxy, self.files, self.ca, self._authority = proxy, files, ca, authority
        self._context = ssl.create_default_context(cafile=authority.ca)
        self._context.load_cert_chain(shown.certificate, shown.key)
        self._context.set_alpn_protocols(["h2"])

    def copy(self, made: Certificate) -> None:
        shutil.copyfile(made.certificate, self.files.certificate)
        shutil.copyfile(made.key, self.files.key)

    def served(self) -> str:
        """The certificate that a handshake shows now."""
        address = ("127.0.0.1", self.proxy.admin_port)
        with socket.create_connection(address, PATIENCE) as raw:
            with self._context.wrap_socket(raw, server_hostname="localhost") as tls:
                return ssl.DER_cert_to_PEM_cert(tls.getpeercert(binary_form=True) or b"")


def pem(made: Certificate) -> str:
    return made.certificate.read_text()


@pytest.fixture
def renewed(start_administered: Callable, authority: Authority, alice: Certificate, tmp_path: Path) -> Renewed:
    files = Certificate(tmp_path / "cert.pem", tmp_path / "key.pem")
    first = authority.issue("localhost")
    shutil.copyfile(first.certificate, files.certificate)
    shutil.copyfile(first.key, files.key)
    ca = Path(shutil.copyfile(authority.ca, tmp_path / "client-ca.pem"))
    proxy = start_administered(routes={}, tls=ServerTls(files, ca))
    return Renewed(proxy, files, ca, authority, alice)


def test_a_renewed_certificate_is_served_without_a_restart_and_open_clients_go_on(renewed, authority, alice) -> None:
    assert renewed.served() == pem(authority.issue("localhost"))
    with client(renewed.proxy, authority.ca, alice) as admin:
        assert admin.GetStatus().revision == 1
        second = authority.issue_another("localhost")
        renewed.copy(second)
        until(lambda: renewed.served() == pem(second), "the new certificate is served")
        line = renewed.proxy.wait_log(level="INFO", msg="certificate renewed")
        assert line["subject"] == "CN=localhost"
        assert admin.GetStatus().revision == 1
    third = authority.issue_another("localhost")
    renewed.copy(third)
    until(lambda: renewed.served() == pem(third), "the next certificate is served")


def test_a_renewal_whose_key_does_not_belong_to_it_keeps_the_old_one_until_it_does(renewed, authority) -> None:
    first, second = authority.issue("localhost"), authority.issue_another("localhost")
    shutil.copyfile(second.certificate, renewed.files.certificate)
    line = renewed.proxy.wait_log(level="ERROR", msg="certificate not renewed; the one in force stays")
    assert f'grpc.tls_key "{renewed.files.key}": the key does not belong to the certificate' in line["error"]
    assert renewed.served() == pem(first)
    shutil.copyfile(second.key, renewed.files.key)
    until(lambda: renewed.served() == pem(second), "the new certificate is served")
    assert len(renewed.proxy.lines(level="ERROR")) == 1


def test_clients_of_a_new_ca_are_served_and_those_of_the_old_one_refused_once_it_is_replaced(
    renewed, authority, other_authority, alice
) -> None:
    bob = other_authority.issue_client("/CN=bob")

    def is_served() -> bool:
        with client(renewed.proxy, authority.ca, bob) as admin:
            try:
                return admin.GetStatus().revision == 1
            except grpc.RpcError:
                return False

    assert not is_served()
    shutil.copyfile(other_authority.ca, renewed.ca)
    until(is_served, "a client of the new CA is served")
    with client(renewed.proxy, authority.ca, alice) as admin, refused(StatusCode.UNAVAILABLE):
        admin.GetStatus()


def test_a_certificate_near_its_end_is_warned_of(start_administered, authority, tmp_path: Path) -> None:
    expired = authority.issue_another("localhost", expired=True)
    proxy = start_administered(routes={}, tls=ServerTls(expired, authority.ca))
    line = proxy.wait_log(level="WARN", msg=re.compile("^the admin API's certificate has expired"))
    assert line["subject"] == "CN=localhost"
    assert proxy.admin.GetStatus().revision == 1  # the socket is open


# ---- what keeps a server from starting


def start_and_fail(proxy: Proxy) -> str:
    """Starts a server that cannot start; returns its errors."""
    done = subprocess.run([binary(), "server", "-c", proxy.config], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1, done.stderr
    return done.stderr


@pytest.fixture
def unstarted(tmp_path: Path, authority: Authority) -> Iterator[Callable[..., AdministeredProxy]]:
    """A configuration, written and not served."""
    with contextlib.ExitStack() as stack:

        def make(**options: object) -> AdministeredProxy:
            directory = tmp_path / f"unstarted-{len(list(tmp_path.iterdir()))}"
            directory.mkdir()
            tls = ServerTls(authority.issue("localhost"), authority.ca)
            made = AdministeredProxy(directory, listeners=[Listener({})], **({"tls": tls} | options))
            stack.callback(made.close)
            return made

        yield make


def test_a_port_in_use_is_named(unstarted) -> None:
    proxy = unstarted()
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", proxy.admin_port))
        other.listen()
        told = start_and_fail(proxy)
    assert f"127.0.0.1:{proxy.admin_port}" in told
    assert "address already in use" in told
    assert not proxy.admin_socket.exists()


def test_a_second_server_on_the_same_database_is_refused_with_the_pid_of_the_first(start_administered) -> None:
    proxy = start_administered(routes={})
    told = start_and_fail(proxy)
    assert f"in use by another mc-proxy server (pid {proxy.pid})" in told
    assert proxy.admin.GetStatus().revision == 1
    assert proxy.admin_socket.exists()


def test_a_second_server_on_the_same_socket_is_refused_with_the_pid_of_the_first(start_administered, unstarted) -> None:
    proxy = start_administered(routes={})
    second = unstarted()
    second.config.write_text(second.config.read_text().replace(str(second.admin_socket), str(proxy.admin_socket)))
    told = start_and_fail(second)
    assert str(proxy.admin_socket) in told
    assert f"another server uses it (pid {proxy.pid})" in told
    assert proxy.admin.GetStatus().revision == 1


@pytest.mark.parametrize("damage", ["key of another", "no certificate", "no CA"])
def test_certificate_files_that_do_not_fit_are_named(unstarted, authority, tmp_path: Path, damage: str) -> None:
    good, empty = authority.issue("localhost"), tmp_path / "empty.pem"
    empty.touch()
    tls, words = {
        "key of another": (
            ServerTls(Certificate(good.certificate, authority.issue_another("localhost").key), authority.ca),
            "the key does not belong to the certificate",
        ),
        "no certificate": (ServerTls(Certificate(empty, good.key), authority.ca), "it is empty"),
        "no CA": (ServerTls(good, good.key), "there is no certificate in it"),
    }[damage]
    assert words in start_and_fail(unstarted(tls=tls))


# ---- the socket


def test_the_socket_is_its_owners_alone_and_goes_with_the_server(start_administered) -> None:
    proxy = start_administered(routes={})
    mode = proxy.admin_socket.stat().st_mode
    assert stat.S_ISSOCK(mode)
    assert stat.S_IMODE(mode) == 0o600
    assert proxy.stop() == 0
    assert not proxy.admin_socket.exists()
    proxy.start()


def test_a_socket_that_a_killed_server_left_is_replaced(start_administered) -> None:
    proxy = start_administered(routes={})
    proxy.kill()
    assert proxy.admin_socket.exists()
    proxy.start()
    assert proxy.admin.GetStatus().revision == 1


def test_what_is_no_socket_is_not_removed(unstarted) -> None:
    proxy = unstarted()
    proxy.admin_socket.write_text("precious")
    assert "the file there is not a socket" in start_and_fail(proxy)
    assert proxy.admin_socket.read_text() == "precious"


# ---- the command line over TCP


def ask(proxy: AdministeredProxy, ca: Path, shown: Certificate, address: str = ""):
    where = address or f"localhost:{proxy.admin_port}"
    return proxy.cli("status", "--address", where, "--ca", ca, "--cert", shown.certificate, "--key", shown.key)


def test_the_command_line_asks_a_server_elsewhere(proxy, authority, alice) -> None:
    answer = ask(proxy, authority.ca, alice)
    assert (answer.code, answer.err) == (0, "")
    assert answer.out.startswith("mc-proxy v")


def test_the_command_line_says_why_it_cannot_ask(proxy, authority, other_authority, namesake, alice) -> None:
    where = f'server "localhost:{proxy.admin_port}": '
    expired = authority.issue_client(ALICE, expired=True)
    stranger = other_authority.issue_client("/CN=mallory")
    double = namesake.issue_client(ALICE)
    ours = "CN=mc-proxy test authority"
    for ca, shown, words in (
        (authority.ca, expired, (f'client certificate "{expired.certificate}": it expired on ', "issue a new one")),
        (authority.ca, stranger, (where, f'it refused the client certificate "{stranger.certificate}"', ours)),
        (authority.ca, double, (where, "it refused the client certificate", "the same name but another key")),
        (other_authority.ca, alice, (where, f"was issued by {ours}", f'not in "{other_authority.ca}"')),
    ):
        answer = ask(proxy, ca, shown)
        assert (answer.code, answer.out) == (3, "")
        for some in words:
            assert some in answer.err


def test_the_command_line_says_that_nobody_listens(proxy, authority, alice) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{closed.getsockname()[1]}"
        answer = ask(proxy, authority.ca, alice, address)
    assert answer.code == 3
    assert f'server "{address}": no server listens there' in answer.err


def test_the_command_line_says_that_the_name_is_another(proxy, authority, alice) -> None:
    answer = ask(proxy, authority.ca, alice, f"127.0.0.1:{proxy.admin_port}")
    assert answer.code == 3
    assert 'is not for "127.0.0.1" but for DNS:localhost' in answer.err


def test_a_server_without_a_socket_is_asked_over_tcp(tmp_path: Path, unstarted, authority, alice) -> None:
    proxy = unstarted()
    text = proxy.config.read_text()
    proxy.config.write_text("".join(line for line in text.splitlines(True) if not line.startswith("socket")))
    proxy.start()
    assert proxy.cli("status").code == 2
    assert "--ca" in proxy.cli("status").err
    # The certificate is for localhost, the address of the configuration is not.
    answer = proxy.cli("status", "--ca", authority.ca, "--cert", alice.certificate, "--key", alice.key)
    assert (answer.code, "is not for" in answer.err) == (3, True)
    assert ask(proxy, authority.ca, alice).code == 0
