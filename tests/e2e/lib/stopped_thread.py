# SPDX-License-Identifier: Apache-2.0
"""One thread of a process that does nothing, as one that hangs."""

import contextlib
import ctypes
import os
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def stopped_thread(thread: int) -> Iterator[Callable[[], bool]]:
    """The thread does nothing and the others of its process go on: ptrace(2). What is given tells whether it was killed,
    and its process cannot end before that was asked."""
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
