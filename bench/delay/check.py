#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Checks that the program of bench/delay makes the network in its options. Needs root and iproute2.

  check.py DELAY

Prints the measured beside the requested values; the exit code is 1 if anything is outside its bounds. Where a busy
machine can only make a figure worse, the bound is on the better quarter, or on the best of some attempts.
"""

import contextlib
import hashlib
import signal
import socket
import statistics
import struct
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "peers"))

from inside import inside, ping
from profiles import Link, NetworkError, Profile, bring_up, forwarded_link, namespace, sweep

ADDRESSES = ("10.91.0.1", "10.91.0.2")
PATIENCE = 30.0
ATTEMPTS = 4
SILENCE = 0.5  # seconds without a datagram after which none comes any more
SO_RCVBUFFORCE = 33
FRAME_OVERHEAD = 14 + 20 + 8  # Ethernet, IPv4, UDP
NEIGHBOURS = 5  # frames that the two hosts exchange of themselves, at most: ARP, IPv6
PAYLOAD_OF_TCP = 1448 / 1514  # of a full frame with timestamps

failures = 0


class Network(NamedTuple):
    ns: tuple[str, str]
    made: Link


def report(what: str, measured: str, asked: str, holds: bool) -> None:
    global failures
    failures += 0 if holds else 1
    print(f"{'ok  ' if holds else 'FAIL'} {what}: {measured} (asked for: {asked})", flush=True)


@contextlib.contextmanager
def network(program: Path, **asked: float) -> Iterator[Network]:
    with namespace("one") as one, namespace("two") as two:
        with forwarded_link(Profile("check", **asked), one, two, program) as made:
            for ns, device, address in zip((one, two), made.devices, ADDRESSES):
                bring_up(ns, device, f"{address}/24")
            ping(one, ADDRESSES[1], 3)  # so that each knows the other's hardware address
            yield Network((one, two), made)


def socket_at(net: Network, end: int, kind: socket.SocketKind) -> socket.socket:
    with inside(net.ns[end]):
        made = socket.socket(socket.AF_INET, kind)
    made.settimeout(PATIENCE)
    return made


def quartiles(sorted_ms: list[float]) -> str:
    least, low, median, high = (sorted_ms[len(sorted_ms) * quarter // 4] for quarter in range(4))
    return f"median {median:.2f} ms, quartiles {low:.2f} .. {high:.2f}, {least:.2f} .. {sorted_ms[-1]:.2f}"


# ---- what is measured


def check_delay(program: Path) -> None:
    with network(program, rtt_ms=40, rate_mbit=1000) as net:
        taken = sorted(ping(net.ns[0], ADDRESSES[1], 100, interval=0.005))
    report("round trip", quartiles(taken), "40 ms", len(taken) == 100 and taken[0] >= 40 and taken[25] < 40 * 1.03)


def check_short_delay(program: Path) -> None:
    with network(program, rtt_ms=0.2, rate_mbit=1000) as net:
        taken = sorted(ping(net.ns[0], ADDRESSES[1], 300, interval=0.001))
    holds = len(taken) == 300 and taken[0] >= 0.2 and taken[75] < 0.6
    report("short round trip", quartiles(taken), "0.2 ms and what the system calls take", holds)


def check_jitter(program: Path) -> None:
    with network(program, rtt_ms=80, rtt_jitter_ms=40, rate_mbit=1000) as net:
        taken = ping(net.ns[0], ADDRESSES[1], 60, interval=0.02)
        numbers = datagrams(net, count=2000, size=100, interval=0.0005)
    mean, spread = statistics.mean(taken), max(taken) - min(taken)
    text = f"{min(taken):.1f} .. {max(taken):.1f} ms, mean {mean:.1f}"
    holds = min(taken) >= 40 and max(taken) < 126 and abs(mean - 80) < 10 and spread > 30
    report("jitter", text, "40 .. 120 ms", holds)
    overtakers = sum(1 for before, after in zip(numbers, numbers[1:]) if after < before)
    holds = overtakers == 0 and len(numbers) == 2000
    report("order under jitter", f"{overtakers} of {len(numbers)} overtook", "0", holds)


def check_loss(program: Path) -> None:
    sent, percent = 20_000, 5
    with network(program, rtt_ms=2, loss_percent=percent, rate_mbit=1000) as net:
        got = len(datagrams(net, count=sent, size=100, interval=0.0001))
    lost = 100 * (sent - got) / sent
    bound = 4 * (percent * (100 - percent) / sent) ** 0.5  # four standard deviations
    report("loss", f"{lost:.2f} % of {sent}", f"{percent} % ± {bound:.2f}", abs(lost - percent) < bound)
    told = net.made.forwarded["a_to_b"]
    holds = sent - got <= told["lost"] <= sent - got + NEIGHBOURS and told["dropped"] == 0
    report("its own count of the lost", f"{told['lost']}", f"{sent - got}", holds)


def check_rate(program: Path) -> None:
    for rate, size in ((50, 10 << 20), (500, 40 << 20)):
        wanted, reached, all_the_same = rate * PAYLOAD_OF_TCP, [], True
        while len(reached) < ATTEMPTS and max(reached, default=0) < 0.9 * wanted:
            with network(program, rtt_ms=10, rate_mbit=rate) as net:
                seconds, is_same = transfer(net, size)
            reached.append(size * 8 / seconds / 1e6)
            all_the_same &= is_same
        text = ", ".join(f"{one:.1f}" for one in reached)
        holds = 0.9 * wanted < max(reached) < 1.02 * wanted
        report("rate of a TCP transfer", f"{text} Mbit/s", f"{wanted:.1f}", holds)
        same = "as they were sent" if all_the_same else "others than were sent"
        report("its bytes", same, "as they were sent", all_the_same)


def check_tail_drop(program: Path) -> None:
    """A burst into a narrow link: the queue keeps what it has room for."""
    rate, count, size = 1, 400, 1472
    with network(program, rtt_ms=2, rate_mbit=rate) as net:  # its queue: 100 frames
        begin = time.perf_counter()
        numbers = datagrams(net, count=count, size=size, interval=0)
        seconds = time.perf_counter() - begin - SILENCE
    frame_seconds = (size + FRAME_OVERHEAD) * 8 / (rate * 1e6)
    report("kept of a burst", f"{len(numbers)} of {count}", "100 and the one on the wire", 100 <= len(numbers) <= 103)
    wanted = len(numbers) * frame_seconds
    report("until the last came", f"{seconds:.3f} s", f"{wanted:.3f}", wanted * 0.97 < seconds < wanted * 1.1 + 0.1)
    told = net.made.forwarded["a_to_b"]
    missing = count - len(numbers)
    holds = missing <= told["dropped"] <= missing + NEIGHBOURS
    report("its own count of the dropped", f"{told['dropped']}", f"{missing}", holds)


def datagrams(net: Network, count: int, size: int, interval: float) -> list[int]:
    """The numbers of those that came, in their order."""
    with socket_at(net, 0, socket.SOCK_DGRAM) as sender, socket_at(net, 1, socket.SOCK_DGRAM) as receiver:
        receiver.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 32 << 20)
        receiver.bind((ADDRESSES[1], 0))
        sender.connect(receiver.getsockname())
        due = time.perf_counter()
        for number in range(count):
            sender.send(struct.pack("!I", number).ljust(size, b"\0"))
            due += interval
            if interval and (wait := due - time.perf_counter()) > 0:
                time.sleep(wait)
        came: list[int] = []
        receiver.settimeout(SILENCE)
        with contextlib.suppress(TimeoutError):
            while len(came) < count:
                came.append(struct.unpack("!I", receiver.recv(65536)[:4])[0])
        return came


def transfer(net: Network, size: int) -> tuple[float, bool]:
    """Seconds from the first byte to the last, at the receiver; and whether they were the same."""
    block = bytes(range(256)) * 4096
    digests: list[str] = []
    with socket_at(net, 1, socket.SOCK_STREAM) as listener:
        listener.bind((ADDRESSES[1], 0))
        listener.listen()

        def send() -> None:
            with socket_at(net, 0, socket.SOCK_STREAM) as sender:
                sender.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, b"cubic")
                sender.connect(listener.getsockname())
                digest, left = hashlib.sha256(), size
                while left:
                    part = block[: min(left, len(block))]
                    sender.sendall(part)
                    digest.update(part)
                    left -= len(part)
                digests.append(digest.hexdigest())

        thread = threading.Thread(target=send)
        thread.start()
        connection, _ = listener.accept()
        with connection:
            connection.settimeout(PATIENCE)
            digest, begin, received = hashlib.sha256(), 0.0, 0
            while part := connection.recv(1 << 18):
                begin = begin or time.perf_counter()
                received += len(part)
                digest.update(part)
            seconds = time.perf_counter() - begin
        thread.join()
    return seconds, received == size and digests == [digest.hexdigest()]


def main(arguments: list[str]) -> int:
    if len(arguments) != 1 or not Path(arguments[0]).is_file():
        print(__doc__, file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("terminated"))  # and nothing stays behind
    program = Path(arguments[0]).resolve()
    try:
        sweep()
        for check in (check_delay, check_short_delay, check_jitter, check_loss, check_rate, check_tail_drop):
            check(program)
    except NetworkError as error:
        print(f"check: {error}", file=sys.stderr)
        return 1
    print(f"{failures} failed" if failures else "all as asked for")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
