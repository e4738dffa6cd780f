# SPDX-License-Identifier: Apache-2.0
"""The places where a benchmark runs: network namespaces of its own, which end with it.

`apart` is three of them, client, proxy and backend, joined by veth pairs; the proxy's namespace forwards, so that the
client reaches the backend without a proxy too. `together` is one, in which all three talk over loopback.
"""

import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

# Many short connections: the ports of ended ones are free again after a second (ip-sysctl.rst, tcp_tw_reuse), and a
# burst of new ones finds room in the queue of the listener. Nobody connects from a port that a proxy is to listen on.
_SYSCTLS = {
    "net.ipv4.ip_local_port_range": "1024 65535",
    "net.ipv4.ip_local_reserved_ports": "7000-7299",
    "net.ipv4.tcp_tw_reuse": "1",
    "net.core.somaxconn": "16384",
    "net.ipv4.tcp_max_syn_backlog": "16384",
    "net.ipv4.ip_forward": "1",
}


@dataclass(frozen=True)
class Place:
    """Namespaces and addresses; `link` says what lies between client and proxy."""

    client: str
    proxy: str
    backend: str
    proxy_host: str
    backend_host: str
    link: str
    name: str = ""

    def set_congestion_control(self, name: str) -> None:
        for namespace in {self.client, self.proxy, self.backend}:
            sysctl(namespace, "net.ipv4.tcp_congestion_control", name)


@contextlib.contextmanager
def congestion_control_allowed(name: str) -> Iterator[None]:
    """A namespace may only choose what the machine allows to everybody (ip-sysctl.rst); put back in the end."""
    allowed = Path("/proc/sys/net/ipv4/tcp_allowed_congestion_control")
    before = allowed.read_text()
    try:
        if name not in before.split():
            allowed.write_text(f"{before.strip()} {name}")
        yield
    finally:
        allowed.write_text(before)


def congestion_controls() -> list[str]:
    """Those that the kernel has now; `modprobe tcp_NAME` may bring further ones."""
    return Path("/proc/sys/net/ipv4/tcp_available_congestion_control").read_text().split()


def run(*words: str) -> None:
    done = subprocess.run(words, capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(words)}: {done.stderr.strip()}\nThe benchmark needs root, and iproute2.")


def inside(namespace: str, *words: str | Path) -> list[str]:
    """The command, in the namespace."""
    return ["ip", "netns", "exec", namespace, *map(str, words)]


def sysctl(namespace: str, key: str, value: str) -> None:
    run(*inside(namespace, "sysctl", "-q", "-w", f"{key}={value}"))


@contextlib.contextmanager
def namespace(role: str) -> Iterator[str]:
    """Processes that are still in it in the end are killed."""
    name = f"mcb-{os.getpid()}-{role}"
    try:
        run("ip", "netns", "add", name)
        run("ip", "-n", name, "link", "set", "lo", "up")
        for key, value in _SYSCTLS.items():
            sysctl(name, key, value)
        yield name
    finally:
        found = subprocess.run(["ip", "netns", "pids", name], capture_output=True, text=True)
        for pid in found.stdout.split():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)
        subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)


@contextlib.contextmanager
def names(namespace: str, addresses: dict[str, str]) -> Iterator[None]:
    """Programs that start inside() the namespace meanwhile find these names: its own /etc/hosts (ip-netns(8))."""
    folder = Path("/etc/netns") / namespace
    try:
        folder.mkdir(parents=True)
        (folder / "hosts").write_text("".join(f"{address} {name}\n" for name, address in addresses.items()))
        yield
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        with contextlib.suppress(OSError):
            folder.parent.rmdir()


Link = Callable[[str, str, str, str], AbstractContextManager[str]]


@contextlib.contextmanager
def veth(first: str, first_address: str, second: str, second_address: str) -> Iterator[str]:
    """A pair of devices between two namespaces; ends with either of them."""
    name = f"mcb{os.getpid() % 100000}"
    number = int(first_address.split(".")[2])
    ends = ((first, f"{name}a{number}", first_address), (second, f"{name}b{number}", second_address))
    run("ip", "link", "add", ends[0][1], "netns", first, "type", "veth", "peer", "name", ends[1][1], "netns", second)
    for where, device, address in ends:
        run("ip", "-n", where, "addr", "add", f"{address}/24", "dev", device)
        run("ip", "-n", where, "link", "set", device, "up")
    yield "veth"


@contextlib.contextmanager
def apart(link: Link = veth) -> Iterator[Place]:
    """Three namespaces, with `link` between client and proxy."""
    with contextlib.ExitStack() as stack:
        client, proxy, backend = (stack.enter_context(namespace(role)) for role in ("client", "proxy", "backend"))
        description = stack.enter_context(link(client, "10.66.1.1", proxy, "10.66.1.2"))
        stack.enter_context(veth(proxy, "10.66.2.1", backend, "10.66.2.2"))
        run("ip", "-n", client, "route", "add", "10.66.2.0/24", "via", "10.66.1.2")
        run("ip", "-n", backend, "route", "add", "10.66.1.0/24", "via", "10.66.2.1")
        yield Place(client, proxy, backend, "10.66.1.2", "10.66.2.2", description)


@contextlib.contextmanager
def together() -> Iterator[Place]:
    """One namespace with loopback alone."""
    with namespace("all") as name:
        yield Place(name, name, name, "127.0.0.1", "127.0.0.1", "loopback")
