# SPDX-License-Identifier: Apache-2.0
"""Programs that no Debian package has, fetched when a test first needs them."""

import fcntl
import functools
import os
import subprocess
from pathlib import Path

from harness import REPOSITORY

BUF_VERSION = "1.75.0"


@functools.cache
def buf() -> Path:
    """buf, of which `buf curl` is a gRPC client with reflection: $MC_PROXY_BUF, or npm's package @bufbuild/buf.

    The package is kept in build/tools. No script of it runs at the installation.
    """
    if named := os.environ.get("MC_PROXY_BUF"):
        assert Path(named).is_file(), f"MC_PROXY_BUF={named}: there is no such file"
        return Path(named)
    folder = REPOSITORY / "build/tools" / f"buf-{BUF_VERSION}"
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # several tests may need it at the same time
        if not _programs(folder):
            _npm_install(folder, f"@bufbuild/buf@{BUF_VERSION}")
    programs = _programs(folder)
    assert programs, f"npm has installed @bufbuild/buf, but no program for this machine in {folder}"
    return programs[0]


def _programs(folder: Path) -> list[Path]:
    """The program itself, which can be copied anywhere; npm's node_modules/.bin/buf is a script that searches for it."""
    return sorted(folder.glob("node_modules/@bufbuild/buf-*/bin/buf"))


def _npm_install(folder: Path, package: str) -> None:
    # npm's own timeout is minutes, for each test that tries again.
    patience = ["--fetch-timeout=15000", "--fetch-retries=1"]
    quiet = ["--ignore-scripts", "--no-audit", "--no-fund"]
    command = ["npm", "install", *quiet, *patience, "--prefix", str(folder), package]
    remedy = "install npm and let it reach its registry once, or name a buf in MC_PROXY_BUF"
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=90)
    except (FileNotFoundError, subprocess.TimeoutExpired) as error:
        raise AssertionError(f"{' '.join(command)}: {error}; {remedy}") from None
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}; {remedy}"
