# SPDX-License-Identifier: Apache-2.0
"""A plugin of pytest, for conftest.py: every test has a time limit, and no test gets lost."""

import faulthandler
import os
import signal
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from sockets import SLOW_FACTOR


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addini("test_seconds_max", "the time limit of a test with its fixtures")
    parser.addini("ending_seconds_max", "the time that a stopped test has to end what it started")


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(TimeLimit(config), "time-limit")
    results = config.getoption("xmlpath")
    if results and not hasattr(config, "workerinput"):
        config.pluginmanager.register(Plan(Path(results)), "plan")


class TimeLimit:
    """Stops a test at its limit: it fails, and its fixtures end. That does not stop a test that hangs in a library: then
    the process ends, with the stack of each thread on stderr. With -n, the other tests continue in another process."""

    def __init__(self, config: pytest.Config) -> None:
        self._seconds = int(config.getini("test_seconds_max")) * SLOW_FACTOR
        self._ending_seconds = int(config.getini("ending_seconds_max")) * SLOW_FACTOR
        self._stderr = os.dup(2)  # before pytest redirects it

    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        def stop(*_: object) -> None:
            pytest.fail(f"the test has run for {self._seconds} s, the limit (test_seconds_max in pytest.ini)")

        before = signal.signal(signal.SIGALRM, stop)
        signal.alarm(self._seconds)
        faulthandler.dump_traceback_later(self._seconds + self._ending_seconds, exit=True, file=self._stderr)
        yield
        faulthandler.cancel_dump_traceback_later()
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


class Plan:
    """Keeps a file beside the JUnit file with the tests that have no result yet: all at first, none after a good end.
    tests/summary.py counts each as failed: its process died, or an interrupt ended the run before it."""

    def __init__(self, results: Path) -> None:
        self._path = results.with_suffix(".planned")
        self._left: dict[str, None] = {}
        self._write()

    def _write(self) -> None:
        self._path.write_text("".join(f"{name}\n" for name in self._left))

    def _plan(self, names: Iterable[str]) -> None:
        self._left |= dict.fromkeys(names)
        self._write()

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        self._plan(item.nodeid for item in session.items)

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, ids: list[str]) -> None:
        if not self._left:  # all workers collect the same
            self._plan(ids)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when != "setup" or not report.passed:
            self._left.pop(report.nodeid, None)

    def pytest_sessionfinish(self) -> None:
        self._write()
