# SPDX-License-Identifier: Apache-2.0
"""The commands of RUNBOOK.md, which tests run as they stand there.

Blocks of `sh` are those of tests/e2e/test_runbook.py, of `sh systemd` those of tests/vm/guest.py, and of `sh container`
those of tests/container/container.py; `yaml` is no command, and `toml` is for tests/e2e/test_check.py.
"""

from pathlib import Path

KINDS = ("sh", "sh systemd", "sh container", "toml", "yaml")


def blocks(page: Path, wanted: str) -> list[tuple[str, str]]:
    """The blocks of one kind, in the order of the page: section and commands."""
    found, section, kind, block = [], "", "", []
    for line in page.read_text().splitlines():
        if kind:
            if line != "```":
                block.append(line)
                continue
            if kind == wanted:
                found.append((section, "\n".join(block)))
            kind, block = "", []
        elif line.startswith("```"):
            kind = line.removeprefix("```")
            assert kind in KINDS, f"nobody would run the commands of a block that begins with {line}"
        elif line.startswith("## "):
            section = line.removeprefix("## ")
    return found
