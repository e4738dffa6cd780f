#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Whether what mc-proxy spends on a byte, a round trip, a connection grows with workers, routes, rules, open connections.

  scale.py MC_PROXY TRAFFIC [--quick] [--rounds N] [--seconds S] [--json FILE] [--markdown FILE]

MC_PROXY is a release build, TRAFFIC the program of bench/load. One server for each size runs all the time and rests while
it is not its turn; a round measures each of them once, in random order. A ratio is that to the smallest size in the same
round. Needs root, for network namespaces; those, and all processes, end with it. The exit code says nothing about the
results: this is a benchmark, not a test.
"""

import argparse
import contextlib
import ipaddress
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench import BACKEND_PORT, Bench, end_on_signals, machine, say
from network import Place, apart, congestion_control_allowed
from peers import NAME, McProxy
from report import cell_text, number_text, table
from workloads import WORKLOADS

FIRST_PORT = 7200
CONGESTION = "cubic"
SIZES = {
    "workers": (1, 2),
    "routes": (10, 1_000, 100_000),
    "rules": (10, 100_000, 1_000_000),
    "open connections": (100, 1_000, 9_000),
}
COSTS = {
    "connect": ("cpu_us", "µs/connection"),
    "ping-32": ("cpu_us", "µs/round trip"),
    "bulk-down": ("cpu_s_per_gb", "s/GB"),
}
NAMES_ASKED = 1_024  # of all routes, so that a lookup does not find its route in a near cache only
RULES_AT_ONCE = 50_000  # words of a command, of which the kernel takes 2 MB (execve(2))

NOTES = """\
{date}, Linux {kernel}, {cores} cores ({processor}), {workers} workers where nothing else is said, cubic. {version}.

Processor time of the proxy, all its threads: medians of {rounds} rounds of {seconds:g} s, with the least and the greatest,
and ratios to the smallest size. Rules are addresses and CIDR blocks in turn, none of which blocks the clients; clients ask
for up to {names:,} of the routes in turn; open connections rest beside those that are measured."""


class Setting(McProxy):
    """A server of one size."""

    def __init__(self, program: Path, kind: str, size: int, port: int):
        super().__init__(size if kind == "workers" else os.cpu_count() or 1, program, "inline", "mc-proxy", port)
        self.kind, self.size = kind, size

    def hostnames(self) -> list[str]:
        """Of its routes."""
        if self.kind != "routes":
            return [NAME]
        return [f"app-{number % 100}.customer-{number}.example.com" for number in range(self.size)]

    def fill(self, place: Place, directory: Path) -> None:
        """Brings routes and rules in."""
        if self.kind == "routes":
            routes = directory / "routes"
            backend = f"{place.backend_host}:{BACKEND_PORT}"
            routes.write_text("".join(f"{name} {backend}\n" for name in self.hostnames()))
            self._ask(directory, "routes", "replace", str(routes))
        if self.kind == "rules":
            rules = [_rule(number) for number in range(self.size)]
            for first in range(0, self.size, RULES_AT_ONCE):
                self._ask(directory, "firewall", "add", *rules[first : first + RULES_AT_ONCE])

    def command(self, place: Place, backend_port: int, directory: Path) -> list[str]:
        self.extra = f'[grpc]\nsocket = "{directory / "admin.sock"}"\n'
        return super().command(place, backend_port, directory)

    def _ask(self, directory: Path, command: str, verb: str, *words: str) -> None:
        config = str(directory / "mc-proxy.toml")
        done = subprocess.run([self._program, command, verb, "-c", config, *words], capture_output=True, text=True)
        if done.returncode != 0:
            raise SystemExit(f"mc-proxy {command} {verb}: {done.stderr.strip()}")


def _rule(number: int) -> str:
    address = ipaddress.IPv4Address("16.0.0.0") + 64 * number
    return f"{address}/27" if number % 2 else str(address)


@contextlib.contextmanager
def running(setting: Setting, place: Place, options: argparse.Namespace, directory: Path) -> Iterator[Bench]:
    """The server with all that it is to have."""
    directory.mkdir()
    names = setting.hostnames()
    bench = Bench(options.traffic, directory, place, [setting], names[:: -(-len(names) // NAMES_ASKED)])
    with contextlib.ExitStack() as stack:
        stack.enter_context(bench.started(setting))
        setting.fill(place, directory)
        if setting.kind == "open connections":
            answer = stack.enter_context(bench.holding(setting, setting.size))
            if answer.get("opened") != setting.size:
                raise SystemExit(f"{answer.get('opened')} of {setting.size} connections were opened")
        yield bench


def measure(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Cells as {"kind", "size", "workload", "round", "figures"}."""
    order = random.Random(1)
    chosen = [(kind, size) for kind in options.only for size in SIZES[kind]]
    workloads = [workload for workload in WORKLOADS if workload.name in COSTS]
    cells = []
    with contextlib.ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mc-bench-")))
        stack.enter_context(congestion_control_allowed(CONGESTION))
        place = stack.enter_context(apart())
        place.set_congestion_control(CONGESTION)
        stack.enter_context(Bench(options.traffic, directory, place, []).backend())
        benches = []
        for number, (kind, size) in enumerate(chosen, 1):
            setting = Setting(options.mc_proxy, kind, size, FIRST_PORT + number)
            benches.append(stack.enter_context(running(setting, place, options, directory / str(number))))
            say(f"ready: {size:,} {kind}")
        for number in range(options.rounds):
            for workload in workloads:
                for bench in order.sample(benches, len(benches)):
                    (setting,) = bench.peers
                    cell = {"kind": setting.kind, "size": setting.size, "workload": workload.name, "round": number}
                    cells.append(cell | {"figures": bench.measure(setting, workload, options.seconds)})
            say(f"round {number + 1} of {options.rounds}")
    return cells


# ---- the table


def markdown(results: dict[str, Any]) -> str:
    heads = [head for _, unit in COSTS.values() for head in (unit, "ratio")]
    rows = [["", *heads], ["---"] * (len(heads) + 1)]
    measured = {(cell["kind"], cell["size"]) for cell in results["cells"]}
    for kind, size in [(kind, size) for kind, sizes in SIZES.items() for size in sizes if (kind, size) in measured]:
        rows.append([f"{size:,} {kind}" if size > 1 else "1 worker"])
        for workload, (key, _) in COSTS.items():
            values = _values(results["cells"], kind, size, workload, key)
            least = _values(results["cells"], kind, SIZES[kind][0], workload, key)
            ratios = [values[number] / least[number] for number in values if least.get(number)]
            rows[-1] += [cell_text(list(values.values())), _ratio_text(ratios) if size != SIZES[kind][0] else ""]
    failed = [cell for cell in results["cells"] if "failed" in cell["figures"]]
    troubles = [f"{len(failed)} cells failed ({failed[0]['figures']['failed']})."] if failed else []
    errors = sum(cell["figures"].get("errors", 0) for cell in results["cells"])
    troubles += [f"{errors} connections failed."] if errors else []
    return "\n\n".join([NOTES.format(**results["settings"]), table(rows), *troubles]) + "\n"


def _values(cells: list[dict], kind: str, size: int, workload: str, key: str) -> dict[int, float]:
    """By round."""
    wanted = (kind, size, workload)
    found = [cell for cell in cells if (cell["kind"], cell["size"], cell["workload"]) == wanted]
    return {cell["round"]: cell["figures"][key] for cell in found if key in cell["figures"]}


def _ratio_text(ratios: list[float]) -> str:
    if not ratios:
        return ""
    return f"**{statistics.median(ratios):.2f}** ({number_text(min(ratios))}–{number_text(max(ratios))})"


def arguments(words: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("mc_proxy", metavar="MC_PROXY", type=lambda text: Path(text).resolve())
    parser.add_argument("traffic", metavar="TRAFFIC", type=lambda text: Path(text).resolve())
    parser.add_argument("--quick", action="store_true", help="one short round; the numbers mean little")
    parser.add_argument("--only", nargs="+", choices=list(SIZES), default=list(SIZES), help="what grows")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--seconds", type=float, default=1.0, help="of a cell")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every cell")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the table here too")
    options = parser.parse_args(words)
    if options.quick:
        options.rounds, options.seconds = 1, 0.3
    return options


def main() -> None:
    options = arguments(sys.argv[1:])
    end_on_signals()
    settings = machine() | {
        "version": McProxy(0, options.mc_proxy, "inline", "mc-proxy", 0).version(),
        "workers": os.cpu_count(),
        "rounds": options.rounds,
        "seconds": options.seconds,
        "names": NAMES_ASKED,
    }
    results = {"settings": settings, "cells": measure(options)}
    if options.json:
        options.json.write_text(json.dumps(results, indent=1))
    print(markdown(results))
    if options.markdown:
        options.markdown.write_text(markdown(results))


if __name__ == "__main__":
    main()
