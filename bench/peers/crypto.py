# SPDX-License-Identifier: Apache-2.0
"""HTTPS through the proxies, with the crypto of both ends as users run it: an nginx with TLS as the backend, wrk and
h2load as clients. What a proxy gains here is what its share of a whole connection is, not what it can do at most.
"""

import contextlib
import json
import os
import re
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Any

from bench import BACKEND_PORT, CELL_LIMIT, Bench
from network import Place, inside, names
from peers import DESCRIPTORS, NAME, Peer
from workloads import Answer, Workload

DIRECT_NAME = "direct.example.com"  # the client's name for the backend itself; nginx asks for none
FILES = {"1k": 1 << 10, "1m": 1 << 20}

# wrk's own report rounds; summary and latency are in microseconds (its SCRIPTING file).
_WRK_REPORT = """\
done = function(summary, latency, requests)
  local e = summary.errors
  io.stderr:write(string.format(
    '{"us": %d, "count": %d, "bytes": %d, "errors": %d, "p50_us": %d, "p99_us": %d, "p99.9_us": %d}',
    summary.duration, summary.requests, summary.bytes, e.connect + e.read + e.write + e.status + e.timeout,
    latency:percentile(50), latency:percentile(99), latency:percentile(99.9)))
end
"""


class TlsBackend(Peer):
    """No session is resumed: each connection costs a whole handshake."""

    name, port = "nginx with TLS", BACKEND_PORT

    def command(self, place: Place, backend_port: int, directory: Path) -> list[str]:
        files = directory / "www"
        files.mkdir(exist_ok=True)
        for name, size in FILES.items():
            (files / name).write_bytes(bytes(size))
        certificate, key = directory / "backend.pem", directory / "backend-key.pem"
        _make_certificate(certificate, key)
        config = directory / "backend.conf"
        config.write_text(
            f"daemon off;\nuser root;\nworker_processes {self.workers};\nworker_rlimit_nofile {DESCRIPTORS};\n"
            f"pid {config.with_suffix('.pid')};\nerror_log {config.with_suffix('.err')} error;\n"
            "events { worker_connections 4096; }\n"
            "http {\n access_log off;\n sendfile on;\n tcp_nopush on;\n keepalive_requests 1000000000;\n"
            " ssl_protocols TLSv1.2 TLSv1.3;\n ssl_session_cache off;\n ssl_session_tickets off;\n"
            f" server {{\n  listen {place.backend_host}:{self.port} ssl http2 backlog=16384 reuseport;\n"
            f"  ssl_certificate {certificate};\n  ssl_certificate_key {key};\n  root {files};\n }}\n}}\n"
        )
        return ["nginx", "-e", str(config.with_suffix(".err")), "-p", str(directory), "-c", str(config)]

    def namespace(self, place: Place) -> str:
        return place.backend


def _make_certificate(certificate: Path, key: Path) -> None:
    kind = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-noenc", "-days", "30", "-subj", f"/CN={NAME}"]
    words = ["openssl", "req", "-x509", *kind, "-out", certificate, "-keyout", key]
    subprocess.run(words, check=True, capture_output=True)


class CryptoBench(Bench):
    """The same proxies, another backend. `arguments` of a workload are a client program, its words, and a file."""

    @contextlib.contextmanager
    def backend(self) -> Iterator[None]:
        self._script = self.directory / "report.lua"
        self._script.write_text(_WRK_REPORT)
        nginx = TlsBackend(os.cpu_count() or 1)
        addresses = {NAME: self.place.proxy_host, DIRECT_NAME: self.place.backend_host}
        with names(self.place.client, addresses), contextlib.ExitStack() as stack:
            stack.callback(nginx.stop)
            nginx.start(self.place, BACKEND_PORT, self.directory)
            yield

    def measure(self, peer: Peer, workload: Workload, seconds: float) -> dict[str, Any]:
        program, *words, file = workload.arguments
        url = f"https://{NAME}:{peer.port}/{file}" if peer.port else f"https://{DIRECT_NAME}:{BACKEND_PORT}/{file}"
        ask = {"wrk": self._wrk, "h2load": self._h2load}[program]
        processes = peer.processes()
        try:
            before = Spent.now(processes)
            answer = ask([*words, url], seconds)
            answer |= before.until_now(processes)
            return workload.make(answer) | {"errors": answer["request"]["errors"]}
        except subprocess.TimeoutExpired:
            return {"failed": f"no end within {CELL_LIMIT:g} s"}
        except ZeroDivisionError:
            return {"failed": f"no request was answered, {answer['request']['errors']} errors"}
        except (OSError, ValueError) as problem:
            return {"failed": str(problem)}

    def _wrk(self, words: Sequence[str], seconds: float) -> Answer:
        """It knows only whole seconds."""
        done = self._run("wrk", "--script", self._script, "--duration", f"{ceil(seconds)}s", *words)
        found = json.loads(done.stderr)
        return {"seconds": found.pop("us") / 1e6, "request": found}

    def _h2load(self, words: Sequence[str], seconds: float) -> Answer:
        log = self.directory / "h2load.log"
        log.unlink(missing_ok=True)
        done = self._run("h2load", "--duration", f"{seconds * 1000:.0f}ms", f"--log-file={log}", *words)
        found = re.findall(r"(\d+) (succeeded|failed|errored|timeout)", done.stdout)
        counts = {kind: int(count) for count, kind in found}
        latencies = sorted(int(line.split("\t")[2]) for line in log.read_text().splitlines())
        shares = (50, 99, 99.9) if latencies else ()
        request = {f"p{share:g}_us": latencies[int(len(latencies) * share / 100)] for share in shares}
        request |= {"count": counts.pop("succeeded"), "errors": sum(counts.values())}
        return {"seconds": seconds, "request": request}

    def _run(self, *words: str | Path) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(inside(self.place.client, *words), capture_output=True, text=True, timeout=CELL_LIMIT)
        if done.returncode != 0:
            raise ValueError(f"{words[0]}: {(done.stderr or done.stdout).strip()}")
        return done


@dataclass(frozen=True)
class Spent:
    """Processor time up to now: seconds of processes, and ticks of the machine."""

    processes: float
    busy: float
    all: float

    @classmethod
    def now(cls, processes: Sequence[int]) -> "Spent":
        ticks = [int(field) for field in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
        idle = ticks[3] + ticks[4]  # and waiting for disks (proc_stat(5))
        return cls(sum(map(_cpu_seconds, processes)), sum(ticks) - idle, sum(ticks))

    def until_now(self, processes: Sequence[int]) -> dict[str, float]:
        now = Spent.now(processes)
        return {"cpu": now.processes - self.processes, "machine": (now.busy - self.busy) / (now.all - self.all)}


def _cpu_seconds(process: int) -> float:
    """Of all its threads, the ended ones too (clock_getcpuclockid(3), which Python does not have)."""
    try:
        return time.clock_gettime(~process << 3 | 2)
    except OSError:
        raise ProcessLookupError(f"process {process} has ended") from None
