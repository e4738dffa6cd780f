# SPDX-License-Identifier: Apache-2.0
"""The admin API with a client that knows nothing of it: `buf curl`, which gets the description from the server.

The calls are those that operators make with grpcurl (RUNBOOK, "Manage Routes at Runtime"), with the same bodies.
"""

import base64
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from admin import HEALTH, IP, SERVICE, AdministeredProxy, ServerTls
from certs import Authority, Certificate
from harness import PATIENCE, SLOW_FACTOR, Backend, Listener, echo
from tools import buf


class Buf(NamedTuple):
    """`buf curl` with the flags that reach one server."""

    flags: list[str]
    url: str
    directory: Path

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [buf(), "curl", "--protocol", "grpc", *self.flags, *words],
            cwd=self.directory,  # where there is no .proto file
            env={"PATH": "/usr/bin:/bin", "HOME": str(self.directory)},
            capture_output=True,
            text=True,
            timeout=60 * SLOW_FACTOR,
        )

    def call(self, method: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        done = self.run("-d", json.dumps(body or {}), f"{self.url}/{method}")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def refused(self, method: str, body: dict[str, Any]) -> dict[str, Any]:
        """The error of a call that must fail, as buf shows it."""
        done = self.run("-d", json.dumps(body), f"{self.url}/{method}")
        assert done.returncode != 0
        return json.loads(done.stderr)


@pytest.fixture
def proxy(start_administered: Callable, start_backend: Callable, authority: Authority) -> AdministeredProxy:
    routes = {"app.example.com": start_backend(Backend(echo)), "old.metacircular.net": "127.0.0.1:38443"}
    return start_administered(
        listeners=[Listener(routes, host="")], tls=ServerTls(authority.issue("localhost"), authority.ca)
    )


def over_tls(proxy: AdministeredProxy, authority: Authority, shown: Certificate, directory: Path) -> Buf:
    flags = ["--cacert", str(authority.ca), "--cert", str(shown.certificate), "--key", str(shown.key)]
    return Buf(flags, f"https://localhost:{proxy.admin_port}", directory)


@pytest.fixture
def client(proxy: AdministeredProxy, authority: Authority, tmp_path: Path) -> Buf:
    return over_tls(proxy, authority, authority.issue_client("/CN=operator"), tmp_path)


def test_routes_are_managed_as_the_runbook_says(proxy, client) -> None:
    listener = proxy.listener_name()
    old = {"hostname": "old.metacircular.net", "backend": "127.0.0.1:38443"}
    new = {"hostname": "new.metacircular.net", "backend": "127.0.0.1:38443"}
    listed = client.call(f"{SERVICE}/ListRoutes", {"listener_addr": listener})
    assert old in listed["routes"]
    assert listed["revision"] == "1"

    added = client.call(f"{SERVICE}/AddRoute", {"listener_addr": listener, "route": new})
    assert added == {"revision": "2"}
    assert proxy.last_audit()[1].endswith("CN=operator")
    removed = client.call(f"{SERVICE}/RemoveRoute", {"listener_addr": listener, "hostname": "old.metacircular.net"})
    assert removed == {"revision": "3"}
    listed = client.call(f"{SERVICE}/ListRoutes", {"listener_addr": listener})
    assert new in listed["routes"]
    assert old not in listed["routes"]


def test_firewall_rules_are_managed_as_the_runbook_says(proxy, client) -> None:
    ip = {"rule": {"type": "FIREWALL_RULE_TYPE_IP", "value": "203.0.113.50"}}
    cidr = {"rule": {"type": "FIREWALL_RULE_TYPE_CIDR", "value": "198.51.100.0/24"}}
    assert client.call(f"{SERVICE}/GetFirewallRules").get("rules", []) == []
    client.call(f"{SERVICE}/AddFirewallRule", ip)
    client.call(f"{SERVICE}/AddFirewallRule", cidr)
    assert client.call(f"{SERVICE}/GetFirewallRules")["rules"] == [ip["rule"], cidr["rule"]]
    client.call(f"{SERVICE}/RemoveFirewallRule", ip)
    assert client.call(f"{SERVICE}/GetFirewallRules")["rules"] == [cidr["rule"]]

    country = {"rule": {"type": "FIREWALL_RULE_TYPE_COUNTRY", "value": "RU"}}
    error = client.refused(f"{SERVICE}/AddFirewallRule", country)
    assert error["code"] == "failed_precondition"
    assert "firewall: geoip_db is required" in error["message"]


def test_the_attacker_of_the_runbook_is_blocked(proxy, client) -> None:
    proxy.expect_served(source="127.0.0.66")
    client.call(f"{SERVICE}/AddFirewallRule", {"rule": {"type": IP, "value": "127.0.0.66"}})
    proxy.expect_refused("blocked_ip", source="127.0.0.66")


def test_what_is_wrong_is_shown_with_its_details(proxy, client) -> None:
    error = client.refused(
        f"{SERVICE}/ApplyChanges",
        {"changes": [{"add_firewall_rule": {"type": "FIREWALL_RULE_TYPE_CIDR", "value": "203.0.113.1/24"}}]},
    )
    assert error["code"] == "invalid_argument"
    (detail,) = error["details"]
    assert detail["type"] == "google.rpc.BadRequest"
    told = base64.b64decode(detail["value"] + "==")  # buf does not request the description of details
    assert b"changes[0].add_firewall_rule.value" in told
    assert b'the block is "203.0.113.0/24"' in told


@pytest.mark.parametrize("symbol", ["google.rpc.BadRequest", "google.rpc.Status", "grpc.health.v1.HealthCheckResponse"])
def test_what_only_details_and_health_speak_of_is_described_too(proxy, symbol: str) -> None:
    """grpcurl requests it when an error has details."""
    ask = proxy.admin.channel.stream_stream("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo")
    # ServerReflectionRequest.file_containing_symbol, written by hand: grpcio has no description of it.
    (answer,) = ask(iter([b"\x22" + bytes([len(symbol)]) + symbol.encode()]), timeout=PATIENCE)
    assert symbol.rpartition(".")[2].encode() in answer
    assert b".proto" in answer


def test_status_and_health_are_told(client) -> None:
    assert client.call(f"{SERVICE}/GetStatus")["state"] == "SERVER_STATE_SERVING"
    assert client.call(f"{HEALTH}/Check") == {"status": "SERVING"}
    assert client.call(f"{HEALTH}/Check", {"service": SERVICE}) == {"status": "SERVING"}


def test_a_snapshot_comes_in_pieces(client) -> None:
    done = client.run("-d", "{}", f"{client.url}/{SERVICE}/CreateSnapshot")
    assert done.returncode == 0, done.stderr
    first = json.JSONDecoder().raw_decode(done.stdout)[0]
    assert int(first["size"]) > 0
    assert first["chunk"].startswith("U1FMaXRlIGZvcm1hdCAz")  # "SQLite format 3"


def test_reflection_lists_the_services_and_their_methods(client) -> None:
    listed = client.run("--list-services", client.url).stdout.split()
    assert {SERVICE, HEALTH} <= set(listed)
    methods = client.run("--list-methods", client.url).stdout.split()
    assert {
        f"{SERVICE}/{name}"
        for name in (
            "ListRoutes", "AddRoute", "RemoveRoute", "ReplaceRoutes", "GetFirewallRules", "AddFirewallRule",
            "RemoveFirewallRule", "ApplyChanges", "GetStatus", "CreateSnapshot", "ReloadGeoIP",
            "ListConnections", "CloseConnections", "WatchEvents",
        )
    } | {f"{HEALTH}/Check", f"{HEALTH}/Watch"} <= set(methods)  # fmt: skip


def test_the_unix_socket_is_reflected_too(proxy, tmp_path: Path) -> None:
    local = Buf(["--unix-socket", str(proxy.admin_socket), "--http2-prior-knowledge"], "http://localhost", tmp_path)
    assert local.call(f"{SERVICE}/GetStatus")["version"]


def test_a_client_without_a_certificate_is_not_even_told_the_services(proxy, authority, tmp_path: Path) -> None:
    stranger = Buf(["--cacert", str(authority.ca)], f"https://localhost:{proxy.admin_port}", tmp_path)
    done = stranger.run("--list-services", stranger.url)
    assert done.returncode != 0
    assert SERVICE not in done.stdout
