# SPDX-License-Identifier: Apache-2.0
"""A server that root has started by hand leaves nothing that would keep the service's user from the next start, and
what it says of itself where the service is what one means.
"""

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from admin import AdministeredProxy
from harness import Backend, binary

USER = 65534
AS_USER = ("setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups", "--inh-caps=-all")


@pytest.fixture
def home() -> Iterator[Path]:
    """As /srv/mc-proxy is: a directory of the service's user, with the program, which all may reach."""
    assert os.getuid() == 0, "this test makes itself another user, which only root can"
    path = Path(tempfile.mkdtemp(prefix="mcp-owner-", dir="/tmp"))
    path.chmod(0o755)
    shutil.copy(binary(), path / "mc-proxy")
    os.chown(path, USER, USER)
    yield path
    shutil.rmtree(path)


@pytest.fixture
def proxy(home: Path, backend: Backend) -> Iterator[AdministeredProxy]:
    made = AdministeredProxy(home, routes={"app.example.com": backend})
    made._command[0] = str(home / "mc-proxy")
    os.chown(made.admin_socket.parent, USER, USER)
    made.config.chmod(0o644)
    with made:
        yield made


def as_user(proxy: AdministeredProxy, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*AS_USER, proxy._command[0], *words, "-c", proxy.config], capture_output=True, text=True, timeout=60
    )


def test_a_server_that_was_killed_as_root_is_followed_by_one_of_the_directorys_owner(proxy: AdministeredProxy) -> None:
    proxy.expect_served()
    left = [path for path in proxy.database.parent.iterdir() if path.name.startswith(proxy.database.name)]
    names = {path.name.removeprefix(proxy.database.name) for path in left}
    assert names >= {"", "-shm", "-wal", ".handover", ".lock"}
    assert {path.name: path.lstat().st_uid for path in [*left, proxy.admin_socket]} == {
        path.name: USER for path in [*left, proxy.admin_socket]
    }
    proxy.kill()
    assert Path(f"{proxy.database}.handover").is_socket() and proxy.admin_socket.is_socket()
    proxy._command = [*AS_USER, *proxy._command]
    proxy.start()
    assert os.stat(f"/proc/{proxy.pid}").st_uid == USER
    proxy.expect_served()
    assert proxy.cli("routes", "add", "other.example.com", "192.0.2.1:443").code == 0


def test_the_databases_owner_gets_no_sockets_of_a_server_that_root_runs(proxy: AdministeredProxy) -> None:
    refused = as_user(proxy, "server", "--take-over")
    assert refused.returncode == 1
    assert f"the running server (pid {proxy.pid}) did not hand over: it runs as root" in refused.stderr
    proxy.expect_served()
    assert proxy.lines_until_now(level="WARN") == []


def test_a_socket_of_root_is_told_with_its_owner_and_the_remedy(proxy: AdministeredProxy) -> None:
    """As versions before this left it."""
    proxy.kill()
    os.chown(f"{proxy.database}.handover", 0, 0)
    refused = as_user(proxy, "server")
    assert refused.returncode == 1
    assert "the socket belongs to root; if a server of that user runs (pidof mc-proxy), stop it" in refused.stderr
    assert f"remove it (rm {proxy.database}.handover)" in refused.stderr
    os.unlink(f"{proxy.database}.handover")
    proxy._command = [*AS_USER, *proxy._command]
    proxy.start()


# A machine of its own where systemd seems to run, with the unit or without.
MACHINE = """
mount -t tmpfs none /run && mkdir -p /run/systemd/system && mount -t tmpfs none /etc/systemd/system && mkdir -p /srv &&
mount -t tmpfs none /srv && mkdir /srv/mc-proxy && cp "$1" /srv/mc-proxy/mc-proxy.toml || exit 99
[ "$2" = bare ] || touch /etc/systemd/system/mc-proxy.service
"$3" status; "$3" status -c "$1"
"""


@pytest.mark.parametrize("machine", ["bare", "installed"])
def test_where_the_service_is_installed_its_start_is_what_is_told(proxy: AdministeredProxy, machine: str) -> None:
    assert proxy.stop(signal.SIGTERM) == 0
    told = subprocess.run(
        ["unshare", "--mount", "sh", "-c", MACHINE, "sh", proxy.config, machine, binary()],
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert told.returncode == 3, told.stderr
    started = "systemctl start mc-proxy" if machine == "installed" else "mc-proxy server -c /srv/mc-proxy/mc-proxy.toml"
    assert [line.rpartition("start it: ")[2] for line in told.stderr.splitlines()] == [
        started,
        f"mc-proxy server -c {proxy.config}",
    ]
    proxy.start()
