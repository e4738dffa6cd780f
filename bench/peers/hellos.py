#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Which ClientHellos a proxy takes: by size, and by how they are cut into TLS records and TCP segments.

run.py starts this file again in the namespaces of a place: `hellos.py serve HOST:PORT` is a backend that sends back what
it gets, `hellos.py ask HOST:PORT …` sends every hello to each address and prints what became of them. A hello is
accepted when all of it, and a message after it, have come back.
"""

import asyncio
import contextlib
import json
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests/e2e/lib"))

from bench import BACKEND_PORT, Bench, background
from hello import client_hello, hello_message, records
from network import inside
from peers import NAME

PATIENCE = 3.0  # seconds after the last byte; who takes a hello needs milliseconds
PAUSE = 0.002  # between segments: long enough that the kernel joins few of them
MESSAGE = b"and more"
MESSAGE_MAX = 65_536  # src/tls/limits.hpp
SIZES = (512, 4_096, 8_192, 12_288, 16_000, 16_384, 16_388, 32_768, 65_000, MESSAGE_MAX)
SMALL, LARGE = 300, 2_000  # a hello without and with post-quantum key shares


@dataclass(frozen=True)
class Case:
    """`segments` are sent one after another, with a pause between them."""

    title: str
    segments: tuple[bytes, ...]
    size: int | None = None  # of the message, where it is the size that is tried


def cases() -> list[Case]:
    small, large = client_hello(NAME, pad_to=SMALL), client_hello(NAME, pad_to=LARGE)
    ones = client_hello(NAME, pad_to=SMALL, record_sizes=repeat(1))
    halves = client_hello(NAME, pad_to=LARGE, record_sizes=[LARGE // 2])
    in_records = [records(bytes(part)) for part in _cut(hello_message(NAME, pad_to=LARGE), 500)]
    return [
        *(Case(_size_title(size), (client_hello(NAME, pad_to=size),), size) for size in SIZES),
        Case("a record over two segments", tuple(_cut(large, LARGE // 2))),
        Case("two records", (halves,)),
        Case("four records, a segment each", tuple(in_records)),
        Case("records of one byte", (ones,)),
        Case("segments of one byte", tuple(_cut(small, 1))),
    ]


def _size_title(size: int) -> str:
    count = -(-size // 16_384)
    return f"{size:,} bytes" + (f" in {count} records" if count > 1 else "")


def _cut(data: bytes, size: int) -> Iterator[bytes]:
    return (data[at : at + size] for at in range(0, len(data), size))


# ---- in the namespaces


async def _serve(host: str, port: int) -> None:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65_536):
                writer.write(data)
                await writer.drain()
        writer.close()

    async with await asyncio.start_server(echo, host, port) as server:
        print("ready", flush=True)
        await server.serve_forever()


async def _is_accepted(host: str, port: int, case: Case) -> bool:
    with contextlib.suppress(OSError, asyncio.IncompleteReadError, TimeoutError):
        reader, writer = await asyncio.open_connection(host, port)
        with contextlib.closing(writer):
            for segment in case.segments:
                writer.write(segment)
                await asyncio.sleep(PAUSE)
            writer.write(MESSAGE)
            expected = b"".join(case.segments) + MESSAGE
            async with asyncio.timeout(PATIENCE):
                return await reader.readexactly(len(expected)) == expected
    return False


async def _ask(addresses: Iterable[str]) -> dict[str, list[bool]]:
    """All at once: who waits for more than will come costs no time of the others."""
    asked = {
        address: asyncio.gather(*(_is_accepted(*_split(address), case) for case in cases())) for address in addresses
    }
    return {address: await answers for address, answers in asked.items()}


def _split(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    return host, int(port)


# ---- for run.py


def measure_hellos(bench: Bench) -> dict[str, Any]:
    """{"cases": titles, "sizes": those of the first cases, "accepted": {peer: [true or false for each case]}}"""
    addresses = {peer.name: peer.address(bench.place, BACKEND_PORT) for peer in bench.peers}
    program = [sys.executable, __file__]
    with background(bench.place.backend, *program, "serve", f"{bench.place.backend_host}:{BACKEND_PORT}") as backend:
        backend.stdout.readline()
        with bench.started(*bench.peers):
            words = inside(bench.place.client, *program, "ask", *addresses.values())
            done = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=True)
    answers = json.loads(done.stdout)
    return {
        "cases": [case.title for case in cases()],
        "sizes": SIZES,
        "accepted": {name: answers[address] for name, address in addresses.items()},
    }


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        asyncio.run(_serve(*_split(sys.argv[2])))
    else:
        print(json.dumps(asyncio.run(_ask(sys.argv[2:]))))
