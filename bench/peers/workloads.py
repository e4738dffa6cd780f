# SPDX-License-Identifier: Apache-2.0
"""What is measured: each Workload is one way to run bench/load/traffic or, for CRYPTO, a client of HTTPS, and the
figures that are made of its answer.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Answer = dict[str, Any]
Figures = dict[str, float]

GB = 1e9


@dataclass(frozen=True)
class Figure:
    """A row of the tables. `target` is the ratio to the best peer that the project wants to reach, `floor` that to the
    least relay that splices."""

    title: str
    unit: str
    more_is_better: bool = False
    target: float | None = None
    floor: float | None = None


@dataclass(frozen=True)
class Workload:
    """`arguments` are those of `traffic run`, or what crypto.py makes of them; a cell lasts `share` of the usual time, and
    there are 1/`share` times as many. `main` is the figure that is drawn."""

    name: str
    main: str
    title: str
    arguments: tuple[str, ...]
    figures: dict[str, Figure]
    make: Callable[[Answer], Figures]
    share: float = 1.0


def _bulk(kind: str) -> Callable[[Answer], Figures]:
    def make(answer: Answer) -> Figures:
        moved = answer[kind]["bytes"] / GB
        return {
            "gb_per_s": moved / answer["seconds"],
            "cpu_s_per_gb": answer["cpu"] / moved,
            "machine": answer["machine"],
        }

    return make


def _count(kind: str) -> Callable[[Answer], Figures]:
    def make(answer: Answer) -> Figures:
        one = answer[kind]
        return {
            "per_s": one["count"] / answer["seconds"],
            "cpu_us": answer["cpu"] / one["count"] * 1e6,
            "p50_us": one["p50_us"],
            "p99_us": one["p99_us"],
            "p99.9_us": one["p99.9_us"],
            "machine": answer["machine"],
        }

    return make


def _mixed(answer: Answer) -> Figures:
    return {
        "gb_per_s": answer["down"]["bytes"] / GB / answer["seconds"],
        "p50_us": answer["ping"]["p50_us"],
        "p99_us": answer["ping"]["p99_us"],
        "p99.9_us": answer["ping"]["p99.9_us"],
        "machine": answer["machine"],
    }


_CPU_REACH = 1.05  # of the floor: what a relay costs besides belongs to the names, routes, counters and time limits
_MACHINE = Figure("share of the machine's processors in use", "")


def _bulk_figures(per_s: float | None = None) -> dict[str, Figure]:
    return {
        "gb_per_s": Figure("throughput", "GB/s", more_is_better=True, target=per_s),
        "cpu_s_per_gb": Figure("processor time of the proxy", "s/GB", floor=_CPU_REACH),
        "machine": _MACHINE,
    }


def _count_figures(
    what: str, per_s: float | None = None, p50: float | None = None, p99: float | None = None
) -> dict[str, Figure]:
    return {
        "per_s": Figure(f"{what}s", "/s", more_is_better=True, target=per_s),
        "cpu_us": Figure("processor time of the proxy", f"µs/{what}", floor=_CPU_REACH),
        "p50_us": Figure("p50", "µs", target=p50),
        "p99_us": Figure("p99", "µs", target=p99),
        "p99.9_us": Figure("p99.9", "µs"),
        "machine": _MACHINE,
    }


WORKLOADS = (
    Workload(
        "bulk-down",
        "gb_per_s",
        "Bulk from backend to client, 8 connections",
        ("--down", "8"),
        _bulk_figures(1.2),
        _bulk("down"),
    ),
    Workload(
        "bulk-up",
        "gb_per_s",
        "Bulk from client to backend, 8 connections",
        ("--up", "8"),
        _bulk_figures(1.2),
        _bulk("up"),
    ),
    Workload(
        "ping-1",
        "p50_us",
        "Messages of 128 bytes there and back, 1 connection",
        ("--ping", "1"),
        _count_figures("round trip", p50=1.0, p99=0.9),
        _count("ping"),
        share=0.5,
    ),
    Workload(
        "ping-32",
        "cpu_us",
        "Messages of 128 bytes there and back, 32 connections",
        ("--ping", "32"),
        _count_figures("round trip"),
        _count("ping"),
    ),
    Workload(
        "ping-256",
        "per_s",
        "Messages of 128 bytes there and back, 256 connections",
        ("--ping", "256"),
        _count_figures("round trip"),
        _count("ping"),
    ),
    Workload(
        "connect",
        "per_s",
        "New connections: connect, ClientHello, one echo, close (64 at a time)",
        ("--connect", "64"),
        _count_figures("connection"),
        _count("connect"),
    ),
    Workload(
        "connect-rst",
        "cpu_us",
        "New connections that end with RST (64 at a time)",
        ("--connect", "64", "--reset"),
        _count_figures("connection"),
        _count("connect"),
    ),
    Workload(
        "mixed",
        "p99_us",
        "4 connections with bulk beside 4 with messages of 128 bytes",
        ("--down", "4", "--ping", "4"),
        {
            "gb_per_s": Figure("throughput", "GB/s", more_is_better=True, target=1.3),
            "p50_us": Figure("p50 of the messages", "µs"),
            "p99_us": Figure("p99 of the messages", "µs", target=0.3),
            "p99.9_us": Figure("p99.9 of the messages", "µs"),
            "machine": _MACHINE,
        },
        _mixed,
    ),
)

# Through an nginx with TLS; wrk and h2load count from the request on, without the handshake before it.
CRYPTO = (
    Workload(
        "https",
        "per_s",
        "HTTPS: requests of 1 KiB, 32 connections that stay (wrk)",
        ("wrk", "-t1", "-c32", "1k"),
        _count_figures("request"),
        _count("request"),
    ),
    Workload(
        "https-close",
        "per_s",
        "HTTPS: a TLS handshake for each request of 1 KiB, 32 at a time (wrk)",
        ("wrk", "-t1", "-c32", "--header", "Connection: close", "1k"),
        _count_figures("request"),
        _count("request"),
    ),
    Workload(
        "https-bulk",
        "gb_per_s",
        "HTTPS: requests of 1 MiB, 8 connections that stay (wrk)",
        ("wrk", "-t1", "-c8", "1m"),
        _bulk_figures(),
        _bulk("request"),
    ),
    Workload(
        "h2",
        "per_s",
        "HTTP/2: requests of 1 KiB, 16 connections with 10 at a time each (h2load)",
        ("h2load", "-t1", "-c16", "-m10", "1k"),
        _count_figures("request"),
        _count("request"),
    ),
)

# Of many connections that are opened at once and then rest; measured by run.py's measure_held().
HELD = Workload(
    "held",
    "process_kb",
    "9,000 clients at once, whose connections then rest",
    (),
    {
        "per_s": Figure("opened", "/s", more_is_better=True, target=1.0),
        "cpu_us": Figure("processor time of the proxy", "µs/connection"),
        "p99_us": Figure("p99 until the first byte came back", "µs"),
        "process_kb": Figure("memory of the process (PSS)", "KB/connection", target=0.20),
        "kernel_kb": Figure("memory of the kernel, both ends and backend counted", "KB/connection", target=1.0),
    },
    lambda answer: answer,
)

CONGESTED = ("bulk-down", "bulk-up", "mixed")  # what another congestion control could change

ALL = (*WORKLOADS, *CRYPTO, HELD)  # in the order of the tables
