# SPDX-License-Identifier: Apache-2.0
"""Real name servers, at an address and port of a network of the test's own (the fixture own_network)."""

import signal
import socket
import struct
from collections.abc import Iterable, Mapping
from pathlib import Path

from programs import Program

Records = Mapping[str, Iterable[str]]  # the addresses of each name


class NameServer(Program):
    """A program that answers queries. While it is frozen they get no reply; where it was killed the kernel refuses them."""

    def __init__(self, directory: Path, host: str = "127.0.0.1", port: int = 5353):
        super().__init__(directory, host, port=port)
        self.host = host

    def _listens(self) -> bool:
        return super()._listens() and self._replies()

    def _replies(self) -> bool:
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
        self._log = self._directory / "queries"
        self._write(records)

    def command(self, _: Path) -> list[object]:
        return [
            "dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--user=root", "--pid-file=", "--no-hosts",
            "--no-resolv", *(["--local=/internal/", f"--addn-hosts={self._directory / 'hosts'}"] if self._knows else []),
            f"--local-ttl={self.ttl}", f"--listen-address={self.host}", "--bind-interfaces", f"--port={self.port}",
            "--log-queries", f"--log-facility={self._log}",
        ]  # fmt: skip

    def refuse(self) -> None:
        """From now on it replies REFUSED."""
        self.kill()
        self._knows = False
        self.start()

    def recover(self) -> None:
        self.kill()
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
        (self._directory / "hosts").write_text("".join(lines))


class Unbound(NameServer):
    """Forwards to another server, and keeps nothing. While that refuses, it replies SERVFAIL."""

    def __init__(self, directory: Path, to: NameServer, host: str = "127.0.0.2", port: int = 5353):
        super().__init__(directory, host, port)
        self._to = to

    def command(self, directory: Path) -> list[object]:
        file = directory / "unbound.conf"
        file.write_text(
            f"""server:
  directory: "{directory}"
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
