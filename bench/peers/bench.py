# SPDX-License-Identifier: Apache-2.0
"""One place with a backend and the proxies in it, and the measuring of a cell: one proxy under one workload for a while."""

import contextlib
import datetime
import json
import os
import platform
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests/e2e/lib"))

from hello import client_hello
from network import Place, inside
from peers import DESCRIPTORS, NAME, Peer
from workloads import Workload

BACKEND_PORT = 7100
HELLO_BYTES = 512  # as large as browsers' without post-quantum keys
CELL_LIMIT = 60.0  # seconds after which a cell that did not end is given up
HELD_CONNECTIONS = 9_000


class Bench:
    """One place with a backend in it, and all proxies. `names` are what the clients ask for, in turn."""

    def __init__(
        self, traffic: Path, directory: Path, place: Place, peers: Sequence[Peer], names: Sequence[str] = (NAME,)
    ):
        self.place, self.peers, self.directory = place, peers, directory
        self.further: tuple[str, ...] = ()  # arguments of `traffic run`
        self._traffic = traffic
        self._hellos = directory / "hellos"
        self._hellos.write_bytes(b"".join(client_hello(name, pad_to=HELLO_BYTES) for name in names))

    @contextlib.contextmanager
    def backend(self) -> Iterator[None]:
        words = [self._traffic, "backend", f"{self.place.backend_host}:{BACKEND_PORT}"]
        with background(self.place.backend, *words) as process:
            process.stdout.readline()
            yield

    @contextlib.contextmanager
    def started(self, *peers: Peer) -> Iterator[None]:
        with contextlib.ExitStack() as stack:
            for peer in peers:
                stack.callback(peer.stop)
                peer.start(self.place, BACKEND_PORT, self.directory)
            yield

    def measure(self, peer: Peer, workload: Workload, seconds: float) -> dict[str, Any]:
        """The figures of one cell, or what went wrong."""
        words = [*self._client("run", peer), *workload.arguments, "--seconds", str(seconds), *self.further]
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
            with self.holding(peer, HELD_CONNECTIONS) as answer:
                process, kernel = peer.memory_bytes(), kernel_bytes()
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

    @contextlib.contextmanager
    def holding(self, peer: Peer, connections: int) -> Iterator[dict[str, Any]]:
        """What `traffic hold` said; the connections end with the block."""
        words = [*self._client("hold", peer), "--connections", str(connections)]
        with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as client:
            try:
                yield json.loads(client.stdout.readline() or "{}")
            except BaseException:
                client.kill()
                raise
            finally:
                client.stdin.close()

    def _client(self, command: str, peer: Peer) -> list[str]:
        limits = ["prlimit", f"--nofile={DESCRIPTORS}"]
        target = peer.address(self.place, BACKEND_PORT)
        words = [*limits, self._traffic, command, target, "--hellos", self._hellos]
        if processes := peer.processes():
            words += ["--cpu", *processes]
        return inside(self.place.client, *words)


@contextlib.contextmanager
def background(namespace: str, *words: object) -> Iterator[subprocess.Popen[str]]:
    """A program that runs in the namespace until the block ends. Its output can be read."""
    limits = ["prlimit", f"--nofile={DESCRIPTORS}"]
    with subprocess.Popen(inside(namespace, *limits, *words), stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def kernel_bytes() -> int:
    """What the kernel holds for sockets, files, pipes and their like: its slabs (proc(5), meminfo)."""
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("Slab:"):
            return int(line.split()[1]) * 1024
    raise SystemExit("/proc/meminfo has no line Slab")


def machine() -> dict[str, Any]:
    """What a table of results says about where they come from."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return {
        "date": datetime.date.today().isoformat(),
        "kernel": platform.release(),
        "cores": len(os.sched_getaffinity(0)),
        "processor": models[0] if models else platform.machine(),
    }


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def end_on_signals() -> None:
    """SIGTERM, SIGINT and SIGHUP end the program as an error does: nothing that it has started stays behind."""
    signals = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)

    def end(number: int, _: object) -> None:
        for each in signals:
            signal.signal(each, signal.SIG_IGN)
        sys.exit(f"ended by {signal.Signals(number).name}")

    for each in signals:
        signal.signal(each, end)
