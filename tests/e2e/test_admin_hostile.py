# SPDX-License-Identifier: Apache-2.0
"""Requests that no well-meaning client sends: each gets a precise error, changes nothing and does no harm."""

import contextlib
import socket
from collections.abc import Callable, Iterator

import grpc
import pytest
from google.protobuf.message import Message

from admin import (
    CIDR,
    COUNTRY,
    IP,
    SERVICE,
    Admin,
    AdministeredProxy,
    ClientTls,
    ServerTls,
    add,
    api,
    block,
    put,
    refused,
    remove,
    route,
    rule,
    unblock,
)
from certs import Authority
from harness import PATIENCE, Backend, Listener, client_hello, echo, until

StatusCode = grpc.StatusCode
INVALID = StatusCode.INVALID_ARGUMENT


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory, authority: Authority) -> Iterator[AdministeredProxy]:
    """One server for all tests of this file: none of them may leave a trace."""
    tls = ServerTls(authority.issue("localhost"), authority.ca)
    firewall = {"blocked_ips": ["203.0.113.50"]}
    with (
        Backend(echo) as backend,
        AdministeredProxy(
            tmp_path_factory.mktemp("hostile"),
            listeners=[Listener({"app.example.com": backend}), Listener({}, host="")],
            firewall=firewall,
            tls=tls,
        ) as proxy,
    ):
        yield proxy


@pytest.fixture(autouse=True)
def unchanged(proxy: AdministeredProxy) -> Iterator[None]:
    """After any request of a test the server is as before, and well."""
    before = proxy.everything()
    yield
    assert proxy.everything() == before
    assert proxy.admin.health(SERVICE) == "SERVING"
    proxy.expect_served()


# ---- requests that are read and refused

Make = Callable[[str], Message]  # the request, from the name of the listener

GOOD_BACKEND = "192.0.2.1:443"


def expect_invalid(proxy: AdministeredProxy, request: Message, field: str, words: str) -> None:
    """The request is refused for this one field, with these words."""
    with refused(INVALID) as refusal:
        proxy.admin.call(request.DESCRIPTOR.name.removesuffix("Request"), request)
    assert list(refusal.fields) == [field]
    assert words in refusal.fields[field]
    assert refusal.message == f"{field}: {refusal.fields[field]}"


WRONG_HOSTNAMES = {
    "": '"": not a host name: it is empty',
    "app example com": '"app example com": not a host name',
    "a\nb.example.com": r'"a\nb.example.com": not a host name',
    "a.example.com\0.example.net": r'"a.example.com\x00.example.net": not a host name',
    "bücher.example": "only ASCII letters",
    "a..example.com": "a label is empty",
    ".".join(["a" * 49] * 5) + ".abcd": "longer than 253 characters",
    "a" * 64 + ".example.com": "longer than 63 characters",
    "app.*.example.com": "a wildcard stands alone",
    "app*.example.com": "a wildcard stands alone",
    "*example.com": "a wildcard stands alone",
    "*.": '"*.": not a host name',
    "192.0.2.1": "an IP address, not a host name",
    "app.example.com:443": 'a host name with a port; write "app.example.com"',
}


@pytest.mark.parametrize("hostname", WRONG_HOSTNAMES, ids=lambda name: repr(name[:32]))
def test_a_wrong_host_name_is_told_by_its_field_in_every_request(proxy, hostname: str) -> None:
    name, words = proxy.listener_name(), WRONG_HOSTNAMES[hostname]
    wrong, good = route(hostname, GOOD_BACKEND), route("b.example.com", GOOD_BACKEND)
    for request, field in (
        (api.AddRouteRequest(listener_addr=name, route=wrong), "route.hostname"),
        (api.RemoveRouteRequest(listener_addr=name, hostname=hostname), "hostname"),
        (api.ReplaceRoutesRequest(listener_addr=name, routes=[good, wrong]), "routes[1].hostname"),
        (batch(add(name, hostname, GOOD_BACKEND)), "changes[1].add_route.route.hostname"),
        (batch(put(name, hostname, GOOD_BACKEND)), "changes[1].put_route.route.hostname"),
        (batch(remove(name, hostname)), "changes[1].remove_route.hostname"),
    ):
        expect_invalid(proxy, request, field, words)


def batch(change: Message) -> Message:
    """A batch whose second change it is."""
    return api.ApplyChangesRequest(changes=[block(IP, "192.0.2.1"), change])


WRONG_BACKENDS = {
    "": "the address is missing",
    "192.0.2.1": 'the port is missing; write "192.0.2.1:443"',
    ":443": 'the host is missing; write "127.0.0.1:443"',
    "backend.example.com:443": "a name may have several addresses",
    "192.0.2.1:0": 'the port "0" is not a number from 1 to 65535',
    "192.0.2.1:65536": "from 1 to 65535",
    "192.0.2.1:0443": 'the port "0443"',
    "192.0.2.01:443": "is not an IP address",
    "0.0.0.0:443": "no address to connect to",
    "[::]:443": "no address to connect to",
    "2001:db8::1:443": 'write "[2001:db8::1]:443"',
    "[192.0.2.1]:443": "is not an IPv6 address",
    "https://192.0.2.1:443": "not an ip:port",
}


@pytest.mark.parametrize("backend", WRONG_BACKENDS)
def test_a_wrong_backend_is_told_by_its_field_in_every_request(proxy, backend: str) -> None:
    name, words = proxy.listener_name(), WRONG_BACKENDS[backend]
    wrong, good = route("a.example.com", backend), route("b.example.com", GOOD_BACKEND)
    for request, field in (
        (api.AddRouteRequest(listener_addr=name, route=wrong), "route.backend"),
        (api.ReplaceRoutesRequest(listener_addr=name, routes=[good, wrong]), "routes[1].backend"),
        (batch(add(name, "a.example.com", backend)), "changes[1].add_route.route.backend"),
        (batch(put(name, "a.example.com", backend)), "changes[1].put_route.route.backend"),
    ):
        expect_invalid(proxy, request, field, words)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "[::1]", "[::ffff:127.0.0.1]"])
def test_a_backend_that_leads_back_to_any_listener_is_refused(proxy, host: str) -> None:
    wrong = route("a.example.com", f"{host}:{proxy.ports[1]}")
    request = api.AddRouteRequest(listener_addr=proxy.listener_name(0), route=wrong)
    expect_invalid(proxy, request, "route.backend", f'leads back to the listener ":{proxy.ports[1]}"')


WRONG_RULES = {
    (IP, ""): "not an IP address",
    (IP, "203.0.113.0/24"): "its type is CIDR",
    (IP, "203.0.113.1:443"): "not an IP address",
    (IP, "203.0.113.01"): "not an IP address",
    (IP, "fe80::1%lo"): "not an IP address",
    (IP, "RU"): "not an IP address",
    (CIDR, "203.0.113.1"): "its type is IP",
    (CIDR, "203.0.113.1/24"): 'bits beyond the first 24 are set; the block is "203.0.113.0/24"',
    (CIDR, "203.0.113.0/33"): "from 0 to 32",
    (CIDR, "2001:db8::/129"): "from 0 to 128",
    (CIDR, "203.0.113.0/"): "from 0 to 32",
    (COUNTRY, ""): "not a country code",
    (COUNTRY, "XX"): "assigns this code to no country",
    (COUNTRY, "UK"): 'write "GB"',
    (COUNTRY, "Germany"): "not a country code",
}


@pytest.mark.parametrize(("kind", "value"), WRONG_RULES)
def test_a_wrong_rule_is_told_by_its_field_in_every_request(proxy, kind: str, value: str) -> None:
    words = WRONG_RULES[kind, value]
    for request, field in (
        (api.AddFirewallRuleRequest(rule=rule(kind, value)), "rule.value"),
        (api.RemoveFirewallRuleRequest(rule=rule(kind, value)), "rule.value"),
        (batch(block(kind, value)), "changes[1].add_firewall_rule.value"),
        (batch(unblock(kind, value)), "changes[1].remove_firewall_rule.value"),
    ):
        expect_invalid(proxy, request, field, words)


def test_a_rule_without_a_type_is_refused_in_every_request(proxy) -> None:
    unspecified = rule("FIREWALL_RULE_TYPE_UNSPECIFIED", "203.0.113.1")
    of_the_future = api.FirewallRule.FromString(b"\x08\x63")
    for wrong in (unspecified, of_the_future, api.FirewallRule()):
        for request, field in (
            (api.AddFirewallRuleRequest(rule=wrong), "rule.type"),
            (api.RemoveFirewallRuleRequest(rule=wrong), "rule.type"),
            (batch(api.Change(add_firewall_rule=wrong)), "changes[1].add_firewall_rule.type"),
            (batch(api.Change(remove_firewall_rule=wrong)), "changes[1].remove_firewall_rule.type"),
        ):
            expect_invalid(proxy, request, field, "no type is given; it is one of IP, CIDR, COUNTRY")
    expect_invalid(proxy, api.AddFirewallRuleRequest(), "rule.type", "no type is given")


def test_a_change_that_is_none_is_refused(proxy) -> None:
    expect_invalid(proxy, batch(api.Change()), "changes[1]", "no change is set; set one of add_route, put_route")


@pytest.mark.parametrize("token", ["garbage", "ip", "ip garbage", "cidr 1.2.3.4/8", "country", " "])
def test_a_page_token_of_rules_that_was_never_given_is_refused(proxy, token: str) -> None:
    words = f'"{token}": not a next_page_token of this listing'
    expect_invalid(proxy, api.GetFirewallRulesRequest(page_token=token), "page_token", words)


@pytest.mark.parametrize(
    "make",
    [
        lambda name: api.ListRoutesRequest(listener_addr=name),
        lambda name: api.AddRouteRequest(listener_addr=name, route=route("a.example.com", GOOD_BACKEND)),
        lambda name: api.RemoveRouteRequest(listener_addr=name, hostname="app.example.com"),
        lambda name: api.ReplaceRoutesRequest(listener_addr=name),
        lambda name: api.ApplyChangesRequest(changes=[put(name, "a.example.com", GOOD_BACKEND)]),
    ],
    ids=["ListRoutes", "AddRoute", "RemoveRoute", "ReplaceRoutes", "ApplyChanges"],
)
@pytest.mark.parametrize("name", [":1", "", "127.0.0.1", "\x00"])
def test_a_listener_that_is_not_there_is_not_found_and_told_those_that_are(proxy, make: Make, name: str) -> None:
    request = make(name)
    with refused(StatusCode.NOT_FOUND, "no listener ", f'there are "{proxy.listener_name(0)}", ":{proxy.ports[1]}"'):
        proxy.admin.call(request.DESCRIPTOR.name.removesuffix("Request"), request)


def test_all_that_is_wrong_with_one_route_is_told_at_once(proxy) -> None:
    with refused(INVALID, "(and 1 more)") as refusal:
        proxy.admin.AddRoute(listener_addr=proxy.listener_name(), route=route("a b", "c"))
    assert list(refusal.fields) == ["route.hostname", "route.backend"]


def test_an_empty_batch_is_no_change(proxy) -> None:
    assert proxy.admin.ApplyChanges().revision == proxy.revision()


def test_any_text_is_a_place_in_the_list_of_routes(proxy) -> None:
    """A token need not name a route that is there: it may have been removed since."""
    for token, count in (("", 1), ("garbage", 0), ("\0", 1), ("a" * 100_000, 1)):
        assert len(proxy.admin.ListRoutes(listener_addr=proxy.listener_name(), page_token=token).routes) == count


# ---- too much

CHANGES_MAX = 250_000


@pytest.mark.parametrize("method", ["ApplyChanges", "ReplaceRoutes"])
def test_more_changes_than_one_request_takes_are_refused_by_their_number(proxy, method: str) -> None:
    request = getattr(api, f"{method}Request")()
    if method == "ApplyChanges":
        request.changes.extend([api.Change()] * (CHANGES_MAX + 1))
    else:
        request.listener_addr = proxy.listener_name()
        request.routes.extend([api.Route()] * (CHANGES_MAX + 1))
    with refused(StatusCode.RESOURCE_EXHAUSTED, "250001 ", "at most 250000"):
        proxy.admin.call(method, request)


def test_a_message_of_100_mib_is_refused(proxy) -> None:
    with refused(StatusCode.RESOURCE_EXHAUSTED, "larger than max"):
        proxy.admin.AddRoute(listener_addr="x" * (100 << 20))


def test_a_long_text_is_refused_with_a_short_message(proxy) -> None:
    with refused(INVALID) as refusal:
        proxy.admin.AddRoute(listener_addr=proxy.listener_name(), route=route("x" * 1_000_000, "y" * 1_000_000))
    assert len(refusal.message) < 2_000


# ---- what cannot be read


def call_raw(proxy: AdministeredProxy, path: str, request: bytes) -> None:
    proxy.admin.call_unary(path, request, api.AddRouteResponse)


@pytest.mark.parametrize(
    "request_bytes",
    [b"\n\x02\xff\xfe", b"\xff" * 100, b"\n\x7f", b"\x12\x05\n\x03a"],
    ids=["invalid UTF-8", "no field", "cut short", "cut short inside"],
)
def test_bytes_that_are_no_request_are_refused(proxy, request_bytes: bytes) -> None:
    # By gRPC itself, before any code of ours runs.
    with refused(StatusCode.INTERNAL):
        call_raw(proxy, f"/{SERVICE}/AddRoute", request_bytes)


@pytest.mark.parametrize("path", [f"/{SERVICE}/DropDatabase", "/no.such.Service/Get", "/", f"/{SERVICE}/"])
def test_calls_of_nothing_are_unimplemented(proxy, path: str) -> None:
    with refused(StatusCode.UNIMPLEMENTED):
        call_raw(proxy, path, b"")


def test_fields_of_a_later_version_are_passed_over(proxy) -> None:
    status = proxy.admin.call_unary(f"/{SERVICE}/GetStatus", b"\xa2\x06\x03new", api.GetStatusResponse)
    assert status.revision == proxy.revision()


GARBAGE = {
    "TLS ClientHello": client_hello("app.example.com"),
    "HTTP/1": b"POST /mc_proxy.v1.ProxyAdminService/GetStatus HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "zeros": bytes(4096),
    "text": b"hello, server\n" * 10,
    "HTTP/2 with a frame of 16 MiB": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\xff\xff\xff\x04\x00\x00\x00\x00\x00",
    "HTTP/2 with headers of nothing": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
    + b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"
    + b"\x00\x00\x04\x01\x05\x00\x00\x00\x01\xff\xff\xff\xff",
}


@pytest.mark.parametrize("transport", ["unix", "tcp"])
@pytest.mark.parametrize("what", GARBAGE)
def test_garbage_ends_its_own_connection_alone(proxy, transport: str, what: str) -> None:
    family, address = {
        "unix": (socket.AF_UNIX, str(proxy.admin_socket)),
        "tcp": (socket.AF_INET, ("127.0.0.1", proxy.admin_port)),
    }[transport]
    with socket.socket(family, socket.SOCK_STREAM) as connection:
        connection.settimeout(PATIENCE)
        connection.connect(address)
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            connection.sendall(GARBAGE[what])
            while connection.recv(65536):
                pass


# ---- too many


def test_two_hundred_idle_connections_do_not_shut_out_a_real_call(proxy) -> None:
    with contextlib.ExitStack() as stack:
        for _ in range(200):
            idle = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
            idle.setblocking(False)
            with contextlib.suppress(BlockingIOError):  # the largest allowed number waits already
                idle.connect(str(proxy.admin_socket))
        assert proxy.admin.GetStatus().revision == 1
    # Once they have gone, a new client is served again; the command line waits for that.
    answer = proxy.cli("status")
    assert (answer.code, answer.err) == (0, "")


TCP_CONNECTIONS_MAX = 64


def test_three_hundred_silent_tcp_connections_take_no_descriptors_from_the_proxy(
    start_backend, start_administered, authority
) -> None:
    """Anybody who can reach the port can open them: the certificate comes only in the handshake."""
    backend = start_backend(Backend(echo))
    tls = ServerTls(authority.issue("localhost"), authority.ca)
    proxy = start_administered(routes={"app.example.com": backend}, tls=tls, descriptors=256)
    assert proxy.admin.GetStatus().revision == 1
    before = proxy.fds()["socket"]
    with contextlib.ExitStack() as stack:
        for _ in range(300):
            silent = stack.enter_context(socket.socket())
            silent.setblocking(False)
            with contextlib.suppress(BlockingIOError):  # those beyond the backlog wait for a place in it
                silent.connect(("127.0.0.1", proxy.admin_port))
        until(lambda: proxy.fds()["socket"] >= before + TCP_CONNECTIONS_MAX, "all places are taken")
        for _ in range(20):
            proxy.expect_served()
        assert proxy.admin.GetStatus().revision == 1
        answer = proxy.cli("status")  # by a connection of its own
        assert (answer.code, answer.err) == (0, "")
        assert proxy.fds()["socket"] <= before + TCP_CONNECTIONS_MAX + 4
    # Once they have gone, clients over TCP are served again. (Those that stay are closed: unit/admin/server_test.cpp.)
    client_tls = ClientTls(authority.ca, authority.issue_client("/CN=alice"))
    with Admin(f"localhost:{proxy.admin_port}", client_tls) as client:
        assert client.GetStatus().revision == 1
    assert proxy.lines_until_now(level="WARN") == []


def test_many_watchers_leave_room_for_calls_or_are_refused(proxy) -> None:
    """Each watcher of health holds a call open for as long as it likes."""
    with contextlib.ExitStack() as stack:
        for _ in range(40):
            watcher = stack.enter_context(Admin(f"unix:{proxy.admin_socket}"))
            assert next(watcher.watch_health()) == "SERVING"
        assert proxy.admin.GetStatus().revision == 1
