# SPDX-License-Identifier: Apache-2.0
"""The proxies that are compared, each configured as its own documents recommend for passing TLS through by SNI, with a
thread or process for each core. None of them writes a log line for a connection.
"""

import contextlib
import os
import select
import signal
import subprocess
import time
from abc import ABC, abstractmethod
from pathlib import Path

from network import Place, inside

NAME = "app.example.com"  # what the clients ask for
DESCRIPTORS = 20_000
_PATIENCE = 10.0


class Peer(ABC):
    """A proxy that runs from start() to stop(). `port` is where it listens."""

    name: str
    port: int
    version_command: tuple[str, ...] = ()

    def __init__(self, workers: int):
        self.workers = workers
        self._process: subprocess.Popen[bytes] | None = None

    @abstractmethod
    def command(self, place: Place, backend_port: int, directory: Path) -> list[str]:
        """Writes the configuration and returns what starts the proxy in the foreground."""

    def start(self, place: Place, backend_port: int, directory: Path) -> None:
        """Returns when it listens."""
        words = self.command(place, backend_port, directory)
        limits = ["prlimit", f"--nofile={DESCRIPTORS}"]
        with (directory / f"{self.name}.log").open("wb") as log:
            self._process = subprocess.Popen(inside(self.namespace(place), *limits, *words), stdout=log, stderr=log)
        deadline = time.monotonic() + _PATIENCE
        while not _listens(self._process.pid, self.port):
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise SystemExit(f"{self.name} did not start:\n{(directory / f'{self.name}.log').read_text()}")
            time.sleep(0.01)

    def stop(self) -> None:
        """Returns when all its processes have ended, and with them their listening sockets."""
        if self._process is None:
            return
        ended = []
        for pid in self.processes():  # the first one first: nginx's would put a new worker in the place of a killed one
            with contextlib.suppress(ProcessLookupError):
                ended.append(os.pidfd_open(pid))
                signal.pidfd_send_signal(ended[-1], signal.SIGKILL)
        for descriptor in ended:
            select.select([descriptor], [], [])
            os.close(descriptor)
        self._process.wait()
        self._process = None

    def namespace(self, place: Place) -> str:
        return place.proxy

    def address(self, place: Place, backend_port: int) -> str:
        """Where a client connects."""
        return f"{place.proxy_host}:{self.port}"

    def processes(self) -> list[int]:
        """It and its descendants."""
        found = [] if self._process is None else [self._process.pid]
        for pid in found:
            for children in Path(f"/proc/{pid}/task").glob("*/children"):
                with contextlib.suppress(OSError):  # threads come and go
                    found += map(int, children.read_text().split())
        return found

    def memory_bytes(self) -> int:
        """Proportional set size: shared pages count by their share (proc(5), smaps_rollup)."""
        return sum(_pss(pid) for pid in self.processes())

    def version(self) -> str:
        if not self.version_command:
            return ""
        done = subprocess.run(self.version_command, capture_output=True, text=True)
        return (done.stdout + done.stderr).strip().splitlines()[0].partition(" - ")[0]


def _listens(pid: int, port: int) -> bool:
    lines = Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]
    return any(line.split()[1].endswith(f":{port:04X}") and line.split()[3] == "0A" for line in lines)


def _pss(pid: int) -> int:
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    return 0


class Direct(Peer):
    """No proxy: what the machine and the load themselves can do."""

    name, port = "direct", 0

    def command(self, place: Place, backend_port: int, directory: Path) -> list[str]:
        raise NotImplementedError

    def start(self, place: Place, backend_port: int, directory: Path) -> None:
        pass

    def address(self, place: Place, backend_port: int) -> str:
        return f"{place.backend_host}:{backend_port}"


FLOOR, FLOOR_COPY = "floor splice", "floor copy"


class Floor(Peer):
    """bench/floor: the least that any relay must do on this kernel, without looking at what it moves."""

    def __init__(self, workers: int, program: Path, name: str, port: int):
        super().__init__(workers)
        self.name, self.port = name, port
        self._program = program

    def command(self, place: Place, backend_port: int, directory: Path) -> list[str]:
        way = self.name.removeprefix("floor ")
        listen, backend = f"{place.proxy_host}:{self.port}", f"{place.backend_host}:{backend_port}"
        return [str(self._program), way, listen, backend, str(self.workers)]


class McProxy(Peer):
    def __init__(self, workers: int, program: Path, splice: str, name: str, port: int):
        super().__init__(workers)
        self.name, self.port = name, port
        self._program, self._splice = program, splice
        self.version_command = (str(program), "version")
        self.extra = ""  # further tables

    def command(self, place: Place, backend_port: int, directory: Path) -> list[str]:
        config = directory / f"{self.name.replace(' ', '-')}.toml"
        config.write_text(
            f'[[listeners]]\naddr = "{place.proxy_host}:{self.port}"\n'
            f'[[listeners.routes]]\nhostname = "{NAME}"\nbackend = "{place.backend_host}:{backend_port}"\n'
            f'[database]\npath = "{config.with_suffix(".db")}"\n'
            f'[proxy]\nworkers = {self.workers}\nsplice = "{self._splice}"\nshutdown_timeout = "100ms"\n'
            'idle_timeout = "1h"\n'
            f'[log]\nlevel = "warn"\n{self.extra}'
        )
        return [str(self._program), "server", "-c", str(config)]


class HAProxy(Peer):
    version_command = ("haproxy", "-v")

    def __init__(self, workers: int, *, splice: bool):
        super().__init__(workers)
        self.name, self.port = ("haproxy splice", 7004) if splice else ("haproxy", 7003)
        # splice-auto hardly ever splices; these two always do (configuration.txt, "option splice-request").
        self._splice = "option splice-request\n option splice-response\n" if splice else ""

    def command(self, place: Place, backend_port: int, directory: Path) -> list[str]:
        config = directory / f"{self.name.replace(' ', '-')}.cfg"
        config.write_text(
            f"global\n nbthread {self.workers}\n maxconn 9400\n maxpipes 256\n"
            f"defaults\n mode tcp\n timeout connect 10s\n timeout client 1h\n timeout server 1h\n {self._splice}"
            f"frontend tls\n bind {place.proxy_host}:{self.port} backlog 16384\n maxconn 9400\n"
            " tcp-request inspect-delay 5s\n tcp-request content accept if { req.ssl_hello_type 1 }\n"
            f" use_backend app if {{ req.ssl_sni -i {NAME} }}\n"
            f"backend app\n server app {place.backend_host}:{backend_port}\n"
        )
        return ["haproxy", "-db", "-f", str(config)]


class Nginx(Peer):
    version_command = ("nginx", "-v")

    def __init__(self, workers: int, buffer_kb: int):
        super().__init__(workers)
        self.name, self.port = f"nginx {buffer_kb}k", 7005 if buffer_kb == 16 else 7006
        self._buffer_kb = buffer_kb

    def command(self, place: Place, backend_port: int, directory: Path) -> list[str]:
        config = directory / f"{self.name.replace(' ', '-')}.conf"
        config.write_text(
            "load_module /usr/lib/nginx/modules/ngx_stream_module.so;\n"
            f"daemon off;\nworker_processes {self.workers};\nworker_rlimit_nofile {DESCRIPTORS};\n"
            f"pid {config.with_suffix('.pid')};\nerror_log {config.with_suffix('.err')} error;\n"
            "events { worker_connections 20000; }\n"
            "stream {\n"
            f" map $ssl_preread_server_name $chosen {{ {NAME} app; default none; }}\n"
            f" upstream app {{ server {place.backend_host}:{backend_port}; }}\n"
            " upstream none { server 127.0.0.1:9; }\n"
            f" server {{\n  listen {place.proxy_host}:{self.port} backlog=16384 reuseport;\n  ssl_preread on;\n"
            f"  proxy_pass $chosen;\n  proxy_buffer_size {self._buffer_kb}k;\n  proxy_half_close on;\n"
            "  proxy_timeout 1h;\n }\n}\n"
        )
        return ["nginx", "-e", str(config.with_suffix(".err")), "-p", str(directory), "-c", str(config)]


class SniProxy(Peer):
    name, port = "sniproxy", 7007
    version_command = ("sniproxy", "-V")

    def command(self, place: Place, backend_port: int, directory: Path) -> list[str]:
        config = directory / "sniproxy.conf"
        config.write_text(
            f"user root\nerror_log {{\n filename {directory}/sniproxy.err\n priority error\n}}\n"
            f"listen {place.proxy_host}:{self.port} {{\n proto tls\n table hosts\n}}\n"
            f"table hosts {{\n {NAME.replace('.', chr(92) + '.')} {place.backend_host}:{backend_port}\n}}\n"
        )
        return ["sniproxy", "-f", "-n", str(DESCRIPTORS), "-c", str(config)]


BEFORE = "mc-proxy before"


def all_peers(program: Path, workers: int, before: Path | None = None, floor: Path = Path()) -> list[Peer]:
    """In the order of the tables. `before` is another build of mc-proxy, to see what a change has brought; `floor` the
    program of bench/floor."""
    return [
        Direct(workers),
        Floor(workers, floor, FLOOR, 7008),
        Floor(workers, floor, FLOOR_COPY, 7009),
        HAProxy(workers, splice=False),
        HAProxy(workers, splice=True),
        Nginx(workers, 16),
        Nginx(workers, 64),
        SniProxy(workers),
        *([McProxy(workers, before, "inline", BEFORE, 7000)] if before else []),
        McProxy(workers, program, "inline", "mc-proxy", 7001),
        McProxy(workers, program, "ring", "mc-proxy ring", 7002),
    ]
