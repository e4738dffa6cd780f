# SPDX-License-Identifier: Apache-2.0
"""Real clients, through the proxy, to real TLS servers; every client verifies the certificate.

So each page that arrives proves three things: the hello of that client is understood, the name led
to the right backend, and TLS found no byte changed in either direction.
"""

import hashlib
import json
import shutil
import socket
import ssl
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from certs import Authority
from harness import PATIENCE, SLOW_FACTOR, Proxy, recv_to_eof, until
from sites import HttpsSite, blocks, digest

MIB = 1 << 20
UPLOAD_BYTES = 100 * MIB // SLOW_FACTOR
DOWNLOAD_BYTES = 300 * MIB // SLOW_FACTOR

ONE, TWO = "one.example", "two.example"

# visit(name, port, ca, scratch) returns what the client has shown of https://name/, and fails if
# the client did not trust the server.
Visit = Callable[[str, int, Path, Path], str]

PACKAGES = {
    "chromium": "chromium",
    "certutil": "libnss3-tools",
    "curl": "curl",
    "gnutls-cli": "gnutls-bin",
    "nghttpd": "nghttp2-server",
    "node": "nodejs",
    "openssl": "openssl",
    "psql": "postgresql-client",
    "ssh": "openssh-client",
    "ssh-keygen": "openssh-client",
}


class ClientFailedError(Exception):
    """The client refused, or printed nothing."""


def program(name: str) -> str:
    path = shutil.which(name)
    if path is None:
        pytest.fail(f"{name} is not installed; on Debian: apt-get install {PACKAGES[name]}")
    return path


def run(name: str, *arguments: object, stdin: bytes = b"", **options: Any) -> str:
    """Runs a client to its end and returns what it printed."""
    done = subprocess.run(
        [program(name), *map(str, arguments)],
        input=stdin,
        capture_output=True,
        timeout=6 * PATIENCE,
        check=False,
        **options,
    )
    output = done.stdout.decode(errors="replace")
    if done.returncode != 0:
        errors = done.stderr.decode(errors="replace")
        raise ClientFailedError(f"{name}: exit code {done.returncode}: {errors} {output}")
    return output


# ---- The clients


def request(name: str) -> bytes:
    return f"GET / HTTP/1.0\r\nHost: {name}\r\n\r\n".encode()


def many_protocols(size: int) -> list[str]:
    """ALPN names that make a hello so large. No server takes any of them for its own."""
    return [f"x-{i:0>250}" for i in range(size // 253 + 1)]


def openssl_with(*options: str) -> Visit:
    def visit(name: str, port: int, ca: Path, _: Path) -> str:
        return run(
            "openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-servername", name,
            "-CAfile", ca, "-verify_return_error", "-verify_hostname", name,
            "-quiet", "-ign_eof", *options, stdin=request(name),
        )  # fmt: skip

    return visit


def curl_with(*options: str) -> Visit:
    def visit(name: str, port: int, ca: Path, _: Path) -> str:
        return run("curl", *curl_route(name, port, ca), *options, f"https://{name}:{port}/")

    return visit


def curl_route(name: str, port: int, ca: Path) -> list[str]:
    return ["-sS", "--fail", "--cacert", str(ca), "--resolve", f"{name}:{port}:127.0.0.1"]


def gnutls(name: str, port: int, ca: Path, _: Path) -> str:
    return run(
        "gnutls-cli", "--x509cafile", ca, "--sni-hostname", name, "--verify-hostname", name,
        "--port", port, "--logfile", "/dev/null", "127.0.0.1", stdin=request(name),
    )  # fmt: skip


def node(name: str, port: int, ca: Path, _: Path) -> str:
    options = {"host": "127.0.0.1", "port": port, "servername": name, "headers": {"host": name}}
    options["ca"] = ca.read_text()
    script = f"require('https').get({json.dumps(options)}, answer => answer.pipe(process.stdout))"
    return run("node", "-e", script)


def python_with(protocols: list[str]) -> Visit:
    def visit(name: str, port: int, ca: Path, _: Path) -> str:
        context = ssl.create_default_context(cafile=ca)
        if protocols:
            context.set_alpn_protocols(protocols)
        with socket.create_connection(("127.0.0.1", port), PATIENCE) as raw:
            try:
                client = context.wrap_socket(raw, server_hostname=name)
            except ssl.SSLError as error:
                raise ClientFailedError(str(error)) from error
            with client:
                client.sendall(request(name))
                return recv_to_eof(client).decode()

    return visit


def chromium(name: str, port: int, ca: Path, scratch: Path, *flags: str) -> str:
    """Trusts the authority as a user's Chromium does on Linux: through the NSS database at home."""
    database = scratch / ".pki" / "nssdb"
    if not database.exists():
        database.mkdir(parents=True)
        run("certutil", "-d", f"sql:{database}", "-N", "--empty-password")
        run("certutil", "-d", f"sql:{database}", "-A", "-n", "test", "-t", "C,,", "-i", ca)
    return run(
        "chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic",
        "--no-first-run", "--disable-background-networking", "--disable-component-update",
        "--disable-sync", "--disable-dev-shm-usage", f"--user-data-dir={scratch / 'profile'}",
        f"--host-resolver-rules=MAP {name}:443 127.0.0.1:{port}", *flags, "--dump-dom", f"https://{name}/",
        env={"HOME": str(scratch), "PATH": "/usr/bin:/bin"},
    )  # fmt: skip


CLIENTS = [
    pytest.param(openssl_with("-tls1_2"), id="openssl TLS 1.2"),
    pytest.param(openssl_with("-tls1_3"), id="openssl TLS 1.3"),
    pytest.param(curl_with("--http1.1"), id="curl HTTP/1.1"),
    pytest.param(gnutls, id="gnutls"),
    pytest.param(node, id="node"),
    pytest.param(python_with([]), id="python"),
]
CHROMIUM = pytest.param(chromium, id="chromium")


# ---- The sites


@pytest.fixture
def sites(start_backend: Callable, authority: Authority) -> dict[str, HttpsSite]:
    return {name: start_backend(HttpsSite(authority, name)) for name in (ONE, TWO)}


def expect_own_page(
    proxy: Proxy, visit: Visit, site: HttpsSite, ca: Path, scratch: Path
) -> dict[str, str]:
    """The client sees the site's page, and the log names site and backend."""
    assert site.text in visit(site.name, proxy.ports[0], ca, scratch)
    line = proxy.wait_log(msg="connection closed", sni=site.name)
    assert (line["route"], line["backend"]) == (site.name, site.address)
    assert int(line["bytes_up"]) > 200 and int(line["bytes_down"]) > len(site.text)
    return line


@pytest.mark.parametrize("visit", CLIENTS)
def test_a_client_sees_each_site_by_its_name(
    start_proxy: Callable[..., Proxy],
    sites: dict[str, HttpsSite],
    authority: Authority,
    engine: str,
    visit: Visit,
    tmp_path: Path,
) -> None:
    proxy = start_proxy(routes=sites, splice=engine)
    for site in sites.values():
        expect_own_page(proxy, visit, site, authority.ca, tmp_path)


def test_chromium_sees_each_site_by_its_name(
    start_proxy: Callable[..., Proxy],
    sites: dict[str, HttpsSite],
    authority: Authority,
    tmp_path: Path,
) -> None:
    """The real thing: a post-quantum key share, more than one segment long, and GREASE ECH."""
    proxy = start_proxy(routes=sites)
    for site in sites.values():
        line = expect_own_page(proxy, chromium, site, authority.ca, tmp_path)
        assert line["ech"] == "offered"
        assert site.hello_bytes[0] > 1500, "without the post-quantum key share it would be 500"


@pytest.mark.parametrize("visit", [*CLIENTS, CHROMIUM])
def test_a_client_does_not_trust_the_wrong_site(
    start_proxy: Callable[..., Proxy],
    sites: dict[str, HttpsSite],
    authority: Authority,
    visit: Visit,
    tmp_path: Path,
) -> None:
    """The proof that the other tests prove something: each client checks the certificate's name."""
    proxy = start_proxy(routes={ONE: sites[TWO]})
    try:
        shown = visit(ONE, proxy.ports[0], authority.ca, tmp_path)
    except ClientFailedError:
        shown = ""
    assert sites[TWO].text not in shown
    proxy.wait_log(msg="connection closed", sni=ONE)


@pytest.mark.parametrize("size", [20_000, 60_000])
@pytest.mark.parametrize("library", ["openssl", "python"])
def test_a_real_client_with_a_large_hello_sees_its_site(
    start_proxy: Callable[..., Proxy],
    sites: dict[str, HttpsSite],
    authority: Authority,
    library: str,
    size: int,
    tmp_path: Path,
) -> None:
    """Real: the client, its hello in several records, and the handshake that comes of it.

    Forced: the size. Debian 12's OpenSSL has no post-quantum key share (Chromium's test has), so a
    list of ALPN protocols fills the hello; more than 16 KiB also makes it span records.
    """
    protocols = many_protocols(size)
    visits = {
        "openssl": openssl_with("-tls1_3", "-alpn", ",".join(protocols)),
        "python": python_with(protocols),
    }
    proxy = start_proxy(routes=sites)
    expect_own_page(proxy, visits[library], sites[ONE], authority.ca, tmp_path)
    assert sites[ONE].hello_bytes[0] > size


# ---- HTTP/2


class Nghttpd:
    """nghttp2's server, which speaks nothing but HTTP/2."""

    def __init__(self, authority: Authority, name: str, root: Path):
        certificate = authority.issue(name)
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        self.address = f"127.0.0.1:{port}"
        self._process = subprocess.Popen(
            [
                program("nghttpd"), "--address=127.0.0.1", "--htdocs", str(root),
                str(port), str(certificate.key), str(certificate.certificate),
            ],
            stdout=subprocess.DEVNULL,
        )  # fmt: skip
        until(lambda: self._accepts(port), "nghttpd accepts")

    def _accepts(self, port: int) -> bool:
        assert self._process.poll() is None, "nghttpd has ended"
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    def __enter__(self) -> "Nghttpd":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(PATIENCE)


@pytest.fixture
def nghttpd(start_backend: Callable, authority: Authority, tmp_path: Path) -> Nghttpd:
    root = tmp_path / "htdocs"
    root.mkdir()
    (root / "index.html").write_text("served over HTTP/2")
    return start_backend(Nghttpd(authority, ONE, root))


def test_curl_speaks_http2_through_the_proxy(
    start_proxy: Callable[..., Proxy],
    nghttpd: Nghttpd,
    authority: Authority,
    engine: str,
    tmp_path: Path,
) -> None:
    proxy = start_proxy(routes={ONE: nghttpd}, splice=engine)
    visit = curl_with("--http2", "--write-out", " by version %{http_version}")
    shown = visit(ONE, proxy.ports[0], authority.ca, tmp_path)
    assert shown == "served over HTTP/2 by version 2"
    assert proxy.wait_log(msg="connection closed", sni=ONE)["backend"] == nghttpd.address


# ---- Bulk


@dataclass
class Transfers:
    """curl between this test and site ONE, through the proxy."""

    proxy: Proxy
    ca: Path

    def start(self, path: str, *options: str) -> subprocess.Popen[bytes]:
        port = self.proxy.ports[0]
        return subprocess.Popen(
            [
                program("curl"),
                *curl_route(ONE, port, self.ca),
                *options,
                f"https://{ONE}:{port}{path}",
            ],
            stdout=subprocess.PIPE,
        )


@pytest.fixture
def transfers(
    start_proxy: Callable[..., Proxy],
    sites: dict[str, HttpsSite],
    authority: Authority,
    engine: str,
) -> Transfers:
    return Transfers(start_proxy(routes=sites, splice=engine), authority.ca)


def test_a_large_download_arrives_unchanged(transfers: Transfers) -> None:
    summed = hashlib.sha256()
    with transfers.start(f"/{DOWNLOAD_BYTES}") as curl:
        while piece := curl.stdout.read(MIB):
            summed.update(piece)
    assert curl.returncode == 0
    assert summed.hexdigest() == digest(blocks(DOWNLOAD_BYTES))
    line = transfers.proxy.wait_log(msg="connection closed", reason="completed")
    assert int(line["bytes_down"]) > DOWNLOAD_BYTES


def test_a_large_upload_arrives_unchanged(transfers: Transfers, tmp_path: Path) -> None:
    pieces = blocks(UPLOAD_BYTES)
    upload = tmp_path / "upload"
    with upload.open("wb") as file:
        file.writelines(pieces)
    with transfers.start("/", "--upload-file", str(upload), "--header", "Expect:") as curl:
        answer = curl.stdout.read().decode()
    assert curl.returncode == 0
    assert answer == digest(pieces)
    line = transfers.proxy.wait_log(msg="connection closed", reason="completed")
    assert int(line["bytes_up"]) > UPLOAD_BYTES
