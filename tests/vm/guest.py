#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What an operator does with the package on a Debian with systemd, as a script: runs inside the machine that vm.py makes.

  guest.py nspawn|qemu [NAME…]    all scenarios of that kind of machine, or those whose names have one of the words

Each scenario (scenarios.py) stands for itself: install() and serve() bring the machine to where it begins.
"""

import contextlib
import hashlib
import os
import pwd
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import runbook
import scenarios
import traffic
from stopped_thread import stopped_thread

PATIENCE = 30.0
STATE = Path("/srv/mc-proxy")
CONFIG = STATE / "mc-proxy.toml"
DATABASE = STATE / "mc-proxy.db"
BACKUPS = STATE / "backups"
DROP_INS = Path("/etc/systemd/system")
OLD_BACKUP = BACKUPS / "mc-proxy-20200101-000000.db"

SETTINGS = """\
[[listeners]]
addr = ":443"

  [[listeners.routes]]
  hostname = "*"
  backend = "127.0.0.1:18443"

  [[listeners.routes]]
  hostname = "down.example.com"
  backend = "127.0.0.1:1"

[[listeners]]
addr = ":8443"

  [[listeners.routes]]
  hostname = "*"
  backend = "127.0.0.1:18443"

[database]
path = "/srv/mc-proxy/mc-proxy.db"

[grpc]
socket = "/run/mc-proxy/admin.sock"

[firewall]
geoip_db = "/srv/mc-proxy/GeoLite2-Country.mmdb"

[proxy]
pin_workers = true
"""

# Of mc-proxy.socket: its own is the first of them.
BOTH_PORTS = "[Socket]\nListenStream=\nListenStream=443\nListenStream=8443\n"


# ---- the machine


def run(*words: object, fails: bool = False, **options) -> str:
    """What a command prints, on both streams."""
    done = subprocess.run(
        [str(word) for word in words], text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=180, **options
    )
    assert (done.returncode != 0) == fails, f"{' '.join(map(str, words))}: exit code {done.returncode}\n{done.stdout}"
    return done.stdout


def systemctl(*words: object, fails: bool = False) -> str:
    return run("systemctl", "--no-pager", *words, fails=fails)


def show(name: str, unit: str = "mc-proxy.service") -> str:
    return systemctl("show", "--property", name, "--value", unit).strip()


def journal(*words: object, unit: str = "mc-proxy.service", since: str = "@0") -> str:
    run("journalctl", "--sync")
    return run("journalctl", "--no-pager", "-o", "cat", "-u", unit, "--since", since, *words)


def now() -> str:
    """A `since` for later. No cursor: --after-cursor swallows an entry where others are filtered away."""
    return f"@{time.time():.6f}"


def until(condition: Callable[[], object], what: str, seconds: float = PATIENCE) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {seconds:.0f} s for: {what}\n{journal('-n', '30')}")
        time.sleep(0.02)


@contextlib.contextmanager
def drop_in(unit: str, text: str) -> Iterator[None]:
    """Settings of an operator's own, for a while."""
    folder = DROP_INS / f"{unit}.d"
    folder.mkdir(exist_ok=True)
    (folder / "test.conf").write_text(text)
    systemctl("daemon-reload")
    try:
        yield
    finally:
        (folder / "test.conf").unlink()
        systemctl("daemon-reload")


# ---- mc-proxy on it


def install() -> None:
    """The package is there, with a configuration; the service may run or not."""
    if not Path("/usr/bin/mc-proxy").exists():
        run("dpkg", "-i", "/payload/mc-proxy.deb")
    configure(SETTINGS)


def configure(text: str) -> None:
    CONFIG.write_text(text)
    shutil.copy("/payload/country.mmdb", STATE / "GeoLite2-Country.mmdb")
    for path in (CONFIG, STATE / "GeoLite2-Country.mmdb"):
        shutil.chown(path, "root", "mc-proxy")
        path.chmod(0o640)


def serve() -> None:
    """The service serves, as after the first start."""
    install()
    systemctl("reset-failed")
    systemctl("start", "mc-proxy")
    until(serves_and_answers, "a connection is served, and the admin API answers")


def serves_and_answers() -> bool:
    asked = subprocess.run(["mc-proxy", "status"], capture_output=True, timeout=60)
    return asked.returncode == 0 and traffic.is_served()


def server_pids() -> list[int]:
    """The processes that have listeners or sessions: all of the service but the keeper."""
    main = int(show("MainPID"))
    return [int(pid) for pid in run("ps", "--no-headers", "-o", "pid", "--ppid", main).split()]


def processes() -> list[int]:
    """Every mc-proxy, whether the unit knows it as its main process or not."""
    return [int(pid) for pid in run("sh", "-c", "ps -C mc-proxy --no-headers -o pid || true").split()]


def restarts() -> int:
    return int(show("NRestarts"))


# ---- scenarios: the package


def package_installs_and_waits_for_a_configuration() -> None:
    told = run("dpkg", "-i", "/payload/mc-proxy.deb")
    assert "not started, because there is no /srv/mc-proxy/mc-proxy.toml" in told, told
    user = pwd.getpwnam("mc-proxy")
    assert user.pw_dir == "/srv/mc-proxy" and user.pw_shell.endswith("nologin")
    for path in (STATE, BACKUPS, STATE / "certs"):
        assert (path.stat().st_uid, path.stat().st_mode & 0o777) == (user.pw_uid, 0o750), path
    assert list(STATE.glob("*.toml")) == [] and list(STATE.glob("*.db")) == []
    assert systemctl("is-enabled", "mc-proxy.service").strip() == "enabled"
    assert systemctl("is-enabled", "mc-proxy-backup.timer").strip() == "enabled"
    assert systemctl("is-enabled", "mc-proxy.socket", fails=True).strip() == "disabled"
    assert show("ActiveState") == "inactive"
    systemctl("start", "mc-proxy")
    assert (show("ActiveState"), show("ConditionResult")) == ("inactive", "no")
    systemctl("start", "mc-proxy-backup.service")  # nothing to back up is no failure
    assert "mc-proxy" not in systemctl("--failed")
    assert "mc-proxy server" in run("man", "-P", "cat", "mc-proxy")
    assert "[[listeners]]" in run("man", "-P", "cat", "mc-proxy.toml")


def package_upgrade_under_load_refuses_and_cuts_nobody() -> None:
    install()
    serve()
    load = traffic.Load()
    before = show("MainPID")
    run("dpkg", "-i", newer_package())
    until(lambda: show("ActiveState") == "active" and show("MainPID") != before, "the new server runs")
    load.ping_long()
    print(f"   {load.end()}")


def package_removal_and_purge_keep_what_is_the_operators() -> None:
    serve()
    systemctl("start", "mc-proxy-backup.service")
    assert len(list(BACKUPS.glob("*.db"))) >= 1
    kept = files_of_the_operator()
    run("dpkg", "--remove", "mc-proxy")
    assert not traffic.is_served() and not Path("/usr/bin/mc-proxy").exists()
    run("dpkg", "--purge", "mc-proxy")
    left = files_of_the_operator()
    assert left == kept, f"what was there: {kept}\nwhat is left: {left}"
    assert pwd.getpwnam("mc-proxy")
    systemctl("daemon-reload")
    systemctl("cat", "mc-proxy.service", fails=True)
    # And it comes back as it was.
    serve()


def files_of_the_operator() -> dict[str, tuple[str, str, str]]:
    """Mode, owner and content of each, and of the folders."""
    assert CONFIG.exists() and DATABASE.exists()
    # SQLite's companions come and go with the server, which also decides which of them has the last changes.
    found = [STATE, BACKUPS, *(path for path in STATE.rglob("*") if path.is_file() and not path.name.startswith("mc-proxy.db-"))]
    return {str(path): (oct(path.stat().st_mode), f"{path.owner()}:{path.group()}", content_of(path)) for path in found}


def content_of(path: Path) -> str:
    if path.is_dir():
        return ""
    if path == DATABASE:
        return run("sqlite3", path, ".dump")
    return hashlib.sha256(path.read_bytes()).hexdigest()


def newer_package() -> Path:
    """The same package with a higher version."""
    folder = Path("/tmp/newer")
    if not folder.exists():
        run("dpkg-deb", "-R", "/payload/mc-proxy.deb", folder)
        control = folder / "DEBIAN/control"
        control.write_text(re.sub(r"^Version: .*$", r"\g<0>+newer", control.read_text(), flags=re.M))
    package = Path("/tmp/newer.deb")
    run("dpkg-deb", "-Znone", "-b", folder, package)
    return package


# ---- scenarios: start, stop, restart


def starts_notifies_and_serves() -> None:
    serve()
    assert (show("ActiveState"), show("SubState"), restarts()) == ("active", "running", 0)
    status = run("mc-proxy", "status")
    assert re.match(r"mc-proxy v[\d.]+\nuptime: \S+\nconnections: \d+\n:443 routes=2 active=\d+\n:8443 ", status), status
    assert "Main PID" in systemctl("status", "mc-proxy")
    listening = run("ss", "-tlnp")
    assert all(re.search(rf":{port} .*mc-proxy", listening) for port in (443, 8443)), listening
    assert show("Type") in ("notify", "notify-reload")
    assert show("StatusText") != "", "systemctl status would say nothing"


def runs_with_nothing_that_it_does_not_need() -> None:
    serve()
    user = pwd.getpwnam("mc-proxy").pw_uid
    for pid in [int(show("MainPID")), *server_pids()]:
        status = dict(line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":\t" in line)
        assert status["Uid"].split() == [str(user)] * 4
        assert int(status["CapEff"], 16) == int(status["CapBnd"], 16) == 1 << 10, status["CapEff"]  # CAP_NET_BIND_SERVICE
        assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")
        if pid == int(show("MainPID")):
            continue  # the keeper is one thread
        affinities = {run("taskset", "-cp", task.name).split()[-1] for task in Path(f"/proc/{pid}/task").iterdir()}
        assert len(affinities) > 1 or os.cpu_count() == 1, "workers are pinned"
    journal_text = journal()
    assert re.search(r'msg=confined capabilities="net_bind_service, and bind\(2\) is refused" landlock="abi \d+" seccomp="[1-9]\d* system calls refused"', journal_text)
    assert "io_uring" not in journal_text and "Operation not permitted" not in journal_text, journal_text


def journal_has_priorities_and_a_line_for_each_connection() -> None:
    serve()
    here = now()
    traffic.fetch()
    with traffic.connect() as client:
        client.sendall(traffic.client_hello("down.example.com"))
        with contextlib.suppress(ConnectionResetError):
            client.recv(1)
    until(lambda: "dial failed" in journal(since=here), "the dial's failure is in the journal")
    assert "connection closed" in journal(since=here)
    warnings = journal("-p", "warning", since=here)
    assert "dial failed" in warnings and "connection closed" not in warnings, warnings
    assert "mc-proxy" not in journal("-p", "err", since=here).replace("-- No entries --", "")
    assert "<4>" not in warnings


def a_configuration_that_is_wrong_is_an_error_in_the_journal() -> None:
    serve()
    systemctl("stop", "mc-proxy")
    here = now()
    configure(SETTINGS.replace('path = "/srv', 'pfad = "/srv'))
    with drop_in("mc-proxy.service", "[Service]\nRestart=no\n"):
        run("systemctl", "start", "mc-proxy", fails=True)
        until(lambda: show("ActiveState") == "failed", "the service has failed")
    assert "pfad" in journal("-p", "err", since=here), journal(since=here)
    configure(SETTINGS)
    serve()


def check_finds_what_the_unit_would_meet() -> None:
    serve()
    found = run("mc-proxy", "check")
    assert "ok   user             mc-proxy, the user of mc-proxy.service" in found, found
    assert "(RLIMIT_NOFILE is 1048576 here" in found or "the unit's LimitNOFILE= cannot be set here" in found, found
    assert "the running server listens there" in found, found
    systemctl("stop", "mc-proxy")
    shutil.rmtree("/run/mc-proxy", ignore_errors=True)
    assert "mc-proxy.service makes /run/mc-proxy" in run("mc-proxy", "check")
    # With the socket unit systemd holds the port, as intended.
    systemctl("start", "mc-proxy.socket")
    try:
        assert "systemd listens there" in run("mc-proxy", "check")
    finally:
        systemctl("stop", "mc-proxy.socket", "mc-proxy.service")
    mode = CONFIG.stat().st_mode
    owner = CONFIG.stat().st_uid, CONFIG.stat().st_gid
    CONFIG.chmod(0o600)
    os.chown(CONFIG, 0, 0)
    try:
        assert "the file cannot be read: Permission denied" in run("mc-proxy", "check", fails=True)
    finally:
        os.chown(CONFIG, *owner)
        CONFIG.chmod(mode & 0o7777)
    run("mc-proxy", "check")
    serve()


def a_failed_restart_leaves_the_server_from_before_until_it_is_stopped() -> None:
    serve()
    (before,) = server_pids()
    configure(SETTINGS.replace('path = "/srv', 'pfad = "/srv'))
    for _ in range(2):  # repeated, it fails again and takes nothing away
        run("systemctl", "restart", "mc-proxy", fails=True)
        until(lambda: show("ActiveState") == "failed", "the unit shows that it has failed")
        assert "mc-proxy.service" in run("systemctl", "--failed", "--no-legend", "--plain")
        assert processes() == [before] and traffic.is_served()
    until(lambda: "warning: a restart or upgrade failed" in run("mc-proxy", "status"), "status says so")
    systemctl("restart", "dbus")  # which ends the connection that would notify the server of the stop
    until(lambda: "mc-proxy" in run("busctl", "list", "--unique"), "it has another one")
    here = now()
    configure(SETTINGS)
    with traffic.greet(traffic.connect()) as client:
        systemctl("stop", "mc-proxy")
        until(lambda: 'signal="systemctl stop"' in journal(since=here), "systemctl stop reaches the server from before")
        serve()  # it does not wait for the connections of the one that was stopped
        traffic.ping(client)
    until(lambda: before not in processes(), "it ends with its last connection")
    assert "msg=stopped" in journal(since=here)
    # Corrected, the next restart takes over from the one from before.
    (before,) = server_pids()
    configure(SETTINGS.replace('path = "/srv', 'pfad = "/srv'))
    run("systemctl", "restart", "mc-proxy", fails=True)
    configure(SETTINGS)
    load = traffic.Load(threads=2, long=20)
    systemctl("restart", "mc-proxy")
    until(lambda: show("ActiveState") == "active" and before not in server_pids(), "the next server has taken over")
    load.ping_long()
    print(f"   {load.end()}")


def reload_reads_the_geoip_database_anew() -> None:
    serve()
    for words in (["kill", "-s", "HUP", "mc-proxy"], ["reload", "mc-proxy"]):
        here = now()
        systemctl(*words)
        until(lambda: "GeoIP database reloaded" in journal(since=here), f"systemctl {words[0]} is done")
        assert "received SIGHUP, reloading GeoIP database" in journal(since=here)
    assert show("ActiveState") == "active" and traffic.is_served()


def stop_refuses_newcomers_and_lets_open_connections_end() -> None:
    """Those of a server from before a restart too."""
    serve()
    with traffic.greet(traffic.connect()) as early:
        systemctl("restart", "mc-proxy")
        with traffic.greet(traffic.connect()) as client:
            assert re.search(r"^draining: pid \d+ .* 1 connection,", run("mc-proxy", "status"), re.M)
            here = now()
            systemctl("stop", "--no-block", "mc-proxy")
            until(traffic.is_refused, "newcomers are refused")
            traffic.ping(client)
        traffic.ping(early)
        assert show("ActiveState") == "deactivating"
    until(lambda: show("ActiveState") == "inactive", "it ends with the last connection")
    assert show("Result") == "success"
    assert journal(since=here).count("msg=stopped") == 2
    assert run("ps", "-C", "mc-proxy", "--no-headers", "-o", "pid", fails=True) == ""


def ten_restarts_under_load_refuse_and_cut_nobody() -> None:
    restart_under_load(10, threads=4, long=200)


def restarts_under_load_refuse_and_cut_nobody() -> None:
    restart_under_load(3, threads=2, long=20)


def restart_under_load(times: int, *, threads: int, long: int) -> None:
    install()
    serve()
    began, load = restarts(), traffic.Load(threads, long)
    for _ in range(times):
        systemctl("restart", "mc-proxy")
        assert show("ActiveState") == "active"
        load.ping_long()
    print(f"   {load.end()}")
    assert restarts() == began


def ten_restarts_behind_the_socket_unit_refuse_and_cut_nobody() -> None:
    """The other way to listen: the sockets are systemd's, one for each port, and all servers share them."""
    install()
    serve()
    systemctl("stop", "mc-proxy")
    with drop_in("mc-proxy.socket", BOTH_PORTS):
        systemctl("enable", "--now", "mc-proxy.socket")
        try:
            listening = listeners()
            assert len(listening) == 2 and show("ActiveState") == "inactive", listening
            traffic.fetch()
            until(is_active, "systemd knows, which may hear of it after the client")
            restart_under_load(10, threads=4, long=200)
            assert listeners() == listening, "a server has bound sockets of its own"
        finally:
            systemctl("disable", "--now", "mc-proxy.socket")
            systemctl("stop", "mc-proxy.service")
    serve()


def listeners() -> list[tuple[str, str]]:
    """Address and inode of each socket that listens on the proxy's ports."""
    return sorted(re.findall(r"(\S+:(?:8?443)) .*\bino:(\d+)", run("ss", "-Htlne")))


def a_server_that_hangs_is_replaced() -> None:
    with short_watchdog() as has_fired:
        for pid in server_pids():
            os.kill(pid, signal.SIGSTOP)
        has_fired()


def a_server_of_which_one_worker_hangs_is_replaced() -> None:
    """Its main thread and the other workers go on: only this one's missing turns show it."""
    with short_watchdog() as has_fired:
        (server,) = server_pids()
        workers = [task for task in Path(f"/proc/{server}/task").iterdir() if (task / "comm").read_text().startswith("ring/")]
        assert len(workers) == os.cpu_count(), workers
        with stopped_thread(int(workers[-1].name)) as is_gone:
            until(is_gone, "the watchdog has ended the server")
            has_fired()


@contextlib.contextmanager
def short_watchdog() -> Iterator[Callable[[], None]]:
    """The service serves, with one; the yielded function waits until systemd has replaced the server."""

    def has_fired() -> None:
        until(lambda: restarts() > began, "the watchdog has fired")
        until(traffic.is_served, "another server serves")
        assert "watchdog" in journal(since=here).lower()

    install()
    with drop_in("mc-proxy.service", "[Service]\nWatchdogSec=2s\n"):
        serve()
        systemctl("restart", "mc-proxy")  # with the shorter watchdog
        until(traffic.is_served, "it serves")
        began, here = restarts(), now()
        yield has_fired
    systemctl("restart", "mc-proxy")


def a_crash_loses_no_client_that_waits() -> None:
    install()
    with drop_in("mc-proxy.service", "[Service]\nRestartSec=2s\n"):
        serve()
        began = restarts()
        for pid in [*server_pids(), int(show("MainPID"))]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        until(lambda: show("SubState") != "running", "systemd has seen the crash")
        with traffic.connect() as client:  # the kernel takes it: the listener lives on in systemd
            assert show("SubState") == "auto-restart"
            traffic.ping(traffic.greet(client))
        assert restarts() == began + 1


def the_first_client_starts_it_by_the_socket() -> None:
    install()
    serve()
    systemctl("stop", "mc-proxy")
    with drop_in("mc-proxy.socket", BOTH_PORTS):
        systemctl("start", "mc-proxy.socket")
        try:
            assert show("ActiveState") == "inactive"
            traffic.fetch()
            until(is_active, "systemd knows, which may hear of it after the client")
            traffic.fetch(8443)
            systemctl("stop", "mc-proxy.service")
            traffic.fetch(8443)
            until(is_active, "systemd knows, which may hear of it after the client")
        finally:
            systemctl("stop", "mc-proxy.socket", "mc-proxy.service")
    assert not traffic.is_served()
    serve()


def is_active() -> bool:
    return show("ActiveState") == "active"


def a_restart_waits_for_a_bus_that_is_late_and_not_for_one_that_hangs() -> None:
    """The keeper queries systemd on the system bus; systemctl itself does not need the bus."""
    serve()
    bus, load = int(show("MainPID", "dbus.service")), traffic.Load(threads=2, long=20)
    with stopped(bus):
        before = show("MainPID")
        sockets = sockets_of(before)
        systemctl("restart", "--no-block", "mc-proxy")
        until(lambda: sockets_of(before) > sockets, "the keeper has asked")
    until(lambda: show("ActiveState") == "active" and show("MainPID") != before, "the next server runs")
    load.ping_long()
    print(f"   {load.end()}")
    here = now()
    with stopped(bus):
        before = show("MainPID")
        systemctl("restart", "mc-proxy")
        assert show("MainPID") != before and show("Result") == "success"
    until(serves_and_answers, "the next server serves")
    told = journal(since=here)
    assert "systemd did not report whether this is a restart" in told and "msg=stopped" in told, told


def a_restart_goes_on_when_the_server_answers_late() -> None:
    """The keeper has given up waiting and ordered a stop, but the server reads the order to release it first."""
    serve()
    (server,), before = server_pids(), show("MainPID")
    load, here = traffic.Load(threads=2, long=20), now()
    with stopped(server):
        systemctl("restart", "--no-block", "mc-proxy")
        two_orders = re.compile(rf"^u_seq +ESTAB +2 .*pid={server},", re.M)  # of a byte each
        until(lambda: two_orders.search(run("ss", "-xanp")), "the keeper has given up")
    until(lambda: show("ActiveState") == "active" and show("MainPID") != before, "the next server runs")
    load.ping_long()
    print(f"   {load.end()}")
    assert "serving until the successor takes over" in journal(since=here)


@contextlib.contextmanager
def stopped(pid: int) -> Iterator[None]:
    """The process does nothing, for a while."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def sockets_of(pid: str) -> int:
    return sum(os.readlink(fd).startswith("socket:") for fd in Path(f"/proc/{pid}/fd").iterdir())


def upgrade_restarts_the_service_and_no_unit_that_only_started_a_server() -> None:
    """A supervisor's child is replaced beside it: a restart of its unit would end all that it has started."""
    serve()
    before = show("MainPID")
    told = run("mc-proxy", "upgrade")
    assert re.match(r"pid \d+ serves; pid \d+ (has ended|finishes)", told), told
    assert show("MainPID") != before and show("ActiveState") == "active"
    config = Path("/run/supervised/mc-proxy.toml")
    config.parent.mkdir(exist_ok=True)
    moved = SETTINGS.replace('":443"', '":10443"').replace('":8443"', '":18444"')
    config.write_text(moved.replace("/srv/mc-proxy/mc-proxy.db", "/run/supervised/mc-proxy.db").replace("/run/mc-proxy/", "/run/supervised/"))
    started = f"mc-proxy server -c {config} & exec sleep infinity"
    run("systemd-run", "--unit=supervisor", "--service-type=exec", "/bin/sh", "-c", started)
    until(lambda: traffic.is_served(10443), "the supervisor's server serves")
    before = show("MainPID", "supervisor.service")
    told = run("mc-proxy", "upgrade", "-c", config)
    assert (show("MainPID", "supervisor.service"), show("NRestarts", "supervisor.service")) == (before, "0"), told
    assert traffic.is_served(10443)
    new = int(re.match(r"pid (\d+) serves", told)[1])
    os.kill(new, signal.SIGTERM)
    until(lambda: not Path(f"/proc/{new}").exists(), "the new server has ended")
    systemctl("stop", "supervisor")


# ---- scenarios: backups


def the_timer_makes_a_backup_and_prunes() -> None:
    serve()
    for path in BACKUPS.glob("*.db"):
        path.unlink()
    OLD_BACKUP.touch()
    here = now()
    soon = "[Timer]\nOnCalendar=\nOnCalendar=*:*:0/1\nRandomizedDelaySec=0\nAccuracySec=1ms\n"
    with drop_in("mc-proxy-backup.timer", soon):
        systemctl("restart", "mc-proxy-backup.timer")
        until(lambda: any(path != OLD_BACKUP for path in BACKUPS.glob("*.db")), "a backup is there")
        until(lambda: not OLD_BACKUP.exists(), "the old one is gone")
        systemctl("stop", "mc-proxy-backup.timer")
    systemctl("start", "mc-proxy-backup.timer")
    until(lambda: show("ActiveState", "mc-proxy-backup.service") == "inactive", "the backup has ended")
    told = journal(unit="mc-proxy-backup.service", since=here)
    assert f"removed {OLD_BACKUP}" in told, told
    backup = next(BACKUPS.glob("*.db"))
    assert backup.stat().st_uid == pwd.getpwnam("mc-proxy").pw_uid and backup.stat().st_mode & 0o777 == 0o600
    assert run("sqlite3", backup, "PRAGMA integrity_check").strip() == "ok"
    assert show("Result", "mc-proxy-backup.service") == "success"


# ---- scenarios: the runbook


def every_systemd_command_of_the_runbook_does_what_the_page_says() -> None:
    # What a block must print, or what must hold after it. A block that is not here fails the scenario.
    expected: dict[str, list[str | Callable[[], object]]] = {
        "Is it well?": ["active (running)"],
        "Start, stop": [serves_and_answers, serves_and_answers, lambda: not traffic.is_served()],
        "Read the log": ["connection closed"],
        "Back up": ["mc-proxy-backup.timer", lambda: list(BACKUPS.glob("*.db")), "/srv/mc-proxy/backups/mc-proxy-"],
        "Restore": [lambda: serves_and_answers() and "before.example.com" in run("mc-proxy", "routes", "list", "-l", ":443")],
        "The server does not start": ["mc-proxy"],
        "The database is damaged": ["ok", serves_and_answers],
        "A fresh GeoIP database": [lambda: "GeoIP database reloaded" in journal()],
        "A backend is unreachable": ["dial"],
        "When you need help": [Path("/tmp/mc-proxy-logs.txt").exists],
    }
    serve()
    shutil.copy("/payload/country.mmdb", "/tmp/GeoLite2-Country.mmdb")
    places: dict[str, int] = {}
    for section, block in runbook.blocks(Path("/payload/RUNBOOK.md"), "sh systemd"):
        place = places[section] = places.get(section, -1) + 1
        prepare_block(section, place)
        told = run("bash", "-e", "-c", block)
        assert len(expected.get(section, [])) > place, f"no scenario for block {place} of {section!r}:\n{block}"
        wanted = expected[section][place]
        if isinstance(wanted, str):
            assert wanted in told, f"{section}, block {place}: {wanted!r} is not in:\n{told}"
        else:
            until(wanted, f"what block {place} of {section!r} is for")
    done = {section: place + 1 for section, place in places.items()}
    assert done == {section: len(list_) for section, list_ in expected.items()}, f"blocks that are not on the page: {done}"
    serve()


def prepare_block(section: str, place: int) -> None:
    """The situation of an operator who reads that section."""
    if (section, place) == ("Start, stop", 0):
        systemctl("stop", "mc-proxy")
    elif (section, place) == ("Read the log", 0):
        serve()
    elif (section, place) == ("Back up", 1):
        for path in BACKUPS.glob("*.db"):
            path.unlink()
        run("mc-proxy", "routes", "add", "--replace", "-l", ":443", "before.example.com", "127.0.0.1:18443")
    elif (section, place) == ("Restore", 0):
        run("mc-proxy", "routes", "remove", "-l", ":443", "before.example.com")
    elif section == "A backend is unreachable":
        journal_has_priorities_and_a_line_for_each_connection()


# ---- scenarios: Debian's kernel, with limits that are enforced


def kernel_is_as_old_as_promised() -> None:
    print(f"   Linux {os.uname().release}")


def serves_within_little_memory() -> None:
    """MemoryMax=, which a container without controllers does not enforce; and rings need no locked memory."""
    with drop_in("mc-proxy.service", "[Service]\nMemoryMax=96M\nMemorySwapMax=0\nLimitMEMLOCK=64K\n"):
        install()
        systemctl("restart", "mc-proxy")
        until(traffic.is_served, "it serves")
        assert int(show("MemoryMax")) == 96 << 20
        load = traffic.Load(threads=2, long=100)
        for _ in range(3):
            load.ping_long()
        load.end()
        used = int(show("MemoryCurrent"))
        print(f"   {used / 2**20:.0f} MiB with 100 connections, LimitMEMLOCK=64K")
        assert 0 < used < 96 << 20 and restarts() == 0
    systemctl("restart", "mc-proxy")


def data_plane_passes_its_smoke_tests() -> None:
    """A few of the end-to-end tests, with the program of the package, on this kernel."""
    install()
    chosen = "one_segment or byte_by_byte_is_routed or one_byte or trickle or both_ends or goes_through"
    told = run(
        "/usr/bin/python3", "-m", "pytest", "-q", "-c", "tests/e2e/pytest.ini", "--rootdir", "tests/e2e",
        "-k", chosen, "tests/e2e/test_hello.py", "tests/e2e/test_relay.py",
        env=os.environ | {"MC_PROXY": "/usr/bin/mc-proxy", "MC_PROXY_SLOW": "1"}, cwd="/payload",
    )  # fmt: skip
    print(f"   {told.strip().splitlines()[-1]}")


# ---- the whole

NSPAWN = [
    package_installs_and_waits_for_a_configuration,
    starts_notifies_and_serves,
    runs_with_nothing_that_it_does_not_need,
    journal_has_priorities_and_a_line_for_each_connection,
    a_configuration_that_is_wrong_is_an_error_in_the_journal,
    check_finds_what_the_unit_would_meet,
    a_failed_restart_leaves_the_server_from_before_until_it_is_stopped,
    reload_reads_the_geoip_database_anew,
    stop_refuses_newcomers_and_lets_open_connections_end,
    ten_restarts_under_load_refuse_and_cut_nobody,
    ten_restarts_behind_the_socket_unit_refuse_and_cut_nobody,
    a_server_that_hangs_is_replaced,
    a_server_of_which_one_worker_hangs_is_replaced,
    a_crash_loses_no_client_that_waits,
    a_restart_waits_for_a_bus_that_is_late_and_not_for_one_that_hangs,
    a_restart_goes_on_when_the_server_answers_late,
    upgrade_restarts_the_service_and_no_unit_that_only_started_a_server,
    the_first_client_starts_it_by_the_socket,
    the_timer_makes_a_backup_and_prunes,
    every_systemd_command_of_the_runbook_does_what_the_page_says,
    package_upgrade_under_load_refuses_and_cuts_nobody,
    package_removal_and_purge_keep_what_is_the_operators,
]
QEMU = [
    kernel_is_as_old_as_promised,
    package_installs_and_waits_for_a_configuration,
    starts_notifies_and_serves,
    runs_with_nothing_that_it_does_not_need,
    reload_reads_the_geoip_database_anew,
    restarts_under_load_refuse_and_cut_nobody,
    serves_within_little_memory,
    data_plane_passes_its_smoke_tests,
]


def main(kind: str, *words: str) -> int:
    traffic.Echo(18443)
    outcomes = scenarios.play({"nspawn": NSPAWN, "qemu": QEMU}[kind], words)
    if outcomes.count("failed"):
        print(run("journalctl", "--no-pager", "-u", "mc-proxy*", "-n", "25"))
    return scenarios.sum_up(outcomes)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
