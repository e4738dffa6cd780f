#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""mc-proxy beside HAProxy, nginx, sniproxy and no proxy at all: the same work, in turns, on the same machine.

  run.py MC_PROXY TRAFFIC [--quick] [--only WORKLOAD …] [--peers NAME …] [--json FILE] [--markdown FILE] [--plots FOLDER]

MC_PROXY is a release build, TRAFFIC the program of bench/load. All proxies run at once and rest while it is not their
turn; a round measures each of them once, in random order, and what is printed are medians over the rounds. Needs root,
for network namespaces; those, and all processes, end with it. The exit code says nothing about the results: this is a
benchmark, not a test.
"""

import argparse
import contextlib
import datetime
import json
import os
import platform
import random
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests/e2e"))

from hello import client_hello
from network import Place, apart, congestion_control_allowed, inside, together
from peers import BEFORE, DESCRIPTORS, NAME, Peer, all_peers
from report import markdown
from workloads import HELD, WORKLOADS, Workload

BACKEND_PORT = 7100
HELLO_BYTES = 512  # as large as browsers' without post-quantum keys
CELL_LIMIT = 60.0  # seconds after which a cell that did not end is given up
HELD_CONNECTIONS = 9_000
HELD_SHARE = 2  # a round of held connections for so many rounds of the others: a start of each proxy is part of it


class Bench:
    """One place with a backend in it, and all proxies."""

    def __init__(self, traffic: Path, directory: Path, place: Place, peers: list[Peer]):
        self.place, self.peers, self.directory = place, peers, directory
        self._traffic = traffic
        self._hellos = directory / "hellos"
        self._hellos.write_bytes(client_hello(NAME, pad_to=HELLO_BYTES))

    @contextlib.contextmanager
    def backend(self) -> Iterator[None]:
        words = [self._traffic, "backend", f"{self.place.backend_host}:{BACKEND_PORT}"]
        with self._process(self.place.backend, *words) as process:
            process.stdout.readline()
            try:
                yield
            finally:
                process.kill()

    @contextlib.contextmanager
    def started(self, *peers: Peer) -> Iterator[None]:
        with contextlib.ExitStack() as stack:
            for peer in peers:
                stack.callback(peer.stop)
                peer.start(self.place, BACKEND_PORT, self.directory)
            yield

    def measure(self, peer: Peer, workload: Workload, seconds: float, further: tuple[str, ...] = ()) -> dict[str, Any]:
        """The figures of one cell, or what went wrong."""
        words = [*self._client("run", peer), *workload.arguments, "--seconds", str(seconds), *further]
        try:
            done = subprocess.run(words, capture_output=True, text=True, timeout=CELL_LIMIT)
        except subprocess.TimeoutExpired:
            return {"failed": f"no end within {CELL_LIMIT:g} s"}
        if done.returncode != 0:
            return {"failed": done.stderr.strip()}
        answer = json.loads(done.stdout)
        errors = answer["lost"] + sum(one["errors"] for one in answer.values() if isinstance(one, dict))
        try:
            return workload.make(answer) | {"errors": errors}
        except ZeroDivisionError:
            return {"failed": f"nothing was moved, {errors} errors"}

    def measure_held(self, peer: Peer) -> dict[str, Any]:
        """A fresh proxy, so that what it holds is what these connections need."""
        with self.started(peer):
            process_before, kernel_before = peer.memory_bytes(), kernel_bytes()
            words = [*self._client("hold", peer), "--connections", str(HELD_CONNECTIONS)]
            with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as client:
                answer = json.loads(client.stdout.readline() or "{}")
                process, kernel = peer.memory_bytes(), kernel_bytes()
                client.stdin.close()
        opened = answer.get("opened", 0)
        if opened == 0:
            return {"failed": "no connection was opened"}
        return {
            "per_s": opened / answer["seconds"],
            "cpu_us": answer["cpu"] / opened * 1e6,
            "p99_us": answer["p99_us"],
            "process_kb": (process - process_before) / opened / 1000,
            "kernel_kb": (kernel - kernel_before) / opened / 1000,
            "errors": HELD_CONNECTIONS - opened,
        }

    def _client(self, command: str, peer: Peer) -> list[str]:
        limits = ["prlimit", f"--nofile={DESCRIPTORS}"]
        target = peer.address(self.place, BACKEND_PORT)
        words = [*limits, self._traffic, command, target, "--hellos", self._hellos]
        if processes := peer.processes():
            words += ["--cpu", *processes]
        return inside(self.place.client, *words)

    @contextlib.contextmanager
    def _process(self, namespace: str, *words: object) -> Iterator[subprocess.Popen[str]]:
        with subprocess.Popen(
            inside(namespace, "prlimit", f"--nofile={DESCRIPTORS}", *words), stdout=subprocess.PIPE, text=True
        ) as process:
            yield process


def kernel_bytes() -> int:
    """What the kernel holds for sockets, pipes and their buffers: its slabs, and the pages of TCP's queues."""
    values = {}
    for line in Path("/proc/meminfo").read_text().splitlines():
        name, _, rest = line.partition(":")
        values[name] = int(rest.split()[0]) * 1024
    return values["Slab"]


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


# ---- the rounds


def measure_rounds(bench: Bench, workloads: list[Workload], options: argparse.Namespace, label: str) -> list[dict]:
    """Cells as {"where", "workload", "peer", "round", figures…}."""
    order = random.Random(1)
    cells = []
    for number in range(options.rounds):
        for workload in workloads:
            for part in range(round(1 / workload.share)):
                for peer in order.sample(bench.peers, len(bench.peers)):
                    figures = bench.measure(peer, workload, options.seconds * workload.share)
                    cells.append({"where": label, "workload": workload.name, "peer": peer.name, "round": number})
                    cells[-1] |= {"part": part, "figures": figures}
            say(f"  {label}: round {number + 1} of {options.rounds}: {workload.name}")
    return cells


def measure_held_rounds(bench: Bench, options: argparse.Namespace, label: str) -> list[dict]:
    order = random.Random(2)
    cells = []
    for number in range(max(1, options.rounds // HELD_SHARE)):
        for peer in order.sample(bench.peers, len(bench.peers)):
            cell = {"where": label, "workload": HELD.name, "peer": peer.name, "round": number, "part": 0}
            cells.append(cell | {"figures": bench.measure_held(peer)})
        say(f"  {label}: round {number + 1}: {HELD.name}")
    return cells


def measure_place(place: Place, options: argparse.Namespace, directory: Path, label: str) -> list[dict]:
    peers = all_peers(options.mc_proxy, options.workers, options.before)
    peers = [peer for peer in peers if peer.name in (*options.peers, BEFORE)]
    bench = Bench(options.traffic, directory, place, peers)
    workloads = [workload for workload in WORKLOADS if workload.name in options.only]
    place.set_congestion_control(options.congestion)
    cells = []
    with bench.backend():
        if workloads:
            with bench.started(*peers):
                cells += measure_rounds(bench, workloads, options, label)
        if HELD.name in options.only:
            cells += measure_held_rounds(bench, options, label)
    return cells


def settings(options: argparse.Namespace) -> dict[str, Any]:
    return {
        "date": datetime.date.today().isoformat(),
        "command": "./dev bench " + " ".join(options.words),
        "kernel": platform.release(),
        "cores": len(os.sched_getaffinity(0)),
        "processor": processor(),
        "rounds": options.rounds,
        "seconds": options.seconds,
        "workers": options.workers,
        "congestion": options.congestion,
        "versions": {
            peer.name: peer.version() for peer in all_peers(options.mc_proxy, options.workers) if peer.version_command
        },
    }


def processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def run(options: argparse.Namespace) -> dict[str, Any]:
    results: dict[str, Any] = {"settings": settings(options), "cells": []}
    with (
        tempfile.TemporaryDirectory(prefix="mc-bench-") as name,
        congestion_control_allowed(options.congestion),
    ):
        for where in options.places:
            directory = Path(name) / where
            directory.mkdir()
            with PLACES[where]() as place:
                say(f"{where}: {place.link}")
                results["cells"] += measure_place(place, options, directory, where)
    return results


PLACES = {"veth": apart, "loopback": together}


def arguments(words: list[str]) -> argparse.Namespace:
    names = [workload.name for workload in (*WORKLOADS, HELD)]
    peers = [peer.name for peer in all_peers(Path(), 0)]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("mc_proxy", metavar="MC_PROXY", type=lambda text: Path(text).resolve())
    parser.add_argument("traffic", metavar="TRAFFIC", type=lambda text: Path(text).resolve())
    parser.add_argument("--quick", action="store_true", help="one short round; the numbers mean little")
    parser.add_argument("--only", nargs="+", choices=names, default=names, metavar="WORKLOAD", help=", ".join(names))
    parser.add_argument("--peers", nargs="+", choices=peers, default=peers, metavar="NAME", help=", ".join(peers))
    parser.add_argument("--places", nargs="+", choices=list(PLACES), default=list(PLACES), help=", ".join(PLACES))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.5, help="of a cell")
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="threads or processes of each proxy")
    parser.add_argument("--congestion", choices=["cubic", "bbr"], default="cubic")
    parser.add_argument(
        "--before", metavar="MC_PROXY", type=lambda text: Path(text).resolve(), help="another build of mc-proxy, beside"
    )
    parser.add_argument("--json", type=Path, help="write every cell")
    parser.add_argument("--markdown", type=Path, help="write the tables here too")
    parser.add_argument("--plots", type=Path, metavar="FOLDER", help="draw the tables (SVG)")
    options = parser.parse_args(words)
    options.words = words[2:]
    if options.quick:
        options.rounds, options.seconds, options.places = 1, 0.5, options.places[:1]
    return options


def main() -> None:
    options = arguments(sys.argv[1:])
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("terminated"))  # and nothing that it has started stays behind
    results = run(options)
    if options.json:
        options.json.write_text(json.dumps(results, indent=1))
    print(markdown(results))
    if options.markdown:
        options.markdown.write_text(markdown(results))


if __name__ == "__main__":
    main()
