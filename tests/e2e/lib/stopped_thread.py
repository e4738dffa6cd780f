# SPDX-License-Identifier: Apache-2.0
"""Stops one thread of a process, as if it hung."""

import contextlib
import ctypes
import os
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def stopped_thread(thread: int) -> Iterator[Callable[[], bool]]:
    """Stops the thread by ptrace(2); the others of its process continue. Yields a function that returns whether the
    thread was killed. Its process cannot end before that function was called."""
    seize, interrupt, detach, all_kinds = 0x4206, 0x4207, 17, 0x40000000  # PTRACE_…, __WALL
    libc = ctypes.CDLL(None, use_errno=True)
    killed = False

    def ptrace(request: int) -> None:
        if libc.ptrace(request, thread, None, None) != 0:
            error = ctypes.get_errno()
            raise OSError(error, f"ptrace: {os.strerror(error)}")

    def is_gone() -> bool:
        nonlocal killed
        killed = killed or os.waitpid(thread, all_kinds | os.WNOHANG)[0] == thread
        return killed

    ptrace(seize)
    ptrace(interrupt)
    _, status = os.waitpid(thread, all_kinds)
    assert os.WIFSTOPPED(status), status
    try:
        yield is_gone
    finally:
        if not is_gone():
            ptrace(detach)
