# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the end-to-end tests.

Debian packages that the tests need, besides the program under test: python3-pytest,
python3-pytest-xdist; and as real clients, servers and proxies: openssl, curl, gnutls-bin, nodejs,
chromium, libnss3-tools, nghttp2-server, nginx, libnginx-mod-stream, haproxy, apache2-bin, stunnel4,
nftables, dnsmasq-base, unbound, postgresql, openssh-client, openssh-server, zsh; prometheus for its
promtool; python3-pyte for `top`; for the admin API python3-grpcio, python3-protobuf,
protobuf-compiler, and npm, which fetches buf from its registry once (tools.py). A missing program
fails its test; nothing is skipped.

Run them with:  /usr/bin/python3 -m pytest -n 4 tests/e2e
$MC_PROXY names another binary than build/dev/mc-proxy; MC_PROXY_SLOW=1 means that it has a sanitizer.
"""

import ctypes
import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from admin import AdministeredProxy
from certs import Authority
from harness import Backend, Proxy, echo


CLONE_NEWNET = 0x40000000  # sched.h

pytest_plugins = ["hello_site", "pools", "relays", "time_limit"]


@pytest.fixture
def enter() -> Iterator[Callable]:
    """enter(context) enters the context until the test's end, and returns its value, as `with context as` does."""
    with ExitStack() as stack:
        yield stack.enter_context


@pytest.fixture
def start_backend(enter: Callable) -> Callable:
    """start_backend(Backend(...)) returns the backend, and closes it after the test."""
    return enter


@pytest.fixture
def start_proxy(tmp_path: Path, start_backend: Callable) -> Iterator[Callable[..., Proxy]]:
    """start_proxy(routes=..., ...) returns a serving Proxy, and ends it before the backends."""
    with ExitStack() as stack:
        yield lambda **options: stack.enter_context(Proxy(tmp_path, **options))


@pytest.fixture
def keep(start_proxy: Callable) -> Iterator[Callable]:
    """keep(connection) returns it, and closes it after the test, before the proxy ends: which else would wait for it."""
    with ExitStack() as stack:
        yield stack.enter_context


@pytest.fixture
def start_administered(tmp_path: Path, start_backend: Callable) -> Iterator[Callable[..., AdministeredProxy]]:
    """The same with an admin API: start_administered(routes=..., ...)."""
    with ExitStack() as stack:
        yield lambda **options: stack.enter_context(AdministeredProxy(tmp_path, **options))


@pytest.fixture(params=["inline", "ring"])
def engine(request: pytest.FixtureRequest) -> str:
    """Both values of [proxy] splice: a test of the relay runs with each."""
    return request.param


@pytest.fixture
def own_network() -> Iterator[None]:
    """This thread, and the processes and threads that it starts, are in a network of their own, with a loopback.

    Name it before the fixtures that must be inside.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    before = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    assert libc.unshare(CLONE_NEWNET) == 0, f"unshare: {os.strerror(ctypes.get_errno())}; it takes root"
    try:
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        yield
    finally:
        assert libc.setns(before, CLONE_NEWNET) == 0
        os.close(before)


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """A certificate authority that lives as long as the session."""
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def backend(start_backend: Callable) -> Backend:
    """A backend that echoes."""
    return start_backend(Backend(echo))


@pytest.fixture
def proxy(start_administered: Callable, backend: Backend) -> AdministeredProxy:
    """A proxy with an admin API and one route, app.example.com."""
    return start_administered(routes={"app.example.com": backend})
