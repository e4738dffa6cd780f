# SPDX-License-Identifier: Apache-2.0
"""The output of `mc-proxy check`, of a server that cannot start, and of the command line itself."""

import errno
import json
import os
import re
import signal
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

import runbook
from harness import REPOSITORY, Listener, binary, until

GOOD = """\
[[listeners]]
addr = "127.0.0.1:0"
  [[listeners.routes]]
  hostname = "app.example.com"
  backend = "127.0.0.1:18443"
[database]
path = "{directory}/mc-proxy.db"
"""

BAD = """\
[[listeners]]
adr = ":443"
  [[listeners.routes]]
  hostname = "app example com"
  backend = "127.0.0.1"
[firewall]
blocked_cidrs = ["198.51.100.7/24"]
blocked_countries = ["DE", "XX"]
"""


def run(*words: object, environment: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [binary(), *words], capture_output=True, text=True, timeout=60, env=os.environ | (environment or {})
    )


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str], Path]:
    def write_config(text: str) -> Path:
        path = tmp_path / "mc-proxy.toml"
        path.write_text(text.format(directory=tmp_path))
        return path

    return write_config


def test_check_of_a_good_file_says_what_the_machine_allows(write) -> None:
    result = run("check", "-c", write(GOOD))
    assert result.returncode == 0, result.stdout + result.stderr
    for subject in ("configuration", "workers", "kernel", "io_uring", "connections", "pipes", "listener"):
        assert f" {subject} " in result.stdout
    assert "BAD" not in result.stdout


@pytest.mark.parametrize("command", ["check", "server"])
def test_every_problem_is_told_at_once_with_line_key_value_and_remedy(write, command: str) -> None:
    path = write(BAD)
    result = run(command, "-c", path)
    assert result.returncode == (78 if command == "server" else 1)  # EX_CONFIG: systemd tries nothing again
    for words in (
        "database.path is required",
        "firewall: geoip_db is required",
        f'{path}:2:1: listeners[0].adr: unknown key; did you mean "addr"?',
        ':4:14: listeners[0].routes[0].hostname = "app example com"',
        'the port is missing; write "127.0.0.1:443"',
        'the block is "198.51.100.0/24"',
        'firewall.blocked_countries[1] = "XX"',
    ):
        assert words in result.stderr
    assert "serving" not in result.stderr


def test_the_example_configuration_is_good_but_for_what_it_names(tmp_path: Path) -> None:
    """Its certificates are not on this machine; nothing else may be wrong with it."""
    result = run("check", "-c", REPOSITORY / "systemd/mc-proxy.toml.example")
    problems = [line for line in result.stderr.splitlines() if ".pem" not in line and ".mmdb" not in line]
    assert problems == []


@pytest.mark.parametrize("block", [text for _, text in runbook.blocks(REPOSITORY / "RUNBOOK.md", "toml")])
def test_the_configurations_of_the_runbook_are_good(block: str, tmp_path: Path) -> None:
    """With the pools that they name, and what they leave out."""
    path = tmp_path / "mc-proxy.toml"
    names = set(re.findall(r'(?:pool|no_sni|not_tls) = "(\w+)"', block))
    pools = "".join(f'[[pools]]\nname = "{name}"\nbackends = [{{ address = "127.0.0.1:1" }}]\n' for name in names)
    listener = "" if "[[listeners]]" in block else '[[listeners]]\naddr = ":443"\n'
    path.write_text(f'{block}\n{listener}{pools}[database]\npath = "{tmp_path}/mc-proxy.db"\n')
    result = run("check", "-c", path)
    assert result.stderr == "" and " configuration " in result.stdout


SOURCES = "[proxy]\nsources = [{}]\n"


def test_an_address_that_backends_cannot_be_dialled_from_is_told_with_the_remedy(write) -> None:
    result = run("check", "-c", write(GOOD + SOURCES.format('"127.0.0.2", "192.0.2.1"')))
    assert result.returncode == 0, result.stdout
    assert "ok   sources          backends are dialled from 127.0.0.2" in result.stdout.splitlines()
    assert (
        "note sources          192.0.2.1: no interface has this address, so no backend can be dialled from it; add it "
        "(ip address add 192.0.2.1/32 dev lo), or remove it from [proxy] sources"
    ) in result.stdout.splitlines()


def test_the_servers_that_resolve_names_are_told(write) -> None:
    result = run("check", "-c", write(GOOD + '[dns]\nservers = ["127.0.0.53", "[::1]:54"]\n'))
    assert "ok   dns              127.0.0.53:53, [::1]:54" in result.stdout.splitlines()
    assert " dns  " in run("check", "-c", write(GOOD)).stdout


def test_a_redirect_is_an_address_to_bind_too(write) -> None:
    text = GOOD + '[[redirects]]\naddr = "127.0.0.2:PORT"\n'
    with socket.create_server(("127.0.0.2", 0)) as taken:
        port = taken.getsockname()[1]
        result = run("check", "-c", write(text.replace("PORT", str(port))))
    assert f"BAD  redirect         listen 127.0.0.2:{port}: address already in use" in result.stdout
    assert result.returncode == 1
    result = run("check", "-c", write(text.replace("PORT", "0")))
    assert "ok   redirect         127.0.0.2:0 can be bound" in result.stdout
    assert "ok   configuration    2 listeners" in result.stdout


def test_a_pool_that_a_listener_names_and_the_database_does_not_have_is_told(start_proxy) -> None:
    proxy = start_proxy(routes={})
    proxy.stop()
    text = proxy.config.read_text().replace("[[listeners]]", '[[listeners]]\nnot_tls = "ssh"')
    proxy.config.write_text(text + '[[pools]]\nname = "ssh"\nbackends = [{ address = "127.0.0.1:1" }]\n')
    name = f"127.0.0.1:{proxy.ports[0]}"
    told = (
        f'note pools            {name} sends clients without TLS to pool "ssh", which the database does not have; they '
        "are refused until it is added: mc-proxy pools add"
    )
    assert told in proxy.cli("check").out.splitlines()
    proxy.start()
    line = proxy.wait_log(msg=re.compile("a listener sends clients to a pool that the database does not have"))
    assert (line["level"], line["listener"], line["pool"], line["clients"]) == ("WARN", name, "ssh", "clients without TLS")


def test_only_a_configuration_with_sources_may_bind_once_it_serves(start_proxy) -> None:
    """What the filter does is tested in tests/unit/lifecycle/confinement_test.cpp; here, which one is loaded."""
    told = {}
    for sources in ([], ["127.0.0.2"]):
        proxy = start_proxy(routes={}, sources=sources)
        seccomp = proxy.wait_log(msg="confined")["seccomp"]
        found = re.fullmatch(r"(\d+) system calls refused(, bind\(2\) allowed for \[proxy\] sources)?", seccomp)
        assert found and bool(found[2]) == bool(sources), seccomp
        told[bool(sources)] = int(found[1])
        reason = "" if sources else ", bind(2) among them, because [proxy] sources is not set"
        lines = proxy.cli("check").out.splitlines()
        assert f"ok   confinement      seccomp: {seccomp}" in lines
        assert f"ok   confinement      with this file: {seccomp}{reason}; io_uring: 7 operations allowed" in lines
    assert told[False] == told[True] + 1


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    result = run("server", "-c", tmp_path / "none.toml")
    assert result.returncode == 78
    assert str(tmp_path / "none.toml") in result.stderr


def test_an_address_of_no_interface_is_a_finding(write) -> None:
    result = run("check", "-c", write(GOOD.replace("127.0.0.1:0", "192.0.2.1:4443")))
    assert result.returncode == 1
    assert "BAD  listener" in result.stdout


def test_too_little_locked_memory_is_told_apart(write) -> None:
    """RLIMIT_MEMLOCK counts for those without CAP_IPC_LOCK, on kernels that charge rings to it."""
    unprivileged = ["prlimit", "--memlock=0:0", "setpriv", "--bounding-set=-ipc_lock"]
    result = subprocess.run(
        [*unprivileged, binary(), "check", "-c", write(GOOD)], capture_output=True, text=True, timeout=60
    )
    if "ok   io_uring" in result.stdout:
        pytest.skip("this kernel does not charge rings to RLIMIT_MEMLOCK")
    assert "do not fit into RLIMIT_MEMLOCK, which is 0 bytes" in result.stdout
    assert "LimitMEMLOCK=infinity" in result.stdout
    assert result.returncode == 1


def test_check_tells_how_the_running_server_is_confined_and_where_it_listens(start_proxy) -> None:
    """Of any server, also one without an admin API."""
    proxy = start_proxy(listeners=[Listener({"app.example.com": "127.0.0.1:18443"}), Listener({}, host="")])
    confined = proxy.wait_log(msg="confined")
    checked = proxy.cli("check")
    assert checked.code == 0, checked.out + checked.err
    for line in (
        f"ok   running server   pid {proxy.pid}",
        f"ok   confinement      capabilities: {confined['capabilities']}; new privileges: none",
        f"ok   confinement      Landlock ({confined['landlock']}): files are written only below the directories of the "
        "database and of the admin socket, and none is executed",
        f"ok   confinement      seccomp: {confined['seccomp']}",
        "ok   confinement      io_uring: 7 operations allowed",
        f"ok   landlock         this kernel offers {confined['landlock']}",
        f"ok   listeners        127.0.0.1:{proxy.ports[0]}, :{proxy.ports[1]}: the running server listens there",
    ):
        assert line in checked.out.splitlines(), checked.out
    assert "in use" not in checked.out
    assert not re.search("[0-9a-f]{16}", checked.out)
    findings = json.loads(proxy.cli("check", "--json").out)["findings"]
    assert [one["text"] for one in findings if one["subject"] == "running server"] == [f"pid {proxy.pid}"]
    # The request is no step of a hand-over.
    assert proxy.lines_until_now(msg=re.compile("successor")) == []


def test_of_a_server_that_does_not_answer_the_kernel_tells_what_it_knows_by_name(start_proxy) -> None:
    proxy = start_proxy(routes={})
    proxy.send_signal(signal.SIGSTOP)
    try:
        checked = proxy.cli("check")
    finally:
        proxy.send_signal(signal.SIGCONT)
    assert re.search(
        r"^note confinement +the server sent no report \(no reply within 3s\); the kernel shows: "
        r"capabilities (none|(\w+, )*\w+); new privileges forbidden; seccomp with a filter$",
        checked.out, re.M,
    ), checked.out  # fmt: skip
    assert not re.search("[0-9a-f]{16}", checked.out)
    assert checked.out.count("this is correct if the running server has it") == 1
    assert "BAD  running server   a server that does not reply cannot hand over" in checked.out
    assert checked.code == 1, "a successor would not start"


def test_who_asks_for_nothing_keeps_nobody_from_asking(start_proxy) -> None:
    """A process that connects where successors do, and is silent, is given up."""
    proxy = start_proxy(routes={})
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as silent:
        silent.connect(f"{proxy.database}.handover")
        until(lambda: f"ok   running server   pid {proxy.pid}" in proxy.cli("check").out and proxy.cli("check").code == 0, "it answers")


def test_a_port_in_use_is_told_by_who_may_have_it(start_proxy, tmp_path: Path) -> None:
    proxy = start_proxy(routes={})
    text = proxy.config.read_text()
    listen = f'"127.0.0.1:{proxy.ports[0]}"'
    other = tmp_path / "other.toml"

    other.write_text(text.replace(str(proxy.database), str(tmp_path / "other.db")))
    checked = run("check", "-c", other)
    assert f"BAD  listener         listen 127.0.0.1:{proxy.ports[0]}: address already in use" in checked.stdout
    assert checked.returncode == 1

    other.write_text(text.replace(listen, f'":{proxy.ports[0]}"'))
    checked = run("check", "-c", other)
    assert (
        f"BAD  listener         :{proxy.ports[0]}: the running server has the port, at {listen[1:-1]}; to give "
        "this port another address, stop the server and start it again"
    ) in checked.stdout
    assert checked.returncode == 1, "an upgrade would fail"

    with socket.create_server(("127.0.0.1", 0)) as foreign:
        port = foreign.getsockname()[1]
        other.write_text(text.replace(listen, f'"127.0.0.1:{port}"'))
        checked = run("check", "-c", other)
    assert f"BAD  listener         listen 127.0.0.1:{port}: address already in use" in checked.stdout
    assert checked.returncode == 1


# Refuses io_uring_setup (system call 425) with an errno, as the default profiles of container engines do, and then
# becomes the program. Written in BPF by hand: seccomp(2).
SECCOMP = """
import ctypes, os, struct, sys
code = int(sys.argv[1])
program = b"".join(struct.pack("HBBI", *line) for line in (
    (0x20, 0, 0, 0), (0x15, 0, 1, 425), (0x06, 0, 0, 0x00050000 | code), (0x06, 0, 0, 0x7FFF0000)))
text = ctypes.create_string_buffer(program)
filter = struct.pack("HxxxxxxP", 4, ctypes.addressof(text))
libc = ctypes.CDLL(None, use_errno=True)
assert libc.prctl(38, 1, 0, 0, 0) == 0 and libc.prctl(22, 2, filter, 0, 0) == 0, os.strerror(ctypes.get_errno())
os.execv(sys.argv[2], sys.argv[2:])
"""


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (errno.EPERM, "a seccomp filter refuses it (the default profile of Docker"),
        (errno.ENOSYS, "a seccomp filter hides it (the default profile of podman"),
    ],
    ids=["EPERM", "ENOSYS"],
)
@pytest.mark.parametrize("command", ["check", "server"])
def test_a_container_that_forbids_io_uring_is_told_what_to_allow(write, command: str, code: int, words: str) -> None:
    result = subprocess.run(
        ["/usr/bin/python3", "-c", SECCOMP, str(code), binary(), command, "-c", write(GOOD)],
        capture_output=True, text=True, timeout=60,
    )
    assert result.returncode == 1
    assert words in result.stdout + result.stderr
    assert "a profile that allows io_uring_setup, io_uring_enter and io_uring_register" in result.stdout + result.stderr


def test_startup_errors_carry_a_priority_under_the_journal(write) -> None:
    result = run("server", "-c", write(BAD), environment={"JOURNAL_STREAM": "8:1"})
    assert result.returncode == 78
    lines = result.stderr.splitlines()
    assert len(lines) > 5
    assert [line for line in lines if not line.startswith("<3>")] == []


def test_the_version_and_the_help_are_there() -> None:
    assert run("version").stdout.startswith("mc-proxy v0.")
    for words in ((), ("server",), ("check",), ("version",)):
        shown = run(*words, "--help")
        assert shown.returncode == 0
        assert "--help" in shown.stdout


@pytest.mark.parametrize("words", [[], ["sever"], ["server", "--conifg", "x"]])
def test_a_wrong_command_line_is_refused_with_a_hint(words: list[str]) -> None:
    result = run(*words)
    assert result.returncode == 2
    assert "--help" in result.stderr
