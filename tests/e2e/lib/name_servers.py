# SPDX-License-Identifier: Apache-2.0
"""Real name servers, at an address and port of a network of the test's own (the fixture own_network)."""

import os
import shutil
import signal
import socket
import struct
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path

from sockets import PATIENCE, until

Records = Mapping[str, Iterable[str]]  # the addresses of each name


class NameServer:
    """A program that answers queries, which tests stop, freeze and start again."""

    def __init__(self, directory: Path, host: str = "127.0.0.1", port: int = 5353):
        self.host = host
        self.port = port
        self.address = f"{host}:{port}"
        self.directory = directory / f"{type(self).__name__.lower()}-{host}-{port}"
        self.directory.mkdir()
        self._process: subprocess.Popen[bytes] | None = None

    def command(self) -> list[object]:
        raise NotImplementedError

    def start(self) -> "NameServer":
        """Returns when it replies."""
        assert self._process is None, "it runs already"
        command = [str(word) for word in self.command()]
        found = shutil.which(command[0], path=f"{os.environ['PATH']}:/usr/sbin")
        assert found, f"{command[0]} is not installed"
        with open(self.directory / "output", "ab") as output:
            self._process = subprocess.Popen(
                [found, *command[1:]], stdin=subprocess.DEVNULL, stdout=output, stderr=output
            )
        until(self._replies, f"{command[0]} replies")
        return self

    def freeze(self) -> None:
        """Queries get no reply."""
        self._running().send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._running().send_signal(signal.SIGCONT)

    def stop(self) -> None:
        """Queries are refused by the kernel."""
        process = self._running()
        process.kill()
        process.wait(PATIENCE)
        self._process = None

    def __enter__(self) -> "NameServer":
        return self.start()

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self.stop()

    def _running(self) -> "subprocess.Popen[bytes]":
        assert self._process is not None, "it does not run"
        return self._process

    def _replies(self) -> bool:
        code = self._running().poll()
        assert code is None, f"exit code {code}: {(self.directory / 'output').read_text()}"
        query = struct.pack("!HHHHHH", 1, 0x0100, 1, 0, 0, 0) + b"\x05ready\x07invalid\x00" + struct.pack("!HH", 1, 1)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.settimeout(0.1)
            client.connect((self.host, self.port))
            try:
                client.send(query)
                return len(client.recv(512)) > 12
            except OSError:
                return False


class Dnsmasq(NameServer):
    """Has the addresses of names below "internal", and for others there NXDOMAIN. `ttl` in seconds, of all."""

    def __init__(self, directory: Path, records: Records, ttl: int = 1, host: str = "127.0.0.1", port: int = 5353):
        super().__init__(directory, host, port)
        self.ttl = ttl
        self._knows = True
        self._log = self.directory / "queries"
        self._write(records)

    def command(self) -> list[object]:
        return [
            "dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--user=root", "--pid-file=", "--no-hosts",
            "--no-resolv", *(["--local=/internal/", f"--addn-hosts={self.directory / 'hosts'}"] if self._knows else []),
            f"--local-ttl={self.ttl}", f"--listen-address={self.host}", "--bind-interfaces", f"--port={self.port}",
            "--log-queries", f"--log-facility={self._log}",
        ]  # fmt: skip

    def refuse(self) -> None:
        """From now on it replies REFUSED."""
        self.stop()
        self._knows = False
        self.start()

    def recover(self) -> None:
        self.stop()
        self._knows = True
        self.start()

    def change(self, records: Records) -> None:
        """From now on these."""
        self._write(records)
        self._running().send_signal(signal.SIGHUP)

    def asked(self, name: str) -> int:
        """How often it was asked for the IPv4 addresses of the name."""
        return self._log.read_text().count(f"query[A] {name} ") if self._log.exists() else 0

    def _write(self, records: Records) -> None:
        lines = [f"{address} {name}\n" for name, addresses in records.items() for address in addresses]
        (self.directory / "hosts").write_text("".join(lines))


class Unbound(NameServer):
    """Forwards to another server, and keeps nothing. While that refuses, it replies SERVFAIL."""

    def __init__(self, directory: Path, to: NameServer, host: str = "127.0.0.2", port: int = 5353):
        super().__init__(directory, host, port)
        self._to = to

    def command(self) -> list[object]:
        file = self.directory / "unbound.conf"
        file.write_text(
            f"""server:
  directory: "{self.directory}"
  chroot: ""
  username: ""
  pidfile: ""
  use-syslog: no
  do-daemonize: no
  num-threads: 1
  interface: {self.host}@{self.port}
  access-control: 127.0.0.0/8 allow
  do-not-query-localhost: no
  module-config: "iterator"
  cache-max-ttl: 0
  cache-max-negative-ttl: 0
  infra-host-ttl: 1
  infra-keep-probing: yes
  local-zone: "invalid." refuse
  local-zone: "internal." nodefault
remote-control:
  control-enable: no
forward-zone:
  name: "."
  forward-addr: {self._to.host}@{self._to.port}
"""
        )
        return ["unbound", "-d", "-c", file]
