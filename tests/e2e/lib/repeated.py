# SPDX-License-Identifier: Apache-2.0
"""The same over and over while a test does something else: clients that come and go."""

import threading
from collections.abc import Callable

from sockets import until


class Repeated:
    """Calls act() again and again in some threads, until the end of the block.

    `done` counts the calls that returned; `failures` has the errors of the others, after which it goes on.
    """

    def __init__(self, act: Callable[[], object], threads: int = 3):
        self._act = act
        self._ended = threading.Event()
        self._threads = [threading.Thread(target=self._run) for _ in range(threads)]
        self._lock = threading.Lock()
        self.done = 0
        self.failures: list[str] = []

    def _run(self) -> None:
        while not self._ended.is_set():
            try:
                self._act()
                with self._lock:
                    self.done += 1
            except (OSError, AssertionError) as error:
                self.failures.append(repr(error))

    def more(self, count: int) -> None:
        """Waits until so many more calls have returned, or one has failed."""
        goal = self.done + count
        until(lambda: self.done >= goal or self.failures, f"{count} more are done")

    def __enter__(self) -> "Repeated":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()
