# SPDX-License-Identifier: Apache-2.0
"""A listener is its address, however the configuration writes it; routes whose listener goes can be given to another."""

import contextlib
import json
import os
import signal
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pytest

from admin import AdministeredProxy
from harness import Backend, Listener, reserve_port

SPELLINGS = [
    (":{port}", "[::]:{port}"),
    ("[::]:{port}", ":{port}"),
    (":{port}", "[0:0::0]:{port}"),
    ("127.0.0.1:{port}", "[::ffff:127.0.0.1]:{port}"),
    ("[::1]:{port}", "[0:0:0:0:0:0:0:1]:{port}"),
]


def spell(proxy: AdministeredProxy, spelling: str) -> None:
    """Rewrites the only listener's address; nothing else changes in the file."""
    lines = proxy.config.read_text().splitlines()
    place = next(i for i, line in enumerate(lines) if line.startswith("addr = "))
    lines[place] = f'addr = "{spelling.format(port=proxy.ports[0])}"'
    proxy.config.write_text("\n".join(lines) + "\n")


def succeed(proxy: AdministeredProxy, enter: Callable) -> AdministeredProxy:
    """Replaces the running server by one with the current file."""
    heir = enter(proxy.successor())
    proxy.wait_end()
    return heir


def recorded(proxy: AdministeredProxy) -> set[str]:
    with contextlib.closing(sqlite3.connect(proxy.database)) as connection:
        return {name for (name,) in connection.execute("SELECT listener FROM routes")}


@pytest.mark.parametrize(("before", "after"), SPELLINGS, ids=[" to ".join(pair) for pair in SPELLINGS])
def test_the_same_address_in_other_words_keeps_its_routes(
    start_administered: Callable, enter: Callable, backend: Backend, before: str, after: str
) -> None:
    host = "" if before.startswith((":", "[::]")) else "[::1]" if before.startswith("[") else "127.0.0.1"
    proxy = start_administered(listeners=[Listener({"app.example.com": backend}, host=host)])
    assert proxy.stop() == 0
    proxy.database.unlink()
    spell(proxy, before)
    proxy.start()
    proxy.expect_served()

    spell(proxy, after)
    checked = proxy.cli("check")
    assert checked.code == 0 and "not configured" not in checked.out, checked.out
    heir = succeed(proxy, enter)
    heir.expect_served()
    assert heir.lines(level="WARN") == []
    status = json.loads(heir.cli("status", "--json").out)["listeners"]
    assert [(one["addr"], int(one["route_count"])) for one in status] == [(after.format(port=proxy.ports[0]), 1)]
    # Changes are made to the same records, under either name, and outlive the way back.
    for number, name in enumerate((before, after)):
        assert heir.cli("routes", "add", "-l", name.format(port=proxy.ports[0]), f"n{number}.example.com", "127.0.0.1:1").code == 0
    assert heir.cli("routes", "remove", "n0.example.com").code == 0
    assert len(recorded(heir)) == 1
    spell(proxy, before)
    last = succeed(heir, enter)
    last.expect_served()
    assert [line.split()[0] for line in last.cli("routes", "list").out.splitlines()[1:]] == ["app.example.com", "n1.example.com"]
    assert last.stop() == 0


@contextmanager
def ends(pid: int) -> Iterator[None]:
    """The process does not outlive the test."""
    try:
        yield
    finally:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def test_an_upgrade_says_first_what_it_would_leave_behind_and_one_command_moves_it(
    start_administered: Callable, enter: Callable, backend: Backend
) -> None:
    proxy = start_administered(routes={"app.example.com": backend, "other.example.com": backend})
    old, file = f"127.0.0.1:{proxy.ports[0]}", proxy.config.read_text()
    with reserve_port("127.0.0.1") as reserved:
        new = f"127.0.0.1:{reserved.getsockname()[1]}"
        proxy.config.write_text(file.replace(old, new))
        checked = proxy.cli("check")
        assert f"note routes           2 routes of listener {old}, which is not configured" in checked.out
        refused = proxy.cli("upgrade")
        assert refused.code == 1
        assert f"not replaced: the configuration does not have the listener of 2 routes of listener {old}" in refused.err
        assert "mc-proxy routes move --keep FROM TO" in refused.err
        proxy.expect_served()

        would = proxy.cli("routes", "move", "--keep", "--dry-run", old, new)
        assert (would.code, would.out) == (0, f"would have copied 2 routes from {old} to {new}, revision 1\n")
        assert recorded(proxy) == {old}
        made = proxy.cli("routes", "move", "--keep", old, new)
        assert (made.code, made.out) == (0, f"copied 2 routes from {old} to {new}, revision 2\n")
        proxy.expect_served()  # it keeps them
        # Those that stay with the old address are meant now.
        assert proxy.cli("upgrade").code == 1
        heir_pid = int(proxy.cli("upgrade", "--leave-routes").out.split()[1])
        enter(ends(heir_pid))
        proxy.wait_log(msg="serving", count=2)
        status = json.loads(proxy.cli("status", "--json").out)
        assert [(one["addr"], int(one["route_count"])) for one in status["listeners"]] == [(new, 2)]
        proxy.ports[0] = reserved.getsockname()[1]
        proxy.expect_served()


        os.kill(heir_pid, signal.SIGTERM)
        proxy.wait_log(msg="stopped", count=2)
        assert proxy.wait_end() == 0


def test_routes_that_were_left_behind_are_moved_by_one_command(proxy: AdministeredProxy) -> None:
    here, gone = f"127.0.0.1:{proxy.ports[0]}", "192.0.2.77:443"
    proxy.admin.ReplaceRoutes(listener_addr=here, routes=[])
    assert proxy.stop() == 0
    with contextlib.closing(sqlite3.connect(proxy.database)) as connection, connection:
        connection.executemany(
            "INSERT INTO routes (listener, hostname, backend) VALUES (?, ?, ?)",
            [(gone, "a.example.com", "127.0.0.1:1"), (gone, "b.example.com", "[fe80::1%none0]:2")],
        )
    proxy.start()
    warned = proxy.wait_log(level="WARN", listener=gone)
    assert warned["routes"] == "2" and "mc-proxy routes move FROM TO" in warned["msg"]
    assert proxy.cli("routes", "add", "a.example.com", "127.0.0.1:9").code == 0

    for words, code, why in (
        (("192.0.2.78:443", here), 1, 'listener "192.0.2.78:443" has no routes'),
        ((here, here), 1, "are the same listener"),
        (("nowhere", here), 1, 'listener "nowhere"'),
        ((gone, here), 1, f'listener "{here}" has a route for "a.example.com" already, to 127.0.0.1:9 and not to 127.0.0.1:1'),
        (("--if-revision", "1", gone, here), 1, "if_revision is 1"),
    ):
        answer = proxy.cli("routes", "move", *words)
        assert (answer.code, answer.out) == (code, "") and why in answer.err, (words, answer)
    assert recorded(proxy) == {gone, here}

    answer = proxy.cli("routes", "move", "--replace", "--json", gone, here)
    assert answer.code == 0 and json.loads(answer.out)["routes_moved"] in (2, "2")
    assert proxy.cli("routes", "list").out.splitlines()[1:] == ["a.example.com 127.0.0.1:1", "b.example.com [fe80::1%none0]:2"]
    assert recorded(proxy) == {here}
    line = proxy.wait_log(msg="policy changed", action="move_routes")
    assert f"{gone}: +0 -2 routes, not configured" in line["detail"]
    assert proxy.stop() == 0
    proxy.start()
    assert len(proxy.cli("routes", "list").out.splitlines()) == 3
