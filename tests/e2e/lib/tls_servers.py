# SPDX-License-Identifier: Apache-2.0
"""Programs that serve TLS, each at a port of its own, which tests stop, continue, kill and start again."""

import contextlib
import os
import shutil
import signal
import socket
import ssl
import subprocess
from pathlib import Path

from certs import Authority, Certificate
from harness import PATIENCE, Proxy, recv_to_eof, reserve_port, until


class TlsServer:
    """A program that serves one certificate, and a page of its own over HTTP. `flags` are further arguments.

    `only_for`: a name; a hello for another one gets the alert unrecognized_name.
    """

    host = "127.0.0.1"  # where it listens; reserved as that, because a port that is free at one address may not be at all

    def __init__(self, directory: Path, certificate: Certificate, *flags: str, only_for: str = ""):
        self._reserved = reserve_port(self.host)
        self.port: int = self._reserved.getsockname()[1]
        self.address = f"127.0.0.1:{self.port}"
        self.certificate = certificate
        self.flags = flags
        self.only_for = only_for
        self._directory = directory / f"server-{self.port}"
        self._directory.mkdir()
        self._process: subprocess.Popen[bytes] | None = None

    def command(self, directory: Path) -> list[object]:
        raise NotImplementedError

    def start(self) -> "TlsServer":
        """Returns when it listens."""
        assert self._process is None, "it runs already"
        command = [str(word) for word in self.command(self._directory)]
        found = shutil.which(command[0], path=f"{os.environ['PATH']}:/usr/sbin")
        assert found, f"{command[0]} is not installed"
        with open(self._directory / "output", "ab") as output:
            self._process = subprocess.Popen(
                [found, *command[1:]],
                cwd=self._directory,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,  # so that a signal reaches all its processes
            )
        try:
            until(self._listens, f"{command[0]} listens")
        except BaseException:
            self.__exit__()
            raise
        return self

    def freeze(self) -> None:
        """The kernel accepts connections on its behalf, and nobody replies."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):  # it has ended by itself
            self._signal(signal.SIGKILL)
        self._end()

    def _signal(self, number: int) -> None:
        os.killpg(self._running().pid, number)

    def _end(self) -> None:
        self._running().wait(PATIENCE)
        self._process = None
        until(lambda: not self._accepts(), "its port is free")

    def __enter__(self) -> "TlsServer":
        return self.start()

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self.kill()
        self._reserved.close()

    def _running(self) -> subprocess.Popen[bytes]:
        assert self._process is not None, "it does not run"
        return self._process

    def _listens(self) -> bool:
        code = self._running().poll()
        assert code is None, f"exit code {code}: {(self._directory / 'output').read_text()}"
        return self._accepts()

    def _accepts(self) -> bool:
        with socket.socket() as client:
            client.settimeout(PATIENCE)
            return client.connect_ex(("127.0.0.1", self.port)) == 0


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
    host = "0.0.0.0"

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
        temporary = "".join(
            f"{kind}_temp_path {directory}/{kind};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        others = f"server {{ listen {self.address} ssl default_server; ssl_reject_handshake on; }}"
        (directory / "nginx.conf").write_text(
            f"""
daemon off;
worker_processes 1;
pid {directory}/pid;
error_log stderr;
worker_rlimit_nofile 8192;
events {{ worker_connections 4096; }}
http {{
  access_log off;
  keepalive_timeout 1h;
  keepalive_requests 1000000;
  {temporary}
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
"""
        )
        return ["nginx", "-e", "stderr", "-p", directory, "-c", directory / "nginx.conf"]

    def quit(self) -> None:
        """It serves what it has accepted, and ends in order the connections that wait for another request."""
        self._running().send_signal(signal.SIGQUIT)
        self._end()


def get(name: str, path: str = "/") -> bytes:
    return f"GET {path} HTTP/1.0\r\nHost: {name}\r\n\r\n".encode()


def visit(proxy: Proxy, authority: Authority, name: str, path: str = "/") -> tuple[str, bytes]:
    """A client that verifies the certificate gets a page. Returns the address of the backend, and the page."""
    context = ssl.create_default_context(cafile=authority.ca)
    client = proxy.connect()
    with context.wrap_socket(client, server_hostname=name) as tls:
        tls.sendall(get(name, path))
        head, _, page = recv_to_eof(tls).partition(b"\r\n\r\n")
    assert head.split()[1] == b"200", head
    return proxy.outcome(client)["backend"], page
