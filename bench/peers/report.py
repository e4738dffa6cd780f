# SPDX-License-Identifier: Apache-2.0
"""The tables of a run, in Markdown."""

import statistics
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from peers import BEFORE, FLOOR, FLOOR_COPY
from workloads import ALL, Figure, Workload

OURS = "mc-proxy"
_NOT_PEERS = ("direct", FLOOR, FLOOR_COPY, BEFORE, "mc-proxy", "mc-proxy ring")

NOTES = """\
{date}, Linux {kernel}, {cores} cores ({processor}), {workers} threads or processes for each proxy. Command: `{command}`.
{versions}.

Medians of {rounds} rounds of {seconds:g} s, with the least and the greatest; rounds take turns through all proxies. Client,
backend and proxy share the cores, so a throughput says how much the machine does with that proxy in between, and the
processor time of the proxy (all its processes and threads, io_uring's workers included) is the figure that carries over
to other machines. *Ratio* is mc-proxy (its default engine) to the best peer of that row; direct and the floors are no peers.
*To the floors* is its ratio to the least relay that splices, and to the least that copies."""


def markdown(results: dict[str, Any]) -> str:
    settings = results["settings"]
    versions = "; ".join(dict.fromkeys(settings["versions"].values()))
    parts = [NOTES.format(**settings | {"versions": versions})]
    parts += [f"## {where}\n\nNot measured: {reason}" for where, reason in results["missing"].items()]
    for where in dict.fromkeys(cell["where"] for cell in results["cells"]):
        cells = [cell for cell in results["cells"] if cell["where"] == where]
        name = where.partition(",")[0]
        parts += [f"## {where}", f"Between client and proxy: {results['links'][name]}."]
        parts += [_section(workload, cells, name in JUDGED) for workload in ALL if _of(cells, workload)]
    if hellos := results.get("hellos"):
        parts += ["## ClientHellos", _hellos(hellos)]
    return "\n\n".join(parts) + "\n"


def _hellos(hellos: dict[str, Any]) -> str:
    accepted: dict[str, list[bool]] = hellos["accepted"]
    rows = [["accepted", *accepted], ["---"] * (len(accepted) + 1)]
    for number, title in enumerate(hellos["cases"]):
        rows.append([title, *("yes" if answers[number] else "**no**" for answers in accepted.values())])
    rows.append(["largest of these"])
    for answers in accepted.values():
        taken = [size for size, answer in zip(hellos["sizes"], answers) if answer]
        rows[-1].append(f"{max(taken):,} bytes" if taken else "none")
    return table(rows)


def table(rows: list[list[str]]) -> str:
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def _of(cells: Iterable[dict], workload: Workload) -> list[dict]:
    return [cell for cell in cells if cell["workload"] == workload.name]


JUDGED = ("veth", "loopback")  # where the ratios are to be reached: a network with delay hides what a proxy costs


def _section(workload: Workload, cells: list[dict], judged: bool) -> str:
    cells = _of(cells, workload)
    peers = list(dict.fromkeys(cell["peer"] for cell in cells))
    peers.sort(key=ORDER.index)
    rows = [["", *peers, "ratio", "to the floors", "reach", ""], ["---"] * (len(peers) + 5)]
    for key, figure in workload.figures.items():
        values = {peer: values_of(cells, peer, key) for peer in peers}
        rows.append([f"{figure.title}, {figure.unit}".rstrip(", "), *(cell_text(values[peer]) for peer in peers)])
        rows[-1] += _verdict(figure if judged else replace(figure, target=None, floor=None), values)
    troubles = [_trouble(peer, cells) for peer in peers]
    return "\n\n".join([f"### {workload.title}", table(rows), *filter(None, troubles)])


ORDER = ["direct", FLOOR, FLOOR_COPY, "haproxy", "haproxy splice", "nginx 16k", "nginx 64k", "sniproxy", BEFORE, "mc-proxy", "mc-proxy ring"]


def values_of(cells: list[dict], peer: str, key: str) -> list[float]:
    return [cell["figures"][key] for cell in cells if cell["peer"] == peer and key in cell["figures"]]


def ratio(figure: Figure, values: dict[str, list[float]]) -> tuple[str, float] | None:
    """The best peer, and our median over its."""
    medians = {peer: statistics.median(found) for peer, found in values.items() if found}
    rivals = {peer: value for peer, value in medians.items() if peer not in _NOT_PEERS}
    if OURS not in medians or not rivals:
        return None
    best = (max if figure.more_is_better else min)(rivals, key=rivals.__getitem__)
    return (best, medians[OURS] / rivals[best]) if rivals[best] > 0 else None


def _verdict(figure: Figure, values: dict[str, list[float]]) -> list[str]:
    """The last four columns."""
    if not figure.unit:
        return ["", "", "", ""]
    best = ratio(figure, values)
    floors = [_ratio_to(floor, values) for floor in (FLOOR, FLOOR_COPY)]
    columns = [f"**{best[1]:.2f}** of {best[0]}" if best else ""]
    columns += [" / ".join("–" if value is None else f"{value:.2f}" for value in floors) if any(floors) else ""]
    if figure.floor is not None:
        return columns + _judged(floors[0], figure.floor, more_is_better=False, of=" of the floor")
    return columns + _judged(best and best[1], figure.target, more_is_better=figure.more_is_better)


def _ratio_to(peer: str, values: dict[str, list[float]]) -> float | None:
    if not values.get(peer) or not values.get(OURS):
        return None
    theirs = statistics.median(values[peer])
    return statistics.median(values[OURS]) / theirs if theirs > 0 else None


def _judged(value: float | None, target: float | None, *, more_is_better: bool, of: str = "") -> list[str]:
    if value is None or target is None:
        return ["", ""]
    reached = value >= target if more_is_better else value <= target
    return [f"{'≥' if more_is_better else '≤'} {target:.2f}{of}", "yes" if reached else "**no**"]


def cell_text(values: list[float]) -> str:
    if not values:
        return "failed"
    return f"{number_text(statistics.median(values))} ({number_text(min(values))}–{number_text(max(values))})"


def number_text(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _trouble(peer: str, cells: list[dict]) -> str:
    mine = [cell["figures"] for cell in cells if cell["peer"] == peer]
    failed = [figures["failed"] for figures in mine if "failed" in figures]
    errors = sum(figures.get("errors", 0) for figures in mine)
    texts = [f"{len(failed)} of {len(mine)} cells failed ({failed[0]})"] if failed else []
    texts += [f"{errors} connections failed"] if errors else []
    return f"{peer}: {'; '.join(texts)}." if texts else ""
