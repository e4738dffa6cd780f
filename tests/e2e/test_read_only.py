# SPDX-License-Identifier: Apache-2.0
"""A start where nothing can be written serves what the database has, and takes changes once it can."""

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from admin import AdministeredProxy
from harness import PATIENCE, Backend, binary


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small file system of its own."""
    path = tmp_path / "disk"
    path.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", path], check=True)
    try:
        yield path
    finally:
        subprocess.run(["umount", "--lazy", path], check=True)


def fill(disk: Path) -> None:
    with (disk / "fill").open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            pass


def remount(disk: Path, how: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{how}", disk], check=True)


@pytest.fixture
def proxy(disk: Path, start_administered: Callable, backend: Backend) -> AdministeredProxy:
    """A server whose database is on the small disk."""
    proxy = start_administered(routes={"app.example.com": backend}, tables={"metrics": {"addr": "127.0.0.1:0"}})
    assert proxy.stop() == 0
    proxy.config.write_text(proxy.config.read_text().replace(str(proxy.database), str(disk / "mc-proxy.db")))
    proxy.database.unlink()
    proxy.database = disk / "mc-proxy.db"
    proxy.start()
    assert proxy.cli("routes", "add", "more.example.com", "127.0.0.1:1").code == 0
    return proxy


WRONG = {
    "full": (fill, lambda disk: (disk / "fill").unlink(), "no room left to write"),
    "read-only": (lambda disk: remount(disk, "ro"), lambda disk: remount(disk, "rw"), "its file system is read-only"),
}


@pytest.mark.parametrize(
    ("wrong", "ended"),
    # A server that was killed has left its log, which is room enough on a full disk.
    [("full", "stopped"), ("read-only", "stopped"), ("read-only", "killed")],
)
def test_what_can_be_read_is_served_and_changes_wait_for_a_disk(
    proxy: AdministeredProxy, disk: Path, wrong: str, ended: str
) -> None:
    make_wrong, make_right, why = WRONG[wrong]
    if ended == "stopped":
        assert proxy.stop() == 0
    else:
        proxy.kill()
    make_wrong(disk)
    try:
        checked = proxy.cli("check")
        assert checked.code == 0, checked.out
        assert "note database         " in checked.out and why in checked.out
        before = sorted(os.listdir(disk))
        served = len(proxy.lines(msg="serving"))
        proxy.start()
        assert len(proxy.lines(msg="serving")) == served + 1
        proxy.expect_served()
        assert why in proxy.wait_log(msg="the database cannot be written; its routes and rules are served, and changes are refused until it can be written")["error"]
        refused = proxy.cli("routes", "add", "new.example.com", "127.0.0.1:1")
        assert refused.code == 3 and why in refused.err  # UNAVAILABLE
        status = proxy.cli("status").out
        assert "warning:" in status and why in status
        assert "routes=2" in status
        if wrong == "read-only":
            assert sorted(os.listdir(disk)) == before
    finally:
        make_right(disk)
    changed = proxy.cli("routes", "add", "new.example.com", "127.0.0.1:1")
    assert (changed.code, changed.err) == (0, "")
    assert "warning:" not in proxy.cli("status").out
    assert proxy.stop() == 0
    proxy.start()
    assert "routes=3" in proxy.cli("status").out


def test_the_server_looks_by_itself_whether_it_can_write_again(proxy: AdministeredProxy, disk: Path) -> None:
    assert proxy.stop() == 0
    fill(disk)
    proxy.start()
    (disk / "fill").unlink()
    proxy.wait_log(msg="the database can be written again")
    assert "warning:" not in proxy.cli("status").out


@pytest.mark.parametrize("wrong", WRONG)
def test_a_new_database_cannot_be_made_there(proxy: AdministeredProxy, disk: Path, wrong: str) -> None:
    make_wrong, make_right, why = WRONG[wrong]
    assert proxy.stop() == 0
    for path in disk.iterdir():
        path.unlink()
    make_wrong(disk)
    try:
        checked = proxy.cli("check")
        assert checked.code == 1 and "BAD  database" in checked.out and why in checked.out
        started = subprocess.run([binary(), "server", "-c", proxy.config], capture_output=True, text=True, timeout=PATIENCE)
        assert started.returncode == 1 and why in started.stderr
    finally:
        make_right(disk)
    proxy.start()
    proxy.expect_served()
