# SPDX-License-Identifier: Apache-2.0
"""A test that hangs is stopped and counted, and so is one that was lost with its process (lib/time_limit.py, ../summary.py)."""

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from harness import PATIENCE, REPOSITORY, until

# A test that hangs in Python, one that hangs in a library (as a fork under gRPC does: it has Python's lock, and no signal
# ends it), and one that works.
TESTS = """
import ctypes, pathlib, signal, threading, pytest

@pytest.fixture
def ended():
    yield
    pathlib.Path("fixture-ended").touch()

def test_1_hangs(ended):
    pathlib.Path("hangs").touch()
    while True:  # Python may miss a signal that comes just before it begins to wait
        threading.Event().wait(0.1)

def test_2_hangs_in_a_library():
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGALRM})
    ctypes.PyDLL(None).pause()

def test_3_works():
    pass
"""


def command(folder: Path, *options: str, seconds: int = 1) -> list[str]:
    (folder / "conftest.py").write_text('pytest_plugins = ["time_limit"]\n')
    (folder / "test_it.py").write_text(TESTS)
    (folder / "results").mkdir()
    limits = ["-o", f"test_seconds_max={seconds}", "-o", f"ending_seconds_max={seconds}"]
    words = ["-q", "-c", str(REPOSITORY / "tests/e2e/pytest.ini"), "--rootdir", ".", "--junitxml=results/it.xml"]
    return [sys.executable, "-m", "pytest", *words, *limits, *options, "test_it.py"]


def environment() -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "MC_PROXY_SLOW"))}
    return inherited | {"PYTHONPATH": str(REPOSITORY / "tests/e2e/lib")}


def summary(folder: Path) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, REPOSITORY / "tests/summary.py", "print", "results"]
    return subprocess.run(words, cwd=folder, capture_output=True, text=True, timeout=PATIENCE)


def test_a_test_that_hangs_fails_and_the_others_run(tmp_path: Path) -> None:
    done = subprocess.run(
        command(tmp_path, "-n", "1"), cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=6 * PATIENCE
    )
    assert "the test has run for 1 s, the limit" in done.stdout
    assert (tmp_path / "fixture-ended").exists()
    assert "in test_2_hangs_in_a_library" in done.stderr  # the stack
    told = summary(tmp_path)
    assert told.returncode == 1
    assert told.stdout.splitlines()[-1] == "1 passed, 2 failed"


def test_tests_that_were_lost_with_their_process_are_failed(tmp_path: Path) -> None:
    subprocess.run(command(tmp_path), cwd=tmp_path, env=environment(), capture_output=True, timeout=6 * PATIENCE)
    told = summary(tmp_path)
    assert told.returncode == 1
    assert told.stdout.splitlines()[-1] == "0 passed, 3 failed"
    assert "failed: it: test_it.py::test_3_works: never ran to its end" in told.stdout


@pytest.mark.parametrize("workers", [(), ("-n", "1")], ids=["alone", "in_a_worker"])
def test_tests_that_an_interrupt_has_left_are_failed(tmp_path: Path, workers: tuple[str, ...]) -> None:
    process = subprocess.Popen(
        command(tmp_path, *workers, "-k", "not library", seconds=100), cwd=tmp_path, env=environment(), stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    with process:
        try:
            until((tmp_path / "hangs").exists, "the test hangs")
            os.killpg(process.pid, signal.SIGINT)
            process.wait(3 * PATIENCE)  # xdist alone waits 10 s for a worker that does not end
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
    told = summary(tmp_path)
    assert told.returncode == 1
    assert "test_it.py::test_3_works: never ran to its end" in told.stdout


def test_what_was_planned_and_has_no_results_is_failed(tmp_path: Path) -> None:
    (tmp_path / "results").mkdir()
    (tmp_path / "results/dev-unit-base.planned").touch()
    told = summary(tmp_path)
    assert told.returncode == 1
    assert "failed: dev-unit-base: never ran to its end" in told.stdout
