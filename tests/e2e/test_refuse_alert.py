# SPDX-License-Identifier: Apache-2.0
"""refuse = "alert": a client whose hello is good, but leads nowhere, is told so by TLS. RFC 6066 section 3, RFC 8446 section 6."""

import re
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

import hello
from certs import Authority
from harness import Client, Listener, Proxy, client_hello, expect_eof, expect_rst, recv_exactly, send_byte_by_byte, send_until_refused
from hello_site import KIB, NAME
from test_clients import ClientFailedError, Visit, chromium, curl_with, openssl_with, run

UNKNOWN = "unknown.example.com"

# One record of TLS 1.2: an alert, fatal, and why.
UNRECOGNIZED_NAME = bytes.fromhex("15 0303 0002 02 70")
MISSING_EXTENSION = bytes.fromhex("15 0303 0002 02 6d")


@pytest.fixture
def start_refusing(start_proxy: Callable) -> Callable[..., Proxy]:
    """start_refusing(how): a listener that refuses so; as by default if it is not given."""

    def start(how: str = "", **settings: object) -> Proxy:
        refuse = {"refuse": how} if how else {}
        return start_proxy(listeners=[Listener({NAME: "127.0.0.1:9"}, settings=refuse | settings)], workers=1)

    return start


@pytest.fixture
def proxy(start_refusing: Callable) -> Proxy:
    return start_refusing("alert")


def expect_alert(proxy: Proxy, client: Client, alert: bytes, reason: str) -> None:
    """The client gets this alert, and then an orderly end."""
    assert recv_exactly(client, len(alert)) == alert
    expect_eof(client)
    client.close()
    line = proxy.outcome(client)
    assert (line["msg"], line["reason"]) == ("connection refused", reason)


# ---- by hand


@pytest.mark.parametrize("send", [Client.sendall, send_byte_by_byte])
def test_a_name_without_a_route_gets_an_alert_and_an_orderly_end(proxy: Proxy, send: Callable) -> None:
    with proxy.connect() as client:
        send(client, client_hello(UNKNOWN))
        expect_alert(proxy, client, UNRECOGNIZED_NAME, "no_route")


def test_a_hello_without_a_name_gets_an_alert(proxy: Proxy) -> None:
    with proxy.connect() as client:
        client.sendall(client_hello(None))
        expect_alert(proxy, client, MISSING_EXTENSION, "no_sni")


@pytest.mark.parametrize("version", [0x0300, 0x0301, 0x0302, 0x0303])
def test_the_alert_is_the_same_for_every_version_of_tls(proxy: Proxy, version: int) -> None:
    with proxy.connect() as client:
        client.sendall(client_hello(UNKNOWN, version=version, record_version=version, tls13=False))
        expect_alert(proxy, client, UNRECOGNIZED_NAME, "no_route")


def test_a_client_that_goes_on_sending_gets_its_alert(proxy: Proxy) -> None:
    """Early data: a close at once would reset the connection, and the alert could be lost."""
    with proxy.connect() as client:
        send_until_refused(client, client_hello(UNKNOWN) + bytes(100 * KIB))
        expect_alert(proxy, client, UNRECOGNIZED_NAME, "no_route")


def test_a_client_may_end_before_it_reads_its_alert(proxy: Proxy) -> None:
    with proxy.connect() as client:
        client.sendall(client_hello(UNKNOWN))
        client.shutdown(socket.SHUT_WR)
        expect_alert(proxy, client, UNRECOGNIZED_NAME, "no_route")


def test_a_client_that_stays_is_not_waited_for_for_long(proxy: Proxy) -> None:
    with proxy.connect() as client:
        client.sendall(client_hello(UNKNOWN))
        assert recv_exactly(client, 7) == UNRECOGNIZED_NAME
        assert proxy.outcome(client)["reason"] == "no_route"  # though the client is still there


@pytest.mark.parametrize(
    ("stream", "reason"),
    [
        pytest.param(b"GET / HTTP/1.1\r\n\r\n", "not_tls", id="HTTP"),
        pytest.param(b"\x16\x03\x01\xff\xff\x02", "malformed_record", id="a record too large"),
        pytest.param(hello.record(hello.handshake(b"\3\3", 2)), "malformed_handshake", id="another message"),
        pytest.param(client_hello("no name"), "name_invalid", id="a name"),
    ],
)
def test_what_is_no_good_hello_gets_no_alert(proxy: Proxy, stream: bytes, reason: str) -> None:
    with proxy.connect() as client:
        send_until_refused(client, stream)
        expect_rst(client)
        assert proxy.outcome(client)["reason"] == reason


@pytest.mark.parametrize("how", ["", "reset"])
@pytest.mark.parametrize(("name", "reason"), [(UNKNOWN, "no_route"), (None, "no_sni")])
def test_otherwise_it_is_reset(start_refusing: Callable, how: str, name: str | None, reason: str) -> None:
    proxy = start_refusing(how)
    with proxy.connect() as client:
        client.sendall(client_hello(name))
        expect_rst(client)
        assert proxy.outcome(client)["reason"] == reason


def test_a_failed_dial_is_no_alert(proxy: Proxy) -> None:
    """The name is known, so nothing that an alert could say is true for longer than this moment."""
    with proxy.connect() as client:
        client.sendall(client_hello(NAME))
        expect_rst(client)
        assert proxy.outcome(client)["reason"] == "dial_refused"


# ---- what users see

CLIENTS = [
    pytest.param(curl_with(), "unrecognized name", id="curl"),
    pytest.param(openssl_with("-tls1_2"), "unrecognized name", id="openssl TLS 1.2"),
    pytest.param(openssl_with("-tls1_3"), "unrecognized name", id="openssl TLS 1.3"),
]


@pytest.mark.parametrize(("visit", "words"), CLIENTS)
def test_a_client_s_error_says_that_the_name_is_unknown(
    proxy: Proxy, authority: Authority, visit: Visit, words: str, tmp_path: Path
) -> None:
    with pytest.raises(ClientFailedError, match=words):
        visit(UNKNOWN, proxy.ports[0], authority.ca, tmp_path)
    assert proxy.wait_log(msg="connection refused")["reason"] == "no_route"


def test_gnutls_says_that_the_name_is_unknown(proxy: Proxy) -> None:
    with pytest.raises(ClientFailedError, match=r"Received alert \[112\]"):
        run("gnutls-cli", "--insecure", "--sni-hostname", UNKNOWN, "--port", proxy.ports[0], "127.0.0.1")


def chromium_errors(proxy: Proxy, authority: Authority, scratch: Path) -> set[str]:
    """The names of the errors that Chromium's network met; its error page cannot be dumped."""
    log = scratch / "net-log.json"
    chromium(UNKNOWN, proxy.ports[0], authority.ca, scratch, f"--log-net-log={log}")
    text = log.read_text()
    names = {number: name for name, number in re.findall(r'"(ERR_\w+)":(-\d+)', text)}
    return {names[number] for number in re.findall(r'"net_error":(-\d+)', text)}


def test_chromium_s_error_names_the_cause(start_refusing: Callable, authority: Authority, tmp_path: Path) -> None:
    """After a reset a browser tries again, and then says that the site may be down."""
    seen = {}
    for how in ("alert", "reset"):
        proxy = start_refusing(how)
        (tmp_path / how).mkdir()
        seen[how] = chromium_errors(proxy, authority, tmp_path / how) & {"ERR_SSL_UNRECOGNIZED_NAME_ALERT", "ERR_CONNECTION_RESET"}
        proxy.wait_log(msg="connection refused", reason="no_route", sni=UNKNOWN)
    assert seen == {"alert": {"ERR_SSL_UNRECOGNIZED_NAME_ALERT"}, "reset": {"ERR_CONNECTION_RESET"}}
