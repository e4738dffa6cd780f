# SPDX-License-Identifier: Apache-2.0
"""The proxy under test, and tools for tests.

A Proxy is a real process with a configuration file of its own. Tests observe it through its log,
which is parsed strictly, and through /proc. Every test ends it: on SIGTERM it must exit with code 0,
and without a sanitizer's report.
"""

import contextlib
import copy
import json
import os
import re
import signal
import socket
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, Protocol

import logfmt
from backends import Backend, ManualBackend, RecordingBackend, TlsBackend, echo
from hello import client_hello
from sockets import (
    PATIENCE,
    SLOW_FACTOR,
    Client,
    address_text,
    expect_echo,
    expect_eof,
    expect_rst,
    recv_exactly,
    recv_to_eof,
    rst_close,
    send_byte_by_byte,
    send_until_refused,
    until,
    wait_until_delivered,
)

__all__ = [
    "PATIENCE",
    "SLOW_FACTOR",
    "Answer",
    "Backend",
    "Client",
    "Listener",
    "ManualBackend",
    "Proxy",
    "RecordingBackend",
    "TlsBackend",
    "address_text",
    "binary",
    "client_hello",
    "echo",
    "expect_echo",
    "expect_eof",
    "expect_rst",
    "recv_exactly",
    "recv_to_eof",
    "reserve_port",
    "rst_close",
    "send_byte_by_byte",
    "send_until_refused",
    "until",
    "wait_until_delivered",
]

REPOSITORY = Path(__file__).resolve().parents[3]

# The first line of each sanitizer's report.
_SANITIZER = re.compile(r"ERROR: \w+Sanitizer|WARNING: \w+Sanitizer|runtime error:")

# The last message of a connection; each connection has exactly one of these.
OUTCOMES = ("connection closed", "connection refused", "dial failed")


def binary() -> Path:
    """The program under test: $MC_PROXY, or the development build."""
    path = Path(os.environ.get("MC_PROXY", REPOSITORY / "build/dev/mc-proxy"))
    assert path.is_file(), f"{path} is not there; build it, or name another in MC_PROXY"
    return path.resolve()


class HasAddress(Protocol):
    """A target of a route."""

    address: str


@dataclass
class Listener:
    """One listening address. A route leads to a backend, or to "pool=app". `host` as in the configuration: "127.0.0.1", "[::1]", "" for all."""

    routes: Mapping[str, "HasAddress | str"] = field(default_factory=dict)
    matching: Sequence[Mapping[str, object]] = ()  # further routes, as the configuration writes them
    host: str = "127.0.0.1"
    port: int = 0  # one that is free
    settings: Mapping[str, object] = field(default_factory=dict)  # further keys of its table
    redirects: bool = False  # it stands in [[redirects]]; those are the last ones


class Memory(NamedTuple):
    """The memory of a process, in bytes; `pss` divides shared pages among their processes."""

    pss: int
    rss: int


class Answer(NamedTuple):
    """The output of a command, and its exit code."""

    code: int
    out: str
    err: str


class Proxy:
    """One mc-proxy server. Give it `routes` for a single listener, or several `listeners`.

    `firewall` and `tables` are tables of the configuration; all further keywords are settings of
    its [proxy] table. `descriptors` is its RLIMIT_NOFILE, soft and hard.
    """

    def __init__(
        self,
        directory: Path,
        *,
        routes: Mapping[str, "HasAddress | str"] | None = None,
        listeners: Iterable[Listener] = (),
        firewall: Mapping[str, object] | None = None,
        tables: Mapping[str, Mapping[str, object]] | None = None,
        log_level: str = "info",
        descriptors: int | None = None,
        **settings: object,
    ):
        self.listeners = [Listener(routes)] if routes is not None else list(listeners)
        self._reserved = [reserve_port(listener.host, listener.port) for listener in self.listeners]
        self.ports = [sock.getsockname()[1] for sock in self._reserved]
        self.config = directory / f"mc-proxy-{self.ports[0]}.toml"
        self.database = self.config.with_suffix(".db")
        self.config.write_text(
            _toml(
                {
                    "listeners": self._listener_tables(redirects=False),
                    "redirects": self._listener_tables(redirects=True),
                    "database": {"path": str(self.database)},
                    "firewall": firewall or {},
                    # Short, for tests that end with open connections.
                    "proxy": {"shutdown_timeout": "300ms"} | settings,
                    "log": {"level": log_level},
                    **(tables or {}),
                }
            )
        )
        self._command = [str(binary()), "server", "-c", str(self.config)]
        self._environment = dict(os.environ)
        self.manager: dict[str, object] = {}  # further arguments of Popen, which replace a service manager
        if descriptors is not None:
            self._command = ["prlimit", f"--nofile={descriptors}:{descriptors}", *self._command]
            self._silence_vptr_check(directory)
        self._changed = threading.Condition()
        self._log_is_read = threading.Event()
        self._log_is_read.set()
        self._lines: list[dict[str, str]] = []
        self._raw: list[str] = []
        self._unreadable: list[str] = []
        self._ended = False
        self._process: subprocess.Popen[bytes] | None = None
        self._reader: threading.Thread | None = None

    def _listener_tables(self, *, redirects: bool) -> list[dict[str, object]]:
        return [
            _listener_table(listener, port)
            for listener, port in zip(self.listeners, self.ports, strict=True)
            if listener.redirects == redirects
        ]

    # ---- life

    def start(self) -> "Proxy":
        """Returns when every listener accepts. May be called again after stop()."""
        assert self._process is None, "it runs already"
        served_before = len(self.lines(msg="serving"))
        self._ended = False
        self._process = subprocess.Popen(
            self._command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env=self._environment,
            **self.manager,
        )
        self._reader = threading.Thread(target=self._read_log, daemon=True)
        self._reader.start()
        try:
            self.wait_log(count=served_before + 1, msg="serving")
        except BaseException:
            self.kill()
            self._release_ports()
            raise
        return self

    def successor(self, *flags: str) -> "Proxy":
        """A server with the same configuration and database, not started yet: `server --take-over`, or other flags."""
        heir = copy.copy(self)
        heir._reserved = []
        heir._command = [str(binary()), "server", *(flags or ("--take-over",)), "-c", str(self.config)]
        heir._changed = threading.Condition()
        heir._lines, heir._raw, heir._unreadable = [], [], []
        heir._process = heir._reader = None
        return heir

    def send_signal(self, number: int) -> None:
        self._running().send_signal(number)

    def stop(self, number: int = signal.SIGTERM, timeout: float = PATIENCE) -> int:
        """Sends the signal and waits for the end. Returns the exit code, negative for a signal."""
        self.send_signal(number)
        return self.wait_end(timeout)

    def wait_end(self, timeout: float = PATIENCE) -> int:
        """Waits until the process has ended. Returns the exit code."""
        process = self._running()
        try:
            code = process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"mc-proxy has not ended within {timeout} s") from None
        self._reap()
        return code

    def kill(self) -> None:
        """Ends it as the OOM killer would."""
        self._running().kill()
        self._running().wait()
        self._reap()

    def close(self) -> None:
        """Stops it if it still runs. Fails if it did anything that a healthy proxy does not do."""
        died, code = False, 0
        try:
            if self._process is not None:
                died = self._process.poll() is not None
                code = self.wait_end() if died else self.stop()
        except AssertionError:
            self.kill()
            raise
        finally:
            self._release_ports()
            print(self.stderr)  # pytest shows it with a failure
        report = [line for line in self._raw if _SANITIZER.search(line)]
        assert not report, f"a sanitizer reports: {report[0]}"
        assert not died, f"mc-proxy died during the test, exit code {code}"
        assert code == 0, f"mc-proxy ended with exit code {code} after SIGTERM"
        assert not self._unreadable, f"not a log line: {self._unreadable[0]}"

    def __enter__(self) -> "Proxy":
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.close()

    # ---- clients

    def cli(self, *words: object, stdin: str = "", wrapper: Iterable[str] = ()) -> Answer:
        """Runs a command of the same program, such as cli("status", "--json"), for this server's configuration."""
        command = [*wrapper, str(binary()), *map(str, words), "-c", str(self.config)]
        done = subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=60 * SLOW_FACTOR)
        report = _SANITIZER.search(done.stderr)
        assert not report, f"a sanitizer reports: {done.stderr}"
        return Answer(done.returncode, done.stdout, done.stderr)

    def connect(
        self, source: str | None = None, host: str | None = None, listener: int = 0
    ) -> Client:
        """A client's connection from the address `source` to `host`, which is the listener's if it is not given."""
        target = host or _reachable(self.listeners[listener].host)
        is_v6 = ":" in target
        client = Client(socket.AF_INET6 if is_v6 else socket.AF_INET)
        with self._changed:
            client.log_before = len(self._lines)
        try:
            client.connect_from(
                source or ("::1" if is_v6 else "127.0.0.1"), (target, self.ports[listener])
            )
        except BaseException:
            client.close()
            raise
        return client

    @contextlib.contextmanager
    def open_connection(
        self, name: str = "app.example.com", source: str | None = None, listener: int = 0
    ) -> Iterator[Client]:
        """A connection that has reached a backend that echoes."""
        with self.connect(source, listener=listener) as client:
            expect_echo(client, client_hello(name))
            yield client

    def expect_served(self, name: str = "app.example.com", source: str | None = None, listener: int = 0) -> str:
        """A new connection reaches a backend that echoes. Returns the backend's address."""
        with self.open_connection(name, source, listener) as client:
            pass
        return self.outcome(client)["backend"]

    def expect_refused(
        self, reason: str, name: str = "app.example.com", source: str | None = None, listener: int = 0
    ) -> None:
        """A new connection is reset, for this reason."""
        with self.connect(source, listener=listener) as client:
            try:
                if not client.was_reset:
                    client.sendall(client_hello(name))
            except ConnectionResetError:
                client.was_reset = True
            expect_rst(client)
        assert self.outcome(client)["reason"] == reason

    def expect_blocked(
        self, reason: str, source: str | None = None, host: str | None = None, listener: int = 0
    ) -> None:
        """A new connection is reset before it has said a word, for this reason."""
        with self.connect(source, host, listener) as client:
            expect_rst(client)
            line = self.outcome(client)
        assert (line["msg"], line["reason"]) == ("connection refused", reason)
        assert "sni" not in line, "it is refused before its hello"

    # ---- log

    def wait_log(
        self, timeout: float = PATIENCE, count: int = 1, after: int = 0, **fields: object
    ) -> dict[str, str]:
        """Waits for the `count`-th line with these fields, and returns it; the first `after` do not count."""
        deadline = time.monotonic() + timeout
        looked_at, found = after, 0
        with self._changed:
            while True:
                for line in self._lines[looked_at:]:
                    found += _matches(line, fields)
                    if found == count:
                        return line
                looked_at = len(self._lines)
                if self._ended or not self._changed.wait(deadline - time.monotonic()):
                    break
        why = "mc-proxy has ended" if self._ended else f"waited {timeout} s"
        raise AssertionError(f"{why}; {found} of {count} lines {fields} in:\n{self.stderr}")

    @contextlib.contextmanager
    def unread_log(self) -> Iterator[None]:
        """Does not read the log meanwhile: the proxy's queue of lines fills up, and then it loses lines."""
        self._log_is_read.clear()
        try:
            yield
        finally:
            self._log_is_read.set()

    def outcome(self, client: Client) -> dict[str, str]:
        """Waits for the last line about a client, and returns it."""
        return self.wait_log(after=client.log_before, client=client.name, msg=OUTCOMES)

    def lines(self, **fields: object) -> list[dict[str, str]]:
        """All lines so far that have these fields.

        A value is a text, or an object with that text; a compiled pattern, which must match in the
        field; or a tuple of such values, one of which must match.
        """
        with self._changed:
            return self._matching(fields)

    def lines_until_now(self, **fields: object) -> list[dict[str, str]]:
        """All lines with these fields about events until now. Another thread writes the log, so this first requests a
        later line and waits for it. For tests that expect no line, or no further one."""
        reload = "received SIGHUP, reloading GeoIP database"
        before = len(self.lines(msg=reload))
        self.send_signal(signal.SIGHUP)
        self.wait_log(msg=reload, count=before + 1)
        return self.lines(**fields)

    @property
    def stderr(self) -> str:
        """All that it wrote, unchanged."""
        with self._changed:
            return "\n".join(self._raw)

    # ---- as the kernel reports it

    @property
    def runs(self) -> bool:
        return self._process is not None

    @property
    def pid(self) -> int:
        return self._running().pid

    def fds(self) -> Counter[str]:
        """Its open descriptors by kind: "socket", "pipe", "anon_inode:[io_uring]"... Without files: a start opens some
        for a moment, and a later count would differ."""
        kinds: Counter[str] = Counter()
        folder = f"/proc/{self.pid}/fd"
        for name in os.listdir(folder):
            try:
                target = os.readlink(f"{folder}/{name}")
            except FileNotFoundError:  # closed meanwhile
                continue
            if not target.startswith("/"):
                kinds[target.split(":[")[0] if target.startswith(("socket:", "pipe:")) else target] += 1
        return kinds

    def memory(self) -> Memory:
        text = Path(f"/proc/{self.pid}/smaps_rollup").read_text()
        kilobytes = dict(re.findall(r"^(\w+): +(\d+) kB$", text, re.MULTILINE))
        return Memory(int(kilobytes["Pss"]) * 1024, int(kilobytes["Rss"]) * 1024)

    def cpu_seconds(self) -> float:
        """User and system time of all its threads."""
        # The program's name, in brackets, may contain spaces; the fields after it do not.
        stat = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(stat[11]) + int(stat[12])) / os.sysconf("SC_CLK_TCK")

    # ---- inside

    def _silence_vptr_check(self, directory: Path) -> None:
        """UBSan tests an object's memory with a pipe; at EMFILE it would report every object."""
        suppressions = directory / "ubsan.supp"
        suppressions.write_text("vptr:*\n")
        options = self._environment.get("UBSAN_OPTIONS", "")
        self._environment["UBSAN_OPTIONS"] = f"{options}:suppressions={suppressions}".lstrip(":")

    def _running(self) -> subprocess.Popen[bytes]:
        assert self._process is not None, "mc-proxy does not run"
        return self._process

    def _reap(self) -> None:
        assert self._reader is not None
        self._reader.join(PATIENCE)
        assert not self._reader.is_alive(), "stderr stays open after mc-proxy's end"
        self._process = None

    def _release_ports(self) -> None:
        for sock in self._reserved:
            sock.close()

    def _read_log(self) -> None:
        stream = self._running().stderr
        assert stream is not None
        with stream:
            for line in stream:
                self._log_is_read.wait()
                self._take_line(line)
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def _take_line(self, line: bytes) -> None:
        text = line.decode(errors="surrogateescape").removesuffix("\n")
        with self._changed:
            self._raw.append(text)
            try:
                self._lines.append(logfmt.parse(text))
            except ValueError as error:
                self._unreadable.append(f"{error}: {text}")
            self._changed.notify_all()

    def _matching(self, fields: Mapping[str, object]) -> list[dict[str, str]]:
        return [line for line in self._lines if _matches(line, fields)]


def accepting_pauses(lines: Iterable[Mapping[str, str]]) -> int:
    """How often these lines of the log say that accepting paused: once a pause, not once a try, so that two of them have the
    end of the first between them."""
    said = [line["msg"] for line in lines if line["msg"].startswith("accepting ")]
    assert said == [("accepting paused", "accepting again")[i % 2] for i in range(len(said))], said
    return (len(said) + 1) // 2


def _matches(line: Mapping[str, str], fields: Mapping[str, object]) -> bool:
    return all(key in line and _is(line[key], wanted) for key, wanted in fields.items())


def _is(text: str, wanted: object) -> bool:
    if isinstance(wanted, tuple):
        return any(_is(text, item) for item in wanted)
    if isinstance(wanted, re.Pattern):
        return wanted.search(text) is not None
    return text == str(wanted)


def reserve_port(host: str, port: int = 0) -> socket.socket:
    """A socket that reserves a port (0: a free one) for the proxy's lifetime, but lets the proxy bind it.

    The kernel allows that because both set SO_REUSEADDR and this socket never listens. It does not
    assign the port to a bind with port 0, so parallel tests do not collide.
    """
    address = host.strip("[]") or "::"
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, host != "")
    sock.bind((address, port))
    return sock


def _reachable(host: str) -> str:
    """The address at which a client on this machine reaches a listener."""
    return {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "[::]": "::1"}.get(host, host.strip("[]"))


def _listener_table(listener: Listener, port: int) -> dict[str, object]:
    routes = [
        {"hostname": name, **_target(to if isinstance(to, str) else to.address)}
        for name, to in listener.routes.items()
    ]
    table = {"addr": f"{listener.host}:{port}", **listener.settings}
    return table if listener.redirects else table | {"routes": routes + list(listener.matching)}


def _target(text: str) -> dict[str, str]:
    pool = text.removeprefix("pool=")
    return {"backend": text} if pool == text else {"pool": pool}


def _toml(tables: Mapping[str, object], path: str = "") -> str:
    """Writes the part of TOML that a configuration needs: tables, arrays of tables, and JSON-like values."""
    values, sections = [], []
    for key, value in tables.items():
        name = f"{path}{key}"
        if value == [] and not path:
            continue
        if isinstance(value, Mapping):
            sections.append(f"[{name}]\n{_toml(value, name + '.')}")
        elif isinstance(value, list) and value and isinstance(value[0], Mapping):
            sections += [f"[[{name}]]\n{_toml(item, name + '.')}" for item in value]
        else:
            values.append(f"{key} = {json.dumps(value)}\n")
    return "".join(values) + "".join(sections)
