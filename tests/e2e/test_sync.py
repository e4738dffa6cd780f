# SPDX-License-Identifier: Apache-2.0
"""Acknowledged changes are durable: which files are synced, and when. Only a power cut could show it, not kill -9."""

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from admin import AdministeredProxy
from harness import REPOSITORY, SLOW_FACTOR, binary, until


@pytest.fixture(scope="module")
def spy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A library that records what is synced."""
    if SLOW_FACTOR > 1:
        pytest.skip("a sanitizer's library must be the first one")
    library = tmp_path_factory.mktemp("spy") / "sync_spy.so"
    compiler = next(found for name in ("cc", "gcc", "clang-19") if (found := shutil.which(name)))
    source = REPOSITORY / "tests/support/sync_spy.c"
    subprocess.run([compiler, "-shared", "-fPIC", "-Wall", "-Werror", "-o", library, source, "-ldl"], check=True)
    return library


class Synced:
    """What was synced since the last look, as "fsync NAME"; a temporary file of NAME is ".NAME.*"."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen = 0

    def take(self) -> list[str]:
        lines = self._path.read_text().splitlines()
        new, self._seen = lines[self._seen :], len(lines)
        found = []
        for line in new:
            call, _, path = line.partition(" ")
            name = "/" if Path(path).is_dir() else Path(path).name.removesuffix(" (deleted)")
            found.append(f"{call} {name.rpartition('.')[0] + '.*' if name.startswith('.') else name}")
        return found


@pytest.fixture
def watched(start_administered: Callable, spy: Path, tmp_path: Path) -> tuple[AdministeredProxy, Synced]:
    log = tmp_path / "synced"
    log.touch()
    proxy = start_administered(routes={})
    assert proxy.stop() == 0
    proxy.database.unlink()
    proxy._environment |= {"LD_PRELOAD": str(spy), "SYNC_SPY": str(log)}
    proxy.start()
    return proxy, Synced(log)


def test_a_new_database_and_its_name_are_durable_before_it_serves(watched: tuple[AdministeredProxy, Synced]) -> None:
    proxy, synced = watched
    name = proxy.database.name
    calls = synced.take()
    made = calls.index(f"fsync .{name}.*")
    named = calls.index("fsync /")
    assert made < named < calls.index(f"fdatasync {name}-wal")  # the seed is a commit


def test_each_change_is_durable_when_it_is_acknowledged(watched: tuple[AdministeredProxy, Synced]) -> None:
    proxy, synced = watched
    log = f"fdatasync {proxy.database.name}-wal"
    for number in range(5):
        synced.take()
        proxy.admin.AddRoute(listener_addr=proxy.listener_name(), route={"hostname": f"h{number}.example.com", "backend": "127.0.0.1:1"})
        assert log in synced.take()
    # The log is moved later: into a file that is durable before the log may be written anew.
    moved: list[str] = []
    until(lambda: moved.extend(synced.take()) or f"fdatasync {proxy.database.name}" in moved, "the log is moved")
    synced.take()
    assert proxy.cli("routes", "list").code == 0
    assert synced.take() == [], "who reads writes nothing"


def test_a_snapshot_and_its_name_are_durable_when_its_path_is_printed(
    watched: tuple[AdministeredProxy, Synced], spy: Path, tmp_path: Path
) -> None:
    proxy, _ = watched
    log = tmp_path / "copied"
    log.touch()
    copy = tmp_path / "copies" / "copy.db"
    copy.parent.mkdir()
    environment = os.environ | {"LD_PRELOAD": str(spy), "SYNC_SPY": str(log)}
    subprocess.run([binary(), "snapshot", "-c", proxy.config, "-o", copy], check=True, env=environment, capture_output=True)
    calls = Synced(log).take()
    assert calls.index("fsync .copy.db.*") < calls.index("fsync /")
