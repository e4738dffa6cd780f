# SPDX-License-Identifier: Apache-2.0
"""RUNBOOK.md, command by command, as it stands there: on a machine of its own that is laid out as the page says.

The machine is a set of namespaces (mount, process, network) of this one: :443, /srv/mc-proxy, `pidof mc-proxy` and the
rest mean what they mean to an operator, and nothing of the real machine is touched. grpcurl, which Debian does not have,
is played by another real client, buf curl, behind the same arguments.
"""

import json
import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import runbook
from tools import buf
from certs import Authority
from geoip import write_database
from harness import PATIENCE, REPOSITORY, binary

CONFIG = """\
[[listeners]]
addr = ":443"

  [[listeners.routes]]
  hostname = "app.example.com"
  backend = "127.0.0.1:18443"

[[listeners]]
addr = ":8443"

[database]
path = "/srv/mc-proxy/mc-proxy.db"

[grpc]
socket = "/run/mc-proxy/admin.sock"
addr = "127.0.0.1:9090"
tls_cert = "/srv/mc-proxy/certs/cert.pem"
tls_key = "/srv/mc-proxy/certs/key.pem"
client_ca = "/srv/mc-proxy/certs/ca.pem"

[firewall]
blocked_cidrs = ["198.51.100.0/24"]  # as in the README
geoip_db = "/srv/mc-proxy/GeoLite2-Country.mmdb"

[proxy]
shutdown_timeout = "1s"

[metrics]
addr = "127.0.0.1:19100"
"""

# Every directory that the page writes to is one of the machine's own.
SETUP = """\
set -e
mount -t tmpfs tmpfs /srv
mkdir -p /srv/mc-proxy/backups /srv/mc-proxy/certs /srv/bin /srv/home /srv/test
cp {binary} /srv/bin/mc-proxy
cp -r {files}/. /srv/test
cp /srv/test/mc-proxy.toml /srv/mc-proxy/
cp /srv/test/country.mmdb /srv/mc-proxy/GeoLite2-Country.mmdb
cp /srv/test/grpcurl {buf} /srv/bin/
mount -t tmpfs tmpfs /var/log
mount -t tmpfs tmpfs /run
mkdir /run/mc-proxy
mount -t tmpfs tmpfs /tmp
ip link set lo up
touch /run/ready
# As process 1 it takes in the orphans.
while :; do sleep 1000 & wait $! || true; done
"""

GRPCURL = """\
#!/usr/bin/python3
import subprocess, sys

options = {"-cacert": "--cacert", "-cert": "--cert", "-key": "--key", "-d": "--data"}
words, arguments = [], iter(sys.argv[1:])
for word in arguments:
    words += [options[word], next(arguments)] if word in options else [word]
*flags, address, method = words
sys.exit(subprocess.call(["/srv/bin/buf", "curl", "--protocol", "grpc", *flags, f"https://{address}/{method}"]))
"""


def blocks() -> dict[str, list[str]]:
    """The commands of the page: section -> blocks."""
    found: dict[str, list[str]] = {}
    for section, commands in runbook.blocks(REPOSITORY / "RUNBOOK.md", "sh"):
        found.setdefault(section, []).append(commands)
    return found


class Machine:
    def __init__(self, files: Path):
        self._blocks = blocks()
        self._left = {(section, i) for section, list_ in self._blocks.items() for i in range(len(list_))}
        self._output = files / "output"
        setup = SETUP.format(binary=binary(), buf=buf(), files=files)
        with (files / "setup.log").open("w") as log:
            self._init = subprocess.Popen(
                ["unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc", "bash", "-c", setup],
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=log,
            )  # fmt: skip
        self._pid = 0
        self.until(self._is_ready, f"the machine is there: see {files}/setup.log")

    def _is_ready(self) -> bool:
        assert self._init.poll() is None, "the machine could not be made; it needs root and namespaces"
        children = Path(f"/proc/{self._init.pid}/task/{self._init.pid}/children").read_text().split()
        self._pid = int(children[0]) if children else 0
        return bool(children) and self.shell("test -e /run/ready").returncode == 0

    def shell(self, commands: str) -> subprocess.CompletedProcess:
        """Runs commands there; what they leave running in the background goes on."""
        prelude = "export PATH=/srv/bin:$PATH HOME=/srv/home; cd; set -e\n"
        # To a file: a server left in the background would keep a pipe open.
        with self._output.open("w+") as output:
            done = subprocess.run(
                ["nsenter", "-t", str(self._pid), "-m", "-n", "-p", "bash", "-c", prelude + commands],
                stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, timeout=4 * PATIENCE,
            )  # fmt: skip
            output.seek(0)
            done.stdout = output.read()
        return done

    def ok(self, commands: str) -> str:
        done = self.shell(commands)
        assert done.returncode == 0, f"exit code {done.returncode} of:\n{commands}\nIt said:\n{done.stdout}\n{self.log()}"
        return done.stdout

    def page(self, section: str, index: int = 0, fails: bool = False) -> str:
        """Runs a block of the page; returns its output. `fails`: it must end with another code than 0."""
        self._left.discard((section, index))
        block = self._blocks[section][index]
        if not fails:
            return self.ok(block)
        done = self.shell(block)
        assert done.returncode != 0, f"this was to fail:\n{block}\nIt said:\n{done.stdout}"
        return done.stdout

    def not_run(self) -> set:
        return self._left

    def log(self) -> str:
        return self.shell("cat /var/log/mc-proxy.log").stdout

    def until(self, condition, what: str) -> None:
        deadline = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < deadline, f"waited for: {what}"
            time.sleep(0.02)

    def wait_log(self, pattern: str, count: int = 1) -> None:
        self.until(lambda: len(re.findall(pattern, self.log())) >= count, f"{count} times {pattern} in:\n{self.log()}")

    def fetch(self, name: str) -> str:
        """The page of the site behind the proxy for this name; fails without one."""
        return self.ok(
            f"curl --silent --show-error --max-time 10 --cacert /srv/test/ca.pem "
            f"--resolve {name}:443:127.0.0.1 https://{name}/"
        )

    def refused(self, name: str) -> bool:
        done = self.shell(f"curl --silent --insecure --max-time 10 --resolve {name}:443:127.0.0.1 https://{name}/")
        return done.returncode in (7, 35, 56)

    def close(self) -> None:
        self._init.kill()
        self._init.wait()


@pytest.fixture
def machine(tmp_path: Path, authority: Authority) -> Iterator[Machine]:
    site = authority.issue("app.example.com", "new.example.com", "shop.example.com", "web.example.com")
    (tmp_path / "ca.pem").write_bytes(authority.ca.read_bytes())
    (tmp_path / "site.pem").write_bytes(site.certificate.read_bytes())
    (tmp_path / "site-key.pem").write_bytes(site.key.read_bytes())
    (tmp_path / "mc-proxy.toml").write_text(CONFIG)
    (tmp_path / "grpcurl").write_text(GRPCURL)
    (tmp_path / "grpcurl").chmod(0o755)
    write_database(tmp_path / "country.mmdb", "country")
    machine = Machine(tmp_path)
    try:
        yield machine
    finally:
        machine.close()


SITE = "openssl s_server -quiet -accept 18443 -cert /srv/test/site.pem -key /srv/test/site-key.pem -www >/dev/null 2>&1 &"
STATUS = re.compile(r"mc-proxy v[\d.]+\nuptime: [\dhms]+\nconnections: \d+\n:443 routes=\d+ active=\d+\n:8443 routes=0 active=0\n")


def test_every_command_of_the_runbook_does_what_the_page_says(machine: Machine) -> None:
    serving = 0

    def wait_serving() -> None:
        nonlocal serving
        serving += 1
        machine.wait_log("msg=serving", serving)

    machine.ok(SITE)

    # The certificates come first: without them the admin API cannot be configured.
    certificates = "Certificates of the admin API"
    machine.page(certificates, 0)
    machine.page(certificates, 1)
    assert re.search(r"CN ?= ?mc-proxy\b", machine.page(certificates, 2))  # Debian 13's openssl has no spaces there

    assert "ok   listener         :443 can be bound" in machine.page("Start, stop", 0)
    machine.page("Start, stop", 1)
    wait_serving()
    assert STATUS.fullmatch(machine.page("Is it well?", 0))
    well = machine.page("Is it well?", 1)
    assert "app.example.com -> 127.0.0.1:18443 active=0" in well
    assert json.loads(well[well.index("{") :])["state"] == "SERVER_STATE_SERVING"
    listening = machine.page("Is it well?", 2)
    assert all(f":{port} " in listening for port in (443, 8443, 9090))
    assert "s_server" in machine.fetch("app.example.com")

    # Routes, by the command line and by gRPC.
    assert "added new.example.com" in machine.page("Change routes", 0)
    assert machine.refused("new.example.com")
    machine.ok("mc-proxy routes add --listener :443 new.example.com 127.0.0.1:18443")
    assert "s_server" in machine.fetch("new.example.com")
    machine.ok("mc-proxy routes remove --listener :443 new.example.com")
    replaced = machine.page("Change routes", 1)
    assert "would have added 1, changed 0, removed 0" in replaced
    assert "s_server" in machine.fetch("shop.example.com")
    matches = machine.page("Change routes", 2).splitlines()
    assert [line.split()[0] for line in matches] == ["added", "added", "removed", "removed"], matches
    assert "shop.example.com" in machine.page("Change routes", 3)

    # Without its configuration, whose socket is the usual one.
    for spoil in ("rm {}", "echo '[[[' > {}", "rm {0}; mkdir {0}"):
        machine.ok("cp /srv/mc-proxy/mc-proxy.toml /tmp/aside.toml; " + spoil.format("/srv/mc-proxy/mc-proxy.toml"))
        told = machine.ok("mc-proxy status; mc-proxy connections list; mc-proxy snapshot -o /tmp/without-file.db")
        assert told.count("using the server at /run/mc-proxy/admin.sock anyway") == 3 and ":443 routes=" in told
        machine.ok("rm -rf /srv/mc-proxy/mc-proxy.toml; mv /tmp/aside.toml /srv/mc-proxy/mc-proxy.toml")
        assert machine.shell("mc-proxy status -c /srv/mc-proxy/none.toml").returncode == 1  # another file is another server

    # Live traffic.
    machine.ok("(sleep 60 | openssl s_client -connect 127.0.0.1:443 -servername app.example.com -bind 127.0.0.9) >/dev/null 2>&1 &")
    machine.until(lambda: "active=1" in machine.ok("mc-proxy status"), "the connection is open")
    listed = machine.page("Who is connected?", 0).splitlines()
    assert [line.split()[0] for line in listed].count("ID") == 2
    assert sum("app.example.com" in line and "127.0.0.9" in line for line in listed) == 3
    assert json.loads(listed[-1])["backend"] == "127.0.0.1:18443"
    once = machine.page("Who is connected?", 2)
    assert "connections 1  new" in once and "NAMES (1)" in once
    assert machine.page("Who is connected?", 1) == "would close 1 connection\nclosed 1 connection\n"
    machine.until(lambda: ":443 routes=2 active=0" in machine.ok("mc-proxy status"), "the connection is closed")
    machine.wait_log("reason=closed_by_operator")
    assert re.search(r" watch_started revision=\d+ state=serving\n", machine.page("Watch events", 0))
    _, first, second = machine.page("Watch events", 1).splitlines()
    assert " policy_changed revision=2 " in first and " policy_changed revision=3 " in second

    # The firewall, likewise.
    rules = machine.page("Change the firewall", 0)
    assert "added 2 rules" in rules and "198.51.100.0/24: was there already" in rules and "removed 1 rule," in rules
    machine.page("Change the firewall", 1)
    machine.page("Change the firewall", 2)
    assert machine.ok("mc-proxy firewall list").splitlines()[1:] == [
        "ip 203.0.113.50", "cidr 192.0.2.0/24", "cidr 198.51.100.0/24", "country KP", "country RU",
    ]  # fmt: skip
    audit = machine.page("Who changed what?")
    assert "CN=alice" in audit and "uid=0(root)" in audit and "configuration|seed" in audit

    # Another process in the server's place, which goes on with its log.
    upgraded = machine.page("Upgrade, or restart with a new configuration")
    assert re.search(r"pid \d+ serves; pid \d+ (has ended|finishes its connections)", upgraded) and STATUS.search(upgraded)
    wait_serving()
    assert "s_server" in machine.fetch("shop.example.com")

    # Backup, a change, and back to the backup.
    assert "/srv/mc-proxy/backups/mc-proxy-" in machine.page("Back up")
    machine.ok("mc-proxy routes remove --listener :443 app.example.com")
    assert machine.refused("app.example.com")
    machine.page("Restore", 0)
    wait_serving()
    assert STATUS.fullmatch(machine.page("Restore", 1))
    assert "s_server" in machine.fetch("app.example.com")
    assert "s_server" in machine.fetch("shop.example.com")

    # The port in use, and a database that is not the server's.
    machine.ok("cp /srv/mc-proxy/mc-proxy.toml /tmp/other.toml; sed -i s,/srv/mc-proxy/mc-proxy.db,/tmp/other.db, /tmp/other.toml")
    second = machine.shell("mc-proxy server -c /tmp/other.toml")
    assert second.returncode == 1 and "address already in use" in second.stdout
    assert "mc-proxy" in machine.page("The server does not start", 0)
    machine.page("The server does not start", 1)

    # GeoIP: another database in its place.
    machine.ok("cp /srv/test/country.mmdb /tmp/GeoLite2-Country.mmdb")
    machine.page("A fresh GeoIP database", 0)
    machine.wait_log("GeoIP database reloaded")
    assert "received SIGHUP, reloading GeoIP database" in machine.page("A fresh GeoIP database", 1)

    # A renewal while it runs.
    serial = "openssl s_client -connect localhost:9090 </dev/null 2>/dev/null | openssl x509 -noout -serial"
    before = machine.ok(serial)
    machine.page(certificates, 0)
    machine.page(certificates, 1)
    machine.until(lambda: machine.shell(serial).stdout not in ("", before), "the new certificate is shown")
    machine.wait_log("certificate renewed")
    assert "shop.example.com" in machine.page("Change routes", 3)

    # Pools: of the two backends only the first is there.
    told = machine.page("Pools of backends", 0)
    assert "added" in told and "127.0.0.1:28443" in told
    for _ in range(4):
        assert "s_server" in machine.fetch("web.example.com")
    told = machine.page("Pools of backends", 1)
    assert "drain" in told
    assert "ready" in machine.ok("mc-proxy backends list web")
    machine.page("Pools of backends", 2)
    told = machine.ok("mc-proxy pools list web")
    assert "least_connections" in told and "127.0.0.1:38443" in told
    machine.page("Pools of backends", 3)
    assert machine.refused("web.example.com")

    # Names.
    told = machine.page("Names as backends", 0)
    assert "added" in told and "localhost:18443" in told and "removed" in told
    assert "localhost" in machine.page("Names as backends", 1)

    # A backend that is down.
    machine.ok("mc-proxy routes add --listener :443 down.example.com 127.0.0.1:1")
    assert machine.refused("down.example.com")
    machine.wait_log("dial failed")
    assert "dial_refused" in machine.page("A backend is unreachable", 0)
    assert "openssl" in machine.page("A backend is unreachable", 1)

    assert "level=WARN" in machine.page("Read the log", 0)
    assert machine.page("Read the log", 1).splitlines() == [
        "info", "debug, was info; info again after a restart", "info, was debug",
    ]  # fmt: skip
    assert 'msg="log level changed" log_level=debug' in machine.log()
    assert "mc_proxy_connections_accepted_total{listener=\":443\"}" in machine.page("Metrics and alerts")
    machine.ok("(sleep 60 | openssl s_client -connect 127.0.0.1:443 -servername app.example.com) >/dev/null 2>&1 &")
    machine.until(lambda: ":443 routes=3 active=1" in machine.ok("mc-proxy status"), "the connection is open")
    busy = machine.page("Too many connections", 0)
    assert "active=1" in busy and "app.example.com " in busy
    assert "added 1 rule" in machine.page("Too many connections", 1)
    machine.page("When you need help")
    assert "ok" in machine.ok('sqlite3 /tmp/mc-proxy-escalation.db "PRAGMA integrity_check;"')

    # A damaged database: refused as it is, then made anew from the configuration.
    machine.page("Start, stop", 2)
    machine.wait_log("msg=stopped", 3)
    machine.until(lambda: machine.shell("pidof mc-proxy").returncode != 0, "the server is gone")
    machine.ok("dd if=/dev/zero of=/srv/mc-proxy/mc-proxy.db bs=4096 seek=1 count=3 conv=notrunc status=none")
    damaged = machine.shell("mc-proxy server")
    assert damaged.returncode == 1 and "damaged" in damaged.stdout
    assert re.search(r"\b[Pp]age 4\b", machine.page("The database is damaged", 0, fails=True))  # sqlite3's versions differ
    machine.page("The database is damaged", 1)
    wait_serving()
    assert "s_server" in machine.fetch("app.example.com")
    assert machine.refused("shop.example.com")

    machine.page("Completion")
    assert not machine.not_run(), f"commands that nothing ran: {machine.not_run()}"


# ---- the README


def readme(section: str) -> str:
    return re.search(rf"^## {section}\n(.*?)^## ", (REPOSITORY / "README.md").read_text(), re.M | re.S)[1]


def test_the_commands_of_the_readme_work_with_its_configuration(machine: Machine, tmp_path: Path) -> None:
    text = readme("Use it")
    configuration = re.search(r"```toml\n(.*?)```", text, re.S)[1]
    machine.ok(f"cat >/srv/mc-proxy/mc-proxy.toml <<'END'\n{configuration}END")
    machine.ok("mc-proxy check && (mc-proxy server 2>>/var/log/mc-proxy.log &)")
    machine.wait_log("msg=serving")
    commands = [line.partition(" #")[0].strip() for line in re.findall(r"^    (mc-proxy .*)$", text, re.M)]
    assert len(commands) >= 10
    machine.ok("mc-proxy routes list > routes.txt")
    machine.ok(SITE)
    for command in commands:
        match command.split()[1]:
            case "top":
                command += " --once"  # there is no terminal
            case "events":  # without an end
                command = f"timeout 1 {command} | head -n 1"
            case "connections" if "close" in command:
                address = command.split()[-1]
                machine.ok(f"ip address add {address}/32 dev lo; mc-proxy firewall remove {address}")
                machine.ok(f"(sleep 60 | openssl s_client -connect 127.0.0.1:443 -servername app.example.com -bind {address}) >/dev/null 2>&1 &")
                machine.until(lambda: "active=1" in machine.ok("mc-proxy status"), "the connection is open")
        machine.ok(command)
    assert machine.ok("mc-proxy routes list").splitlines()[1:] == [
        "app.example.com 127.0.0.1:18443", "app.example.com pool=shop source=192.0.2.0/24,2001:db8::/48",
        "app.example.com 127.0.0.1:5001 alpn=acme-tls/1", "new.example.com 127.0.0.1:38443",
        "shop.example.com pool=shop",
    ]  # fmt: skip
    assert machine.ok("mc-proxy log-level").startswith("debug;")
