# SPDX-License-Identifier: Apache-2.0
"""`mc-proxy check` is the start of a server, stopped before it serves: its output is what a start does.

Each case is a machine or a configuration that something is wrong with, or seems to be; `check` runs first, and
then a server is started there.
"""

import contextlib
import os
import signal
import socket
import sqlite3
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from certs import Authority
from harness import PATIENCE, binary, reserve_port

# As root with the rights of any other user: a file's mode applies.
WITHOUT_OVERRIDE = ("setpriv", "--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-dac_override,-dac_read_search")


@dataclass
class Case:
    """What a case may change before the check and the start."""

    directory: Path
    port: int
    authority: Authority
    stack: ExitStack
    listeners: list[str] = field(default_factory=list)
    route: str = "127.0.0.1:18443"
    rest: str = ""
    wrapper: tuple[str, ...] = ()

    @property
    def config(self) -> Path:
        return self.directory / "mc-proxy.toml"

    @property
    def database(self) -> Path:
        return self.directory / "data" / "mc-proxy.db"

    @property
    def admin_socket(self) -> Path:
        return self.directory / "run" / "admin.sock"

    @property
    def key(self) -> Path:
        return self.directory / "server.key"

    def write(self) -> None:
        listeners = self.listeners or [f'addr = "127.0.0.1:{self.port}"']
        tables = [f"[[listeners]]\n{text}\n" for text in listeners]
        tables[0] += f'[[listeners.routes]]\nhostname = "app.example.com"\nbackend = "{self.route}"\n'
        grpc = f'[grpc]\nsocket = "{self.admin_socket}"\n'
        database = f'[database]\npath = "{self.database}"\n'
        self.config.write_text("".join(tables) + database + (self.rest if "[grpc]" in self.rest else grpc + self.rest))

    def serve_once(self) -> None:
        """A server has been here and was stopped: the database is there."""
        self.write()
        with ServerProcess(self) as server:
            assert server.serves()

    def sql(self, text: str) -> None:
        with contextlib.closing(sqlite3.connect(self.database)) as connection:
            connection.executescript(text)

    def other_on(self, port: int, host: str = "127.0.0.1") -> int:
        """Another process's listener, as far as a server can tell. Returns its port."""
        return self.stack.enter_context(socket.create_server((host, port))).getsockname()[1]

    def free_port(self) -> int:
        return self.stack.enter_context(reserve_port("127.0.0.1")).getsockname()[1]


class ServerProcess:
    """A start, until it serves or ends."""

    def __init__(self, case: Case, *flags: str) -> None:
        self._log = (case.directory / "log").open("wb+")
        command = [*case.wrapper, binary(), "server", *flags, "-c", case.config]
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)

    def serves(self) -> bool:
        """Reads the log until that line; without one the server ends."""
        assert self._process.stderr is not None
        for line in self._process.stderr:
            self._log.write(line)
            if b"msg=serving" in line:
                return True
        return False

    def log(self) -> str:
        self._log.seek(0)
        return self._log.read().decode(errors="replace")

    def __enter__(self) -> "ServerProcess":
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        self._process.communicate(timeout=PATIENCE)
        self._log.close()


def nothing_wrong(_: Case) -> None:
    pass


def port_taken(case: Case) -> None:
    case.other_on(case.port)


def port_taken_on_every_address(case: Case) -> None:
    # A port that is free on every address: another test may use case.port on one of them.
    case.port = case.other_on(0, "0.0.0.0")


def overlapping_listeners(case: Case) -> None:
    case.listeners = [f'addr = ":{case.port}"', f'addr = "127.0.0.1:{case.port}"']


def address_of_nobody(case: Case) -> None:
    case.listeners = [f'addr = "203.0.113.7:{case.port}"']


def address_without_interface(case: Case) -> None:
    case.listeners = [f'addr = "[fe80::9]:{case.port}"']


def metrics_port_taken(case: Case) -> None:
    port = case.free_port()
    case.rest = f'[metrics]\naddr = "127.0.0.1:{port}"\n'
    case.other_on(port)


def with_tls(case: Case, port: int) -> None:
    issued = case.authority.issue("localhost")
    case.key.write_bytes(issued.key.read_bytes())
    case.rest = (
        f'[grpc]\naddr = "127.0.0.1:{port}"\ntls_cert = "{issued.certificate}"\n'
        f'tls_key = "{case.key}"\nclient_ca = "{case.authority.ca}"\n'
    )


def api_with_certificates(case: Case) -> None:
    with_tls(case, case.free_port())


def api_port_taken(case: Case) -> None:
    port = case.free_port()
    with_tls(case, port)
    case.other_on(port)


def key_unreadable(case: Case) -> None:
    with_tls(case, case.free_port())
    case.key.chmod(0)
    case.wrapper = WITHOUT_OVERRIDE


def key_missing(case: Case) -> None:
    with_tls(case, case.free_port())
    case.key.unlink()


def configuration_unreadable(case: Case) -> None:
    case.write()
    case.config.chmod(0)
    case.wrapper = WITHOUT_OVERRIDE


def socket_directory_missing(case: Case) -> None:
    case.admin_socket.parent.rmdir()


def socket_directory_not_writable(case: Case) -> None:
    case.admin_socket.parent.chmod(0o500)
    case.wrapper = WITHOUT_OVERRIDE


def socket_is_a_file(case: Case) -> None:
    case.admin_socket.write_text("")


def socket_of_another(case: Case) -> None:
    other = case.stack.enter_context(socket.socket(socket.AF_UNIX))
    other.bind(os.fspath(case.admin_socket))
    other.listen()


def socket_that_nobody_listens_on(case: Case) -> None:
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(os.fspath(case.admin_socket))


def socket_path_too_long(case: Case) -> None:
    case.rest = f'[grpc]\nsocket = "{case.directory}/run/{"x" * 120}"\n'


def database_directory_missing(case: Case) -> None:
    case.database.parent.rmdir()


def new_database_in_a_directory_not_writable(case: Case) -> None:
    case.database.parent.chmod(0o500)
    case.wrapper = WITHOUT_OVERRIDE


def database_in_use(case: Case) -> None:
    case.write()
    server = case.stack.enter_context(ServerProcess(case))
    assert server.serves()
    case.database.with_name("mc-proxy.db.handover").unlink()
    case.listeners = [f'addr = "127.0.0.1:{case.free_port()}"']
    case.rest = f'[grpc]\nsocket = "{case.directory}/run/b.sock"\n'


def database_is_text(case: Case) -> None:
    case.database.write_text("route = 1\n" * 1000)


def database_of_a_newer_version(case: Case) -> None:
    case.serve_once()
    case.sql("PRAGMA user_version = 999")


def database_of_another_program(case: Case) -> None:
    case.sql("PRAGMA application_id = 7; CREATE TABLE t (a)")


def database_damaged(case: Case) -> None:
    case.serve_once()
    data = bytearray(case.database.read_bytes())
    data[4096:] = os.urandom(len(data) - 4096)
    case.database.write_bytes(data)


def database_with_an_impossible_route(case: Case) -> None:
    case.serve_once()
    case.sql("UPDATE routes SET backend = 'nowhere'")


def database_unreadable(case: Case) -> None:
    case.serve_once()
    case.database.chmod(0)
    case.wrapper = WITHOUT_OVERRIDE


def countries_in_the_database_alone(case: Case) -> None:
    case.serve_once()
    case.sql("INSERT INTO firewall_rules VALUES ('country', 'RU')")


def countries_and_a_broken_geoip(case: Case) -> None:
    (case.directory / "geo.mmdb").write_text("no database")
    case.rest = f'[firewall]\ngeoip_db = "{case.directory}/geo.mmdb"\nblocked_countries = ["RU"]\n'


def broken_geoip_without_countries(case: Case) -> None:
    (case.directory / "geo.mmdb").write_text("no database")
    case.rest = f'[firewall]\ngeoip_db = "{case.directory}/geo.mmdb"\n'


def route_over_an_interface_that_is_not_there(case: Case) -> None:
    case.route = "[fe80::1%nowhere0]:443"


def route_back_to_the_listener(case: Case) -> None:
    case.serve_once()
    case.sql(f"UPDATE routes SET backend = '127.0.0.1:{case.port}'")


def routes_of_a_listener_that_is_no_more(case: Case) -> None:
    case.serve_once()
    case.sql("INSERT INTO routes (listener, hostname, backend) VALUES ('192.0.2.99:1', 'old.example.com', '127.0.0.1:1')")


def no_locked_memory(case: Case) -> None:
    case.wrapper = ("prlimit", "--memlock=0:0", "setpriv", "--bounding-set=-ipc_lock")


def few_descriptors(case: Case) -> None:
    case.wrapper = ("prlimit", "--nofile=20:20")


def just_enough_descriptors(case: Case) -> None:
    """As the message of the case before advises."""
    case.rest = "[proxy]\nworkers = 2\n"
    case.wrapper = ("prlimit", "--nofile=56:56")


def many_workers_and_few_descriptors(case: Case) -> None:
    case.rest = "[proxy]\nworkers = 4\n"
    case.listeners = [f'addr = "127.0.0.1:{case.free_port()}"' for _ in range(8)]
    case.wrapper = ("prlimit", "--nofile=60:60")


def more_connections_than_fit(case: Case) -> None:
    case.rest = "[proxy]\nmax_connections = 1000000\n"


CASES: list[Callable[[Case], None]] = [
    nothing_wrong,
    port_taken,
    port_taken_on_every_address,
    overlapping_listeners,
    address_of_nobody,
    address_without_interface,
    metrics_port_taken,
    api_with_certificates,
    api_port_taken,
    key_unreadable,
    key_missing,
    configuration_unreadable,
    socket_directory_missing,
    socket_directory_not_writable,
    socket_is_a_file,
    socket_of_another,
    socket_that_nobody_listens_on,
    socket_path_too_long,
    database_directory_missing,
    new_database_in_a_directory_not_writable,
    database_in_use,
    database_is_text,
    database_of_a_newer_version,
    database_of_another_program,
    database_damaged,
    database_with_an_impossible_route,
    database_unreadable,
    countries_in_the_database_alone,
    countries_and_a_broken_geoip,
    broken_geoip_without_countries,
    route_over_an_interface_that_is_not_there,
    route_back_to_the_listener,
    routes_of_a_listener_that_is_no_more,
    no_locked_memory,
    few_descriptors,
    just_enough_descriptors,
    many_workers_and_few_descriptors,
    more_connections_than_fit,
]


@pytest.fixture
def case(tmp_path: Path, authority: Authority) -> Iterator[Case]:
    with ExitStack() as stack:
        for name in ("data", "run"):
            (tmp_path / name).mkdir(mode=0o700)
        port = stack.enter_context(reserve_port("127.0.0.1")).getsockname()[1]
        yield Case(tmp_path, port, authority, stack)


@pytest.mark.parametrize("wrong", CASES, ids=lambda wrong: wrong.__name__)
def test_check_says_what_a_start_does(case: Case, wrong: Callable[[Case], None]) -> None:
    wrong(case)
    if wrong is not configuration_unreadable:
        case.write()
    before = sorted(path for path in case.directory.rglob("*") if path.name != "log")
    checked = subprocess.run(
        [*case.wrapper, binary(), "check", "-c", case.config], capture_output=True, text=True, timeout=PATIENCE
    )
    assert sorted(path for path in case.directory.rglob("*") if path.name != "log") == before, "check changes nothing"
    with ServerProcess(case) as server:
        serves = server.serves()
        log = server.log()
    if wrong in (nothing_wrong, just_enough_descriptors):
        assert serves, log
    assert checked.returncode == (0 if serves else 1), f"{checked.stdout}{checked.stderr}\n{log}"
    assert ("BAD" in checked.stdout or "mc-proxy.toml" in checked.stderr) == (not serves), checked.stdout


@pytest.mark.parametrize("alone", [True, False], ids=["empty directory", "with another file"])
def test_a_new_database_where_a_volume_may_be_missing_is_told_at_warn(case: Case, alone: bool) -> None:
    if not alone:
        (case.database.parent / "notes").write_text("")
    for first in (True, False):
        case.write()
        with ServerProcess(case) as server:
            assert server.serves()
        # All that is logged before `serving` is there.
        warned = f'directory={case.database.parent}' in case.directory.joinpath("log").read_text()
        assert warned == (alone and first)


SYSTEMCTL = """\
#!/bin/sh
[ "$1" = show ] || exit 1
cat <<END
Id=mc-proxy.service
LoadState=loaded
ActiveState=inactive
User={user}
ExecStart={{ path=/usr/bin/mc-proxy ; argv[]=/usr/bin/mc-proxy server --keeper -c {config} ; ignore_errors=no }}
RuntimeDirectory=mc-proxy
AmbientCapabilities=cap_net_bind_service
NFileDescriptorStore={stored}
LimitNOFILE=1000
LimitMEMLOCK=infinity

Id=mc-proxy.socket
LoadState=loaded
ActiveState={socket}
Listen={listen} (Stream)
END
"""


class Service:
    """The case's configuration, as that of a service of another user; systemctl is a stand-in (the VM has the real one).

    The directories are where the user may go: pytest's are root's alone.
    """

    def __init__(self, case: Case, directory: Path) -> None:
        self.case = case
        case.directory = directory
        self._bin = directory / "bin"
        for name, mode in (("bin", 0o755), ("data", 0o750), ("run", 0o750)):
            (directory / name).mkdir(mode=mode)
        for path in (directory, self._bin):
            path.chmod(0o755)
        for name in ("data", "run"):
            os.chown(directory / name, 65534, 65534)

    def check(self, *flags: str, user: str = "nobody", socket: str = "", stored: int = 0) -> subprocess.CompletedProcess[str]:
        systemctl = self._bin / "systemctl"
        systemctl.write_text(
            SYSTEMCTL.format(
                user=user, config=self.case.config, socket="active" if socket else "inactive", listen=socket, stored=stored
            )
        )
        systemctl.chmod(0o755)
        return subprocess.run(
            [*self.case.wrapper, binary(), "check", *flags, "-c", self.case.config], capture_output=True, text=True,
            timeout=PATIENCE, env=os.environ | {"PATH": f"{self._bin}:{os.environ['PATH']}"},
        )  # fmt: skip


@pytest.fixture
def service(case: Case) -> Iterator[Service]:
    with tempfile.TemporaryDirectory() as directory:
        service = Service(case, Path(directory))
        case.write()
        case.config.chmod(0o644)
        yield service


def test_root_checks_as_the_user_and_within_the_limits_of_the_unit(service: Service) -> None:
    checked = service.check()
    assert checked.returncode == 0, checked.stdout
    assert "ok   user             nobody, the user of mc-proxy.service" in checked.stdout
    assert "(RLIMIT_NOFILE is 1000 here, enough for" in checked.stdout


def test_what_the_user_may_not_read_or_write_is_found_by_root(service: Service) -> None:
    service.case.config.chmod(0o600)
    checked = service.check()
    assert checked.returncode == 1
    assert f"{service.case.config}: the file cannot be read: Permission denied" in checked.stderr
    service.case.config.chmod(0o644)
    for directory in (service.case.database.parent, service.case.admin_socket.parent):
        os.chown(directory, 0, 0)
        assert service.check().returncode == 1
        assert service.check(user="root").returncode == 0
        os.chown(directory, 65534, 65534)
    assert service.check().returncode == 0


def test_the_groups_of_root_are_none_of_the_users(service: Service) -> None:
    os.chown(service.case.config, 0, 4242)
    service.case.config.chmod(0o640)
    service.case.wrapper = ("setpriv", "--groups=0,4242")
    checked = service.check()
    assert checked.returncode == 1 and "the file cannot be read: Permission denied" in checked.stderr


def test_a_unit_of_a_user_that_there_is_not_is_found(service: Service) -> None:
    checked = service.check(user="nosuchuser")
    assert checked.returncode == 1
    assert 'BAD  user             there is no user "nosuchuser"' in checked.stdout


def test_another_file_is_checked_as_the_user_who_is_named(service: Service) -> None:
    other = service.case.directory / "new.toml"
    other.write_text(service.case.config.read_text())
    service.case.wrapper = ()
    unit = service.case.config
    checked = service.check()
    assert checked.returncode == 0
    systemctl = os.environ | {"PATH": f"{service.case.directory}/bin:{os.environ['PATH']}"}
    command = [binary(), "check", "-c", other]
    checked = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, env=systemctl)
    assert checked.returncode == 0 and unit.exists()
    assert "note user             root; mc-proxy.service starts a server as nobody: as root, `mc-proxy check --user nobody`" in checked.stdout
    os.chown(service.case.database.parent, 0, 0)
    command.insert(2, "--user=nobody")
    checked = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, env=systemctl)
    assert checked.returncode == 1
    assert "ok   user             nobody" in checked.stdout
    assert "BAD  database" in checked.stdout


def test_what_systemd_holds_for_the_service_is_no_conflict(service: Service) -> None:
    service.case.other_on(service.case.port)
    assert service.check().returncode == 1
    checked = service.check(socket=f"127.0.0.1:{service.case.port}")
    assert checked.returncode == 0, checked.stdout
    assert f"ok   listeners        127.0.0.1:{service.case.port}: systemd listens there" in checked.stdout
    checked = service.check(stored=2)  # what a server that crashed left there cannot be seen
    assert checked.returncode == 0
    assert "this is correct if systemd holds it, after a crash" in checked.stdout


def test_a_unit_of_root_is_no_other_user(service: Service) -> None:
    checked = service.check(user="")
    assert checked.returncode == 0 and "ok   user             root, the user of mc-proxy.service" in checked.stdout


def test_what_the_unit_makes_or_allows_need_not_be_there(service: Service) -> None:
    if Path("/run/mc-proxy").exists():
        pytest.skip("this machine has a /run/mc-proxy")
    service.case.rest = '[grpc]\nsocket = "/run/mc-proxy/admin.sock"\n'
    service.case.listeners = ['addr = "127.0.0.1:443"']
    service.case.write()
    checked = service.check()
    assert checked.returncode == 0, checked.stdout
    assert "ok   admin socket     /run/mc-proxy/admin.sock; mc-proxy.service makes /run/mc-proxy" in checked.stdout
    assert "ok   listener         127.0.0.1:443 can be bound" in checked.stdout
    service.case.wrapper = ("setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", "--inh-caps=-all")
    checked = service.check()
    assert checked.returncode == 0, checked.stdout
    assert (
        "note listener         127.0.0.1:443: only as mc-proxy.service starts it: CAP_NET_BIND_SERVICE is needed" in checked.stdout
    )
    service.case.wrapper = ()
    service.case.config.rename(other := service.case.directory / "other.toml")
    checked = subprocess.run([binary(), "check", "-c", other], capture_output=True, text=True, timeout=PATIENCE)
    assert checked.returncode == 1, "nothing makes the directory for a server that no unit starts"
    assert "BAD  admin socket" in checked.stdout
