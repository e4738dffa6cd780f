# SPDX-License-Identifier: Apache-2.0
"""Small things that must not become an outage: a slip in the file, a copied backup, a limit, a stray signal."""

import json
import os
import re
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from admin import IP, AdministeredProxy, rows
from harness import PATIENCE, REPOSITORY, SLOW_FACTOR, Backend, binary, until

SLIPS = {
    "a wrong value": lambda text: text.replace("[proxy]", '[proxy]\nidle_timeout = "5 parsecs"'),
    "an unknown key": lambda text: text.replace("[proxy]", "[proxy]\nworker = 2"),
    "no TOML": lambda text: text + "\n[log\n",
}

COMMANDS = [
    ("status",),
    ("routes", "list"),
    ("firewall", "add", "203.0.113.50"),
    ("firewall", "list"),
    ("firewall", "add", "198.51.100.0/24"),
    ("firewall", "remove", "198.51.100.0/24"),
    ("routes", "add", "--replace", "slip.example.com", "192.0.2.1:443"),
    ("routes", "remove", "slip.example.com"),
    ("connections", "list"),
    ("connections", "close", "--all"),
    ("log-level",),
    ("top", "--once"),
]


@pytest.mark.parametrize("slip", SLIPS)
def test_a_slip_in_the_file_takes_no_command_from_a_server_that_runs(proxy: AdministeredProxy, slip: str) -> None:
    proxy.config.write_text(SLIPS[slip](proxy.config.read_text()))
    assert proxy.cli("check").code == 1
    for words in COMMANDS:
        answer = proxy.cli(*words)
        assert answer.code == 0, (words, answer)
        assert "cannot be used (`mc-proxy check` shows why)" in answer.err
    assert proxy.rules() == [(IP, "203.0.113.50")]
    copy = proxy.config.with_name("copy.db")
    answer = proxy.cli("snapshot", "-o", copy)
    assert answer.code == 0 and copy.exists() and f"copying the database {proxy.database}" in answer.err


# As root with the rights of any other user: a file's mode applies.
WITHOUT_OVERRIDE = ("setpriv", "--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-dac_override,-dac_read_search")

NO_FILES: dict[str, Callable[[Path], object]] = {
    "missing": lambda path: path.unlink(),
    "unreadable": lambda path: path.chmod(0),
    "a directory": lambda path: (path.unlink(), path.mkdir()),
    "binary": lambda path: path.write_bytes(bytes(range(256))),
    "empty": lambda path: path.write_text(""),
}


@pytest.mark.parametrize("state", [*SLIPS, *NO_FILES])
def test_with_the_socket_no_command_needs_the_file(proxy: AdministeredProxy, state: str, tmp_path: Path) -> None:
    socket = ("--socket", proxy.admin_socket)
    if state in SLIPS:
        proxy.config.write_text(SLIPS[state](proxy.config.read_text()))
    else:
        NO_FILES[state](proxy.config)
    for words in COMMANDS:
        answer = proxy.cli(*words, *socket, wrapper=WITHOUT_OVERRIDE)
        assert (answer.code, answer.err) == (0, ""), (words, answer)
    watch = [*WITHOUT_OVERRIDE, binary(), "events", "--since-revision", "1", *socket, "-c", proxy.config]
    with subprocess.Popen(watch, stdout=subprocess.PIPE, text=True) as events:
        assert "watch_started" in events.stdout.readline()
        events.terminate()

    copy = tmp_path / "copy.db"
    answer = proxy.cli("snapshot", "-o", copy, *socket, wrapper=WITHOUT_OVERRIDE)
    assert (answer.code, answer.out, answer.err) == (0, f"{copy}\n", "")
    assert rows(copy, "PRAGMA integrity_check") == [("ok",)]
    assert rows(copy, "SELECT value FROM firewall_rules ORDER BY value") == [("203.0.113.50",)]
    assert copy.stat().st_mode & 0o777 == 0o600
    assert sorted(path.name for path in tmp_path.glob("*copy*")) == ["copy.db"]


def test_what_a_server_copies_over_its_socket_replaces_no_database(proxy: AdministeredProxy, tmp_path: Path) -> None:
    socket = ("--socket", proxy.admin_socket)
    before = proxy.database.stat().st_ino
    answer = proxy.cli("snapshot", *socket)
    assert answer.code == 2 and "name its file with -o" in answer.err
    answer = proxy.cli("snapshot", "-o", proxy.database, *socket)
    assert answer.code == 1 and "this is the database of a server" in answer.err
    assert proxy.cli("snapshot", "-o", tmp_path, *socket).code == 1
    assert proxy.cli("snapshot", "-o", tmp_path / "none" / "x.db", *socket).code == 1
    assert proxy.database.stat().st_ino == before and proxy.revision() == 1
    answer = proxy.cli("snapshot", "--json", "-o", tmp_path / "x.db", *socket)
    assert json.loads(answer.out) == {"path": f"{tmp_path}/x.db", "size": (tmp_path / "x.db").stat().st_size}
    assert proxy.stop() == 0
    kept = (tmp_path / "x.db").read_bytes()
    answer = proxy.cli("snapshot", "-o", tmp_path / "x.db", *socket)
    assert answer.code == 3 and (tmp_path / "x.db").read_bytes() == kept
    proxy.start()


def test_a_snapshot_without_a_file_that_names_the_database_is_the_servers(
    proxy: AdministeredProxy, tmp_path: Path
) -> None:
    text = proxy.config.read_text()
    assert f'path = "{proxy.database}"\n' in text
    proxy.config.write_text(text.replace(f'path = "{proxy.database}"\n', ""))
    answer = proxy.cli("snapshot")
    assert answer.code == 1 and "database.path" in answer.err and "name the copy with -o" in answer.err
    answer = proxy.cli("snapshot", "-o", tmp_path / "copy.db")
    assert answer.code == 0 and "cannot be used (`mc-proxy check` shows why)" in answer.err
    assert len(rows(tmp_path / "copy.db", "SELECT * FROM routes")) == len(proxy.routes())


def test_a_server_is_asked_by_its_socket_without_any_file(proxy: AdministeredProxy) -> None:
    nowhere = proxy.config.with_name("nowhere.toml")
    command = [binary(), "status", "-c", nowhere]
    without = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert without.returncode == 1 and "--socket PATH" in without.stderr
    asked = subprocess.run([*command, "--socket", proxy.admin_socket], capture_output=True, text=True, timeout=60)
    assert (asked.returncode, asked.stderr) == (0, "")
    assert proxy.listener_name() in asked.stdout


def test_a_backup_copied_over_the_database_of_a_running_server_is_what_starts_next(
    proxy: AdministeredProxy, backend: Backend
) -> None:
    backup = proxy.config.with_name("backup.db")
    assert proxy.cli("snapshot", "-o", backup).code == 0
    for i in range(50):
        proxy.cli("routes", "add", f"h{i}.example.com", backend.address)
    proxy.database.write_bytes(backup.read_bytes())  # as cp does: the same inode
    refused = proxy.cli("routes", "add", "late.example.com", backend.address)
    assert refused.code == 1
    assert "changed, replaced or removed by another program" in refused.err
    assert "restart mc-proxy" in refused.err
    until(lambda: "warning: database" in proxy.cli("status").out, "status warns of it")
    proxy.expect_served("h49.example.com")  # what was in force stays
    assert proxy.stop() == 0
    assert proxy.database.read_bytes() == backup.read_bytes()
    proxy.start()
    assert set(proxy.routes()) == {"app.example.com"}
    assert "warning" not in proxy.cli("status").out
    assert proxy.cli("routes", "add", "late.example.com", backend.address).code == 0


def test_a_limit_on_file_sizes_refuses_changes_and_ends_nothing(
    proxy: AdministeredProxy, backend: Backend, tmp_path: Path
) -> None:
    # One commit that is larger than the limit: many small ones may be moved out of the log in time, by a checkpoint.
    names = ["app.example.com", *(f"h{i}.example.com" for i in range(5000))]
    file = tmp_path / "routes"
    file.write_text("".join(f"{name} {backend.address}\n" for name in names))
    with proxy.open_connection():
        subprocess.run(["prlimit", f"--pid={proxy.pid}", "--fsize=131072:unlimited"], check=True)
        assert proxy.cli("routes", "add", "before.example.com", backend.address).code == 0
        for _ in range(2):
            answer = proxy.cli("routes", "replace", file)
            assert answer.code == 1 and "no room left to write" in answer.err, answer
        proxy.expect_served()
        assert set(proxy.routes()) == {"app.example.com", "before.example.com"}
        subprocess.run(["prlimit", f"--pid={proxy.pid}", "--fsize=unlimited:unlimited"], check=True)
        assert proxy.cli("routes", "replace", file).code == 0
        assert set(proxy.routes()) == set(names)


def test_a_limit_on_file_sizes_at_the_start_is_an_error_with_a_reason(tmp_path: Path) -> None:
    config = tmp_path / "mc-proxy.toml"
    config.write_text(f'[[listeners]]\naddr = "127.0.0.1:0"\n[database]\npath = "{tmp_path}/m.db"\n')
    done = subprocess.run(
        ["prlimit", "--fsize=0:0", binary(), "server", "-c", config], stderr=subprocess.PIPE, text=True, timeout=60
    )
    assert done.returncode == 1
    assert "no room left to write" in done.stderr


@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGUSR2, signal.SIGALRM, signal.SIGXFSZ])
def test_a_stray_signal_ends_nothing(proxy: AdministeredProxy, number: int) -> None:
    with proxy.open_connection():
        os.kill(proxy.pid, number)
        proxy.expect_served()


def test_a_first_start_that_fails_leaves_no_seed_behind(
    start_administered: Callable, backend: Backend, tmp_path: Path
) -> None:
    proxy = start_administered(routes={"first.example.com": backend})
    assert proxy.stop() == 0
    proxy.database.unlink()
    good = proxy.config.read_text()
    missing = str(tmp_path / "missing" / "admin.sock")
    proxy.config.write_text(good.replace(str(proxy.admin_socket), missing))
    failed = subprocess.run([binary(), "server", "-c", proxy.config], capture_output=True, text=True, timeout=60)
    assert failed.returncode == 1 and "seeded" not in failed.stderr, failed.stderr
    proxy.config.write_text(good.replace("first.example.com", "second.example.com"))
    proxy.start()
    assert set(proxy.routes()) == {"second.example.com"}


def test_descriptors_of_many_workers_and_listeners_are_not_given_to_connections(
    start_administered: Callable, backend: Backend
) -> None:
    few = int(start_administered(routes={"*": backend}, workers=1, descriptors=1300).lines(msg="serving")[0]["max_connections"])
    assert few == (1300 - 512 - 4) // 2


def test_few_descriptors_leave_half_of_them_to_connections(start_administered: Callable, backend: Backend) -> None:
    proxy = start_administered(routes={"*": backend}, workers=1, descriptors=256)
    assert int(proxy.lines(msg="serving")[0]["max_connections"]) == (256 - 4) // 4


def test_no_document_promises_that_a_client_without_a_name_is_routed() -> None:
    # What the program does with one is test_hello_routes.py's: no_sni, whatever routes there are.
    for name in ("systemd/mc-proxy.toml.example", "doc/mc-proxy.toml.5", "src/policy/route.hpp", "src/policy/route_table.hpp"):
        text = re.sub(r"\s+", " ", (REPOSITORY / name).read_text())
        assert not re.search(r"clients? that asks? for none|client that sent none", text), name
        if not name.startswith("src"):
            assert re.search(r"A client that sends no name has (# )?no route", text), name


@pytest.mark.parametrize("kib", range(40_000, 80_000, 4_000))
def test_a_start_without_room_for_threads_or_memory_says_why_it_ends(start_administered: Callable, kib: int) -> None:
    if SLOW_FACTOR > 1:
        pytest.skip("a sanitizer needs more address space than any limit that means something")
    proxy = start_administered(routes={})
    assert proxy.stop() == 0
    command = ["prlimit", f"--as={kib * 1024}", binary(), "server", "-c", proxy.config]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as server:
        assert server.stderr is not None
        log = ""
        for line in server.stderr:
            log += line
            if "msg=serving" in line:
                server.terminate()
        server.wait(timeout=PATIENCE)
    if "msg=serving" not in log:
        reason = r"mc-proxy: ended: .*(LimitAS=|TasksMax=)|cannot start the log's thread: .*TasksMax=|msg=\"not started\" error="
        assert re.search(reason, log.splitlines()[-1]), log
    proxy.start()
