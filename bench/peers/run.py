#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""mc-proxy beside HAProxy, nginx, sniproxy, the least relay and no proxy at all: the same work, in turns, on one machine.

  run.py MC_PROXY TRAFFIC [--quick] [--only WORKLOAD …] [--peers NAME …] [--places NAME …] [--congestion NAME …]
         [--json FILE] [--markdown FILE] [--plots FOLDER]

MC_PROXY is a release build, TRAFFIC the program of bench/load; bench/floor's is beside it. All proxies run at once and rest
while it is not their turn; a round measures each of them once, in random order, and what is printed are medians over the
rounds. bench/README.md says what each figure means. Needs root, for network namespaces; those, and all processes, end with
it. The exit code says nothing about the results: this is a benchmark, not a test.
"""

import argparse
import contextlib
import json
import os
import random
import shlex
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench import Bench, end_on_signals, machine, say
from crypto import CryptoBench
from hellos import measure_hellos
from network import Place, apart, congestion_control_allowed, congestion_controls, together
from peers import BEFORE, Floor, Peer, all_peers
from profiles import PROFILES, link, sweep
from report import markdown
from workloads import ALL, CONGESTED, CRYPTO, HELD, WORKLOADS, Workload

HELLOS = "hellos"  # among the workloads' names
SHAPED = ("bulk-down", "bulk-up", "ping-32", "connect")  # what is measured over a network with delay
SHAPED_ARGUMENTS = ("--warm-up", "2", "--unit", "14")  # until the windows are open; in pieces that a slow link fills too
HELD_SHARE = 2  # a round of held connections for so many rounds of the others: a start of each proxy is part of it


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


def chosen_peers(options: argparse.Namespace) -> list[Peer]:
    peers = all_peers(options.mc_proxy, options.workers, options.before, options.traffic.with_name("floor"))
    return [peer for peer in peers if peer.name in (*options.peers, BEFORE)]


def measure_place(
    place: Place, options: argparse.Namespace, directory: Path, label: str, only: list[str]
) -> list[dict]:
    peers = chosen_peers(options)
    cells = []
    for kind, every in ((Bench, WORKLOADS), (CryptoBench, CRYPTO)):
        workloads = [workload for workload in every if workload.name in only]
        bench = kind(options.traffic, directory, place, peers)
        bench.further = SHAPED_ARGUMENTS if place.name in PROFILES else ()
        if workloads:
            with bench.backend(), bench.started(*peers):
                cells += measure_rounds(bench, workloads, options, label)
    if HELD.name in only:
        bench = Bench(options.traffic, directory, place, peers)
        with bench.backend():
            cells += measure_held_rounds(bench, options, label)
    return cells


def settings(options: argparse.Namespace) -> dict[str, Any]:
    return {
        **machine(),
        "command": command_text(options.words),
        "rounds": options.rounds,
        "seconds": options.seconds,
        "workers": options.workers,
        "congestion": options.congestion,
        "versions": {
            peer.name: peer.version() for peer in all_peers(options.mc_proxy, options.workers) if peer.version_command
        },
    }


def command_text(words: list[str]) -> str:
    """As one would type it, without the files that were written."""
    outputs = {"--json", "--markdown", "--plots"}
    shown = [word for before, word in zip(["", *words], words) if word not in outputs and before not in outputs]
    return shlex.join(["./dev", "bench", *shown])


def run(options: argparse.Namespace) -> dict[str, Any]:
    """{"settings", "cells", "missing": {where: why nothing was measured there}, "links": {where: what it is
    made of}, "hellos"}."""
    results: dict[str, Any] = {"settings": settings(options), "cells": [], "missing": {}, "links": {}}
    sweep()
    with tempfile.TemporaryDirectory(prefix="mc-bench-") as name:
        for where in options.places:
            directory = Path(name) / where
            directory.mkdir()
            with place_named(where, options.traffic.with_name("delay")) as place:
                results["links"][where] = place.link
                say(f"{where}: {place.link}")
                for congestion in options.congestion:
                    label = f"{where}, {congestion}"
                    if congestion not in congestion_controls():
                        results["missing"][label] = f"this kernel has {', '.join(congestion_controls())}."
                        continue
                    only = [name for name in options.only if name in CONGESTED or congestion == options.congestion[0]]
                    if where in PROFILES:
                        only = [name for name in options.only if name in SHAPED]
                    with congestion_control_allowed(congestion):
                        place.set_congestion_control(congestion)
                        results["cells"] += measure_place(place, options, directory, label, only)
                if HELLOS in options.only and "hellos" not in results:
                    readers = [peer for peer in chosen_peers(options) if not isinstance(peer, Floor)]
                    results["hellos"] = measure_hellos(Bench(options.traffic, directory, place, readers))
                    say(f"  {where}: {HELLOS}")
    return results


@contextlib.contextmanager
def place_named(name: str, delay_program: Path) -> Iterator[Place]:
    if name == "loopback":
        made = together()
    elif name == "veth":
        made = apart()
    else:
        profile = PROFILES[name]
        made = apart(lambda a, x, b, y: link(profile, a, x, b, y, delay_program))
    with made as place:
        yield replace(place, name=name)


PLACES = ("veth", "loopback", *(name for name in PROFILES if name != "none"))


def arguments(words: list[str]) -> argparse.Namespace:
    names = [*(workload.name for workload in ALL), HELLOS]
    peers = [peer.name for peer in all_peers(Path(), 0)]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("mc_proxy", metavar="MC_PROXY", type=lambda text: Path(text).resolve())
    parser.add_argument("traffic", metavar="TRAFFIC", type=lambda text: Path(text).resolve())
    parser.add_argument("--quick", action="store_true", help="one short round in one place; the numbers mean nothing")
    parser.add_argument("--only", nargs="+", choices=names, default=names, metavar="WORKLOAD", help=", ".join(names))
    parser.add_argument("--peers", nargs="+", choices=peers, default=peers, metavar="NAME", help=", ".join(peers))
    parser.add_argument("--places", nargs="+", choices=PLACES, default=PLACES[:2], metavar="PLACE", help=", ".join(PLACES))
    parser.add_argument("--rounds", type=int, default=5, help="of each cell, which takes turns (default: 5)")
    parser.add_argument("--seconds", type=float, default=1.5, help="of a cell (default: 1.5)")
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="threads or processes of each proxy")
    parser.add_argument(
        "--congestion",
        nargs="+",
        default=["cubic", "bbr"],
        metavar="NAME",
        help=f"the first for every workload, further ones for {', '.join(CONGESTED)} (default: cubic bbr)",
    )
    parser.add_argument(
        "--before", metavar="MC_PROXY", type=lambda text: Path(text).resolve(), help="another build of mc-proxy, beside"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every cell")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the tables here too")
    parser.add_argument("--plots", type=Path, metavar="FOLDER", help="draw the main figures, one SVG for each place")
    options = parser.parse_args(words)
    options.words = words[2:]
    if options.quick:
        options.rounds, options.seconds, options.places = 1, 0.3, options.places[:1]
        options.congestion = options.congestion[:1]
    return options


def main() -> None:
    options = arguments(sys.argv[1:])
    end_on_signals()
    results = run(options)
    if options.json:
        options.json.write_text(json.dumps(results, indent=1))
    print(markdown(results))
    if options.markdown:
        options.markdown.write_text(markdown(results))
    if options.plots:
        from plots import draw  # not every machine has matplotlib

        for path in draw(results, options.plots):
            say(f"wrote {path}")


if __name__ == "__main__":
    main()
