# SPDX-License-Identifier: Apache-2.0
"""The main figure of every workload as small charts, one SVG for each place. The same results give the same bytes."""

import re
import statistics
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("svg")  # before pyplot: it needs no display
import matplotlib.pyplot as plt
from matplotlib.axes import Axes

from peers import BEFORE
from report import ORDER, OURS, number_text, values_of
from workloads import ALL, Workload

COLUMNS = 4
CHART_INCHES = (3.0, 2.3)
HEAD_INCHES = 0.6  # for the figure's title
# Okabe and Ito's palette, which those who are colour-blind can tell apart too.
_BLUE, _SKY, _GREY, _PALE = "#0072B2", "#56B4E9", "#8C8C8C", "#D0D0D0"
_COLOURS = {OURS: _BLUE, "mc-proxy ring": _SKY, BEFORE: _SKY, "direct": _PALE}
_STYLE = {
    "svg.hashsalt": "mc-proxy",
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.sans-serif": ["Helvetica", "Arial", "DejaVu Sans"],
    "font.size": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.bottom": False,
}
_OFFSET_FROM_AXES = {"xycoords": "axes fraction", "textcoords": "offset points"}


def draw(results: dict[str, Any], folder: Path) -> list[Path]:
    """Writes a file for each place, named after it."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    with plt.rc_context(_STYLE):
        for where in dict.fromkeys(cell["where"] for cell in results["cells"]):
            cells = [cell for cell in results["cells"] if cell["where"] == where]
            written.append(folder / f"{re.sub(r'[^a-z0-9]+', '-', where.lower())}.svg")
            _draw_place(where, cells, results["settings"], written[-1])
    return written


def _draw_place(where: str, cells: list[dict], settings: dict[str, Any], path: Path) -> None:
    workloads = [workload for workload in ALL if any(cell["workload"] == workload.name for cell in cells)]
    columns = min(COLUMNS, max(2, len(workloads)))  # one would be too narrow for the title
    rows = -(-len(workloads) // columns)
    height = rows * CHART_INCHES[1] + HEAD_INCHES
    figure, grid = plt.subplots(rows, columns, figsize=(columns * CHART_INCHES[0], height), squeeze=False)
    for workload, axes in zip(workloads, grid.flat):
        _draw_workload(axes, workload, [cell for cell in cells if cell["workload"] == workload.name])
    for axes in grid.flat[len(workloads) :]:
        axes.set_axis_off()
    title = f"{where}: medians of {settings['rounds']} rounds, with the least and the greatest"
    figure.text(0.01, 1 - 0.12 / height, title, va="top", fontsize=11, fontweight="bold")
    machine = f"Linux {settings['kernel']}, {settings['cores']} cores, {settings['date']}"
    figure.text(0.01, 1 - 0.37 / height, machine, va="top", color="#555555")
    figure.tight_layout(rect=(0, 0, 1, 1 - HEAD_INCHES / height), h_pad=1.8, w_pad=1.5)
    figure.savefig(path, facecolor="white", metadata={"Date": None})
    plt.close(figure)


def _draw_workload(axes: Axes, workload: Workload, cells: list[dict]) -> None:
    figure = workload.figures[workload.main]
    peers = [peer for peer in ORDER if any(cell["peer"] == peer for cell in cells)]
    found = {peer: values_of(cells, peer, workload.main) for peer in peers}
    found = {peer: values for peer, values in found.items() if not values or any(values)}  # no proxy has no cost
    for place, (peer, values) in enumerate(found.items()):
        _draw_bar(axes, place, peer, values)
    axes.set_yticks(range(len(found)), found, fontsize=7)
    for label in axes.get_yticklabels():
        label.set_fontweight("bold" if label.get_text() == OURS else "normal")
    axes.invert_yaxis()
    axes.tick_params(length=0)
    axes.set_xticks([])
    axes.set_xlim(0, 1.3 * max((max(values) for values in found.values() if values), default=1))
    better = "more" if figure.more_is_better else "less"
    axes.set_title(f"{workload.name} ({better} is better)", fontsize=8, fontweight="bold", loc="left", pad=15)
    axes.annotate(f"{figure.title}, {figure.unit}", (0, 1), (0, 5), fontsize=7, **_OFFSET_FROM_AXES)


def _draw_bar(axes: Axes, place: int, peer: str, values: list[float]) -> None:
    median = statistics.median(values) if values else 0
    if values:
        axes.barh(place, median, color=_COLOURS.get(peer, _GREY), height=0.72)
    if len(values) > 1:
        whiskers = [[median - min(values)], [max(values) - median]]
        axes.errorbar(median, place, xerr=whiskers, color="black", linewidth=0.8, capsize=2)
    text = number_text(median) if values else "failed"
    axes.annotate(text, (max(values, default=0), place), (4, 0), textcoords="offset points", va="center", fontsize=7)
