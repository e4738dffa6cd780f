# SPDX-License-Identifier: Apache-2.0
"""Programs that serve a page over TLS, and a client of theirs."""

import signal
import ssl
from pathlib import Path

from certs import Authority, Certificate
from harness import Client, Proxy, recv_to_eof
from programs import Program, nginx, nginx_temporary_paths


class TlsServer(Program):
    """A program that serves one certificate, and a page of its own over HTTP. `flags` are further arguments.

    `only_for`: a name; a hello for another one gets the alert unrecognized_name.
    """

    binds: str | None = None  # where it listens, if not at 127.0.0.1 alone

    def __init__(self, directory: Path, certificate: Certificate, *flags: str, only_for: str = ""):
        super().__init__(directory, reserved_host=self.binds)
        self.certificate = certificate
        self.flags = flags
        self.only_for = only_for


class OpensslServer(TlsServer):
    """OpenSSL's s_server: one connection at a time."""

    def command(self, _: Path) -> list[object]:
        certificate, key = self.certificate
        strict = ["-servername", self.only_for, "-servername_fatal", "-cert2", certificate, "-key2", key]
        return [
            "openssl", "s_server", "-accept", self.address, "-www", "-quiet", "-cert", certificate, "-key", key,
            *(strict if self.only_for else ()), *self.flags,
        ]  # fmt: skip


class GnutlsServer(TlsServer):
    binds = "0.0.0.0"

    def command(self, _: Path) -> list[object]:
        certificate, key = self.certificate
        strict = ["--sni-hostname", self.only_for, "--sni-hostname-fatal"]
        return [
            "gnutls-serv", "--port", self.port, "--http", "--quiet", "--disable-client-cert",
            "--x509certfile", certificate, "--x509keyfile", key, *(strict if self.only_for else ()), *self.flags,
        ]  # fmt: skip


class NginxServer(TlsServer):
    """`flags` are further lines of its server's configuration. Its page is its port."""

    def command(self, directory: Path) -> list[object]:
        others = f"server {{ listen {self.address} ssl default_server; ssl_reject_handshake on; }}"
        return nginx(
            directory,
            f"""
http {{
  access_log off;
  keepalive_timeout 1h;
  keepalive_requests 1000000;
  {nginx_temporary_paths(directory)}
  {others if self.only_for else ""}
  server {{
    listen {self.address} ssl;
    server_name "{self.only_for}";
    ssl_certificate {self.certificate.certificate};
    ssl_certificate_key {self.certificate.key};
    {"".join(self.flags)}
    location / {{ return 200 "$server_port"; }}
  }}
}}
""",
        )

    def quit(self) -> None:
        """It serves what it has accepted, and ends in order the connections that wait for another request."""
        self._running().send_signal(signal.SIGQUIT)
        self._end()


def get(name: str, path: str = "/") -> bytes:
    return f"GET {path} HTTP/1.0\r\nHost: {name}\r\n\r\n".encode()


def fetch(client: Client, authority: Authority, name: str, path: str = "/") -> bytes:
    """A client that verifies the certificate gets a page, and ends the connection."""
    context = ssl.create_default_context(cafile=authority.ca)
    with context.wrap_socket(client, server_hostname=name) as tls:
        tls.sendall(get(name, path))
        head, _, page = recv_to_eof(tls).partition(b"\r\n\r\n")
    assert head.split()[1] == b"200", head
    return page


def visit(proxy: Proxy, authority: Authority, name: str, path: str = "/") -> tuple[str, bytes]:
    """The same through a proxy. Returns the address of the backend, and the page."""
    client = proxy.connect()
    page = fetch(client, authority, name, path)
    return proxy.outcome(client)["backend"], page
