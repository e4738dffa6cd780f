# SPDX-License-Identifier: Apache-2.0
"""What runs during the benchmark of run.py, which has put tests/e2e/lib on the path: mc-proxy, the client of its admin API,
the load and its backend; and how much of the processors each of them uses.
"""

import contextlib
import json
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import admin
from admin import SERVICE, Admin, api
from harness import reserve_port

admin.PATIENCE = 60.0  # time limit of a call: a benchmark reports slow calls, it does not fail


class Client:
    """The admin API as the benchmark calls it: requests are made before the clock starts."""

    def __init__(self, socket: Path):
        self._admin = Admin(f"unix:{socket}")

    def call(self, method: str, request: bytes) -> float:
        """Seconds that the call took."""
        response = getattr(api, f"{method}Response")
        begin = time.perf_counter()
        self._admin.call_unary(f"/{SERVICE}/{method}", request, response)
        return time.perf_counter() - begin

    def close(self) -> None:
        self._admin.close()


class Server:
    """mc-proxy with one listener and an admin API on a Unix socket."""

    def __init__(self, program: Path, directory: Path):
        self._reserved = reserve_port("127.0.0.1")
        self.port: int = self._reserved.getsockname()[1]
        self.listener = f"127.0.0.1:{self.port}"
        self._socket = directory / "admin.sock"
        self._database = directory / "mc-proxy.db"
        self._config = directory / "mc-proxy.toml"
        self._log = directory / "mc-proxy.log"
        self._command = [str(program), "server", "-c", str(self._config)]
        self.process: subprocess.Popen[str] | None = None

    def time_start(self) -> float:
        """Seconds from the start of the process until it logs msg=serving."""
        self._configure("info")
        begin = time.perf_counter()
        self.process = subprocess.Popen(self._command, stderr=subprocess.PIPE, text=True)
        for line in self.process.stderr:
            if "msg=serving" in line:
                return time.perf_counter() - begin
        raise SystemExit("mc-proxy did not start")

    @contextlib.contextmanager
    def running(self) -> Iterator[Client]:
        """Logs at level warn, to a file."""
        self._configure("warn")
        with self._log.open("a") as log:
            self.process = subprocess.Popen(self._command, stderr=log, text=True)
        while not self._socket.exists():
            assert self.process.poll() is None, self._log.read_text()
            time.sleep(0.01)
        client = Client(self._socket)
        try:
            yield client
        finally:
            client.close()
            self.stop()

    def stop(self) -> None:
        self.process.terminate()
        self.process.communicate()

    def warnings(self) -> list[str]:
        """Its log while it was running(): empty if all is well."""
        return self._log.read_text().splitlines()

    def _configure(self, log_level: str) -> None:
        self._config.write_text(
            f'[[listeners]]\naddr = "{self.listener}"\n'
            f'[database]\npath = "{self._database}"\n'
            f'[grpc]\nsocket = "{self._socket}"\n'
            '[proxy]\nshutdown_timeout = "100ms"\n'
            f'[log]\nlevel = "{log_level}"\n'
        )


class Backend:
    """Echoes."""

    def __init__(self, load_program: Path):
        self.process = subprocess.Popen([load_program, "echo"], stdout=subprocess.PIPE, text=True)
        self.address = f"127.0.0.1:{self.process.stdout.readline().strip()}"

    def __enter__(self) -> "Backend":
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()


class Load:
    """The load generator, with its connections open."""

    def __init__(self, program: Path, port: int, hellos: Path, established: int, connecting: int):
        numbers = {"--port": port, "--established": established, "--connecting": connecting}
        words = [str(word) for pair in numbers.items() for word in pair]
        self.process = subprocess.Popen(
            [program, "run", "--hellos", hellos, *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
        )

    def begin(self, round_trips: float = 0, connections: float = 0) -> None:
        """At these rates, or as fast as it goes."""
        self.process.stdin.write(f"begin {round_trips} {connections}\n")

    def end(self) -> dict[str, Any]:
        """The measurements since begin(). The traffic continues."""
        self.process.stdin.write("end\n")
        return json.loads(self.process.stdout.readline())

    def __enter__(self) -> "Load":
        return self

    def __exit__(self, *_: object) -> None:
        self.process.stdin.close()
        self.process.wait()


class Cpu:
    """Who used the processors since it was made."""

    def __init__(self, server: Server, load: Load, backend: Backend):
        processes = {"proxy": server.process, "load": load.process, "backend": backend.process}
        self._pids = {name: process.pid for name, process in processes.items()} | {"client": os.getpid()}
        threads = Path(f"/proc/{server.process.pid}/task").iterdir()
        self._workers = [thread for thread in threads if _name(thread).startswith("ring/")]
        self._before = self._now()

    def shares(self) -> dict[str, float]:
        """Shares of all cores. "client" makes the calls; "others" are no part of the benchmark."""
        now = self._now()
        spent = {name: now[name] - self._before[name] for name in now}
        whole, workers = spent.pop("whole"), spent.pop("workers")
        others = whole - sum(spent.values())
        spent["workers"], spent["control"] = workers, spent.pop("proxy") - workers
        return {name: ticks / whole for name, ticks in (spent | {"others": others}).items()}

    def _now(self) -> dict[str, float]:
        fields = [int(field) for field in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
        used = {name: _ticks(Path(f"/proc/{pid}/stat")) for name, pid in self._pids.items()}
        used["workers"] = sum(_ticks(thread / "stat") for thread in self._workers)
        return used | {"idle": fields[3] + fields[4], "whole": sum(fields)}


def _name(thread: Path) -> str:
    with contextlib.suppress(OSError):  # gRPC's threads come and go
        return (thread / "comm").read_text()
    return ""


def _ticks(stat: Path) -> int:
    fields = stat.read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])
