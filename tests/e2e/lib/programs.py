# SPDX-License-Identifier: Apache-2.0
"""Programs that listen, each at an address of its own, which tests stop, continue, kill and start again."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
from pathlib import Path
from typing import Self

from harness import PATIENCE, reserve_port, until


class Program:
    """A program that listens at a port that is reserved for it, or at "unix:/path", and has a directory for its files."""

    def __init__(self, directory: Path, host: str = "127.0.0.1", reserved_host: str | None = None, port: int = 0):
        """`host`: an IP address, or "unix:/path". `reserved_host`: where it binds, if it cannot be told to use `host`.

        `port`: 0 for one that is free.
        """
        if host.startswith("unix:"):
            self._reserved, self.port, self.address = None, 0, host
            name = Path(host).name
        else:
            # A port that is free at one address may not be at all.
            self._reserved = reserve_port(reserved_host or host, port)
            self.port = self._reserved.getsockname()[1]
            self.address = f"{host}:{self.port}"
            name = f"{host.strip('[]')}-{self.port}"
        self._directory = directory / f"at-{name}"  # short: it may hold Unix sockets
        self._directory.mkdir()
        self._process: subprocess.Popen[bytes] | None = None

    def command(self, directory: Path) -> list[object]:
        raise NotImplementedError

    def start(self) -> Self:
        """Returns when it listens."""
        assert self._process is None, "it runs already"
        command = [str(word) for word in self.command(self._directory)]
        found = shutil.which(command[0], path=f"{os.environ['PATH']}:/usr/sbin")
        assert found, f"{command[0]} is not installed"
        with open(self._directory / "output", "ab") as output:
            self._process = subprocess.Popen(
                [found, *command[1:]],
                cwd=self._directory,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,  # so that a signal reaches all its processes
            )
        try:
            until(self._listens, f"{command[0]} listens")
        except BaseException:
            self.__exit__()
            raise
        return self

    def output(self) -> str:
        """All that it has written to stdout and stderr."""
        return (self._directory / "output").read_text(errors="replace")

    def freeze(self) -> None:
        """The kernel accepts connections on its behalf, and nobody replies."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):  # it has ended by itself
            self._signal(signal.SIGKILL)
        self._end()

    def _signal(self, number: int) -> None:
        os.killpg(self._running().pid, number)

    def _end(self) -> None:
        self._running().wait(PATIENCE)
        self._process = None
        until(lambda: not self._accepts(), "its port is free")

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self.kill()
        if self._reserved is not None:
            self._reserved.close()

    def _running(self) -> subprocess.Popen[bytes]:
        assert self._process is not None, "it does not run"
        return self._process

    def _listens(self) -> bool:
        code = self._running().poll()
        assert code is None, f"exit code {code}: {self.output()}"
        return self._accepts()

    def _accepts(self) -> bool:
        is_unix = self._reserved is None
        with socket.socket(socket.AF_UNIX if is_unix else self._reserved.family) as client:
            client.settimeout(PATIENCE)
            if is_unix:
                return client.connect_ex(self.address.removeprefix("unix:")) == 0
            return client.connect_ex((self.address.rpartition(":")[0].strip("[]"), self.port)) == 0


def nginx(directory: Path, body: str, *, modules: str = "", log_level: str = "error") -> list[object]:
    """Writes a configuration of nginx, and returns the command that serves it."""
    (directory / "nginx.conf").write_text(
        f"""
{modules}
daemon off;
worker_processes 1;
pid {directory}/pid;
error_log stderr {log_level};
worker_rlimit_nofile 8192;
events {{ worker_connections 4096; }}
{body}
"""
    )
    return ["nginx", "-e", "stderr", "-p", directory, "-c", directory / "nginx.conf"]


def nginx_temporary_paths(directory: Path) -> str:
    """Of the http module, which would else write below /var."""
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    return "".join(f"{kind}_temp_path {directory}/{kind};\n" for kind in kinds)
