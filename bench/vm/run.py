#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""mc-proxy and its peers in networks with delay and loss, made by netem: in QEMU with Debian's own kernel.

  run.py MC_PROXY [--json FILE] [--markdown FILE] [--profiles NAME,…] [--peers NAME,…] [--controls NAME,…]

MC_PROXY is the package, or a program built on this Debian. Measured are the shape of latencies and whether every byte
comes as it was sent. Not measured is how much a proxy can do: QEMU emulates the processor here. HAProxy and nginx take
part where this machine has them. Needs root and what tests/vm/vm.py needs; takes eight minutes.

`lan` under bbr is slow whenever the sender stands at the shaped link, every proxy and direct uploads alike.
"""

import argparse
import fcntl
import json
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(REPOSITORY / "tests/vm"), str(REPOSITORY / "bench/peers")]

import vm
from profiles import PROFILES

SECONDS = 1800  # the longest that a run may take: some three times what it takes here
MODULES = ["veth", "sch_netem", "sch_tbf", "tcp_bbr", "nf_tables"]
PEER_PROGRAMS = {"haproxy": [Path("/usr/sbin/haproxy")], "nginx": [Path("/usr/sbin/nginx")]}
NGINX_STREAM = Path("/usr/lib/nginx/modules/ngx_stream_module.so")
INTRODUCTION = """\
Latency shape and correctness, not throughput: QEMU emulates the processor. Linux {kernel}. Between client and proxy lies the
network of the profile ({link}), between proxy and backend a bare veth pair; "direct" is forwarded through the proxy's
namespace. Medians; for transfers of one connection with the least and the largest of {repeats}. Every byte of every transfer was
compared: {verdict}.

What lies above the network's own round trip is mostly the emulation, which wakes processes up to 16 ms late: compare rows of
one network with "direct" beside them, and with nothing else.
"""


# ---- what goes in


def takes_part(peer: str) -> bool:
    files = PEER_PROGRAMS.get(peer, []) + ([NGINX_STREAM] if peer == "nginx" else [])
    return all(file.exists() for file in files)


def existing_image() -> Path:
    """For a program without a package: the image that the tests of a package have made."""
    for made in vm.CACHE.glob("debian-*/made"):
        return made.parent / "root"
    sys.exit("bench/vm: a program alone does not say what it depends on; run ./dev vm-test first, or give the package")


def add_program(program: Path, folder: Path, tree: Path) -> None:
    """With its libraries that the image does not have."""
    shutil.copy(program, folder / program.name)
    libraries = folder / "lib"
    libraries.mkdir(exist_ok=True)
    for found in re.findall(r"=> (/\S+)", vm.run("ldd", program)):
        library = Path(found)
        in_image = any((tree / place / library.name).exists() for place in ("usr/lib/x86_64-linux-gnu", "usr/lib"))
        if not in_image:
            shutil.copy(library, libraries)


def payload(given: Path, folder: Path, tree: Path, settings: dict[str, Any]) -> None:
    (folder / "peers").mkdir(parents=True)
    (folder / "modules").mkdir()
    if given.suffix == ".deb":
        vm.run("dpkg-deb", "-x", given, folder / "package")
        shutil.copy(folder / "package/usr/bin/mc-proxy", folder / "mc-proxy")
        shutil.rmtree(folder / "package")
    else:
        vm.run("strip", "-o", folder / "mc-proxy", given)
    for path in ("bench/vm/guest.py", "bench/peers/profiles.py", "bench/peers/inside.py", "tests/e2e/lib/hello.py"):
        shutil.copy(REPOSITORY / path, folder)
    for peer in settings["peers"]:
        for program in PEER_PROGRAMS.get(peer, []):
            add_program(program, folder / "peers", tree)
    if "nginx" in settings["peers"]:
        shutil.copy(NGINX_STREAM, folder / "peers")
    (folder / "settings.json").write_text(json.dumps(settings))
    kernel = vm.kernel(tree)[0].parent
    base = kernel if (kernel / "lib").exists() else kernel / "usr"
    (version,) = (path.name for path in (base / "lib/modules").iterdir())
    vm.copy_modules(base, version, MODULES, folder / "modules")


# ---- what comes out


def result_of(log: Path) -> dict[str, Any] | None:
    for line in log.read_text(errors="replace").splitlines():
        if line.startswith("@@result "):
            return json.loads(line.removeprefix("@@result "))
    return None


def transfer(seconds: list[float]) -> str:
    return f"{statistics.median(seconds):.2f} ({min(seconds):.2f} .. {max(seconds):.2f})"


def markdown(result: dict[str, Any]) -> str:
    rows = result["rows"]
    failures = result["failures"]
    text = INTRODUCTION.format(
        kernel=result["kernel"],
        link="; ".join(f"{name}: {made}" for name, made in {row["profile"]: row["link"] for row in rows}.items()),
        repeats=len(rows[0]["download_s"]) if rows else 0,
        verdict="; ".join(failures) if failures else "all came as they were sent",
    )
    titles = ["network", "ping, ms", "control", "through", "connect to first byte, ms", "round trip, ms"]
    titles += ["MB", "download, s", "upload, s"]
    lines = ["| " + " | ".join(titles) + " |", "|" + "---|" * len(titles)]
    for row in rows:
        cells = [f"{row['profile']}: {row['asked']}", f"{statistics.median(row['ping_ms']):.2f}", row["control"], row["peer"]]
        cells += [f"{statistics.median(row['connect_ms']):.1f}", f"{statistics.median(row['round_trip_ms']):.1f}"]
        cells += [f"{row['transfer_bytes'] / 1e6:.1f}", transfer(row["download_s"]), transfer(row["upload_s"])]
        lines.append("| " + " | ".join(cells) + " |")
    return text + "\n" + "\n".join(lines) + "\n"


def names(text: str) -> list[str]:
    return [name for name in text.split(",") if name]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("mc_proxy", metavar="MC_PROXY", type=Path)
    parser.add_argument("--json", metavar="FILE", type=Path, help="every single figure")
    parser.add_argument("--markdown", metavar="FILE", type=Path, help="the table, which is printed too")
    parser.add_argument("--profiles", type=names, default=list(PROFILES))
    parser.add_argument("--peers", type=names, default=["direct", "mc-proxy", "haproxy", "nginx"])
    parser.add_argument("--controls", type=names, default=["cubic", "bbr"])
    options = parser.parse_args()
    if unknown := [name for name in options.profiles if name not in PROFILES]:
        parser.error(f"--profiles: {unknown[0]} is none of {', '.join(PROFILES)}")
    if unknown := [name for name in options.peers if name not in ("direct", "mc-proxy", *PEER_PROGRAMS)]:
        parser.error(f"--peers: {unknown[0]} is none of direct, mc-proxy, {', '.join(PEER_PROGRAMS)}")
    given = options.mc_proxy.resolve()
    if not given.is_file():
        parser.error(f"{given} is no file")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("terminated"))  # and QEMU does not stay behind
    peers = [peer for peer in options.peers if takes_part(peer)]
    settings = {"profiles": options.profiles, "peers": peers, "controls": options.controls}
    vm.CACHE.mkdir(parents=True, exist_ok=True)
    with (vm.CACHE / "lock").open("w") as lock, tempfile.TemporaryDirectory(prefix="run-", dir=vm.CACHE) as work:
        fcntl.flock(lock, fcntl.LOCK_EX)
        tree = vm.image(given) if given.suffix == ".deb" else existing_image()
        payload(given, Path(work) / "payload", tree, settings)
        code = vm.boot(tree, Path(work), "qemu", SECONDS)  # the tests' word: both boot from the same disk
        result = result_of(Path(work) / "log")
    if result is None:
        print("bench/vm: the machine ended without a result", file=sys.stderr)
        return code or 1
    table = markdown(result)
    print(table)
    if options.json:
        options.json.write_text(json.dumps(result, indent=1))
    if options.markdown:
        options.markdown.write_text(table)
    return code


if __name__ == "__main__":
    try:
        sys.exit(main())
    except subprocess.CalledProcessError as error:
        sys.exit(f"bench/vm: {error}")
