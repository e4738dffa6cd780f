# SPDX-License-Identifier: Apache-2.0
"""Runs a program in a terminal: it gets a pty, and its output is interpreted, so that tests see the screen."""

import fcntl
import os
import pty
import signal
import struct
import subprocess
import termios
import threading
import time
from collections.abc import Callable, Iterable, Mapping

import pyte

from sockets import PATIENCE


class Terminal:
    """Runs `command` in a terminal of `columns` x `rows` with TERM=`term`.

    "linux" has only functions that pyte knows; "xterm" and "screen" have others (REP, SU, SD). LINES and COLUMNS are only
    in its environment if they are in `variables`: those of pytest are not about this terminal.
    """

    def __init__(
        self,
        command: Iterable[object],
        columns: int = 80,
        rows: int = 24,
        term: str = "linux",
        variables: Mapping[str, str] | None = None,
    ):
        self._screen = pyte.Screen(columns, rows)
        self._stream = pyte.ByteStream(self._screen)
        self._changed = threading.Condition()
        self._master, slave = pty.openpty()
        self._set_size(columns, rows)
        self.written = b""
        inherited = {name: value for name, value in os.environ.items() if name not in ("LINES", "COLUMNS")}
        self._process = subprocess.Popen(
            [str(word) for word in command],
            stdin=slave, stdout=slave, stderr=slave, start_new_session=True,
            env=inherited | {"TERM": term, "LC_ALL": "C.UTF-8"} | dict(variables or {}),
        )  # fmt: skip
        os.close(slave)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def lines(self) -> list[str]:
        """The lines of the screen, from the top, without spaces at the right."""
        with self._changed:
            return [line.rstrip() for line in self._screen.display]

    @property
    def text(self) -> str:
        return "\n".join(self.lines)

    def colour_of(self, text: str) -> str:
        """The colour in which some text is shown."""
        with self._changed:
            for y, line in enumerate(self._screen.display):
                if (x := line.find(text)) >= 0:
                    return self._screen.buffer[y][x].fg
        raise AssertionError(f"{text} is not there:\n{self.text}")

    def wait(self, condition: Callable[[str], bool] | str) -> str:
        """Waits until the screen has this text or meets this condition. Returns its text."""
        holds = (lambda text: condition in text) if isinstance(condition, str) else condition
        deadline = time.monotonic() + PATIENCE
        with self._changed:
            while not holds(text := "\n".join(line.rstrip() for line in self._screen.display)):
                assert self._changed.wait(deadline - time.monotonic()), f"waited for {condition}:\n{text}"
        return text

    def press(self, keys: str) -> None:
        os.write(self._master, keys.encode())

    def resize(self, columns: int, rows: int) -> None:
        with self._changed:
            self._screen.resize(rows, columns)
            self._screen.erase_in_display(2)
        self._set_size(columns, rows)
        self.send_signal(signal.SIGWINCH)

    def send_signal(self, number: int) -> None:
        self._process.send_signal(number)

    def end(self) -> int:
        """Waits until the program has ended, and returns its exit code."""
        code = self._process.wait(PATIENCE)
        self._reader.join(PATIENCE)
        return code

    def close(self) -> None:
        self._process.kill()
        self.end()
        os.close(self._master)

    def __enter__(self) -> "Terminal":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _set_size(self, columns: int, rows: int) -> None:
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def _read(self) -> None:
        while True:
            try:
                piece = os.read(self._master, 1 << 16)
            except OSError:  # EIO: the program has ended
                piece = b""
            with self._changed:
                self.written += piece
                self._stream.feed(piece)
                self._changed.notify_all()
            if not piece:
                return
