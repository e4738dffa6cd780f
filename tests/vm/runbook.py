# SPDX-License-Identifier: Apache-2.0
"""The commands of RUNBOOK.md that need systemd."""

from pathlib import Path


def blocks(page: Path) -> list[tuple[str, str]]:
    """The blocks of the page that are marked `sh systemd`, in its order: section and commands."""
    found, section, block = [], "", None
    for line in page.read_text().splitlines():
        if block is not None:
            if line == "```":
                found.append((section, "\n".join(block)))
                block = None
            else:
                block.append(line)
        elif line == "```sh systemd":
            block = []
        elif line.startswith("## "):
            section = line.removeprefix("## ")
    return found
