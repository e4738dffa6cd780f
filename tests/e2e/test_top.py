# SPDX-License-Identifier: Apache-2.0
"""mc-proxy top: what a person in front of a terminal sees of real traffic, and what a pipe gets."""

import os
import pty
import re
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from admin import MALLORY, TRENT, AdministeredProxy
from harness import PATIENCE, Backend, binary, echo, expect_echo
from terminal import Terminal

TAB, LEFT, RIGHT = "\t", "\x1b[D", "\x1b[C"
LEAVE = b"\x1b[?1049l"  # of a "screen", gives it back as it was

LONG = "a-very-long-name.of-a-customer-with-many-labels.eu-west-1.example.com"


@pytest.fixture
def proxy(start_administered: Callable, start_backend: Callable) -> AdministeredProxy:
    backend = start_backend(Backend(echo))
    return start_administered(routes={"*.example.com": backend, "down.example.com": "127.0.0.1:1"})


@pytest.fixture
def top(proxy) -> Iterator[Callable[..., Terminal]]:
    """top(*words, columns=…, rows=…, term=…) runs the command in a terminal."""
    with ExitStack() as stack:  # ends before the proxy does
        yield lambda *words, **terminal: stack.enter_context(
            Terminal([binary(), "top", "-c", proxy.config, *words], **terminal)
        )


def pane(text: str, title: str, columns: int = 80) -> list[list[str]]:
    """The rows below a title, as words."""
    rows: list[list[str]] = []
    inside = False
    for line in text.splitlines():
        if line[:columns].startswith(title):
            inside = True
        elif inside and re.match(r"[A-Z]{5}|q quit|$", line[:columns]):
            break
        elif inside:
            rows.append(line[:columns].split())
    return rows


def whole(*words: str) -> Callable[[str], bool]:
    """Whether a screen that was painted anew shows these, down to its last line, which comes last."""
    return lambda text: all(word in text for word in words) and "\nq quit" in text[text.rfind(words[-1]) :]


def is_filled(text: str, columns: int, rows: int) -> bool:
    """Whether the first line reaches the right edge, and the last one stands in the last row."""
    lines = text.split("\n")
    return len(lines[0]) == columns and lines[rows - 1].startswith("q quit")


def test_the_screen_shows_who_is_connected_by_listener_name_and_source(proxy, top, enter) -> None:
    for source, name in ((MALLORY, "app.example.com"), (MALLORY, "shop.example.com"), (TRENT, "app.example.com")):
        enter(proxy.open_connection(name, source))
    silent = enter(proxy.connect(TRENT))
    screen = top()
    text = screen.wait(whole("(no hello yet)", "SOURCES (2)", "FAILING BACKENDS (0)"))
    assert "connections 4" in text
    assert re.match(r"mc-proxy v0\.\d+\.\d+  up \d+s  serving  revision 1 +every 1s$", text.splitlines()[0])
    assert "accepted 4" in text
    assert pane(text, "LISTENERS (1)") == [[proxy.listener_name(), "4", "0", "B", "0", "B"]]
    assert [row[:2] for row in pane(text, "NAMES (3)")] == [
        ["app.example.com", "2"], ["(no", "hello"], ["shop.example.com", "1"],
    ]  # fmt: skip
    assert {tuple(row[:2]) for row in pane(text, "SOURCES (2)")} == {(MALLORY, "2"), (TRENT, "2")}
    assert pane(text, "FAILING BACKENDS (0)") == []

    enter(proxy.open_connection(LONG))
    screen.wait(lambda text: re.search(r"^a-very-long\S+~\S+\.example\.com +1 ", text, re.MULTILINE) is not None)
    silent.close()
    screen.wait("NAMES (3)")
    screen.press("q")
    assert screen.end() == 0


def test_bytes_move_on_the_screen_as_they_move_in_the_proxy(proxy, top, enter) -> None:
    client = enter(proxy.open_connection())
    screen = top()
    screen.wait("connections 1")

    def shows_traffic(text: str) -> bool:
        expect_echo(client, b"x" * 100_000)
        rates = [f"{row[2]} {row[3]}" for row in pane(text, "NAMES")]
        return "up 0 B/s" not in text and "down 0 B/s" not in text and len(rates) == 1 and rates[0] != "0 B"

    screen.wait(shows_traffic)


def test_backends_that_fail_are_shown_in_red_and_refusals_are_counted(proxy, top) -> None:
    screen = top()
    screen.wait("FAILING BACKENDS (0)")
    for _ in range(3):
        proxy.expect_refused("dial_refused", "down.example.com")
    screen.wait("FAILING BACKENDS (1)")
    screen.wait(lambda text: re.search(r"^127\.0\.0\.1:1 +3 +\ds dial_refused$", text, re.MULTILINE) is not None)
    assert screen.colour_of("127.0.0.1:1 ") == "red"

    def refused(text: str) -> bool:
        proxy.expect_refused("no_route", "nowhere.test")
        return re.search(r"refused [1-9]", text) is not None

    screen.wait(refused)


def test_keys_choose_pane_and_order_and_hold_the_picture(proxy, top, enter) -> None:
    enter(proxy.open_connection("quiet.example.com", MALLORY))
    enter(proxy.open_connection("quiet.example.com", MALLORY))
    busy = enter(proxy.open_connection("busy.example.com", TRENT))
    screen = top()
    text = screen.wait(lambda text: len(pane(text, "NAMES")) == 2)
    assert pane(text, "NAMES")[0][0] == "quiet.example.com"
    assert " *CONNS " in text
    screen.press(RIGHT)

    def is_by_bytes(text: str) -> bool:
        expect_echo(busy, b"x" * 50_000)
        return " *UP/S " in text and pane(text, "NAMES")[0][0] == "busy.example.com"

    screen.wait(is_by_bytes)
    screen.press(LEFT)
    screen.wait(lambda text: " *CONNS " in text and pane(text, "NAMES")[0][0] == "quiet.example.com")
    assert screen.colour_of("NAMES") == "cyan"
    screen.press(TAB)
    screen.wait(lambda _: screen.colour_of("SOURCES") == "cyan")
    screen.press("p")
    screen.wait("PAUSED")
    enter(proxy.open_connection("late.example.com"))
    screen.press(RIGHT)
    assert "late.example.com" not in screen.wait(" *UP/S ")
    screen.press("p")
    assert "PAUSED" not in screen.wait("late.example.com")


def test_a_terminal_of_some_width_shows_whole_names_with_all_their_numbers(proxy, top, enter) -> None:
    enter(proxy.open_connection(LONG))
    for columns in (110, 160):
        screen = top(columns=columns, rows=34)
        text = screen.wait(whole("NAMES (1)", "SOURCES (1)") if columns == 110 else "SOURCES (1)")
        (title,) = [line for line in text.splitlines() if line.startswith("NAMES (1)")]
        assert re.match(r"NAMES \(1\) +\*CONNS +UP/S +DOWN/S\b", title)
        assert ("SOURCES (1)" in title) == (columns == 160)  # beside each other where there is room for both
        if columns == 110:
            assert pane(text, "NAMES (1)", columns) == [[LONG, "1", "0", "B", "0", "B"]]
            assert "\n\nSOURCES (1)" in text  # the rows that are left set the panes apart


def test_every_size_of_terminal_is_filled_and_none_is_overrun(proxy, top, enter) -> None:
    for i in range(30):
        enter(proxy.open_connection(f"n{i}.example.com", f"127.0.3.{i + 1}"))
    screen = top(columns=80, rows=24)
    text = screen.wait(whole("NAMES (30)", "SOURCES (30)"))
    assert len(pane(text, "NAMES")) >= 8 and len(pane(text, "SOURCES")) >= 2
    assert len(text.splitlines()) == 24

    screen.resize(200, 60)
    # Output for the smaller screen may come first, with all these words.
    text = screen.wait(lambda text: is_filled(text, 200, 60) and whole("NAMES (30)", "SOURCES (30)")(text))
    titles = [line for line in text.splitlines() if "NAMES (30)" in line]
    assert "SOURCES (30)" in titles[0]  # beside each other
    assert len(pane(text, "NAMES", 99)) == 30
    assert all(any(f"n{i}.example.com " in line for line in text.splitlines()) for i in range(30))

    for columns, rows in ((40, 12), (20, 5), (110, 6), (3, 2), (500, 3)):
        screen.resize(columns, rows)
        begin = "mc-proxy"[:columns]
        screen.wait(lambda text: text.startswith(begin))  # noqa: B023 - used at once
    screen.resize(1, 1)
    screen.resize(80, 24)
    screen.wait("NAMES (30)")


def test_the_size_of_the_window_counts_whatever_the_environment_says(proxy, top) -> None:
    screen = top(columns=100, rows=30, variables={"LINES": "24", "COLUMNS": "80"})
    screen.wait(lambda text: is_filled(text, 100, 30))
    screen.resize(120, 40)
    screen.wait(lambda text: is_filled(text, 120, 40))


def test_a_terminal_without_a_size_has_that_of_the_environment(proxy) -> None:
    """As a serial line, whose size nobody set."""
    serial = ["sh", "-c", 'stty rows 0 cols 0; exec "$@"', "sh", binary(), "top", "-c", proxy.config]
    with Terminal(serial, columns=100, rows=30, variables={"LINES": "30", "COLUMNS": "100"}) as screen:
        screen.wait(lambda text: is_filled(text, 100, 30))


def test_a_server_that_is_lost_is_said_and_found_again(proxy, top, enter) -> None:
    screen = top()
    screen.wait("serving")
    proxy.stop()
    text = screen.wait("no reply, trying again: ")
    assert screen.colour_of("no reply") == "red"
    assert "serving" in text  # what was known last
    proxy.start()
    screen.wait(lambda text: "no reply" not in text)
    enter(proxy.open_connection())
    screen.wait("connections 1")
    proxy.expect_refused("dial_refused", "down.example.com")

    def fails(text: str) -> bool:
        proxy.expect_refused("dial_refused", "down.example.com")
        return "FAILING BACKENDS (1)" in text

    screen.wait(fails)


def test_a_signal_ends_it_and_gives_the_terminal_back(proxy, top) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        screen = top(term="screen")
        screen.wait("serving")
        screen.send_signal(number)
        assert screen.end() == 0
        assert LEAVE in screen.written


def test_a_terminal_that_goes_without_a_signal_ends_it(proxy) -> None:
    """As when a connection breaks: no process is left to send SIGHUP, and every read returns at once."""
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [binary(), "top", "-c", proxy.config], stdin=slave, stdout=slave, stderr=subprocess.DEVNULL, start_new_session=True,
        env=os.environ | {"TERM": "linux"},
    )  # fmt: skip
    os.close(slave)
    assert os.read(master, 1)
    os.close(master)
    assert process.wait(timeout=PATIENCE) == 1


def test_a_terminal_without_colours_gets_none_and_one_that_is_unknown_is_refused(proxy, top) -> None:
    screen = top(term="vt100")
    screen.wait("serving")
    proxy.expect_refused("dial_refused", "down.example.com")
    screen.wait("FAILING BACKENDS (1)")
    screen.press("q")
    assert screen.end() == 0
    assert not re.search(rb"\x1b\[[\d;]*3[0-7]m", screen.written)
    screen = top(term="no-such-terminal")
    assert screen.end() == 1
    assert "no-such-terminal" in screen.text and "top --once" in screen.text.replace("\n", "")


# ---- without a terminal


def test_once_knows_the_backends_that_failed_in_the_minute_before(proxy) -> None:
    for _ in range(3):
        proxy.expect_refused("dial_refused", "down.example.com")
    page = proxy.cli("top", "--once").out
    (row,) = pane(page, "FAILING BACKENDS (1)", 100)
    assert row[:2] == ["127.0.0.1:1", "3"] and row[-1] == "dial_refused"


def test_once_prints_a_page_for_a_pipe(proxy, enter) -> None:
    for i in range(12):
        enter(proxy.open_connection(f"n{i}.example.com", MALLORY))
    answer = proxy.cli("top", "--once")
    assert (answer.code, answer.err) == (0, "")
    assert "\x1b" not in answer.out
    lines = answer.out.splitlines()
    assert lines[0].startswith("mc-proxy v") and lines[1].startswith("connections 12  new ")
    assert max(len(line) for line in lines) <= 100
    assert len(pane(answer.out, "NAMES (12)", 100)) == 10
    (row,) = pane(answer.out, "SOURCES (1)", 100)
    assert row[:2] == [MALLORY, "12"]
    assert "FAILING BACKENDS (0)" in answer.out


def test_without_a_terminal_it_says_what_to_use_instead(proxy) -> None:
    answer = proxy.cli("top")
    assert (answer.code, answer.out) == (2, "")
    assert "connections list --json" in answer.err and "top --once" in answer.err
    assert proxy.cli("top", "--once", "--interval", "0").code == 2
    proxy.stop()
    answer = proxy.cli("top", "--once")
    assert (answer.code, answer.out) == (3, "")
    proxy.start()
