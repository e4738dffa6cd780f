#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What a pool of backends costs a connection, how many clients fail while a backend is killed, and what checks cost.

  pools.py MC_PROXY TRAFFIC [--rounds N] [--seconds S] [--markdown FILE]

MC_PROXY is a release build, TRAFFIC the program of bench/load. The first table has mc-proxy with a plain route and with pools
of 1, 10 and 1,000 backends, and with one that sends a PROXY header, beside HAProxy and nginx with a pool of the same 10 (random of two, everywhere). The second has four
backends, one of which is killed with SIGKILL after a quarter of the time and is back after a half, under the same load; each
proxy has what its documents recommend: checks every second (nginx has none), and other backends for failed dials. The third has
10,000 backends that mc-proxy checks from its one thread, and no other work. Needs root, for a network namespace. The exit code
says nothing about the results: this is a benchmark, not a test.
"""

import argparse
import contextlib
import json
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from bench import BACKEND_PORT, Bench, background, end_on_signals, machine, say
from network import Place, inside, together
from peers import NAME, HAProxy, McProxy, Nginx, Peer
from profiles import sweep
from workloads import WORKLOADS

CONNECT = next(workload for workload in WORKLOADS if workload.name == "connect")
KILLED = 4  # backends of which one is killed
KILL_PORT = 7110
Addresses = Callable[[Place, int], list[str]]


def same_backend(count: int) -> Addresses:
    """One process at many addresses: what differs is only how many there are to choose from."""
    return lambda _, port: [f"127.1.{i // 250}.{i % 250 + 1}:{port}" for i in range(count)]


def four_backends(place: Place, _: int) -> list[str]:
    return [f"{place.backend_host}:{KILL_PORT + i}" for i in range(KILLED)]


class McProxyPool(McProxy):
    def __init__(self, workers: int, program: Path, name: str, port: int, addresses: Addresses, settings: str = ""):
        super().__init__(workers, program, "inline", name, port)
        self._addresses, self._settings = addresses, settings

    def command(self, place: Place, backend_port: int, directory: Path) -> list[str]:
        words = super().command(place, backend_port, directory)
        config = Path(words[-1])
        plain = f'backend = "{place.backend_host}:{backend_port}"\n'
        backends = "".join(f'[[pools.backends]]\naddress = "{one}"\n' for one in self._addresses(place, backend_port))
        config.write_text(
            config.read_text().replace(plain, 'pool = "app"\n') + f'[[pools]]\nname = "app"\n{self._settings}{backends}'
        )
        return words


class HAProxyPool(HAProxy):
    def __init__(self, workers: int, name: str, addresses: Addresses, check: bool):
        super().__init__(workers, splice=True)
        self.name = name
        self._addresses, self._check = addresses, " check inter 1s" if check else ""

    def command(self, place: Place, backend_port: int, directory: Path) -> list[str]:
        words = super().command(place, backend_port, directory)
        config = Path(words[-1])
        one = f" server app {place.backend_host}:{backend_port}\n"
        servers = self._addresses(place, backend_port)
        many = "".join(f" server s{i} {address}{self._check}\n" for i, address in enumerate(servers))
        config.write_text(config.read_text().replace(one, f" balance random(2)\n option redispatch 1\n retries 3\n{many}"))
        return words


class NginxPool(Nginx):
    def __init__(self, workers: int, name: str, addresses: Addresses):
        super().__init__(workers, 16)
        self.name = name
        self._addresses = addresses

    def command(self, place: Place, backend_port: int, directory: Path) -> list[str]:
        words = super().command(place, backend_port, directory)
        config = Path(words[-1])
        one = f"{{ server {place.backend_host}:{backend_port}; }}"
        many = "".join(f" server {address};" for address in self._addresses(place, backend_port))
        config.write_text(config.read_text().replace(one, f"{{ zone app 1m; random two least_conn;{many} }}", 1))
        return words


# ---- what a pool costs


def measure_cost(options: argparse.Namespace, place: Place, directory: Path) -> str:
    ten = same_backend(10)
    peers: list[Peer] = [
        McProxy(options.workers, options.mc_proxy, "inline", "mc-proxy, a plain route", 7001),
        *(
            McProxyPool(options.workers, options.mc_proxy, f"mc-proxy, a pool of {count}", 7010 + i, same_backend(count))
            for i, count in enumerate((1, 10, 1000))
        ),
        McProxyPool(
            options.workers, options.mc_proxy, "mc-proxy, a pool of 1 with PROXY v2", 7015, same_backend(1), 'send_proxy = "v2"\n'
        ),
        HAProxyPool(options.workers, "HAProxy with splice, a pool of 10", ten, check=False),
        NginxPool(options.workers, "nginx, a pool of 10", ten),
    ]
    bench = Bench(options.traffic, directory, place, peers)
    order = random.Random(1)
    cells: dict[str, list[dict]] = {peer.name: [] for peer in peers}
    with backend(options.traffic, place, f"0.0.0.0:{BACKEND_PORT}"), bench.started(*peers):
        for number in range(options.rounds):
            for peer in order.sample(peers, len(peers)):
                cells[peer.name].append(bench.measure(peer, CONNECT, options.seconds))
            say(f"  cost: round {number + 1} of {options.rounds}")
    plain = statistics.median(cell["cpu_us"] for cell in cells[peers[0].name])
    lines = ["| | connections/s | processor time, µs | to the plain route |", "| --- | --- | --- | --- |"]
    for name, measured in cells.items():
        per_s, cpu = ([cell[key] for cell in measured] for key in ("per_s", "cpu_us"))
        ratio = statistics.median(cpu) / plain
        lines.append(f"| {name} | {spread(per_s, 0)} | {spread(cpu, 1)} | {ratio:.2f} |")
    return "\n".join(lines)


def spread(values: list[float], digits: int) -> str:
    return f"{statistics.median(values):,.{digits}f} ({min(values):,.{digits}f}–{max(values):,.{digits}f})"


@contextlib.contextmanager
def backend(traffic: Path, place: Place, address: str) -> Iterator[subprocess.Popen[str]]:
    with background(place.backend, traffic, "backend", address) as process:
        process.stdout.readline()
        yield process


# ---- while a backend is killed


def measure_killed(options: argparse.Namespace, place: Place, directory: Path) -> str:
    peers: list[Peer] = [
        McProxyPool(
            options.workers, options.mc_proxy, "mc-proxy", 7020, four_backends,
            '[pools.check]\nkind = "tcp"\ninterval = "1s"\n',
        ),
        HAProxyPool(options.workers, "HAProxy with splice", four_backends, check=True),
        NginxPool(options.workers, "nginx", four_backends),
    ]  # fmt: skip
    bench = Bench(options.traffic, directory, place, peers)
    found: dict[str, list[tuple[int, int, float]]] = {peer.name: [] for peer in peers}
    order = random.Random(2)
    for number in range(options.rounds):
        for peer in order.sample(peers, len(peers)):
            found[peer.name].append(one_kill(options, bench, place, peer))
        say(f"  a backend is killed: round {number + 1} of {options.rounds}")
    lines = ["| | connections | that failed | p99, ms |", "| --- | --- | --- | --- |"]
    for name, rounds in found.items():
        counts, errors, p99 = zip(*rounds)
        lines.append(f"| {name} | {spread(counts, 0)} | {spread(errors, 0)} | {spread(p99, 1)} |")
    return "\n".join(lines)


def one_kill(options: argparse.Namespace, bench: Bench, place: Place, peer: Peer) -> tuple[int, int, float]:
    """Connections, how many of them failed, and their p99 in ms."""
    seconds = 4 * options.seconds
    with contextlib.ExitStack() as stack:
        servers = [stack.enter_context(backend(options.traffic, place, address)) for address in four_backends(place, 0)]
        stack.enter_context(bench.started(peer))
        victim = servers[0]

        def kill() -> None:
            victim.send_signal(signal.SIGKILL)

        def bring_back() -> None:
            stack.enter_context(backend(options.traffic, place, four_backends(place, 0)[0]))

        timers = [threading.Timer(seconds / 4, kill), threading.Timer(seconds / 2, bring_back)]
        words = [*bench._client("run", peer), *CONNECT.arguments, "--seconds", str(seconds)]
        for timer in timers:
            timer.start()
        done = subprocess.run(words, capture_output=True, text=True, timeout=60)
        for timer in timers:
            timer.join()
    answer = json.loads(done.stdout)
    one = answer["connect"]
    return one["count"], one["errors"] + answer["lost"], one["p99_us"] / 1000


# ---- what checks cost

CHECKED, POOL_SIZE, METRICS_PORT = 10_000, 1_000, 7090
CHECK_INTERVAL, CHECKED_FOR = 5, 15  # seconds


def checked_pools(place: Place, port: int, kind: str) -> str:
    name = f'name = "{NAME}"\n' if kind == "tls" else ""
    text = ""
    addresses = same_backend(CHECKED)(place, port)
    for i in range(0, CHECKED, POOL_SIZE):
        text += f'[[pools]]\nname = "checked{i}"\n[pools.check]\nkind = "{kind}"\n{name}interval = "{CHECK_INTERVAL}s"\n'
        text += "".join(f'[[pools.backends]]\naddress = "{one}"\n' for one in addresses[i : i + POOL_SIZE])
    return text


def measure_checks(options: argparse.Namespace, place: Place, directory: Path) -> str:
    lines = ["| check | checks/s | share of one processor | latest start, ms |", "| --- | --- | --- | --- |"]
    for kind, port in (("tcp", 7031), ("tls", 7032)):
        peer = McProxy(options.workers, options.mc_proxy, "inline", f"checks {kind}", port)
        peer.extra = f'[metrics]\naddr = "{place.proxy_host}:{METRICS_PORT}"\n{checked_pools(place, BACKEND_PORT, kind)}'
        bench = Bench(options.traffic, directory, place, [peer])
        with background(place.backend, *reply_server(kind, directory)) as server, bench.started(peer):
            server.stdout.readline()
            time.sleep(CHECK_INTERVAL)  # until every backend was checked once
            before, began = checks_so_far(place), processor_seconds(peer)
            time.sleep(CHECKED_FOR)
            after, ended = checks_so_far(place), processor_seconds(peer)
        made = after["passed"] - before["passed"]
        assert after["failed"] == 0, "a backend of this benchmark does not reply"
        share = (ended - began) / CHECKED_FOR
        lines.append(f"| {kind} | {made / CHECKED_FOR:,.0f} | {share:.2f} | {after['lateness'] * 1000:.0f} |")
        say(f"  checks: {kind}")
    return "\n".join(lines)


# Accepts at every address, and answers each hello with an alert, which passes: the least that a server can do.
REPLY_SERVER = """
import selectors, socket
listener = socket.create_server(("0.0.0.0", PORT), backlog=4096)
listener.setblocking(False)
chosen = selectors.DefaultSelector()
chosen.register(listener, selectors.EVENT_READ)
print("ready", flush=True)
while True:
    for key, _ in chosen.select():
        try:
            if key.fileobj is listener:
                client, _ = listener.accept()
                client.setblocking(False)
                chosen.register(client, selectors.EVENT_READ)
                continue
            if key.fileobj.recv(4096):
                key.fileobj.send(bytes([21, 3, 3, 0, 2, 2, 40]))
                continue
        except BlockingIOError:
            continue
        except OSError:
            pass
        chosen.unregister(key.fileobj)
        key.fileobj.close()
"""


def reply_server(kind: str, directory: Path) -> list[str]:
    program = directory / f"reply_{kind}.py"
    program.write_text(REPLY_SERVER.replace("PORT", str(BACKEND_PORT)))
    return [sys.executable, str(program)]


def checks_so_far(place: Place) -> dict[str, float]:
    words = ["curl", "--silent", f"http://{place.proxy_host}:{METRICS_PORT}/metrics"]
    text = subprocess.run(inside(place.client, *words), capture_output=True, text=True, check=True).stdout

    def value(series: str) -> float:
        return next(float(line.split()[-1]) for line in text.splitlines() if line.startswith(series + " "))

    found = {result: value(f'mc_proxy_checks_total{{result="{result}"}}') for result in ("passed", "failed")}
    return found | {"lateness": value("mc_proxy_check_lateness_seconds")}


def processor_seconds(peer: Peer) -> float:
    ticks = 0
    for process in peer.processes():
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])  # utime and stime (proc(5))
    return ticks / os.sysconf("SC_CLK_TCK")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("mc_proxy", metavar="MC_PROXY", type=lambda text: Path(text).resolve())
    parser.add_argument("traffic", metavar="TRAFFIC", type=lambda text: Path(text).resolve())
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=1.0, help="of a cell; a kill takes four times as long")
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="threads or processes of each proxy")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the tables here too")
    options = parser.parse_args()
    end_on_signals()
    sweep()
    with tempfile.TemporaryDirectory(prefix="mc-bench-") as name, together() as place:
        cost = measure_cost(options, place, Path(name))
        killed = measure_killed(options, place, Path(name))
        checks = measure_checks(options, place, Path(name))
    about = machine()
    text = (
        f"{about['date']}, Linux {about['kernel']}, {about['cores']} cores ({about['processor']}); medians of {options.rounds} "
        f"rounds of {options.seconds:g} s, with the least and the greatest.\n\n{cost}\n\n"
        f"One of {KILLED} backends is killed and comes back; 64 connections at a time for {4 * options.seconds:g} s:\n\n{killed}\n\n"
        f"{CHECKED:,} backends, each checked every {CHECK_INTERVAL} s by one thread, for {CHECKED_FOR} s:\n\n{checks}\n"
    )
    print(text)
    if options.markdown:
        options.markdown.write_text(text)


if __name__ == "__main__":
    sys.exit(main())
