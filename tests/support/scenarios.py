# SPDX-License-Identifier: Apache-2.0
"""Scenarios: functions that each play one story on a machine, and fail by an exception. Not for pytest, which such a
machine need not have. Each prints `ok NAME`, `FAIL NAME: why` or `skip NAME: why`.
"""

import time
import traceback
from collections.abc import Callable, Iterable

Scenario = Callable[[], None]


class Skipped(Exception):
    """The scenario cannot be played here; the text says why."""


def play(scenarios: Iterable[Scenario], words: Iterable[str]) -> list[str]:
    """Plays all of them, or those with one of the words in their name. Returns how each ended."""
    words = list(words)
    return [_play(one) for one in scenarios if not words or any(word in one.__name__ for word in words)]


def sum_up(outcomes: list[str]) -> int:
    """Prints "N passed, N failed". Returns the program's exit code: none at all is a failure too."""
    skipped = f", {outcomes.count('skipped')} skipped" if "skipped" in outcomes else ""
    print(f"{outcomes.count('passed')} passed, {outcomes.count('failed')} failed{skipped}", flush=True)
    return 1 if "failed" in outcomes or not outcomes else 0


def _play(scenario: Scenario) -> str:
    name = scenario.__name__
    began = time.monotonic()
    try:
        scenario()
    except Skipped as why:
        print(f"skip {name}: {why}", flush=True)
        return "skipped"
    except Exception as error:
        print(f"FAIL {name}: line {_line_of(scenario, error)}: {type(error).__name__}: {error}", flush=True)
        return "failed"
    print(f"ok {name} ({time.monotonic() - began:.1f} s)", flush=True)
    return "passed"


def _line_of(scenario: Scenario, error: Exception) -> int:
    """The last line of the scenario's own file on the way to the error."""
    file = scenario.__code__.co_filename
    frames = reversed(traceback.extract_tb(error.__traceback__))
    return next((frame.lineno or 0 for frame in frames if frame.filename == file), 0)
