# SPDX-License-Identifier: Apache-2.0
"""What Prometheus sees: the metrics, the endpoint that serves them, and the dashboard and alerts made of them."""

import contextlib
import json
import re
import signal
import socket
import sqlite3
import subprocess
import threading
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from admin import COUNTRY, MALLORY, AdministeredProxy, ServerTls, put, rule
from geoip import write_database
from harness import (
    OUTCOMES,
    PATIENCE,
    REPOSITORY,
    Backend,
    Client,
    Listener,
    accepting_pauses,
    client_hello,
    expect_rst,
    recv_exactly,
    reserve_port,
    until,
)

OBSERVABILITY = REPOSITORY / "observability"


class Series(NamedTuple):
    name: str
    labels: frozenset[tuple[str, str]]


class Scrape:
    """One response of /metrics, read by the rules of the text format."""

    _LINE = re.compile(r'([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{((?:[a-z_]+="(?:[^"\\\n]|\\[\\"n])*",?)*)\})? (\S+)')
    _LABEL = re.compile(r'([a-z_]+)="((?:[^"\\\n]|\\[\\"n])*)"')

    def __init__(self, text: str):
        self.text = text
        self.types: dict[str, str] = {}
        self.values: dict[Series, float] = {}
        for line in text.splitlines():
            if line.startswith("# TYPE "):
                name, kind = line.removeprefix("# TYPE ").split()
                assert name not in self.types, f"{name} comes twice"
                self.types[name] = kind
            elif not line.startswith("# HELP "):
                read = self._LINE.fullmatch(line)
                assert read, line
                labels = {key: re.sub(r"\\(.)", r"\1", text) for key, text in self._LABEL.findall(read[2] or "")}
                series = Series(read[1], frozenset(labels.items()))
                assert series not in self.values, line
                self.values[series] = float(read[3])

    def get(self, name: str, **labels: str) -> float:
        """The only series of that name with these labels, or without any."""
        return self.values[Series(name, frozenset(labels.items()))]

    def sum(self, name: str, **labels: str) -> float:
        return sum(value for series, value in self.values.items() if self._is(series, name, labels))

    def all(self, name: str, label: str) -> set[str]:
        """The values of a label."""
        return {dict(series.labels)[label] for series in self.values if series.name == name}

    def counters(self) -> dict[Series, float]:
        """The series that may only grow."""
        return {
            series: value
            for series, value in self.values.items()
            if self.types.get(series.name) == "counter" or re.search(r"_(bucket|count|sum)$", series.name)
        }

    def names(self) -> set[str]:
        return {series.name for series in self.values}

    @staticmethod
    def _is(series: Series, name: str, labels: dict[str, str]) -> bool:
        return series.name == name and labels.items() <= dict(series.labels).items()


class MeteredProxy:
    """A proxy with metrics, and whoever scrapes them."""

    def __init__(self, start: Callable[..., AdministeredProxy], **options: Any):
        self.reserved = reserve_port("127.0.0.1")
        self.port: int = self.reserved.getsockname()[1]
        settings = {"addr": f"127.0.0.1:{self.port}"} | options.pop("metrics", {})
        self.proxy = start(tables={"metrics": settings} | options.pop("tables", {}), **options)

    def scrape(self) -> Scrape:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=PATIENCE) as answer:
            assert answer.status == 200
            assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
            return Scrape(answer.read().decode())

    def connect(self) -> Client:
        client = Client(socket.AF_INET)
        client.connect_from("127.0.0.1", ("127.0.0.1", self.port))
        return client

    def until(self, condition: Callable[[Scrape], bool], what: str) -> Scrape:
        last = self.scrape()

        def holds() -> bool:
            nonlocal last
            last = self.scrape()
            return condition(last)

        until(holds, what)
        return last


@pytest.fixture
def start_metered(start_administered: Callable) -> Iterator[Callable[..., MeteredProxy]]:
    made: list[MeteredProxy] = []

    def start(**options: Any) -> MeteredProxy:
        made.append(MeteredProxy(start_administered, **options))
        return made[-1]

    yield start
    for one in made:
        one.reserved.close()


# ---- what is exposed


def test_connections_are_told_by_listener_reason_and_route(start_metered, backend: Backend) -> None:
    metered = start_metered(
        listeners=[Listener({"app.example.com": backend, "dead.example.com": "127.0.0.1:1", "*": backend}), Listener({})],
        firewall={"blocked_ips": [MALLORY]},
        max_connections=77,
    )
    proxy = metered.proxy
    first, second = proxy.listener_name(0), proxy.listener_name(1)
    before = metered.scrape()
    assert before.get("mc_proxy_build_info", version=proxy.admin.GetStatus().version) == 1
    assert (before.get("mc_proxy_accepting"), before.get("mc_proxy_connections_max")) == (1, 77)
    # Series are there before anything happens, so that rate() sees the first event.
    assert before.sum("mc_proxy_connections_ended_total") == 0
    assert {"completed", "dial_refused", "no_route", "shutdown"} <= before.all("mc_proxy_connections_ended_total", "reason")
    assert "none" not in before.all("mc_proxy_connections_ended_total", "reason")

    proxy.expect_served("app.example.com")
    proxy.expect_refused("dial_refused", "dead.example.com")
    proxy.expect_refused("blocked_ip", source=MALLORY)
    proxy.expect_refused("no_route", listener=1)
    hello = client_hello("other.example.com")
    with proxy.open_connection("other.example.com") as client:
        client.sendall(bytes(100_000))
        recv_exactly(client, 100_000)
        moved = len(client_hello("app.example.com")) + len(hello) + 100_000
        now = metered.until(
            lambda s: s.get("mc_proxy_bytes_total", listener=first, direction="down") == moved,
            "the bytes of the open connection are counted",
        )
        assert now.get("mc_proxy_bytes_total", listener=first, direction="up") == moved
        assert now.get("mc_proxy_connections_accepted_total", listener=first) == 4
        assert now.get("mc_proxy_connections_accepted_total", listener=second) == 1
        assert now.get("mc_proxy_connections_active", listener=first) == 1
        assert now.get("mc_proxy_route_connections_active", listener=first, route="*") == 1
        assert now.get("mc_proxy_route_connections_total", listener=first, route="app.example.com") == 1
        assert now.get("mc_proxy_route_dial_failures_total", listener=first, route="dead.example.com") == 1
    ended = metered.until(lambda s: s.sum("mc_proxy_connections_active") == 0, "no connection is open")
    assert ended.get("mc_proxy_route_connections_active", listener=first, route="*") == 0
    for listener, reason, count in [
        (first, "completed", 2), (first, "dial_refused", 1), (first, "blocked_ip", 1), (second, "no_route", 1),
        (second, "completed", 0), (first, "no_route", 0),
    ]:  # fmt: skip
        assert ended.get("mc_proxy_connections_ended_total", listener=listener, reason=reason) == count
    assert ended.get("mc_proxy_hello_duration_seconds_count", listener=first) == 3
    assert ended.get("mc_proxy_dial_duration_seconds_count", listener=first) == 2
    assert ended.get("mc_proxy_connection_duration_seconds_count", listener=first) == 2
    assert ended.get("mc_proxy_connection_bytes_sum", listener=first, direction="up") == moved
    small, large = (
        ended.get("mc_proxy_connection_bytes_bucket", listener=first, direction="up", le=str(bound))
        for bound in (65536, 262144)
    )
    assert (small, large) == (1, 2)
    route_bytes = ended.get("mc_proxy_route_bytes_total", listener=first, route="*", direction="up")
    assert route_bytes == len(hello) + 100_000


def test_policy_certificate_and_geoip_are_told(start_metered, backend: Backend, authority, tmp_path: Path) -> None:
    database = write_database(tmp_path / "GeoIP.mmdb", "country")
    certificate = authority.issue("localhost")
    metered = start_metered(
        routes={"app.example.com": backend},
        firewall={"geoip_db": str(database), "blocked_ips": [MALLORY]},
        tls=ServerTls(certificate, authority.ca),
    )
    proxy = metered.proxy
    before = metered.scrape()
    assert before.get("mc_proxy_policy_revision") == 1
    assert before.get("mc_proxy_policy_changes_total") == 0
    proxy.admin.AddFirewallRule(rule=rule(COUNTRY, "RU"))
    proxy.admin.ApplyChanges(changes=[put(proxy.listener_name(), "b.example.com", backend)])
    now = metered.until(lambda s: s.get("mc_proxy_policy_revision") == 3, "the revision is told")
    assert now.get("mc_proxy_policy_changes_total") == 2
    assert now.get("mc_proxy_routes", listener=proxy.listener_name()) == 2
    assert [now.get("mc_proxy_firewall_rules", type=kind) for kind in ("ip", "cidr", "country")] == [1, 0, 1]
    geoip = proxy.admin.GetStatus().geoip
    assert now.get("mc_proxy_geoip_build_timestamp_seconds", type=geoip.type) == geoip.built_at.seconds
    shown = subprocess.run(
        ["openssl", "x509", "-noout", "-enddate", "-dateopt", "iso_8601", "-in", certificate.certificate],
        capture_output=True, text=True, check=True, timeout=60,
    ).stdout  # fmt: skip
    end = subprocess.run(
        ["date", "-u", "-d", shown.strip().removeprefix("notAfter="), "+%s"],
        capture_output=True, text=True, check=True, timeout=60,
    ).stdout  # fmt: skip
    assert now.get("mc_proxy_admin_certificate_expiry_timestamp_seconds") == float(end)


def test_changes_that_the_database_did_not_take_are_counted_apart(start_metered, backend: Backend) -> None:
    metered = start_metered(routes={"*": backend})
    for number in range(3):
        assert metered.proxy.cli("routes", "add", f"h{number}.example.com", backend.address).code == 0
    with contextlib.closing(sqlite3.connect(metered.proxy.database, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        assert metered.proxy.cli("routes", "add", "late.example.com", backend.address).code != 0
        other.execute("ROLLBACK")
    counted = metered.scrape()
    assert counted.get("mc_proxy_policy_changes_total") == 3
    assert counted.get("mc_proxy_policy_changes_failed_total") == 1


def test_a_reload_of_geoip_that_failed_is_a_warning_until_one_succeeds(
    start_metered, backend: Backend, tmp_path: Path
) -> None:
    path = write_database(tmp_path / "country.mmdb", "country")
    good = path.read_bytes()
    metered = start_metered(routes={"*": backend}, firewall={"geoip_db": str(path), "blocked_countries": ["KP"]})

    def warned(scrape) -> int:
        return scrape.get("mc_proxy_warning", kind="geoip_not_reloaded")

    assert warned(metered.scrape()) == 0
    path.write_bytes(good[:200])
    metered.proxy.send_signal(signal.SIGHUP)
    metered.until(lambda scrape: warned(scrape) == 1, "the metrics warn")
    told = metered.proxy.cli("status").out
    assert "warning: the GeoIP database was not reloaded, the data read before are in force: " in told
    assert str(path) in told
    path.write_bytes(good)
    metered.proxy.send_signal(signal.SIGHUP)
    metered.until(lambda scrape: warned(scrape) == 0, "the metrics warn no more")
    assert "warning" not in metered.proxy.cli("status").out


def test_the_routes_with_metrics_are_the_first_by_name_whatever_the_traffic(start_metered, backend: Backend) -> None:
    metered = start_metered(
        listeners=[Listener({f"r{i}.example.com": backend for i in range(5)}), Listener({"*": backend})],
        metrics={"routes_max": 3},
    )
    proxy = metered.proxy
    for _ in range(3):
        proxy.expect_served("r4.example.com")
    now = metered.until(lambda s: s.sum("mc_proxy_connections_ended_total", reason="completed") == 3, "all have ended")
    shown = {"r0.example.com", "r1.example.com", "r2.example.com", "*"}
    for name in ("connections_total", "connections_active", "dial_failures_total", "bytes_total"):
        assert now.all(f"mc_proxy_route_{name}", "route") == shown
    assert now.get("mc_proxy_routes_without_metrics", listener=proxy.listener_name(0)) == 2
    assert now.get("mc_proxy_routes_without_metrics", listener=proxy.listener_name(1)) == 0


def test_routes_of_one_host_name_have_series_of_their_own(start_metered, backend: Backend) -> None:
    name = "app.example.com"
    near = {"hostname": name, "backend": backend.address, "alpn": "h2", "source": ["127.0.0.2", "127.1.0.0/16"]}
    metered = start_metered(listeners=[Listener({name: backend}, [near])])
    metered.proxy.expect_served(name)
    listener = metered.proxy.listener_name()
    now = metered.until(
        lambda s: s.get("mc_proxy_route_connections_total", listener=listener, route=name) == 1, "one was served"
    )
    labels = {"listener": listener, "route": name, "alpn": "h2", "source": "127.0.0.2/32,127.1.0.0/16"}
    assert now.get("mc_proxy_route_connections_total", **labels) == 0
    assert now.get("mc_proxy_routes", listener=listener) == 2


def test_backends_of_pools_and_their_checks_are_told(start_metered, backend: Backend) -> None:
    with reserve_port("127.0.0.1") as dead:  # nobody listens
        refusing = "{}:{}".format(*dead.getsockname())
        check = {"kind": "tcp", "interval": "500ms", "timeout": "400ms", "rise": 1, "fall": 1}
        pool = {"name": "app", "check": check, "backends": [{"address": one} for one in (backend.address, refusing)]}
        metered = start_metered(routes={"app.example.com": "pool=app"}, tables={"pools": [pool]})
        well, ill = ({"pool": "app", "backend": one} for one in (backend.address, refusing))
        metered.until(
            lambda s: s.get("mc_proxy_backend_up", **ill) == 0 and s.get("mc_proxy_checks_total", result="passed") > 0,
            "one is down, and one was checked",
        )
        metered.proxy.expect_served()
        now = metered.until(
            lambda s: s.get("mc_proxy_backend_connections_total", **well) == 1
            and s.get("mc_proxy_backend_connections_active", **well) == 0,
            "the connection is counted, and has ended",
        )
        assert (now.get("mc_proxy_backend_up", **well), now.get("mc_proxy_backend_up", **ill)) == (1, 0)
        assert now.get("mc_proxy_backend_state", state="ready", **ill) == 1
        assert now.get("mc_proxy_check_targets") == 2
        assert now.get("mc_proxy_checks_total", result="failed") >= 1
        assert 0 <= now.get("mc_proxy_check_lateness_seconds") < 60
        assert now.get("mc_proxy_backends_without_metrics") == 0
    metered.proxy.cli("backends", "set", "app", refusing, "--state", "maintenance")
    metered.until(lambda s: s.get("mc_proxy_check_targets") == 1, "a backend in maintenance is not checked")


def test_lines_that_were_left_out_are_counted(start_metered) -> None:
    metered = start_metered(routes={}, workers=1)
    for _ in range(300):
        with metered.proxy.connect() as client:
            client.sendall(client_hello("nobody.test"))
            expect_rst(client)
    now = metered.until(lambda s: s.sum("mc_proxy_connections_ended_total", reason="no_route") == 300, "all are counted")
    written = len(metered.proxy.lines(msg="connection refused"))
    assert now.get("mc_proxy_log_lines_suppressed_total") == 300 - written > 0
    assert now.get("mc_proxy_log_lines_dropped_total") == 0


def test_a_server_that_stops_says_so_to_the_end(start_metered, backend: Backend) -> None:
    metered = start_metered(routes={"app.example.com": backend}, shutdown_timeout="60s")
    with metered.proxy.open_connection():
        metered.proxy.admin.close()
        metered.proxy.send_signal(15)
        told = metered.until(lambda s: s.get("mc_proxy_stopping") == 1, "the metrics tell of the stop")
        assert told.get("mc_proxy_accepting") == 0
        assert told.sum("mc_proxy_connections_active") == 1
    assert metered.proxy.wait_end() == 0
    metered.proxy.start()


# ---- under load


def test_counters_only_grow_under_load_and_are_exact_at_its_end(start_metered, backend: Backend) -> None:
    """Several clients connect without pause while several others scrape."""
    metered = start_metered(routes={"app.example.com": backend})
    proxy = metered.proxy
    connections, threads, payload = 150, 3, 3000
    failures: list[BaseException] = []
    finished = threading.Event()
    scrapes = 0

    def load() -> None:
        for i in range(connections):
            if i % 3 == 0:
                proxy_refuses("nobody.test")
            else:
                with proxy.open_connection() as client:
                    client.sendall(bytes(payload))
                    recv_exactly(client, payload)

    def proxy_refuses(name: str) -> None:
        with proxy.connect() as client:
            client.sendall(client_hello(name))
            expect_rst(client)

    def watch() -> None:
        nonlocal scrapes
        last: dict[Series, float] = {}
        while not finished.is_set():
            scrape = metered.scrape()
            now = scrape.counters()
            assert last.keys() <= now.keys()
            for series, value in last.items():
                assert now[series] >= value, series
            assert scrape.sum("mc_proxy_connections_ended_total") <= scrape.sum("mc_proxy_connections_accepted_total")
            last = now
            scrapes += 1

    def guarded(work: Callable[[], None]) -> threading.Thread:
        def run() -> None:
            try:
                work()
            except BaseException as failure:
                failures.append(failure)

        thread = threading.Thread(target=run)
        thread.start()
        return thread

    watching = [guarded(watch) for _ in range(2)]
    for thread in [guarded(load) for _ in range(threads)]:
        thread.join()
    finished.set()
    for thread in watching:
        thread.join()
    assert failures == []
    assert scrapes > 10

    total, refused = connections * threads, connections // 3 * threads
    served = total - refused
    end = metered.until(lambda s: s.sum("mc_proxy_connections_ended_total") == total, "all connections have ended")
    listener = proxy.listener_name()
    moved = served * (len(client_hello("app.example.com")) + payload)
    assert end.get("mc_proxy_connections_accepted_total", listener=listener) == total
    assert end.get("mc_proxy_connections_active", listener=listener) == 0
    assert end.get("mc_proxy_connections_ended_total", listener=listener, reason="completed") == served
    assert end.get("mc_proxy_connections_ended_total", listener=listener, reason="no_route") == refused
    for direction in ("up", "down"):
        assert end.get("mc_proxy_bytes_total", listener=listener, direction=direction) == moved
        assert end.get("mc_proxy_connection_bytes_sum", listener=listener, direction=direction) == moved
        route = {"listener": listener, "route": "app.example.com"}
        assert end.get("mc_proxy_route_bytes_total", direction=direction, **route) == moved
    assert end.get("mc_proxy_connection_duration_seconds_count", listener=listener) == served
    assert end.get("mc_proxy_hello_duration_seconds_bucket", listener=listener, le="+Inf") == served
    status = proxy.admin.GetStatus()
    assert (status.bytes_up, status.bytes_down, status.total_connections) == (moved, moved, total)
    sums = [int(line["bytes_up"]) for line in proxy.lines(msg=OUTCOMES) if "bytes_up" in line]
    assert sum(sums) == moved


# ---- the endpoint


@pytest.mark.parametrize(
    ("request_line", "status"),
    [
        (b"GET / HTTP/1.1", b"404"),
        (b"GET /metrics/x HTTP/1.1", b"404"),
        (b"GET /../../etc/passwd HTTP/1.1", b"404"),
        (b"POST /metrics HTTP/1.1", b"405"),
        (b"HEAD /metrics HTTP/1.1", b"405"),
        (b"GET /metrics HTTP/3", b"400"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"400"),
        (b"GET /metrics HTTP/1.1\r\nA: " + b"a" * 9000, b"431"),
    ],
    ids=lambda value: value[:24].decode(errors="replace") if isinstance(value, bytes) else None,
)
def test_nothing_but_a_scrape_is_answered(start_metered, request_line: bytes, status: bytes) -> None:
    metered = start_metered(routes={})
    with metered.connect() as client:
        client.sendall(request_line + b"\r\n\r\n")
        answer = b""
        while piece := client.recv(65536):
            answer += piece
    assert answer.startswith(b"HTTP/1.1 " + status)
    assert b"mc_proxy_" not in answer
    metered.scrape()


def test_strangers_who_hold_connections_keep_prometheus_from_nothing(start_metered, enter: Callable) -> None:
    """Silent ones, ones that send a request and do not read, and ones that drip their request."""
    routes = {f"h{i}.example.com": "127.0.0.1:1" for i in range(1000)}
    metered = start_metered(routes=routes)
    before = metered.proxy.fds()["socket"]
    for i in range(60):
        stranger = enter(metered.connect())
        if i % 3 == 0:
            stranger.sendall(b"GET /metrics HTTP/1.1\r\n\r\n")
        elif i % 3 == 1:
            stranger.sendall(b"GET /met")
    assert metered.scrape().get("mc_proxy_accepting") == 1
    assert metered.proxy.fds()["socket"] <= before + 16
    assert metered.proxy.stop() == 0
    metered.proxy.start()


def test_metrics_are_told_when_descriptors_have_run_out(start_metered, backend: Backend, enter: Callable) -> None:
    """This is when they are wanted, and it costs no processor time meanwhile."""
    metered = start_metered(routes={"app.example.com": backend}, descriptors=300, max_connections=1000, workers=1)
    proxy = metered.proxy
    clients = [enter(proxy.connect()) for _ in range(320)]
    proxy.wait_log(msg="accepting paused")
    for _ in range(3):
        told = metered.scrape()
        assert told.get("mc_proxy_accept_paused_listeners") == 1
        assert told.get("mc_proxy_accepting") == 0
        pauses = accepting_pauses(proxy.lines_until_now())
        assert told.get("mc_proxy_accept_pauses_total") == pauses and pauses in (1, 2)
    for client in clients:
        client.close()
    # The clients go one by one, and those of the backlog can take the places of the first: another pause, and another line.
    after = metered.until(
        lambda s: s.get("mc_proxy_accepting") == 1
        and s.get("mc_proxy_accept_pauses_total") == accepting_pauses(proxy.lines()),
        "accepting goes on, and each pause was counted",
    )
    assert after.get("mc_proxy_accept_paused_listeners") == 0
    assert len(proxy.lines(msg="accepting again")) >= 1


def test_a_port_that_is_taken_is_named(start_metered, tmp_path: Path) -> None:
    metered = start_metered(routes={})
    taken = f'metrics.addr "127.0.0.1:{metered.port}": address already in use'
    checked = metered.proxy.cli("check")
    assert f"metrics 127.0.0.1:{metered.port}: the running server listens there" in checked.out
    text = metered.proxy.config.read_text()
    second = tmp_path / "second.toml"
    second.write_text(
        re.sub(r'(addr = "127\.0\.0\.1:)(?!%d)\d+' % metered.port, r"\g<1>0", text)
        .replace("admin.sock", "second.sock")
        .replace(str(metered.proxy.database), str(tmp_path / "second.db"))
    )
    started = subprocess.run(
        [metered.proxy._command[0], "server", "-c", second], capture_output=True, text=True, timeout=60
    )
    assert started.returncode == 1
    assert taken.replace('"', '\\"') in started.stderr
    assert "ss -tlnp" in started.stderr


# ---- what is made of it


def promtool(*words: object, stdin: str = "") -> str:
    done = subprocess.run(["promtool", *words], input=stdin, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_promtool_has_nothing_to_say_of_the_metrics(start_metered, backend: Backend) -> None:
    metered = start_metered(routes={"app.example.com": backend})
    metered.proxy.expect_served()
    assert promtool("check", "metrics", "--extended", stdin=metered.scrape().text)
    assert promtool("check", "metrics", stdin=metered.scrape().text) == ""


def test_the_alerts_are_rules_and_fire_for_what_they_are_for() -> None:
    assert "SUCCESS" in promtool("check", "rules", OBSERVABILITY / "alerts.yml")
    tested = set(re.findall(r"alertname: (\w+)", (OBSERVABILITY / "alerts_test.yml").read_text()))
    assert tested == set(re.findall(r"alert: (\w+)", (OBSERVABILITY / "alerts.yml").read_text()))
    assert "SUCCESS" in promtool("test", "rules", OBSERVABILITY / "alerts_test.yml")


def expressions(value: Any) -> Iterator[str]:
    """Every PromQL of the dashboard."""
    if isinstance(value, dict):
        yield from (value[key] for key in ("expr", "definition") if isinstance(value.get(key), str))
        for each in value.values():
            yield from expressions(each)
    elif isinstance(value, list):
        for each in value:
            yield from expressions(each)


def test_every_metric_and_label_of_dashboard_and_alerts_is_in_a_scrape(
    start_metered, backend: Backend, authority, tmp_path: Path
) -> None:
    database = write_database(tmp_path / "GeoIP.mmdb", "country")
    metered = start_metered(
        routes={"app.example.com": backend, "pool.example.com": "pool=app"},
        firewall={"geoip_db": str(database), "blocked_countries": ["RU"]},
        tls=ServerTls(authority.issue("localhost"), authority.ca),
        tables={"pools": [{"name": "app", "backends": [{"address": backend.address}, {"address": "localhost:443"}]}]},
    )
    scrape = metered.until(lambda now: "mc_proxy_dns_answer_age_seconds" in now.names(), "the name is resolved")
    labels = {key for series in scrape.values for key, _ in series.labels} | {"job", "instance"}
    reasons = scrape.all("mc_proxy_connections_ended_total", "reason")
    dashboard = list(expressions(json.loads((OBSERVABILITY / "grafana-dashboard.json").read_text())))
    alerts = (OBSERVABILITY / "alerts.yml").read_text()
    used = set()
    for text in [*dashboard, alerts]:
        used |= set(re.findall(r"\b(?:mc_proxy|process)_[a-z_]+\b", text))
        for by in re.findall(r"(?:by|without) \(([a-z_, ]+)\)", text):
            assert set(by.split(", ")) <= labels, by
        for matcher in re.findall(r'reason=~?"([^"]+)"', text):
            for pattern in matcher.split("|"):
                assert any(re.fullmatch(pattern, reason) for reason in reasons), pattern
    assert len(dashboard) > 30
    assert used <= scrape.names(), f"no scrape has {used - scrape.names()}"
    # And every exposed metric is used.
    seen = {re.sub(r"_(count|sum|bucket)$", "", name) for name in used}
    shown = {re.sub(r"_(count|sum|bucket)$", "", name) for name in scrape.names()}
    assert shown - seen <= {"mc_proxy_stopping", "process_max_fds"}


def test_the_promql_of_the_dashboard_is_valid(tmp_path: Path) -> None:
    """As rules, which promtool parses; Grafana's variables stand for what they would become."""
    dashboard = json.loads((OBSERVABILITY / "grafana-dashboard.json").read_text())
    panels = [one for one in dashboard["panels"] if one["type"] != "row"]
    assert len({one["id"] for one in dashboard["panels"]}) == len(dashboard["panels"])
    queries = [target["expr"] for one in panels for target in one["targets"]]
    replaced = [re.sub(r"\$\w+", ".*", one.replace("$__rate_interval", "5m")) for one in queries]
    rules = [{"record": f"query:{i}", "expr": one} for i, one in enumerate(replaced)]
    file = tmp_path / "rules.yml"
    file.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))
    assert f"SUCCESS: {len(rules)} rules found" in promtool("check", "rules", file)
