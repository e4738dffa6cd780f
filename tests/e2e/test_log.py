# SPDX-License-Identifier: Apache-2.0
"""The log while the server runs: its level, what debug adds, and floods of like lines."""

import json
import os
from collections.abc import Callable

import grpc
import pytest

from admin import AdministeredProxy, api, refused
from harness import OUTCOMES, Backend, client_hello, expect_rst, until

LEFT_OUT = "too many similar lines; some were not logged"


def done(answer) -> str:
    assert (answer.code, answer.err) == (0, ""), answer
    return answer.out


def level(name: str) -> int:
    return api.SetLogLevelRequest(level=f"LOG_LEVEL_{name}").level


# ---- the level


def test_the_level_is_shown_and_changed_by_the_command_line(proxy) -> None:
    assert done(proxy.cli("log-level")) == "info\n"
    assert done(proxy.cli("log-level", "debug")) == "debug, was info; info again after a restart\n"
    assert done(proxy.cli("log-level")) == "debug; info again after a restart\n"
    assert done(proxy.cli("log-level", "info")) == "info, was debug\n"
    shown = json.loads(done(proxy.cli("log-level", "--json")))
    assert shown == {"level": "LOG_LEVEL_INFO", "configured": "LOG_LEVEL_INFO"}
    changed = json.loads(done(proxy.cli("log-level", "--json", "warn")))
    assert changed == {"level": "LOG_LEVEL_WARN", "previous": "LOG_LEVEL_INFO", "configured": "LOG_LEVEL_INFO"}
    wrong = proxy.cli("log-level", "loud")
    assert (wrong.code, wrong.out) == (2, "")
    assert "loud not in {debug,info,warn,error}" in wrong.err


def test_every_change_of_the_level_is_in_the_log_also_one_that_silences_it(proxy) -> None:
    changes = [("INFO", "ERROR"), ("ERROR", "WARN"), ("WARN", "ERROR"), ("ERROR", "DEBUG")]
    for before, after in changes:
        answer = proxy.admin.SetLogLevel(level=f"LOG_LEVEL_{after}")
        assert (answer.level, answer.previous, answer.configured) == (level(after), level(before), level("INFO"))
        assert proxy.admin.GetLogLevel().level == level(after)
        told = proxy.wait_log(msg="log level changed", log_level=after.lower(), previous=before.lower())
        assert told["by"].startswith(f"uid={os.getuid()}")
    assert proxy.stop() == 0
    proxy.start()
    assert proxy.admin.GetLogLevel().level == level("INFO")


def test_the_level_decides_what_is_logged_from_then_on(proxy) -> None:
    proxy.admin.SetLogLevel(level="LOG_LEVEL_ERROR")
    with proxy.open_connection():
        pass
    until(lambda: proxy.admin.GetStatus().ended["completed"] == 1, "the first connection has ended")
    proxy.admin.SetLogLevel(level="LOG_LEVEL_INFO")
    proxy.expect_served()
    assert len(proxy.lines_until_now(msg=OUTCOMES)) == 1


@pytest.mark.parametrize("value", [0, 5, -1, 1000])
def test_what_is_no_level_is_refused(proxy, value: int) -> None:
    with refused(grpc.StatusCode.INVALID_ARGUMENT, "LOG_LEVEL_DEBUG") as refusal:
        proxy.admin.SetLogLevel(level=value)
    assert set(refusal.fields) == {"level"}
    assert proxy.admin.GetLogLevel().level == level("INFO")


def test_at_debug_the_stages_of_a_connection_are_told(start_administered: Callable, backend: Backend) -> None:
    proxy = start_administered(routes={"*.example.com": backend}, log_level="debug")
    with proxy.open_connection("app.example.com") as client:
        of = {"client": client.name, "listener": proxy.listener_name(), "level": "DEBUG"}
        proxy.wait_log(msg="connection accepted", **of)
        decided = proxy.wait_log(msg="hello decided", **of)
        assert (decided["sni"], decided["route"]) == ("app.example.com", "*.example.com")
        assert decided["backend"] == backend.address
        assert proxy.wait_log(msg="backend connected", **of)["backend"] == backend.address
    proxy.outcome(client)
    with proxy.connect() as unrouted:
        unrouted.sendall(client_hello("elsewhere.test"))
        expect_rst(unrouted)
    proxy.outcome(unrouted)
    assert [line["msg"] for line in proxy.lines(client=unrouted.name)] == ["connection accepted", "connection refused"]


# ---- floods


def flood(proxy: AdministeredProxy, name: str, connections: int) -> None:
    for _ in range(connections):
        with proxy.connect() as client:
            client.sendall(client_hello(name))
            expect_rst(client)


def test_a_flood_of_refused_clients_leaves_a_count_and_not_a_line_each(start_administered: Callable) -> None:
    """And the count is exact: with the lines that were written it makes up all connections."""
    proxy = start_administered(routes={"dead.example.com": "127.0.0.1:1"}, workers=1)
    connections = 600
    flood(proxy, "nobody.test", connections)
    flood(proxy, "dead.example.com", connections)
    until(
        lambda: dict(proxy.admin.GetStatus().ended) == {"no_route": connections, "dial_refused": connections},
        "every connection is counted",
    )

    def told(line: str, reason: str) -> int:
        left_out = proxy.lines(msg=LEFT_OUT, line=line, reason=reason, listener=proxy.listener_name())
        return len(proxy.lines(msg=line, reason=reason)) + sum(int(one["suppressed"]) for one in left_out)

    # Nothing happens any more, but the last ones are still reported.
    until(lambda: told("connection refused", "no_route") == connections, "all refusals are told of")
    until(lambda: told("dial failed", "dial_refused") == connections, "all failures are told of")
    assert proxy.lines(msg=LEFT_OUT, reason="no_route", level="INFO")
    assert proxy.lines(msg=LEFT_OUT, reason="dial_refused", level="WARN")


def test_what_was_left_out_is_told_by_a_server_that_stops_at_once(start_administered: Callable) -> None:
    proxy = start_administered(routes={}, workers=1)
    connections = 400
    flood(proxy, "nobody.test", connections)
    assert proxy.stop() == 0
    left_out = proxy.lines(msg=LEFT_OUT, line="connection refused", reason="no_route")
    written = proxy.lines(msg="connection refused", reason="no_route")
    assert len(written) + sum(int(one["suppressed"]) for one in left_out) == connections
    proxy.start()


def test_no_line_of_a_connection_that_was_served_is_left_out(start_administered: Callable, backend: Backend) -> None:
    proxy = start_administered(routes={"*": backend}, workers=1)
    for _ in range(300):
        with proxy.open_connection():
            pass
    proxy.wait_log(count=300, msg="connection closed", reason="completed")
    assert not proxy.lines_until_now(msg=LEFT_OUT)
