# SPDX-License-Identifier: Apache-2.0
"""The commands for a running server, as operators and their scripts see them."""

import json
import os
import re
import shutil
import stat
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from admin import IP, MALLORY, TRENT, AdministeredProxy, rows
from harness import REPOSITORY, Backend, Listener, Proxy, binary, expect_rst, until


@pytest.fixture
def proxy(start_administered: Callable, backend: Backend) -> AdministeredProxy:
    return start_administered(routes={"app.example.com": backend, "*": backend})


def run(*words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([binary(), *words], capture_output=True, text=True, timeout=60)


def done(answer, code: int = 0) -> str:
    """The output of a command with this exit code: without errors, or with errors alone."""
    assert answer.code == code, answer
    assert (answer.err == "") == (code == 0), answer
    if code != 0:
        assert answer.out == ""
    return answer.out if code == 0 else answer.err


# ---- status


def test_the_status_has_the_lines_that_scripts_know(start_administered, backend) -> None:
    proxy = start_administered(listeners=[Listener({"app.example.com": backend, "*": backend}, host=""), Listener({})])
    proxy.expect_served()
    with proxy.open_connection():
        assert re.fullmatch(
            rf"""mc-proxy v0\.1\.\d+
uptime: \d+s
connections: 2
:{proxy.ports[0]} routes=2 active=1
127\.0\.0\.1:{proxy.ports[1]} routes=0 active=0
""",
            done(proxy.cli("status")),
        )
        shown = done(proxy.cli("status", "--routes", "1")).splitlines()
        assert len(shown) == 6
        assert re.fullmatch(
            rf"  app\.example\.com -> {backend.address} active=1 connections=2 dial_failures=0 "
            r"bytes_up=[\d.]+ k?B bytes_down=[\d.]+ k?B",
            shown[4],
        )
        status = json.loads(done(proxy.cli("status", "--json", "--routes", "1")))
        assert status["total_connections"] == "2"
        assert status["state"] == "SERVER_STATE_SERVING"
        assert [one["addr"] for one in status["listeners"]] == [proxy.listener_name(0), proxy.listener_name(1)]
        assert status["listeners"][1]["active_connections"] == "0"
        assert status["listeners"][0]["routes"][0]["route"]["hostname"] == "app.example.com"


def test_the_status_of_a_server_that_stops_says_so(start_administered, backend) -> None:
    proxy = start_administered(routes={"*": backend}, shutdown_timeout="60s")
    with proxy.open_connection():
        proxy.admin.close()
        proxy.send_signal(15)
        until(lambda: "state: stopping\n" in done(proxy.cli("status")), "the status tells of the stop")
        told = done(proxy.cli("routes", "add", "a.example.com", "192.0.2.1:443"), 3)
        assert "the server is stopping and takes no more changes" in told
    assert proxy.wait_end() == 0
    proxy.start()


# ---- routes


def test_routes_are_listed_added_and_removed(proxy, backend) -> None:
    name = proxy.listener_name()
    assert done(proxy.cli("routes", "list")) == (
        f"# listener {name}, revision 1\n* {backend.address}\napp.example.com {backend.address}\n"
    )
    assert done(proxy.cli("routes", "add", "New.example.com", backend.address)).endswith(f" at {name}, revision 2\n")
    proxy.expect_served("new.example.com")
    assert proxy.last_audit()[1].startswith(f"uid={os.getuid()}")
    assert "already" in done(proxy.cli("routes", "add", "new.example.com", "192.0.2.1:443", "-l", name), 1)
    assert done(proxy.cli("routes", "remove", "new.example.com")) == f"removed new.example.com at {name}, revision 3\n"
    assert "no route for" in done(proxy.cli("routes", "remove", "new.example.com"), 1)
    listed = json.loads(done(proxy.cli("routes", "list", "--json")))
    assert [one["hostname"] for one in listed["routes"]] == ["*", "app.example.com"]
    added = json.loads(done(proxy.cli("routes", "add", "--json", "b.example.com", backend.address)))
    assert (added["revision"], added["summary"]["routes_added"]) == ("4", 1)
    replace = ("routes", "add", "--replace", "b.example.com", "192.0.2.9:443")
    assert done(proxy.cli(*replace)) == (
        f"changed b.example.com -> 192.0.2.9:443 at {name}, was {backend.address}, revision 5\n"
    )
    assert proxy.routes()["b.example.com"] == "192.0.2.9:443"
    assert done(proxy.cli(*replace)) == f"unchanged b.example.com -> 192.0.2.9:443 at {name}, revision 5\n"
    assert done(proxy.cli("routes", "add", "--replace", "d.example.com", "192.0.2.9:443")) == (
        f"added d.example.com -> 192.0.2.9:443 at {name}, revision 6\n"
    )
    told = done(proxy.cli("routes", "add", "c.example.com", "192.0.2.9"), 1)
    assert told.startswith('mc-proxy: backend: "192.0.2.9": the port is missing')


def test_the_list_of_routes_is_what_replace_takes(proxy, backend, tmp_path: Path) -> None:
    file = tmp_path / "routes"
    file.write_text(done(proxy.cli("routes", "list")))
    name = proxy.listener_name()
    assert done(proxy.cli("routes", "replace", file)) == f"added 0, changed 0, removed 0 at {name}, revision 1\n"
    wanted = f"# ours\n\n  app.example.com\t192.0.2.1:443  # changed\nnew.example.com {backend.address}\n"
    file.write_text(wanted)
    would = f"would have added 1, changed 1, removed 1 at {name}, revision 1\n"
    assert done(proxy.cli("routes", "replace", "--dry-run", file)) == would
    assert proxy.revision() == 1
    assert "the current revision is 1" in done(proxy.cli("routes", "replace", "--if-revision", "7", file), 1)
    assert done(proxy.cli("routes", "replace", "--if-revision", "1", "-", stdin=wanted)) == (
        f"added 1, changed 1, removed 1 at {name}, revision 2\n"
    )
    assert proxy.routes() == {"app.example.com": "192.0.2.1:443", "new.example.com": backend.address}
    summary = json.loads(done(proxy.cli("routes", "replace", "--json", file)))["summary"]
    assert summary["routes_added"] == summary["routes_changed"] == summary["routes_removed"] == 0


def test_routes_of_one_host_name_are_told_apart_by_what_they_ask_for(proxy, backend, tmp_path: Path) -> None:
    name = proxy.listener_name()
    acme = ("a.example.com", "--alpn", "acme-tls/1")
    office = ("a.example.com", "--source", "192.0.2.7", "--source", "10.0.0.0/8")
    assert done(proxy.cli("routes", "add", *acme, "192.0.2.1:443")) == (
        f"added a.example.com alpn=acme-tls/1 -> 192.0.2.1:443 at {name}, revision 2\n"
    )
    done(proxy.cli("routes", "add", *office, "192.0.2.2:443"))
    assert proxy.last_audit()[3] == f"{name} a.example.com source=10.0.0.0/8,192.0.2.7/32 none -> 192.0.2.2:443"
    told = done(proxy.cli("routes", "add", *office, "192.0.2.3:443"), 1)
    assert 'a route for "a.example.com" (source=10.0.0.0/8,192.0.2.7/32) already, to 192.0.2.2:443' in told
    assert "was 192.0.2.2:443" in done(proxy.cli("routes", "add", *office, "192.0.2.3:443", "--replace"))

    listed = done(proxy.cli("routes", "list"))
    assert listed.splitlines()[2:4] == [
        "a.example.com 192.0.2.3:443 source=10.0.0.0/8,192.0.2.7/32",
        "a.example.com 192.0.2.1:443 alpn=acme-tls/1",
    ]
    first = json.loads(done(proxy.cli("routes", "list", "--json")))["routes"][1]
    assert first["sources"] == ["10.0.0.0/8", "192.0.2.7/32"]
    file = tmp_path / "routes"
    file.write_text(listed)
    assert done(proxy.cli("routes", "replace", file)).startswith("added 0, changed 0, removed 0 at ")
    file.write_text(listed + "a.example.com 192.0.2.4:443 source=192.0.2.7,10.0.0.0/8\n")
    told = done(proxy.cli("routes", "replace", file), 1)
    assert told == (
        f'mc-proxy: {file}:6: hostname: "a.example.com": the same host name, alpn and sources as in line 3; '
        "leave one out\n"
    )

    assert done(proxy.cli("routes", "remove", "a.example.com"), 1) == (
        f'mc-proxy: listener "{name}" has no route for "a.example.com"; it has: '
        '"a.example.com" (source=10.0.0.0/8,192.0.2.7/32), "a.example.com" (alpn=acme-tls/1)\n'
    )
    assert done(proxy.cli("routes", "remove", *acme)).startswith(f"removed a.example.com alpn=acme-tls/1 at {name}")
    done(proxy.cli("routes", "remove", *office))
    assert "a.example.com" not in proxy.routes()
    told = done(proxy.cli("routes", "add", "a.example.com", "192.0.2.1:443", "--source", "DE"), 1)
    assert told.startswith('mc-proxy: sources: "DE": a country, which only a firewall rule takes')


def test_what_is_wrong_in_a_file_of_routes_is_told_by_its_line(proxy, backend, tmp_path: Path) -> None:
    file = tmp_path / "routes"
    before = proxy.everything()

    def replace(text: str) -> list[str]:
        file.write_text(text)
        return done(proxy.cli("routes", "replace", file), 1).splitlines()

    assert replace(f"# comment\n\nb.example.com {backend.address}\napp..example.com 192.0.2.1\n") == [
        f'mc-proxy: {file}:4: hostname: "app..example.com": not a host name: a label is empty; '
        'write one like "app.example.com", "*.example.com" or "*"',
        f'mc-proxy: {file}:4: backend: "192.0.2.1": the port is missing; write "192.0.2.1:443"',
    ]
    (told,) = replace(f"a.example.com {backend.address}\nb.example.com\n")
    assert told.startswith(f"mc-proxy: {file}:2: write a host name and a backend")
    many = replace("".join(f"h{i} 192.0.2.1\n" for i in range(200)) + "b.example.com\na..b 192.0.2.1:443\n")
    assert [int(line.removeprefix(f"mc-proxy: {file}:").partition(":")[0]) for line in many] == list(range(1, 203))
    (told,) = replace(f"a.example.com {backend.address} {backend.address}\n")
    assert told == (
        f'mc-proxy: {file}:1: "{backend.address}": neither a protocol nor a source; '
        "write alpn=acme-tls/1 or source=10.0.0.0/8"
    )
    (told,) = replace(f"a.example.com {proxy.listener_name()}\n")[:1]
    assert told.startswith(f"mc-proxy: {file}:1: backend: ")
    assert "leads back to the listener" in told
    (told,) = replace(f"a.example.com {backend.address}\n# again\nA.example.com {backend.address}\n")[:1]
    assert told == (
        f'mc-proxy: {file}:3: hostname: "A.example.com": the same host name as in line 1; leave one out'
    )
    assert "cannot be opened" in done(proxy.cli("routes", "replace", tmp_path / "none"), 1)
    assert "cannot be" in done(proxy.cli("routes", "replace", tmp_path), 1)
    assert proxy.everything() == before


def test_a_byte_order_mark_and_dos_lines_are_no_part_of_a_file_of_routes(proxy, backend, tmp_path: Path) -> None:
    file = tmp_path / "routes"
    file.write_bytes(f"\ufeffbom.example.com {backend.address}\r\nb.example.com {backend.address}\r\n".encode())
    assert done(proxy.cli("routes", "replace", file)).startswith("added 2, ")
    assert set(proxy.routes()) == {"bom.example.com", "b.example.com"}
    file.write_bytes(f"a.example.com {backend.address}\n\ufeffb.example.com {backend.address}\n".encode())
    assert f"{file}:2: hostname: " in done(proxy.cli("routes", "replace", file), 1)


MISTAKEN_HOST_NAMES = {
    "https://app.example.com/login": 'a URL, not a host name; write "app.example.com"',
    "https://*.example.com:8443": 'a URL, not a host name; write "*.example.com"',
    "https://192.0.2.1/": 'a URL, not a host name; write one like "app.example.com"',
    "app.example.com:443": 'a host name with a port; write "app.example.com"',
    "app.example.com/login": 'a host name with a path; write "app.example.com"',
    "192.0.2.1": "an IP address, not a host name: clients ask for names (SNI); write one like",
    "2001:db8::1": "an IP address, not a host name",
    "[2001:db8::1]": "an IP address, not a host name",
    "192.0.2.1:443": "an IP address with a port, not a host name",
    "[2001:db8::1]:443": "an IP address with a port, not a host name",
    "app.1": "not a host name: its last label is a number, as in an IP address",
}


@pytest.mark.parametrize("text", MISTAKEN_HOST_NAMES)
def test_what_is_mistaken_for_a_host_name_is_called_by_its_name(proxy, backend, text: str) -> None:
    told = done(proxy.cli("routes", "add", text, backend.address), 1)
    assert told.startswith(f'mc-proxy: hostname: "{text}": {MISTAKEN_HOST_NAMES[text]}')


def test_with_several_listeners_one_must_be_named(start_administered, backend) -> None:
    proxy = start_administered(listeners=[Listener({"a.example.com": backend}), Listener({})])
    names = f'"{proxy.listener_name(0)}", "{proxy.listener_name(1)}"'
    for words in (["list"], ["add", "b.example.com", backend.address], ["remove", "a.example.com"]):
        told = done(proxy.cli("routes", *words), 2)
        assert f"which listener? The server has {names}; name one with --listener" in told
    assert "revision 1" in done(proxy.cli("routes", "list", "--listener", proxy.listener_name(1)))
    assert "no listener" in done(proxy.cli("routes", "list", "-l", ":1"), 1)


def test_ten_thousand_routes_and_more_are_listed_whole(proxy, backend) -> None:
    lines = "".join(f"h{i:05}.example.com {backend.address}\n" for i in range(10_500))
    done(proxy.cli("routes", "replace", "-", stdin=lines))
    assert done(proxy.cli("routes", "list")).partition("\n")[2] == lines


def test_a_file_without_routes_removes_all_only_if_that_is_meant(proxy, tmp_path: Path) -> None:
    """A list that was cut off, or could not be made, is an empty file too."""
    file = tmp_path / "routes"
    file.write_text("# nothing\n")
    before = proxy.routes()
    assert "--allow-empty" in done(proxy.cli("routes", "replace", file), 1)
    assert proxy.routes() == before != {}
    told = done(proxy.cli("routes", "replace", "--allow-empty", file))
    assert told.startswith(f"added 0, changed 0, removed {len(before)} at ")
    assert proxy.routes() == {}


def test_what_is_no_text_is_refused_in_words(proxy, tmp_path: Path) -> None:
    """Any bytes of a terminal or a file."""
    file = tmp_path / "routes"
    file.write_bytes(b"a.example.com 192.0.2.1:443\nm\xfcller.example.com 192.0.2.1:443\n")
    told = done(proxy.cli("routes", "replace", file), 1)
    assert told.startswith(f"mc-proxy: {file}:2: ")
    for words in (["routes", "add", b"m\xfcller.example.com", "192.0.2.1:443"], ["firewall", "add", b"\xff"]):
        result = subprocess.run([binary(), *words, "-c", proxy.config], capture_output=True, timeout=60)
        assert result.returncode in (1, 2)
        assert b"libprotobuf" not in result.stderr
        assert b"gRPC code" not in result.stderr
    assert proxy.revision() == 1


def test_an_answer_that_cannot_be_written_is_an_error(proxy) -> None:
    """A full disk must not make a list of routes that `routes replace` would take for the whole."""
    with open("/dev/full", "w") as full:
        result = subprocess.run(
            [binary(), "routes", "list", "-c", proxy.config], stdout=full, stderr=subprocess.PIPE, text=True, timeout=60
        )
    assert result.returncode == 1
    assert "No space left on device" in result.stderr


# ---- firewall


def test_rules_are_listed_added_and_removed(proxy) -> None:
    assert done(proxy.cli("firewall", "list")) == "# revision 1\n"
    added = proxy.cli("firewall", "add", MALLORY, "198.51.100.0/24", "2001:db8::1")
    assert done(added) == "added 3 rules, revision 2\n"
    proxy.expect_refused("blocked_ip", source=MALLORY)
    assert done(proxy.cli("firewall", "list")) == (
        f"# revision 2\nip {MALLORY}\nip 2001:db8::1\ncidr 198.51.100.0/24\n"
    )
    some = proxy.cli("firewall", "add", MALLORY, "203.0.113.7", "198.51.100.0/24", "203.0.113.7")
    assert done(some) == (
        f"added 1 rule, revision 3\n{MALLORY}: was there already\n198.51.100.0/24: was there already\n"
        "203.0.113.7: was there already\n"
    )
    for cut in ([], ["--cut"], ["--no-cut"]):
        again = proxy.cli("firewall", "add", *cut, MALLORY)
        assert done(again) == f"added 0 rules, revision 3\n{MALLORY}: was there already\n"
    assert done(proxy.cli("firewall", "remove", "203.0.113.7")) == "removed 1 rule, revision 4\n"
    assert "geoip_db is required" in done(proxy.cli("firewall", "add", "RU"), 1)
    assert "bits beyond the first 24 are set" in done(proxy.cli("firewall", "add", "192.0.2.1", "192.0.2.1/24"), 1)
    for word in ("everybody", "KPX", "K"):
        told = done(proxy.cli("firewall", "add", word), 1)
        assert f'rule: "{word}": not an IP address, a CIDR block or a country' in told
        assert "KP (a country's two letters in ISO 3166-1)" in told
    assert done(proxy.cli("firewall", "remove", MALLORY, "198.51.100.0/24")) == "removed 2 rules, revision 5\n"
    proxy.expect_served(source=MALLORY)
    assert "no rule for" in done(proxy.cli("firewall", "remove", MALLORY), 1)
    listed = json.loads(done(proxy.cli("firewall", "list", "--json")))
    assert listed["rules"] == [{"type": IP, "value": "2001:db8::1"}]


def test_open_connections_are_cut_if_asked_for(proxy) -> None:
    with proxy.open_connection(source=MALLORY) as spared, proxy.open_connection(source=TRENT) as cut:
        done(proxy.cli("firewall", "add", "--no-cut", MALLORY))
        done(proxy.cli("firewall", "add", "--cut", TRENT))
        expect_rst(cut)
        spared.sendall(b"ping")
        assert spared.recv(4) == b"ping"


# ---- snapshots


def test_a_snapshot_goes_to_the_folder_of_backups_or_where_it_is_told(proxy, tmp_path: Path) -> None:
    """With a server running, and without one."""
    for is_running in (True, False):
        if not is_running:
            assert proxy.stop() == 0
        path = Path(done(proxy.cli("snapshot")).removesuffix("\n"))
        assert path.parent == proxy.database.parent / "backups"
        assert re.fullmatch(r"mc-proxy-\d{8}-\d{6}\.db", path.name)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        chosen = tmp_path / "chosen.db"
        assert done(proxy.cli("snapshot", "-o", chosen)) == f"{chosen}\n"
        told = json.loads(done(proxy.cli("snapshot", "--json", "--output", chosen)))
        assert told == {"path": str(chosen), "size": chosen.stat().st_size}
        for copy in (path, chosen):
            assert rows(copy, "PRAGMA integrity_check") == [("ok",)]
            assert len(rows(copy, "SELECT * FROM routes")) == 2
    proxy.start()


def test_a_snapshot_prunes_the_backups_that_are_old(proxy) -> None:
    folder = proxy.database.parent / "backups"
    folder.mkdir()

    def old(*names: str) -> list[Path]:
        paths = [folder / name for name in names]
        for path in paths:
            path.write_text("an old one")
        return paths

    day = 24 * 3600
    newest = [time.strftime("mc-proxy-%Y%m%d-%H%M%S.db", time.gmtime(time.time() - n * day)) for n in range(1, 7)]
    kept = old("mc-proxy-20200101-000000.db.gz", "mine.db", *newest)
    first, second = old("mc-proxy-20200101-000000.db", "mc-proxy-20200102-000000.db")
    made, *told = done(proxy.cli("snapshot", "--prune", "30d")).splitlines()
    assert told == [f"removed {first}", f"removed {second}"]
    assert sorted(folder.iterdir()) == sorted([*kept, Path(made)])

    old(first.name)
    told = json.loads(done(proxy.cli("snapshot", "--json", "--prune", "30d")))
    assert told["removed"] == [str(first)] and Path(told["path"]).stat().st_size == told["size"]
    assert json.loads(done(proxy.cli("snapshot", "--json", "--prune", "30d")))["removed"] == []


def test_the_newest_backups_stay_and_what_cannot_go_is_a_failure(proxy) -> None:
    folder = proxy.database.parent / "backups"
    folder.mkdir()
    week = [folder / f"mc-proxy-2020010{n}-030000.db" for n in range(1, 9)]
    for path in week:
        path.write_text("an old one")
    made, *told = done(proxy.cli("snapshot", "--prune", "30d")).splitlines()
    assert told == [f"removed {path}" for path in week[:2]]
    assert sorted(folder.iterdir()) == [*week[2:], Path(made)]
    mounted = ("unshare", "--mount", "sh", "-c", 'mount --bind "$0" "$0" && exec "$@"', str(week[2]))
    answer = proxy.cli("snapshot", "--prune", "30d", wrapper=mounted)
    assert answer.code == 1 and f'old backup "{week[2]}" cannot be removed: Device or resource busy' in answer.err
    assert Path(answer.out.strip()).exists()


def test_snapshots_of_one_second_are_all_there(proxy) -> None:
    command = [binary(), "snapshot", "-c", proxy.config]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(8)]
    paths = {process.communicate(timeout=60)[0].strip() for process in running}
    assert len(paths) == 8
    for path in paths:
        assert rows(Path(path), "PRAGMA integrity_check") == [("ok",)]


def test_without_a_new_snapshot_nothing_is_pruned(proxy, tmp_path: Path) -> None:
    old = proxy.database.parent / "backups" / "mc-proxy-20200101-000000.db"
    old.parent.mkdir()
    old.write_text("an old one")
    assert proxy.stop() == 0
    proxy.database.rename(tmp_path / "aside.db")
    assert "there is no such file" in done(proxy.cli("snapshot", "--prune", "30d"), 1)
    (tmp_path / "aside.db").rename(proxy.database)

    for text, why in (
        ("30", 'the unit is missing; write days like "30d"'),
        ("30m", 'less than an hour, which would remove almost every backup; write days like "30d"'),
        ("0s", "less than an hour"),
        ("30 days", '" days" is not a unit of time here; use d, h, m, s or ms; write days like "30d"'),
        ("", 'write days like "30d"'),
    ):
        told = done(proxy.cli("snapshot", "--prune", text), 2)
        assert told.startswith(f'mc-proxy: --prune "{text}": ') and why in told
    assert "give only one of them" in done(proxy.cli("snapshot", "-o", tmp_path / "x.db", "--prune", "30d"), 2)
    assert list(old.parent.iterdir()) == [old] and not (tmp_path / "x.db").exists()
    proxy.start()


def test_a_snapshot_does_not_overwrite_the_database_or_what_is_no_file(proxy, tmp_path: Path) -> None:
    assert "would replace it" in done(proxy.cli("snapshot", "-o", proxy.database), 1)
    assert "it exists and is not a regular file" in done(proxy.cli("snapshot", "-o", tmp_path), 1)
    done(proxy.cli("snapshot", "-o", tmp_path / "none" / "x.db"), 1)
    assert proxy.revision() == 1


def test_a_snapshot_of_no_database_is_an_error(tmp_path: Path) -> None:
    proxy = Proxy(tmp_path, routes={})
    try:
        assert str(proxy.database) in done(proxy.cli("snapshot", "-o", tmp_path / "x.db"), 1)
        assert not (tmp_path / "x.db").exists()
    finally:
        proxy.close()


# ---- no server


def asked(proxy: AdministeredProxy, code: int, wrapper: tuple[str, ...] = ()) -> str:
    """The error of every command that needs a server, without one."""
    told = set()
    for words in (
        ["status"],
        ["status", "--json"],
        ["routes", "list"],
        ["routes", "add", "a.example.com", "192.0.2.1:443"],
        ["firewall", "list"],
        ["firewall", "add", "192.0.2.1"],
    ):
        told.add(done(proxy.cli(*words, wrapper=wrapper), code))
    assert len(told) == 1
    return told.pop()


def test_without_a_server_it_is_said_how_to_start_one(proxy) -> None:
    start = f"start it: mc-proxy server -c {proxy.config}"
    proxy.kill()
    told = asked(proxy, 3)
    assert f'admin socket "{proxy.admin_socket}": the server that made it has been killed' in told
    assert start in told
    proxy.start()
    assert proxy.stop() == 0
    told = asked(proxy, 3)
    assert "there is no such file" in told
    assert start in told
    proxy.start()


def test_who_may_not_open_the_socket_is_told_who_may(proxy, tmp_path: Path) -> None:
    assert os.getuid() == 0, "this test makes itself another user, which only root can"
    nobody = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all")
    os.chmod(proxy.admin_socket.parent, 0o755)
    program = shutil.copy(binary(), proxy.admin_socket.parent / "mc-proxy")
    config = shutil.copy(proxy.config, proxy.admin_socket.parent / "mc-proxy.toml")
    os.chmod(program, 0o755)
    os.chmod(config, 0o644)
    done_ = subprocess.run([*nobody, program, "status", "-c", config], capture_output=True, text=True, timeout=60)
    assert (done_.returncode, done_.stdout) == (3, "")
    assert "uid 65534 has no permission to connect to it; run this as root" in done_.stderr


def test_a_configuration_without_an_admin_api_is_told_apart(start_proxy) -> None:
    proxy = start_proxy(routes={})
    told = done(proxy.cli("status"), 1)
    assert f"{proxy.config}: there is no [grpc]" in told
    assert "socket = " in told


@pytest.mark.parametrize(
    "words",
    [
        ["status", "--routes", "many"],
        ["status", "--routes", "10001"],
        ["status", "--address", "localhost:9090", "--cert", "x.pem"],
        ["routes"],
        ["routes", "add", "a.example.com"],
        ["routes", "replace"],
        ["firewall", "add"],
        ["completion", "fish"],
    ],
    ids=" ".join,
)
def test_a_wrong_command_line_is_a_usage_error(words: list[str]) -> None:
    result = run(*words)
    assert (result.returncode, result.stdout) == (2, "")
    assert "--help" in result.stderr


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["sever"], 'mc-proxy: there is no command "sever"; did you mean "server"?'),
        (["sttaus", "--json"], 'mc-proxy: there is no command "sttaus"; did you mean "status"?'),
        (["help", "routes", "lst"], 'mc-proxy routes: there is no command "lst"; did you mean "list"?'),
        (["routes", "lits"], 'mc-proxy routes: there is no command "lits"; did you mean "list"?'),
        (["frobnicate"], 'mc-proxy: there is no command "frobnicate"'),
        (["routes"], "mc-proxy routes: a command is missing"),
        ([], "mc-proxy: a command is missing"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_word_that_is_no_command_is_named_with_the_one_that_was_meant(words: list[str], problem: str) -> None:
    result = run(*words)
    assert (result.returncode, result.stdout) == (2, "")
    first, second = result.stderr.splitlines()
    assert first == problem
    assert second.startswith("There are: ") and ". See `mc-proxy" in second and second.endswith(" --help`.")


def test_help_is_a_command_too() -> None:
    assert run("help").stdout == run("--help").stdout
    assert run("help", "routes", "add").stdout == run("routes", "add", "--help").stdout


def test_a_user_who_may_not_ask_is_told_who_may(proxy) -> None:
    if os.getuid() != 0:
        pytest.skip("needs another user")
    proxy.config.chmod(0o600)
    nobody = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all")
    command = [*nobody, binary(), "status", "-c", proxy.config]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (result.returncode, result.stdout) == (1, "")
    assert "Permission denied; run this as root or as the server's user" in result.stderr


@pytest.mark.parametrize("address", ["localhost", "localhost:0", "::1:9090", "local host:1", ":9090", "unix:/x"])
def test_an_address_that_is_none_is_told_how_to_write_one(authority, address: str) -> None:
    shown = authority.issue_client("/CN=alice")
    result = run("status", "--address", address, "--ca", authority.ca, "--cert", shown.certificate, "--key", shown.key)
    assert result.returncode == 3
    assert f'address "{address}": ' in result.stderr
    assert "write host:port" in result.stderr


def test_help_is_there_for_every_command_and_tells_the_exit_codes() -> None:
    told = re.sub(r"\s+", " ", run("--help").stdout)
    page = re.sub(r"\s+", " ", (REPOSITORY / "doc/mc-proxy.1").read_text().partition(".Sh EXIT STATUS")[2])
    codes = {"0", "1", "2", "3", "78"}  # of commands.hpp
    assert set(re.findall(r"\b(\d+),", told.partition("Exit codes: ")[2])) == codes
    assert set(re.findall(r"\.It (\d+) ", page)) == codes
    for words in (["status"], ["snapshot"], ["routes", "replace"], ["firewall", "add"], ["completion"], ["top"]):
        result = run(*words, "--help")
        assert (result.returncode, result.stderr) == (0, "")
    assert json.loads(run("version", "--json").stdout)["version"].startswith("0.")


# ---- completion


def completions(tmp_path: Path, *words: str) -> set[str]:
    """What bash offers for the last of the words."""
    script = tmp_path / "mc-proxy.bash"
    script.write_text(run("completion", "bash").stdout)
    line = " ".join(f"'{word}'" for word in words)
    asked = (
        f"source {script}; COMP_WORDS=({line}); COMP_CWORD={len(words) - 1}; _mc_proxy; "
        "printf '%s\\n' ${COMPREPLY[@]}"
    )
    told = subprocess.run(
        ["bash", "--norc", "-eu", "-o", "pipefail", "-c", asked], capture_output=True, text=True, timeout=60
    )
    assert told.stderr == ""
    return set(told.stdout.split())


def test_bash_completes_commands_and_options(tmp_path: Path) -> None:
    top = completions(tmp_path, "mc-proxy", "")
    commands = {"server", "upgrade", "status", "snapshot", "routes", "firewall", "log-level", "check", "version", "completion"}
    assert commands <= top
    assert {"connections", "events", "top"} <= top
    assert {"list", "close"} <= completions(tmp_path, "mc-proxy", "connections", "")
    assert {"--sni", "--source", "--dry-run"} <= completions(tmp_path, "mc-proxy", "connections", "close", "--")
    routes = completions(tmp_path, "mc-proxy", "routes", "")
    assert {"list", "add", "remove", "replace"} <= routes
    assert "server" not in routes
    assert completions(tmp_path, "mc-proxy", "routes", "re") == {"remove", "replace"}
    assert completions(tmp_path, "mc-proxy", "routes", "replace", "--d") == {"--dry-run"}
    assert {"--cut", "--no-cut"} <= completions(tmp_path, "mc-proxy", "firewall", "add", "--")
    assert "--config" in completions(tmp_path, "mc-proxy", "routes", "list", "-c", "*", "--")


def test_zsh_takes_its_script(tmp_path: Path) -> None:
    script = tmp_path / "_mc-proxy"
    script.write_text(run("completion", "zsh").stdout)
    assert script.read_text().startswith("#compdef mc-proxy\n")
    told = subprocess.run(["zsh", "-n", script], capture_output=True, text=True, timeout=60)
    assert (told.returncode, told.stderr) == (0, "")
    # Called as zsh would, with what it calls standing in.
    asked = (
        "compadd() { shift; print -l -- $@ }; _files() { }; words=(mc-proxy routes ''); CURRENT=3; " f"source {script}"
    )
    told = subprocess.run(["zsh", "-f", "-c", asked], capture_output=True, text=True, timeout=60)
    assert {"list", "add", "remove", "replace"} <= set(told.stdout.split())
