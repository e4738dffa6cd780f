#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Reports at once that this kernel, or this container, has no io_uring: before minutes go into a build whose program cannot
start. Exits 1 then."""

import ctypes
import errno
import os
import sys

IO_URING_SETUP = 425  # of <asm-generic/unistd.h>, the same on every architecture
IO_URING_PARAMS_BYTES = 120  # of <linux/io_uring.h>

REFUSED = (
    "see sysctl kernel.io_uring_disabled, which should be 0; in a container use the seccomp profile of this repository"
    " (--security-opt seccomp=containers/seccomp.json)"
)


def main() -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    ring = libc.syscall(IO_URING_SETUP, 1, ctypes.create_string_buffer(IO_URING_PARAMS_BYTES))
    if ring >= 0:
        os.close(ring)
        return 0
    code = ctypes.get_errno()
    remedy = REFUSED if code in (errno.EPERM, errno.EACCES) else "use Linux 6.1 or newer"
    print(f"mc-proxy needs io_uring: {os.strerror(code)}: {remedy}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
