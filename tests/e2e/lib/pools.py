# SPDX-License-Identifier: Apache-2.0
"""The common part of the tests of pools (test_pools.py, test_pool_checks.py). A plugin of pytest, for its fixtures."""

import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from admin import AdministeredProxy, enum_name
from backends import Backend, Handler, echo
from harness import reserve_port
from sockets import PATIENCE, SLOW_FACTOR, recv_to_eof, until

NAME = "app.example.com"

# The name in the hello of a TLS check, by which a CheckedBackend tells it from a client.
CHECK_NAME = "check.example.com"

# The timeout of checks of a backend that will not reply. Others have a longer one, for a busy machine.
SHORT_TIMEOUT = "500ms" if SLOW_FACTOR == 1 else "2s"
NO_REPLY = f"no reply within {SHORT_TIMEOUT}"

# As much of a ServerHello as a check reads: the heads of the record and of the message, and the version.
SERVER_HELLO = bytes.fromhex("160303007a 02000076 0303")


def pool_table(backends: list, name: str = "app", **settings: object) -> dict:
    """A pool of a configuration. A backend is an address, something with one, or a table."""

    def table(backend: object) -> dict:
        if isinstance(backend, dict):
            return backend
        return {"address": backend if isinstance(backend, str) else backend.address}

    return {"name": name, **settings, "backends": [table(backend) for backend in backends]}


def check_table(kind: str = "tls", **settings: object) -> dict:
    """The check of a pool, with intervals that are as short as may be."""
    times = {"interval": "200ms", "fast_interval": "100ms", "timeout": "2s"}
    name = {"name": CHECK_NAME} if kind == "tls" else {}
    return {"kind": kind, **name, **times, "rise": 2, "fall": 3} | settings


@pytest.fixture
def refusing() -> Iterator[Callable[[], str]]:
    """refusing() returns an address at which nobody listens until the test's end."""
    with ExitStack() as stack:

        def reserve() -> str:
            host, port = stack.enter_context(reserve_port("127.0.0.1")).getsockname()
            return f"{host}:{port}"

        yield reserve


@pytest.fixture
def silent() -> Iterator[Callable[[], str]]:
    """silent() returns an address at which no connection is ever established: the queue is full."""
    with ExitStack() as stack:

        def fill() -> str:
            listener = stack.enter_context(socket.socket())
            listener.bind(("127.0.0.1", 0))
            listener.listen(0)
            for _ in range(2):
                client = stack.enter_context(socket.socket())
                client.setblocking(False)
                client.connect_ex(listener.getsockname())
            return "{}:{}".format(*listener.getsockname())

        yield fill


@pytest.fixture
def start_pool(start_administered: Callable) -> Callable[..., AdministeredProxy]:
    """start_pool(backends, balance=..., ...) returns a proxy whose one route leads to the pool "app"."""

    def start(backends: list, proxy: dict | None = None, **settings: object) -> AdministeredProxy:
        return start_administered(
            routes={NAME: "pool=app"}, tables={"pools": [pool_table(backends, **settings)]}, **(proxy or {})
        )

    return start


def backends_of(proxy: AdministeredProxy, pool: str = "app") -> dict[str, Any]:
    (told,) = proxy.admin.ListPools(name=pool).pools
    return {backend.address: backend for backend in told.backends}


def until_health(
    proxy: AdministeredProxy, backend: Any, health: str, reason: str = "", pool: str = "app", timeout: float = PATIENCE
) -> None:
    """Waits until a backend, or an address, is "UP", "DOWN", "UNCHECKED" or "EJECTED", with these words as the reason."""
    address = backend if isinstance(backend, str) else backend.address

    def holds() -> bool:
        told = backends_of(proxy, pool)[address]
        return enum_name(told, "health") == f"BACKEND_HEALTH_{health}" and reason in told.reason

    until(holds, f"{address} is {health}: {reason}", timeout)


class CheckedBackend(Backend):
    """Echoes, and replies to TLS checks with a ServerHello as long as `replies` is true; else it closes them.

    `checks` counts them.
    """

    def __init__(self, port: int = 0) -> None:
        self.replies = True
        self.checks = 0
        self._counting = threading.Lock()
        super().__init__(self._serve_one, port=port)

    def _serve_one(self, connection: socket.socket) -> None:
        hello = connection.recv(1 << 16)
        if CHECK_NAME.encode() not in hello:
            connection.sendall(hello)
            echo(connection)
            return
        with self._counting:
            self.checks += 1
        if self.replies:
            connection.sendall(SERVER_HELLO)
            recv_to_eof(connection)

    def until_checked(self, times: int) -> None:
        """Waits for so many more checks."""
        goal = self.checks + times
        until(lambda: self.checks >= goal, f"{times} more checks")


class Door:
    """A backend at an address of its own, which opens and closes: closed, it refuses connections."""

    def __init__(self, handler: Handler = echo) -> None:
        self._handler = handler
        self._reserved = reserve_port("127.0.0.1")
        self._port = self._reserved.getsockname()[1]
        self._inside: Backend | None = None
        self.address = f"127.0.0.1:{self._port}"

    def open(self) -> "Door":
        assert self._inside is None, "it is open"
        self._inside = Backend(self._handler, port=self._port)
        return self

    def shut(self) -> None:
        if self._inside is not None:
            self._inside.close()
        self._inside = None

    def __enter__(self) -> "Door":
        return self

    def __exit__(self, *_: object) -> None:
        self.shut()
        self._reserved.close()


class Filter:
    """Rules of nftables in a network of the test's own: what becomes of new connections to an address."""

    def __init__(self) -> None:
        self._nft("add table inet filter; add chain inet filter input { type filter hook input priority 0; }")

    def treat(self, address: str, how: str) -> None:
        """`how`: "drop", or "reject with tcp reset". Connections that are open go on."""
        port = address.rpartition(":")[2]
        self._nft(f"add rule inet filter input tcp dport {port} tcp flags & (syn|ack) == syn {how}")

    def let_all_in(self) -> None:
        self._nft("flush chain inet filter input")

    @staticmethod
    def _nft(rules: str) -> None:
        done = subprocess.run(["nft", rules], capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"nft {rules}: {done.stderr}"
