# SPDX-License-Identifier: Apache-2.0
"""Runs inside the machine that run.py starts: measures latencies and transfers through each proxy in each network.

Client, proxy and backend have a namespace each; the link between client and proxy is of the profile, that between proxy
and backend a bare veth pair. The proxy's namespace also forwards, so that "direct" takes the same way without a proxy.
Prints one line: `@@result JSON`.
"""

import contextlib
import hashlib
import json
import multiprocessing
import os
import random
import socket
import statistics
import struct
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from hello import client_hello
from inside import inside, ping
from profiles import PROFILES, Profile, link, namespace, netem_available, run

NAME = "app.example.com"
HELLO = client_hello(NAME, pad_to=512)
CLIENT, PROXY, INNER, BACKEND = "10.92.1.1", "10.92.1.2", "10.92.2.1", "10.92.2.2"
PORT = 8443  # of the backend
PATIENCE = 120.0
REPEATS = 3
PINGS = 30
CONNECTIONS = 9
ROUND_TRIPS = 30
MESSAGE_BYTES = 64
# What an emulated machine moves in seconds; where frames are lost, what a single flow moves in seconds.
TRANSFER_BYTES = {"wan": 2 << 20, "mobile": 1 << 19}
TRANSFER_BYTES_OTHERWISE = 4 << 20

# A prime number of bytes: what is lost, doubled or out of place shifts all that follows.
BLOCK = random.Random(1).randbytes(1_048_573)
KERNEL_MODULES = Path("/payload/modules")
PEERS = Path("/payload/peers")


class Network(NamedTuple):
    client: str
    proxy: str
    backend: str
    made: str


def say(text: str) -> None:
    print(f"   {text}", flush=True)


# ---- payload


def payload(size: int) -> bytes:
    return (BLOCK * (size // len(BLOCK) + 1))[:size]


def digest(size: int) -> bytes:
    return hashlib.sha256(payload(size)).digest()


def receive(stream: socket.socket, size: int) -> bytes:
    data = bytearray()
    while len(data) < size:
        part = stream.recv(min(size - len(data), 1 << 18))
        if not part:
            raise EOFError(f"the stream ended after {len(data)} of {size} bytes")
        data += part
    return bytes(data)


# ---- backend: one process, a thread for each connection


def serve(ns: str, is_ready: Any) -> None:
    with inside(ns):
        listener = socket.create_server((BACKEND, PORT), backlog=64)
    is_ready.set()
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=answer, args=(connection,), daemon=True).start()


def answer(connection: socket.socket) -> None:
    with connection, contextlib.suppress(OSError, EOFError):
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if receive(connection, len(HELLO)) != HELLO:
            return  # the client sees the end where it waits for the answer
        connection.sendall(b"k")
        while command := connection.recv(1):
            size = struct.unpack("!Q", receive(connection, 8))[0]
            if command == b"D":
                connection.sendall(payload(size))
            elif command == b"U":
                connection.sendall(hashlib.sha256(receive(connection, size)).digest())
            else:
                connection.sendall(receive(connection, size))


@contextlib.contextmanager
def backend(ns: str) -> Iterator[None]:
    is_ready = multiprocessing.Event()
    process = multiprocessing.Process(target=serve, args=(ns, is_ready), daemon=True)
    process.start()
    is_ready.wait(PATIENCE)
    try:
        yield
    finally:
        process.kill()
        process.join()


# ---- client


def connect(ns: str, address: tuple[str, int]) -> socket.socket:
    """A connection whose ClientHello the backend has seen."""
    with inside(ns):
        stream = socket.socket()
    try:
        stream.settimeout(PATIENCE)
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        stream.connect(address)
        stream.sendall(HELLO)
        receive(stream, 1)
    except BaseException:
        stream.close()
        raise
    return stream


def time_connections(ns: str, address: tuple[str, int]) -> list[float]:
    taken = []
    for _ in range(CONNECTIONS):
        begin = time.perf_counter()
        stream = connect(ns, address)
        taken.append((time.perf_counter() - begin) * 1000)
        stream.close()
    return taken


def time_round_trips(ns: str, address: tuple[str, int]) -> list[float]:
    taken = []
    request = b"E" + struct.pack("!Q", MESSAGE_BYTES) + bytes(MESSAGE_BYTES)
    with connect(ns, address) as stream:
        for _ in range(ROUND_TRIPS):
            begin = time.perf_counter()
            stream.sendall(request)
            receive(stream, MESSAGE_BYTES)
            taken.append((time.perf_counter() - begin) * 1000)
    return taken


def time_download(ns: str, address: tuple[str, int], size: int) -> float:
    with connect(ns, address) as stream:
        begin = time.perf_counter()
        stream.sendall(b"D" + struct.pack("!Q", size))
        data = receive(stream, size)
        seconds = time.perf_counter() - begin
    if data != payload(size):
        raise AssertionError(f"a download of {size} bytes from {address} brought other bytes")
    return seconds


def time_upload(ns: str, address: tuple[str, int], size: int) -> float:
    data = payload(size)
    with connect(ns, address) as stream:
        begin = time.perf_counter()
        stream.sendall(b"U" + struct.pack("!Q", size) + data)
        answered = receive(stream, 32)
        seconds = time.perf_counter() - begin
    if answered != digest(size):
        raise AssertionError(f"an upload of {size} bytes to {address} brought other bytes")
    return seconds


# ---- proxies


def configuration(peer: str, port: int) -> tuple[str, list[str]]:
    """Its configuration, and the command that starts it with that in the file `{}`."""
    if peer == "mc-proxy":
        text = f'[[listeners]]\naddr = "{PROXY}:{port}"\n[[listeners.routes]]\nhostname = "{NAME}"\n'
        text += f'backend = "{BACKEND}:{PORT}"\n[database]\npath = "/tmp/mc-proxy-bench.db"\n[log]\nlevel = "warn"\n'
        return text, ["/payload/mc-proxy", "server", "-c", "{}"]
    if peer == "haproxy":
        text = "defaults\n mode tcp\n timeout connect 10s\n timeout client 1h\n timeout server 1h\n"
        text += f"frontend tls\n bind {PROXY}:{port}\n tcp-request inspect-delay 5s\n"
        text += " tcp-request content accept if { req.ssl_hello_type 1 }\n"
        text += f" use_backend app if {{ req.ssl_sni -i {NAME} }}\nbackend app\n server app {BACKEND}:{PORT}\n"
        return text, [str(PEERS / "haproxy"), "-db", "-f", "{}"]
    text = f"load_module {PEERS}/ngx_stream_module.so;\nuser root;\ndaemon off;\npid /tmp/nginx.pid;\nworker_processes 2;\n"
    text += "error_log stderr error;\nevents { }\nstream {\n"
    text += f" map $ssl_preread_server_name $chosen {{ {NAME} app; }}\n upstream app {{ server {BACKEND}:{PORT}; }}\n"
    text += f" server {{ listen {PROXY}:{port}; ssl_preread on; proxy_pass $chosen; proxy_half_close on; }}\n}}\n"
    return text, [str(PEERS / "nginx"), "-e", "stderr", "-p", "/tmp", "-c", "{}"]


@contextlib.contextmanager
def proxy(peer: str, net: Network, port: int) -> Iterator[tuple[str, int]]:
    """Where the client connects."""
    if peer == "direct":
        yield BACKEND, PORT
        return
    text, words = configuration(peer, port)
    file = Path(f"/tmp/{peer}.conf")
    file.write_text(text)
    command = [word.replace("{}", str(file)) for word in words]
    environment = os.environ | {"LD_LIBRARY_PATH": str(PEERS / "lib")}
    process = subprocess.Popen(["ip", "netns", "exec", net.proxy, *command], env=environment)
    try:
        wait_until_it_serves(peer, process, net, port)
        yield PROXY, port
    finally:
        process.terminate()
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def wait_until_it_serves(peer: str, process: subprocess.Popen, net: Network, port: int) -> None:
    deadline = time.monotonic() + PATIENCE
    while True:
        with contextlib.suppress(OSError, EOFError):
            connect(net.proxy, (PROXY, port)).close()
            return
        if process.poll() is not None or time.monotonic() > deadline:
            raise AssertionError(f"{peer} does not serve; exit code {process.poll()}")
        time.sleep(0.1)


# ---- the network


def sysctl(ns: str, key: str, value: object) -> None:
    run("ip", "netns", "exec", ns, "sysctl", "-q", "-w", f"{key}={value}")


@contextlib.contextmanager
def network(profile: Profile) -> Iterator[Network]:
    with contextlib.ExitStack() as stack:
        client, middle, end = (stack.enter_context(namespace(label)) for label in ("client", "proxy", "backend"))
        for ns in (client, middle, end):
            sysctl(ns, "net.ipv4.tcp_no_metrics_save", 1)  # or a connection begins with what the one before it learned
            sysctl(ns, "net.ipv4.ip_forward", 1)
        made = stack.enter_context(link(profile, client, CLIENT, middle, PROXY))
        stack.enter_context(link(PROFILES["none"], middle, INNER, end, BACKEND))
        run("ip", "-n", client, "route", "add", "default", "via", PROXY)
        run("ip", "-n", end, "route", "add", "default", "via", INNER)
        yield Network(client, middle, end, str(made))


# ---- the whole


def measure(peer: str, net: Network, address: tuple[str, int], size: int, found: dict[str, list[float]]) -> None:
    found["connect_ms"] += time_connections(net.client, address)
    found["round_trip_ms"] += time_round_trips(net.client, address)
    found["download_s"].append(time_download(net.client, address, size))
    found["upload_s"].append(time_upload(net.client, address, size))


def measure_profile(profile: Profile, peers: list[str], controls: list[str]) -> list[dict[str, Any]]:
    """The peers take turns, so that changes over time affect all alike."""
    size = TRANSFER_BYTES.get(profile.name, TRANSFER_BYTES_OTHERWISE)
    rows = []
    with network(profile) as net, backend(net.backend), contextlib.ExitStack() as proxies:
        pings = ping(net.client, PROXY, PINGS)
        say(f"{profile.name} ({profile}; {net.made}): ping {statistics.median(pings):.2f} ms, {len(pings)} of {PINGS}")
        addresses = {peer: proxies.enter_context(proxy(peer, net, 7001 + i)) for i, peer in enumerate(peers)}
        for control in controls:
            for ns in (net.client, net.proxy, net.backend):
                sysctl(ns, "net.ipv4.tcp_congestion_control", control)
            names = ("connect_ms", "round_trip_ms", "download_s", "upload_s")
            found = {peer: {name: [] for name in names} for peer in peers}
            for turn in range(REPEATS):
                for peer in peers[turn % len(peers) :] + peers[: turn % len(peers)]:
                    measure(peer, net, addresses[peer], size, found[peer])
            for peer in peers:
                row = {"profile": profile.name, "asked": str(profile), "link": net.made, "ping_ms": pings}
                rows.append(row | {"control": control, "peer": peer, "transfer_bytes": size} | found[peer])
            medians = (f"{peer} {statistics.median(found[peer]['download_s']):.2f} s" for peer in peers)
            say(f"{profile.name}, {control}: {size} bytes down: {', '.join(medians)}")
    return rows


def rounded(value: Any) -> Any:
    """Six digits after the point: a microsecond, where the unit is the second."""
    if isinstance(value, dict):
        return {key: rounded(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [rounded(inner) for inner in value]
    return round(value, 6) if isinstance(value, float) else value


def load_modules() -> None:
    for module in sorted(KERNEL_MODULES.glob("*.ko")):
        # Those that are there already are no error.
        subprocess.run(["insmod", module], capture_output=True)


def main() -> int:
    settings = json.loads(Path("/payload/settings.json").read_text())
    load_modules()
    controls = "/proc/sys/net/ipv4/tcp_allowed_congestion_control"
    Path(controls).write_text("reno cubic bbr")
    say(f"Linux {os.uname().release}, netem: {netem_available()}")
    result: dict[str, Any] = {"kernel": os.uname().release, "netem": netem_available(), "rows": [], "failures": []}
    for name in settings["profiles"]:
        try:
            result["rows"] += measure_profile(PROFILES[name], settings["peers"], settings["controls"])
        except Exception as error:
            result["failures"].append(f"{name}: {type(error).__name__}: {error}")
            traceback.print_exc(file=sys.stdout)
    print("@@result " + json.dumps(rounded(result)), flush=True)
    return 1 if result["failures"] else 0


if __name__ == "__main__":
    sys.exit(main())
