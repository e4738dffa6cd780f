# SPDX-License-Identifier: Apache-2.0
"""Networks between two namespaces of this machine: a LAN, a WAN, a mobile network, 10 Gbit/s, or no limit at all.

  with namespace("client") as client, namespace("proxy") as proxy:
      with link(PROFILES["wan"], client, "10.90.1.1", proxy, "10.90.1.2", delay_program) as made:
          print(made)         # "veth, netem on both ends", or what else made the network what it is: for the report
          made.devices        # the names of its two ends

A link is a veth pair, shaped on both ends by netem; where the kernel has no netem, two TAP devices joined by the program
of bench/delay. Loss, delay, jitter and rate are those of each direction. Names carry the process id; all is removed at
the end of the block, and what a killed process left behind by the next sweep(). Needs root, iproute2, nftables.
"""

import contextlib
import functools
import itertools
import json
import os
import re
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

FRAME_BYTES = 1514
TAP_QUEUE = 10_000  # frames that wait in the kernel for the forwarder; at the usual 1000 a slow wake-up drops some
PREFIX = "mcl"  # of the names of namespaces and devices


@dataclass(frozen=True)
class Profile:
    """A network. Zero means: as the kernel gives it."""

    name: str
    rtt_ms: float = 0  # half of it each way
    rtt_jitter_ms: float = 0  # at most so much more or less; half of it each way
    loss_percent: float = 0  # each way
    rate_mbit: float = 0  # each way

    @property
    def delay_ms(self) -> float:
        return self.rtt_ms / 2

    @property
    def jitter_ms(self) -> float:
        return self.rtt_jitter_ms / 2

    @property
    def frames_per_rtt(self) -> int:
        return int(self.rate_mbit * 1e6 / 8 * self.rtt_ms / 1000 / FRAME_BYTES)

    @property
    def queue_frames(self) -> int:
        """What waits for the rate before it is dropped: a round trip's worth, as routers were long advised to have."""
        return max(100, self.frames_per_rtt)

    def __str__(self) -> str:
        jitter = f" ± {self.rtt_jitter_ms:g}" if self.rtt_jitter_ms else ""
        parts = [f"{self.rtt_ms:g}{jitter} ms RTT"] if self.rtt_ms else []
        parts += [f"{self.loss_percent:g} % loss each way"] if self.loss_percent else []
        parts += [f"{self.rate_mbit:g} Mbit/s"] if self.rate_mbit else []
        return ", ".join(parts) or "no limit"


# The forwarder carries some 2 Gbit/s if the senders leave it a core, so that a profile which it may have to make asks
# for no more than 1.
PROFILES = {
    profile.name: profile
    for profile in (
        Profile("none"),
        Profile("lan", rtt_ms=0.2, rate_mbit=1000),
        Profile("wan", rtt_ms=40, loss_percent=0.1, rate_mbit=1000),
        Profile("mobile", rtt_ms=80, rtt_jitter_ms=20, loss_percent=1, rate_mbit=50),
        Profile("10g", rate_mbit=10_000),
    )
}


class Link(str):
    """What the network between the two namespaces is really made of, as text for a report; and its devices."""

    devices: tuple[str, str]
    forwarded: dict | None  # once the link is gone: what the forwarder counted for a_to_b and b_to_a, if there was one

    def __new__(cls, text: str, devices: tuple[str, str]) -> "Link":
        link = super().__new__(cls, text)
        link.devices = devices
        link.forwarded = None
        return link


class NetworkError(RuntimeError):
    """A command of iproute2 or nftables, or the forwarder, did not do what a link needs."""


def run(*words: object, stdin: str | None = None) -> str:
    command = [str(word) for word in words]
    try:
        done = subprocess.run(command, input=stdin, text=True, capture_output=True)
    except FileNotFoundError:
        raise NetworkError(f"there is no {command[0]}: install the packages iproute2 and nftables") from None
    if done.returncode != 0:
        raise NetworkError(f"{' '.join(command)}: {done.stderr.strip() or f'exit code {done.returncode}'}")
    return done.stdout


@functools.cache
def netem_available() -> bool:
    """Whether this kernel has netem: tried, in a namespace that is gone afterwards."""
    attempt = "tc qdisc add dev lo root netem delay 1ms"
    return subprocess.run(["unshare", "--net", "sh", "-c", attempt], capture_output=True).returncode == 0


# ---- names


_numbers = itertools.count()


def unique_name(end: str = "") -> str:
    """For a device or namespace; at most 15 characters."""
    return f"{PREFIX}{os.getpid()}{end}{next(_numbers)}"


def sweep() -> None:
    """Removes the namespaces, and the devices with them, of processes that did not live to do it."""
    for line in run("ip", "netns", "list").splitlines():
        name = line.split()[0]
        made_by = re.fullmatch(rf"{PREFIX}-[a-z]+-(\d+)-\d+", name)
        if made_by and not Path(f"/proc/{made_by[1]}").exists():
            run("ip", "netns", "delete", name)


@contextlib.contextmanager
def namespace(label: str) -> Iterator[str]:
    """A network namespace with its loopback up; its name has the label (a-z) in it."""
    name = f"{PREFIX}-{label}-{os.getpid()}-{next(_numbers)}"
    run("ip", "netns", "add", name)
    try:
        run("ip", "-n", name, "link", "set", "lo", "up")
        yield name
    finally:
        run("ip", "netns", "delete", name)


# ---- links


def bring_up(ns: str, device: str, addresses: str | Sequence[str]) -> None:
    for address in [addresses] if isinstance(addresses, str) else addresses:
        is_ipv6 = ":" in address
        length = "" if "/" in address else "/64" if is_ipv6 else "/24"
        options = ["nodad"] if is_ipv6 else []  # otherwise nobody may use it for the first second
        run("ip", "-n", ns, "address", "add", address + length, "dev", device, *options)
    run("ip", "-n", ns, "link", "set", device, "up")


@contextlib.contextmanager
def _veth(ns_a: str, ns_b: str) -> Iterator[tuple[str, str]]:
    devices = unique_name("a"), unique_name("b")
    run("ip", "-n", ns_a, "link", "add", devices[0], "type", "veth", "peer", "name", devices[1], "netns", ns_b)
    try:
        yield devices
    finally:
        with contextlib.suppress(NetworkError):  # its namespace may have gone first
            run("ip", "-n", ns_a, "link", "delete", devices[0])


def _one_frame_at_a_time(ns: str, device: str) -> None:
    """Otherwise what is lost, delayed or queued is not a frame but up to 64 KB of one connection's."""
    run("ip", "-n", ns, "link", "set", device, "gso_max_segs", 1)


def _netem(profile: Profile, ns: str, device: str) -> None:
    _one_frame_at_a_time(ns, device)
    # netem's own limit counts the frames that travel, too.
    words = ["limit", profile.queue_frames + profile.frames_per_rtt + 1000, "delay", f"{profile.delay_ms}ms"]
    words += [f"{profile.jitter_ms}ms"] if profile.jitter_ms else []
    words += ["loss", f"{profile.loss_percent}%"] if profile.loss_percent else []
    # Only with a rate does netem keep the order of frames that have jitter.
    rate_mbit = profile.rate_mbit or (100_000 if profile.jitter_ms else 0)
    words += ["rate", f"{rate_mbit}mbit"] if rate_mbit else []
    run("tc", "-n", ns, "qdisc", "add", "dev", device, "root", "netem", *words)


def _tbf(profile: Profile, ns: str, device: str) -> None:
    # Of tokens, what comes in a millisecond: less, and the kernel's timers decide the rate.
    burst = max(2 * FRAME_BYTES, int(profile.rate_mbit * 1e6 / 8 / 1000))
    limit = burst + max(profile.queue_frames * FRAME_BYTES, burst)
    rate = f"{profile.rate_mbit}mbit"
    run("tc", "-n", ns, "qdisc", "add", "dev", device, "root", "tbf", "rate", rate, "burst", burst, "limit", limit)


@contextlib.contextmanager
def _nft_loss(profile: Profile, ns: str, device: str) -> Iterator[None]:
    """Of what comes in at this end."""
    per_million = round(profile.loss_percent * 10_000)
    table = unique_name("loss")
    chain = "chain come_in { type filter hook prerouting priority raw; "
    rule = f'iifname "{device}" numgen random mod 1000000 < {per_million} counter drop; }}'
    run("ip", "netns", "exec", ns, "nft", "-f", "-", stdin=f"table inet {table} {{\n{chain}{rule}\n}}\n")
    try:
        yield
    finally:
        with contextlib.suppress(NetworkError):
            run("ip", "netns", "exec", ns, "nft", "delete", "table", "inet", table)


@contextlib.contextmanager
def _plain_link(profile: Profile, ns_a: str, ns_b: str) -> Iterator[Link]:
    """Without delay: the kernel's own means are in every kernel."""
    with contextlib.ExitStack() as stack:
        devices = stack.enter_context(_veth(ns_a, ns_b))
        made_of = ["veth"]
        for ns, device in zip((ns_a, ns_b), devices):
            if profile.rate_mbit:
                _tbf(profile, ns, device)
            if profile.loss_percent:
                _one_frame_at_a_time(ns, device)
                stack.enter_context(_nft_loss(profile, ns, device))
        made_of += ["tbf on both ends"] if profile.rate_mbit else []
        made_of += ["loss by nftables on both ends"] if profile.loss_percent else []
        yield Link(", ".join(made_of), devices)


@contextlib.contextmanager
def _netem_link(profile: Profile, ns_a: str, ns_b: str) -> Iterator[Link]:
    with _veth(ns_a, ns_b) as devices:
        for ns, device in zip((ns_a, ns_b), devices):
            _netem(profile, ns, device)
        yield Link("veth, netem on both ends", devices)


@contextlib.contextmanager
def forwarded_link(profile: Profile, ns_a: str, ns_b: str, delay_program: Path) -> Iterator[Link]:
    """By the program of bench/delay, even where the kernel has netem. The devices are down, and have no addresses."""
    devices = unique_name("a"), unique_name("b")
    options = {
        "--tap-a": devices[0],
        "--netns-a": ns_a,
        "--tap-b": devices[1],
        "--netns-b": ns_b,
        "--delay": profile.delay_ms,
        "--jitter": profile.jitter_ms,
        "--loss": profile.loss_percent,
        "--rate": profile.rate_mbit,
        "--queue": profile.queue_frames,
    }
    words = [str(word) for pair in options.items() for word in pair]
    # It ends with its standard input, so that it outlives nobody.
    process = subprocess.Popen([delay_program, *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    link = Link("two TAP devices and bench/delay between them, because this kernel has no netem", devices)
    try:
        if process.stdout.readline() != "ready\n":
            raise NetworkError(f"{delay_program} did not start; its complaint stands above")
        for ns, device in zip((ns_a, ns_b), devices):
            run("ip", "-n", ns, "link", "set", device, "txqueuelen", TAP_QUEUE)
        yield link
    finally:
        try:
            told, _ = process.communicate(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            told, _ = process.communicate()
        if told:
            link.forwarded = json.loads(told)


@contextlib.contextmanager
def link(
    profile: Profile,
    ns_a: str,
    addresses_a: str | Sequence[str],
    ns_b: str,
    addresses_b: str | Sequence[str],
    delay_program: Path | None = None,
) -> Iterator[Link]:
    """Joins two namespaces by a network like `profile`. Addresses may have prefix lengths; /24 and /64 otherwise.

    `delay_program` is built from bench/delay, and needed where the kernel has no netem and the profile has a delay.
    """
    if not profile.rtt_ms:
        chosen = _plain_link(profile, ns_a, ns_b)
    elif netem_available():
        chosen = _netem_link(profile, ns_a, ns_b)
    elif delay_program is not None:
        chosen = forwarded_link(profile, ns_a, ns_b, delay_program)
    else:
        raise NetworkError(f"profile {profile.name}: this kernel has no netem, and no delay program was given")
    with chosen as made:
        for ns, device, addresses in zip((ns_a, ns_b), made.devices, (addresses_a, addresses_b)):
            bring_up(ns, device, addresses)
        yield made
