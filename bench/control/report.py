# SPDX-License-Identifier: Apache-2.0
"""The tables of run.py's benchmark, from its raw results."""

import itertools
import statistics
from collections.abc import Iterable
from typing import Any

Row = tuple[str, ...]

GOAL_START_S = 1.0
GOAL_BATCH_S = 2.0
GOAL_ADD_ROUTE_MS = 5.0
GOAL_P99_RATIO = 1.2

NOTES = """\
Spread: of starts and batches all of them; of AddRoute's median those of five parts of the run, of its p99 all calls; of
ratios those of single rounds, while the ratio itself is that of the medians of all blocks.
Machine: {cores} cores, Linux {kernel}, {file_system}; load average before the run {load:.2f}. The proxy's workers, its
control plane, the load generator, the backend and the client of the admin API share these cores. To write 4 KiB and
sync them took this disk {sync:.2f} ms when the run began. Starts have a warm file cache.
Policy: {routes:,} routes of one listener, {rules:,} blocked addresses. Log: warn, for starts info.
Traffic: {established} connections with one message of 64 bytes under way each, {connecting} new connections at a time
(connect, ClientHello, first byte back, RST). Full traffic: a closed loop without a pause. With idle cores: a constant
rate that leaves some {idle:.0%} idle, and latency counts from when a message was due. The goal for p99 is judged there:
at saturation p99 only shows how long the queues are, and they grow with whatever takes processor time.
Rounds in which other programs used more than {others:.0%} of the cores are repeated, at most as often as there are
rounds; then the least disturbed ones count.
Changes: {changes} a second by two clients, routes and firewall rules, added and removed in turn. Reads: as many
GetStatus instead, to tell what calls and their client cost from what a change of policy costs."""


def report(results: dict[str, Any]) -> None:
    settings = results["settings"] | {"sync": results["sync_ms"]}
    print(_table(_summary(results)), NOTES.format(**settings), sep="\n\n")
    for title, rounds in (("With idle cores", "traffic_moderate"), ("At saturation", "traffic_full")):
        for rows in (_traffic(results[rounds]), _processors(results[rounds])):
            print(f"\n{title}:\n{_table(rows)}")
    if warnings := results["warnings"]:
        print(f"\nmc-proxy warned {len(warnings)} times; first: {warnings[0]}")


def _summary(results: dict[str, Any]) -> list[Row]:
    batches = results["batches_quiet"], results["batches_full"]
    return [
        ("", "measured", "spread", "goal", ""),
        _row("start until msg=serving", results["starts"], "s", GOAL_START_S),
        *(_row(f"ApplyChanges, 100,000 x {wish}", batches[0][wish], "s", GOAL_BATCH_S) for wish in batches[0]),
        *(_row(f"ApplyChanges, 100,000 x {wish}, full traffic", batches[1][wish], "s") for wish in batches[1]),
        *_add_rows("AddRoute", results["adds_quiet"]),
        *_add_rows("AddRoute, full traffic", results["adds_full"], GOAL_ADD_ROUTE_MS),
        *_ratio_rows("with idle cores", results["traffic_moderate"], GOAL_P99_RATIO),
        *_ratio_rows("at saturation", results["traffic_full"]),
    ]


def _row(what: str, values: list[float], unit: str, goal: float | None = None, shown: float | None = None) -> Row:
    """The median, or what is `shown` instead, beside the least and the greatest of the values."""
    middle = statistics.median(values) if shown is None else shown
    verdict = "" if goal is None else "met" if middle <= goal else "MISSED"
    goal_text = "" if goal is None else f"<= {goal:g} {unit}"
    return (what, f"{middle:.2f} {unit}", f"{min(values):.2f} .. {max(values):.2f}", goal_text, verdict)


def _add_rows(what: str, seconds: list[float], goal: float | None = None) -> list[Row]:
    taken = [1000 * one for one in seconds]
    size = len(taken) // 5
    medians = [statistics.median(taken[i * size : (i + 1) * size]) for i in range(5)]
    return [
        _row(f"{what}, median", medians, "ms", goal, statistics.median(taken)),
        _row(f"{what}, p99", taken, "ms", None, _percentile(taken, 0.99)),
    ]


def _ratio_rows(where: str, rounds: list[dict], goal: float | None = None) -> list[Row]:
    rows = []
    for calls, measure in itertools.product(("changes", "reads"), ("round_trips", "connections")):
        without, beside = ([one[kind][measure]["p99_us"] for one in rounds] for kind in ("nothing", calls))
        rows.append(
            _row(
                f"p99 beside {calls} / without, {measure.replace('_', ' ')}, {where}",
                [b / a for a, b in zip(without, beside, strict=True)],
                "",
                goal if calls == "changes" else None,
                statistics.median(beside) / statistics.median(without),
            )
        )
    return rows


def _traffic(rounds: list[dict]) -> list[Row]:
    rows = [
        ("", "a second", "p50 us", "p90 us", "p99 us", "of blocks", "p99.9 us", "errors", "calls/s", "call p50, p99 ms")
    ]
    for measure, kind in itertools.product(("round_trips", "connections"), rounds[0]):
        blocks = [one[kind] for one in rounds]
        found = {key: [block[measure][key] for block in blocks] for key in blocks[0][measure]}
        middle = {key: f"{statistics.median(values):.0f}" for key, values in found.items()}
        calls = [1000 * seconds for block in blocks for seconds in block["call_seconds"]]
        rows.append(
            (
                f"{measure.replace('_', ' ')} beside {kind}",
                *(middle[key] for key in ("per_second", "p50_us", "p90_us", "p99_us")),
                f"{min(found['p99_us']):.0f} .. {max(found['p99_us']):.0f}",
                middle["p99.9_us"],
                str(sum(found["errors"])),
                f"{statistics.median(block['calls_per_second'] for block in blocks):.0f}",
                f"{statistics.median(calls):.2f}, {_percentile(calls, 0.99):.2f}" if calls else "",
            )
        )
    return rows


def _processors(rounds: list[dict]) -> list[Row]:
    names = list(rounds[0]["nothing"]["cpu"])
    rows = [("share of all cores", *names)]
    for kind in rounds[0]:
        shares = [statistics.median(one[kind]["cpu"][name] for one in rounds) for name in names]
        rows.append((f"beside {kind}", *(f"{share:.1%}" for share in shares)))
    return rows


def _percentile(values: Iterable[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def _table(rows: list[Row]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join([lines[0], "-" * max(map(len, lines)), *lines[1:]])
