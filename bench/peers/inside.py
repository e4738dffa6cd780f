# SPDX-License-Identifier: Apache-2.0
"""Sockets in other network namespaces, and what is measured with them: round trips of ICMP."""

import contextlib
import ctypes
import os
import socket
import struct
import time
from collections.abc import Iterator

_CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


def _enter(descriptor: int) -> None:
    if _libc.setns(descriptor, _CLONE_NEWNET) != 0:
        error = ctypes.get_errno()
        raise OSError(error, f"setns: {os.strerror(error)}")


@contextlib.contextmanager
def inside(ns: str) -> Iterator[None]:
    """The calling thread is in that namespace; sockets that it makes there stay there."""
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    try:
        there = os.open(f"/run/netns/{ns}", os.O_RDONLY)
        try:
            _enter(there)
        finally:
            os.close(there)
        try:
            yield
        finally:
            _enter(home)
    finally:
        os.close(home)


def ping(ns: str, address: str, count: int, interval: float = 0.02, patience: float = 2.0) -> list[float]:
    """Milliseconds of the round trips that came back, one after another."""
    with inside(ns):
        icmp = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
    taken = []
    identity = os.getpid() & 0xFFFF
    with icmp:
        icmp.connect((address, 0))
        for number in range(count):
            icmp.settimeout(patience)
            begin = time.perf_counter()
            icmp.send(_echo_request(identity, number))
            with contextlib.suppress(TimeoutError):
                while not _is_reply(icmp.recv(2048), identity, number):
                    pass
                taken.append((time.perf_counter() - begin) * 1000)
            time.sleep(interval)
    return taken


def _echo_request(identity: int, number: int) -> bytes:
    body = bytes(48)
    words = struct.pack("!BBHHH", 8, 0, 0, identity, number & 0xFFFF) + body
    total = sum(struct.unpack(f"!{len(words) // 2}H", words))
    total = (total & 0xFFFF) + (total >> 16)
    total += total >> 16
    return struct.pack("!BBHHH", 8, 0, ~total & 0xFFFF, identity, number & 0xFFFF) + body


def _is_reply(packet: bytes, identity: int, number: int) -> bool:
    header = (packet[0] & 15) * 4
    return packet[header] == 0 and packet[header + 4 : header + 8] == struct.pack("!HH", identity, number & 0xFFFF)
