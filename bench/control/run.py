#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What 100,000 routes cost the admin API, and what its changes cost the traffic: one run, with spread.

  run.py MC_PROXY LOAD [--json FILE] [--quick]

MC_PROXY is a release build, LOAD the load generator of bench/load. Measured are: a start of the server, one
ApplyChanges of 100,000 changes, AddRoute beside full traffic, and the traffic's latency while policy changes 100 times
a second against the latency while it does not, in blocks of seconds that take turns. The exit code means nothing: this
is a benchmark, not a test. TMPDIR chooses the disk that the database lies on.
"""

import argparse
import contextlib
import itertools
import json
import os
import platform
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests/e2e/lib"))

import admin
from admin import CIDR, IP, api
from hello import client_hello
from processes import Backend, Client, Cpu, Load, Server
from report import report

ROUTES = 100_000
RULES = 1_000  # so that a change of the firewall is one among others too
ESTABLISHED = 200
CONNECTING = 8
CHANGES_PER_SECOND = 100
HELLOS = 1_024  # names that new connections send, spread over all routes
HELLO_MESSAGE_BYTES = 512  # with its record's header as large as browsers' without post-quantum keys
IDLE_WANTED = 0.25
IDLE_TOLERANCE = 0.03
OTHERS_MAX = 0.05


@dataclass(frozen=True)
class Plan:
    """How much is measured."""

    starts: int = 9
    batches: int = 3
    adds: int = 300
    rounds: int = 10
    block_seconds: float = 3.0


QUICK = Plan(starts=3, batches=1, adds=50, rounds=3, block_seconds=1.0)


class Bench(NamedTuple):
    plan: Plan
    server: Server
    client: Client
    backend: Backend
    other_backend: Backend


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


# ---- requests


def hostname(number: int) -> str:
    """Four labels, some 30 bytes, as in hosted zones."""
    return f"app-{number % 100}.customer-{number}.example.com"


def batch(changes: Iterable[Any]) -> bytes:
    """An ApplyChanges, in an order unrelated to that of the names."""
    shuffled = list(changes)
    random.Random(1).shuffle(shuffled)
    return api.ApplyChangesRequest(changes=shuffled).SerializeToString()


def add_route(listener: str, number: int) -> bytes:
    route = admin.route(hostname(number), "127.0.0.1:9")
    return api.AddRouteRequest(listener_addr=listener, route=route).SerializeToString()


def remove_route(listener: str, number: int) -> bytes:
    return api.RemoveRouteRequest(listener_addr=listener, hostname=hostname(number)).SerializeToString()


# ---- starts, batches, single changes


def measure_sync_ms(directory: Path) -> float:
    """The disk's share of a commit: 4 KiB overwritten and synced."""
    taken = []
    with (directory / "sync").open("wb", buffering=0) as file:
        for _ in range(101):
            file.seek(0)
            begin = time.perf_counter()
            file.write(bytes(4096))
            os.fdatasync(file)
            taken.append(time.perf_counter() - begin)
    return statistics.median(taken[1:]) * 1000


def fill(server: Server, backend: Backend) -> None:
    rules = [admin.block(IP, f"10.9.{number // 256}.{number % 256}") for number in range(RULES)]
    routes = [admin.add(server.listener, hostname(number), backend) for number in range(ROUTES)]
    with server.running() as client:
        client.call("ApplyChanges", batch(routes + rules))


def measure_starts(plan: Plan, server: Server) -> list[float]:
    taken = []
    for _ in range(plan.starts):
        taken.append(server.time_start())
        server.stop()
    return taken


def measure_batches(bench: Bench) -> dict[str, list[float]]:
    """Seconds for 100,000 changes of each kind; leaves the routes as they were."""
    listener, backend, other = bench.server.listener, bench.backend, bench.other_backend
    present, further = range(ROUTES), range(ROUTES, 2 * ROUTES)
    requests = [
        ("add_route", batch(admin.add(listener, hostname(number), backend) for number in further)),
        ("remove_route", batch(admin.remove(listener, hostname(number)) for number in further)),
        ("put_route", batch(admin.put(listener, hostname(number), other) for number in present)),
        ("put_route", batch(admin.put(listener, hostname(number), backend) for number in present)),
    ]
    taken: dict[str, list[float]] = {wish: [] for wish, _ in requests}
    for wish, request in bench.plan.batches * requests:
        taken[wish].append(bench.client.call("ApplyChanges", request))
    return taken


def measure_adds(bench: Bench) -> list[float]:
    """Seconds of each AddRoute among all routes, 20 a second; leaves the routes as they were."""
    listener = bench.server.listener
    numbers = range(ROUTES, ROUTES + bench.plan.adds)
    taken = []
    for request in [add_route(listener, number) for number in numbers]:
        taken.append(bench.client.call("AddRoute", request))
        time.sleep(0.05)
    bench.client.call("ApplyChanges", batch(admin.remove(listener, hostname(number)) for number in numbers))
    return taken


# ---- traffic


class Caller(threading.Thread):
    """Makes one call after the other at a rate, until it is stopped."""

    def __init__(self, client: Client, requests: Iterator[tuple[str, bytes]], per_second: float):
        super().__init__(daemon=True)
        self.latencies: list[float] = []
        self._client, self._requests, self._interval = client, requests, 1 / per_second
        self._stopped = threading.Event()
        self._failure: Exception | None = None

    def run(self) -> None:
        due = time.perf_counter()
        try:
            while not self._stopped.wait(max(0.0, due - time.perf_counter())):
                self.latencies.append(self._client.call(*next(self._requests)))
                due += self._interval
        except Exception as failure:
            self._failure = failure

    def stop(self) -> None:
        self._stopped.set()
        self.join()
        if self._failure:
            raise self._failure


class Calls:
    """Calls beside the traffic, from two callers, so that a slow reply does not delay all of them."""

    def __init__(self, bench: Bench):
        self._client = bench.client
        listener = bench.server.listener
        routes = [("AddRoute", add_route(listener, ROUTES)), ("RemoveRoute", remove_route(listener, ROUTES))]
        blocks = [admin.rule(IP, "203.0.113.7"), admin.rule(CIDR, "198.51.100.0/24")]
        rules = [
            (f"{verb}FirewallRule", getattr(api, f"{verb}FirewallRuleRequest")(rule=rule).SerializeToString())
            for verb, rule in itertools.product(("Add", "Remove"), blocks)
        ]
        reads = [("GetStatus", b"")]
        # Each goes on where it stopped in the block before.
        self._sources = {
            "nothing": (),
            "reads": (itertools.cycle(reads), itertools.cycle(reads)),
            "changes": (itertools.cycle(routes), itertools.cycle(rules)),
        }

    @contextlib.contextmanager
    def of_kind(self, kind: str) -> Iterator[list[Caller]]:
        callers = [Caller(self._client, source, CHANGES_PER_SECOND / 2) for source in self._sources[kind]]
        for caller in callers:
            caller.start()
        try:
            yield callers
        finally:
            for caller in callers:
                caller.stop()


def find_rates(bench: Bench, load: Load) -> tuple[float, float]:
    """Rates of round trips and connections, in the proportion that they have at saturation, that leave the machine as
    idle as wanted."""
    load.begin()
    time.sleep(2)
    most = load.end()
    share = 0.6
    for _ in range(10):
        rates = (share * most["round_trips"]["per_second"], share * most["connections"]["per_second"])
        load.begin(*rates)
        time.sleep(0.3)
        cpu = Cpu(bench.server, load, bench.backend)
        time.sleep(1)
        idle = cpu.shares()["idle"]
        if abs(idle - IDLE_WANTED) < IDLE_TOLERANCE:
            break
        share *= min(1.3, max(0.7, (1 - IDLE_WANTED) / (1 - idle)))
    return rates


def measure_block(bench: Bench, load: Load, calls: Calls, kind: str, rates: tuple[float, ...]) -> dict[str, Any]:
    with calls.of_kind(kind) as callers:
        time.sleep(0.2)
        made_before = sum(len(caller.latencies) for caller in callers)
        cpu = Cpu(bench.server, load, bench.backend)
        load.begin(*rates)
        time.sleep(bench.plan.block_seconds)
        block = load.end()
        block["cpu"] = cpu.shares()
        made = sum(len(caller.latencies) for caller in callers) - made_before
        block["calls_per_second"] = made / block["seconds"]
    block["call_seconds"] = [latency for caller in callers for latency in caller.latencies]
    return block


def measure_traffic(bench: Bench, load: Load, calls: Calls, rates: tuple[float, ...] = ()) -> list[dict[str, Any]]:
    """Rounds of a block of each kind, in random order. The undisturbed ones, unless there are too few of them."""
    order = random.Random(1)
    kinds = ["nothing", "reads", "changes"]
    rounds: list[dict[str, Any]] = []
    wanted = bench.plan.rounds
    while sum(map(is_undisturbed, rounds)) < wanted and len(rounds) < 2 * wanted:
        blocks = {kind: measure_block(bench, load, calls, kind, rates) for kind in order.sample(kinds, len(kinds))}
        rounds.append({kind: blocks[kind] for kind in kinds})
        say(f"  round {len(rounds)}: others used {others(rounds[-1]):.0%} of the cores")
    return sorted(rounds, key=others)[:wanted]


def others(blocks: dict[str, Any]) -> float:
    """The largest share of the cores that other programs used in a block."""
    return max(block["cpu"]["others"] for block in blocks.values())


def is_undisturbed(blocks: dict[str, Any]) -> bool:
    return others(blocks) <= OTHERS_MAX


# ---- the run


def settings(plan: Plan, directory: Path) -> dict[str, Any]:
    found = subprocess.run(["df", "--output=fstype", directory], check=True, capture_output=True, text=True)
    return {
        "cores": len(os.sched_getaffinity(0)),
        "kernel": platform.release(),
        "file_system": found.stdout.split()[-1],
        "load": os.getloadavg()[0],
        "routes": ROUTES,
        "rules": RULES,
        "established": ESTABLISHED,
        "connecting": CONNECTING,
        "changes": CHANGES_PER_SECOND,
        "idle": IDLE_WANTED,
        "others": OTHERS_MAX,
        "plan": asdict(plan),
    }


def run(program: Path, load_program: Path, plan: Plan, directory: Path) -> dict[str, Any]:
    results: dict[str, Any] = {"settings": settings(plan, directory), "sync_ms": measure_sync_ms(directory)}
    hellos = directory / "hellos"
    names = [hostname(i * (ROUTES // HELLOS)) for i in range(HELLOS)]
    hellos.write_bytes(b"".join(client_hello(name, pad_to=HELLO_MESSAGE_BYTES) for name in names))
    server = Server(program, directory)
    with Backend(load_program) as backend, Backend(load_program) as other_backend:
        say("filling the database")
        fill(server, backend)
        say("starts")
        results["starts"] = measure_starts(plan, server)
        with server.running() as client:
            bench = Bench(plan, server, client, backend, other_backend)
            start_load = lambda: Load(load_program, server.port, hellos, ESTABLISHED, CONNECTING)
            results |= measure_running(bench, start_load)
    return results | {"warnings": server.warnings()}


def measure_running(bench: Bench, start_load: Callable[[], Load]) -> dict[str, Any]:
    calls = Calls(bench)
    results: dict[str, Any] = {}
    say("batches and AddRoute without traffic")
    results["batches_quiet"] = measure_batches(bench)
    results["adds_quiet"] = measure_adds(bench)
    with start_load() as load:
        say("batches and AddRoute beside full traffic")
        load.begin()
        results["batches_full"] = measure_batches(bench)
        results["adds_full"] = measure_adds(bench)
        say("traffic at saturation")
        results["traffic_full"] = measure_traffic(bench, load, calls)
    with start_load() as load:
        say("traffic with idle cores")
        rates = find_rates(bench, load)
        results["traffic_moderate"] = measure_traffic(bench, load, calls, rates)
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("mc_proxy", metavar="MC_PROXY", type=Path)
    parser.add_argument("load", metavar="LOAD", type=Path)
    parser.add_argument("--json", metavar="FILE", type=Path, help="write the raw numbers too")
    parser.add_argument("--quick", action="store_true", help="see that it works; the numbers mean little")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("terminated"))  # and ends everything that it has started
    with tempfile.TemporaryDirectory(prefix="mc-bench-") as directory:
        plan = QUICK if options.quick else Plan()
        results = run(options.mc_proxy.resolve(), options.load.resolve(), plan, Path(directory))
    report(results)
    if options.json:
        options.json.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
