# SPDX-License-Identifier: Apache-2.0
"""[[redirects]]: a listener for plain HTTP that sends browsers to HTTPS, and certificate authorities to who answers them."""

import contextlib
import json
import re
import socket
import urllib.parse
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from typing import Any

import grpc
import pytest

from admin import AdministeredProxy, refused
from harness import (
    Backend,
    Client,
    Listener,
    expect_rst,
    recv_exactly,
    recv_to_eof,
    send_byte_by_byte,
    send_until_refused,
)
from hello_site import KIB, SHORT
from pools import pool_table
from test_clients import run
from test_metrics import MeteredProxy

NAME = "app.example.com"
TOKEN = "/.well-known/acme-challenge/LoqXcYV8q5ONbJQxbmR7SCTNo3tiAXDfowyjxAjEuX0"

HTTPS, HTTP = 0, 1  # the listeners, by place


class ChallengeServer(Backend):
    """Replies to every request with what it has received of it, and closes."""

    def __init__(self) -> None:
        super().__init__(self._serve_http)

    def _serve_http(self, connection: socket.socket) -> None:
        _Request(connection, ("", 0), None)  # type: ignore[arg-type] - the base class only stores it


class _Request(BaseHTTPRequestHandler):
    def do_GET(self) -> None:  # noqa: N802 - the base class names it
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        told = {"line": self.requestline, "host": self.headers["Host"], "body": body.decode()}
        text = json.dumps(told).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    do_POST = do_GET  # noqa: N815

    def log_message(self, *_: object) -> None:
        pass


@dataclass
class Answer:
    """What curl got."""

    status: int
    location: str
    body: str


@dataclass
class Site:
    """A proxy whose listener HTTP redirects to what the listener HTTPS has routes for."""

    proxy: AdministeredProxy

    def curl(self, url: str, *flags: str) -> Answer:
        """Fetches from the listener HTTP, whatever host the URL names."""
        told = run(
            "curl", "-sS", "--connect-to", f"::127.0.0.1:{self.proxy.ports[HTTP]}", "--noproxy", "*", "--globoff", "--path-as-is",
            "--write-out", r"\n%{http_code} %header{location}", *flags, url,
        )  # fmt: skip
        body, _, last = told.rpartition("\n")
        status, _, location = last.partition(" ")
        return Answer(int(status), location, body)

    def connect(self, **options: Any) -> Client:
        return self.proxy.connect(listener=HTTP, **options)

    def exchange(self, stream: bytes, send: Callable = Client.sendall) -> tuple[bytes, dict[str, str]]:
        """All that the client gets until an orderly end, and the line of the log."""
        with self.connect() as client:
            send(client, stream)
            reply = recv_to_eof(client)
        return reply, self.proxy.outcome(client)


@pytest.fixture
def start_site(start_administered: Callable, backend: Backend) -> Callable[..., Site]:
    """start_site(**settings): the settings of the listener HTTP. `start` starts the proxy."""

    def start(start: Callable = start_administered, pools: list | None = None, firewall: dict | None = None, **settings: object) -> Site:
        listeners = [
            Listener({NAME: backend, "*.wild.example.com": backend}),
            Listener(settings=settings, redirects=True),
        ]
        tables = {"pools": pools} if pools else {}
        return Site(start(listeners=listeners, tables=tables, firewall=firewall, workers=1))

    return start


@pytest.fixture
def site(start_site: Callable) -> Site:
    return start_site()


def request(path: str = "/", host: str = NAME, method: str = "GET", more: str = "") -> bytes:
    return f"{method} {path} HTTP/1.1\r\nHost: {host}\r\n{more}\r\n".encode()


# ---- where to


@pytest.mark.parametrize(
    ("url", "location"),
    [
        (f"http://{NAME}", f"https://{NAME}/"),
        (f"http://{NAME}/", f"https://{NAME}/"),
        (f"http://{NAME.upper()}/", f"https://{NAME}/"),
        (f"http://{NAME}:8080/", f"https://{NAME}/"),
        (f"http://{NAME}/a/b%20c?d=e&f=%2F#g", f"https://{NAME}/a/b%20c?d=e&f=%2F"),
        (f"http://{NAME}/../..//x", f"https://{NAME}/../..//x"),
        (f"http://{NAME}/[|]", f"https://{NAME}/%5B%7C%5D"),
        ("http://any.wild.example.com/x", "https://any.wild.example.com/x"),
        (f"http://{NAME}/.well-known/security.txt", f"https://{NAME}/.well-known/security.txt"),
    ],
)
def test_a_name_with_a_route_is_sent_to_https_with_path_and_query(site: Site, url: str, location: str) -> None:
    got = site.curl(url)
    assert (got.status, got.location, got.body) == (308, location, "")
    line = site.proxy.wait_log(msg="connection closed")
    assert (line["reason"], line["route"]) == ("redirected", "redirect")
    assert (line["sni"], line["backend"]) == (urllib.parse.urlparse(url).hostname, "")


@pytest.mark.parametrize("host", ["other.example.com", "wild.example.com", "a.b.example.com", "127.0.0.1", "[::1]"])
def test_another_name_is_not_found(site: Site, host: str) -> None:
    got = site.curl(f"http://{host}/x")
    assert (got.status, got.location) == (404, "")
    line = site.proxy.wait_log(msg="connection refused")
    assert line["reason"] == "no_route"


def test_the_port_of_https_is_named_if_it_is_another(start_site: Callable) -> None:
    assert start_site(port=8443).curl(f"http://{NAME}/x").location == f"https://{NAME}:8443/x"


def test_a_route_that_is_added_or_removed_counts_at_once(site: Site) -> None:
    proxy = site.proxy
    for words, status in ((("add", "new.example.com", "127.0.0.1:9"), 308), (("remove", "new.example.com"), 404)):
        assert proxy.cli("routes", words[0], *words[1:], "--listener", proxy.listener_name(HTTPS)).code == 0
        assert site.curl("http://new.example.com/").status == status


def test_only_the_routes_of_the_listeners_that_it_names_count(start_administered: Callable, backend: Backend) -> None:
    one, two = Listener({"one.example.com": backend}), Listener({"two.example.com": backend})
    proxy = start_administered(listeners=[one, two, Listener(redirects=True)], workers=1)
    for name in ("one.example.com", "two.example.com"):
        with proxy.connect(listener=2) as client:
            client.sendall(request(host=name))
            assert recv_to_eof(client).startswith(b"HTTP/1.1 308 ")
    assert proxy.stop() == 0
    text = proxy.config.read_text()
    proxy.config.write_text(text.replace("[[redirects]]\n", f'[[redirects]]\nlisteners = ["{proxy.listener_name(1)}"]\n'))
    proxy.start()
    for name, status in (("one.example.com", b"404"), ("two.example.com", b"308")):
        with proxy.connect(listener=2) as client:
            client.sendall(request(host=name))
            assert recv_to_eof(client).split()[1] == status


# ---- requests


@pytest.mark.parametrize("flags", [["--head"], ["-X", "OPTIONS"], ["-X", "DELETE"], ["-d", "x=y"], ["--http1.0"]], ids=" ".join)
def test_every_method_is_redirected(site: Site, flags: list[str]) -> None:
    got = site.curl(f"http://{NAME}/x", *flags)
    assert (got.status, got.location) == (308, f"https://{NAME}/x")


def test_a_post_with_a_body_is_redirected_and_the_reply_not_lost(site: Site) -> None:
    """The body is not awaited; a close with bytes that nobody has read would reset the connection."""
    got = site.curl(f"http://{NAME}/upload", "--data-binary", "x" * (40 * KIB), "-H", "Expect:")
    assert (got.status, got.location) == (308, f"https://{NAME}/upload")


def test_a_client_that_would_keep_the_connection_gets_one_reply_and_the_end(site: Site) -> None:
    reply, line = site.exchange(request("/1", more="Connection: keep-alive\r\n") + request("/2"))
    assert reply.count(b"HTTP/1.1 ") == 1
    assert re.search(rb"(?mi)^connection: close\r$", reply)
    assert line["reason"] == "redirected"
    urls = [f"http://{NAME}/{i}" for i in range(3)]
    got = site.curl(urls[0], *urls[1:])  # curl connects anew for each
    assert got.status == 308
    assert len(site.proxy.lines_until_now(reason="redirected")) == 4


def test_a_request_may_arrive_byte_by_byte(site: Site) -> None:
    reply, _ = site.exchange(request("/x"), send_byte_by_byte)
    assert f"Location: https://{NAME}/x\r\n".lower().encode() in reply.lower()


@pytest.mark.parametrize(
    ("stream", "status"),
    [
        pytest.param(b"\x16\x03\x01\x00\x05hello\r\n\r\n", 400, id="TLS"),
        pytest.param(b"nonsense\r\n\r\n", 400, id="no request line"),
        pytest.param(request(host="a b"), 400, id="no host"),
        pytest.param(b"GET / HTTP/1.1\r\n\r\n", 400, id="host missing"),
        pytest.param(request(more=f"Host: {NAME}\r\n"), 400, id="two hosts"),
        pytest.param(request(host=f"user@{NAME}"), 400, id="user information"),
        pytest.param(b"GET / HTTP/2.0\r\nHost: x\r\n\r\n", 505, id="another version"),
        pytest.param(request("/" + "a" * (9 * KIB)), 414, id="a line of 9 KiB"),
        pytest.param(request(more="X: y\r\n" * 1500), 431, id="fields of 9 KiB"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: x\r\nX: \r\n y\r\n\r\n", 400, id="a folded field"),
    ],
)
def test_what_is_no_good_request_is_told_so(site: Site, stream: bytes, status: int) -> None:
    reply, line = site.exchange(stream)
    assert int(reply.split()[1]) == status
    assert b"location" not in reply.lower()
    assert (line["msg"], line["reason"]) == ("connection refused", "bad_request")


def test_nothing_of_the_request_gets_into_the_reply_s_head(site: Site) -> None:
    reply, _ = site.exchange(request("/%0d%0aX:%20y"))
    assert f"Location: https://{NAME}/%0d%0aX:%20y\r\n".lower().encode() in reply.lower()
    assert not re.search(rb"(?m)^X:", reply)


@pytest.mark.parametrize("sent", [b"", b"GET / HTT"])
def test_a_request_that_does_not_come_is_refused_in_time(start_site: Callable, sent: bytes) -> None:
    site = start_site(hello_timeout=SHORT)
    with site.connect() as client:
        client.sendall(sent)
        expect_rst(client)
        assert site.proxy.outcome(client)["reason"] == "hello_timeout"


def test_a_client_that_leaves_is_no_fault(site: Site) -> None:
    with site.connect() as client:
        client.sendall(b"GET / HTT")
        client.shutdown(socket.SHUT_WR)
        assert site.proxy.outcome(client)["reason"] == "client_closed"


# ---- challenges


@pytest.fixture
def challenged(start_site: Callable, start_backend: Callable) -> tuple[Site, ChallengeServer]:
    server = start_backend(ChallengeServer())
    return start_site(pools=[pool_table([server], name="acme")], challenge_pool="acme"), server


@pytest.mark.parametrize("name", [NAME, "not.yet.example.org"])
def test_a_challenge_goes_to_its_pool_for_any_name(challenged: tuple[Site, ChallengeServer], name: str) -> None:
    site, server = challenged
    got = site.curl(f"http://{name}{TOKEN}?x=y")
    assert got.status == 200
    assert json.loads(got.body) == {"line": f"GET {TOKEN}?x=y HTTP/1.1", "host": name, "body": ""}
    line = site.proxy.wait_log(msg="connection closed")
    assert (line["reason"], line["route"], line["pool"], line["backend"]) == ("completed", "challenge", "acme", server.address)
    assert line["sni"] == name
    assert site.curl(f"http://{NAME}/.well-known/").status == 308


def test_a_challenge_arrives_whole_with_its_body(challenged: tuple[Site, ChallengeServer]) -> None:
    site, _ = challenged
    body = "x" * (100 * KIB)
    got = site.curl(f"http://{NAME}{TOKEN}", "--data-binary", body, "-H", "Expect:")
    assert json.loads(got.body)["body"] == body


def test_a_challenge_that_arrives_byte_by_byte_is_passed_on(challenged: tuple[Site, ChallengeServer]) -> None:
    site, _ = challenged
    reply, line = site.exchange(request(TOKEN, more="Connection: close\r\n"), send_byte_by_byte)
    assert json.loads(reply.partition(b"\r\n\r\n")[2])["line"] == f"GET {TOKEN} HTTP/1.1"
    assert line["reason"] == "completed"


def test_without_a_pool_for_it_a_challenge_is_redirected_as_everything_else(site: Site) -> None:
    answer = site.curl(f"http://{NAME}{TOKEN}")
    assert (answer.status, answer.location) == (308, f"https://{NAME}{TOKEN}")


def test_the_pool_of_challenges_cannot_be_removed(challenged: tuple[Site, ChallengeServer]) -> None:
    site, _ = challenged
    with refused(grpc.StatusCode.FAILED_PRECONDITION, '"acme"', site.proxy.listener_name(HTTP)):
        site.proxy.admin.RemovePool(name="acme")
    assert site.curl(f"http://{NAME}{TOKEN}").status == 200


# ---- as every listener


def test_the_firewall_holds(start_site: Callable) -> None:
    site = start_site(firewall={"blocked_ips": ["127.0.0.2"]})
    site.proxy.expect_blocked("blocked_ip", source="127.0.0.2", listener=HTTP)
    assert site.curl(f"http://{NAME}/").status == 308


def test_the_client_behind_a_proxy_is_the_one_in_its_header(start_site: Callable) -> None:
    site = start_site(proxy_protocol={"from": ["127.0.0.1"]}, firewall={"blocked_ips": ["192.0.2.66"]})
    assert site.curl(f"http://{NAME}/x", "--haproxy-protocol").location == f"https://{NAME}/x"
    with site.connect() as client:
        send_until_refused(client, b"PROXY TCP4 192.0.2.1 192.0.2.2 1234 80\r\n" + request("/y"))
        assert recv_exactly(client, 12) == b"HTTP/1.1 308"
    assert site.proxy.wait_log(client="192.0.2.1:1234")["reason"] == "redirected"
    with site.connect() as client:
        send_until_refused(client, b"PROXY TCP4 192.0.2.66 192.0.2.2 1234 80\r\n" + request("/y"))
        expect_rst(client)
    assert site.proxy.wait_log(client="192.0.2.66:1234")["reason"] == "blocked_ip"
    with site.connect() as client:
        client.sendall(request())
        expect_rst(client)
        assert site.proxy.outcome(client)["reason"] == "proxy_header"


def test_its_connections_may_be_limited(start_site: Callable) -> None:
    site = start_site(max_connections=1)
    with site.connect() as first:
        site.proxy.expect_blocked("connection_limit", listener=HTTP)
        site.proxy.expect_served()
        first.sendall(request())
        assert recv_exactly(first, 12) == b"HTTP/1.1 308"


def test_metrics_count_its_connections_by_reason(start_site: Callable, start_administered: Callable, enter: Callable) -> None:
    made: list[MeteredProxy] = []

    def start(**options: Any) -> AdministeredProxy:
        made.append(MeteredProxy(start_administered, **options))
        enter(made[0].reserved)
        return made[0].proxy

    site = start_site(start)
    for stream in (request(), request(), request(host="other.example.com"), b"nonsense\r\n\r\n"):
        site.exchange(stream)
    listener = site.proxy.listener_name(HTTP)
    for reason, count in (("redirected", 2), ("no_route", 1), ("bad_request", 1)):
        labels = {"listener": listener, "reason": reason}
        made[0].until(lambda s, labels=labels, count=count: s.get("mc_proxy_connections_ended_total", **labels) == count, reason)


def test_it_takes_no_routes(site: Site) -> None:
    before = site.proxy.everything()
    done = site.proxy.cli("routes", "add", "new.example.com", "127.0.0.1:9", "--listener", site.proxy.listener_name(HTTP))
    assert done.code != 0
    assert "redirect" in done.err
    assert site.proxy.everything() == before


def test_a_successor_goes_on_with_it(site: Site, enter: Callable) -> None:
    with contextlib.ExitStack() as stack:
        heir = stack.enter_context(site.proxy.successor())
        assert site.proxy.wait_end() == 0
        site.proxy.wait_log(msg="stopped")
        assert site.curl(f"http://{NAME}/x").location == f"https://{NAME}/x"
        assert heir.wait_log(msg="connection closed")["reason"] == "redirected"
