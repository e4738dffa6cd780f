# SPDX-License-Identifier: Apache-2.0
"""Many connections at once, all of them different, and every byte of them in its place.

Both directions of 300 connections flow at the same time, in pieces of one byte to 64 KiB, with
pauses of writers and of readers; each ends its streams in its own order, and some are cut. Both
ends of each know what the other sends. What only shows in a crowd shows here: bytes of one
connection in another, of one direction in the other, a wake-up that was lost, a pipe that was given
back with bytes in it, a reset that became an end of stream.
"""

from collections import Counter
from collections.abc import Callable

import pytest

from harness import PATIENCE, SLOW_FACTOR
from roles import Plan
from traffic import MIB, Companion

CONNECTIONS = 300
MEAN_BYTES = 4 * MIB // SLOW_FACTOR


@pytest.mark.heavy
@pytest.mark.parametrize("seed", [1])
def test_every_byte_of_300_connections_is_in_its_place(
    start_proxy: Callable, start_backend: Callable, engine: str, seed: int
) -> None:
    plans = {"seed": seed, "connections": CONNECTIONS, "mean_bytes": MEAN_BYTES}
    backend = start_backend(Companion("integrity_backend", **plans))
    routes = {"*.integrity.test": backend.hear()["addresses"][0]}
    proxy = start_proxy(routes=routes, splice=engine, workers=2)
    clients = start_backend(
        Companion("integrity_clients", port=proxy.ports[0], patience=3 * PATIENCE, **plans)
    )
    seen = {"client": clients.ask("run", 5 * PATIENCE), "backend": backend.ask("end", 2 * PATIENCE)}

    planned = [Plan.of(index, seed, MEAN_BYTES) for index in range(CONNECTIONS)]
    expected = Counter("completed" if plan.resets == "none" else "reset" for plan in planned)
    assert expected["reset"] > 10
    for side, result in seen.items():
        assert result["wrong"] == [], side
        assert result["outcomes"] == expected, side

    proxy.wait_log(count=CONNECTIONS, msg="connection closed")
    for plan in planned:
        check_log(proxy.wait_log(sni=f"c{plan.index}.integrity.test"), plan)
    up, down = (seen[side]["sent"] // MIB for side in ("client", "backend"))
    print(f"{up} MiB up, {down} MiB down")


def check_log(line: dict[str, str], plan: Plan) -> None:
    """The proxy counts what it moved, and knows who cut the connection."""
    if plan.resets != "none":
        assert line["reason"] == f"{plan.resets}_reset", plan
        return
    assert line["reason"] == "completed", plan
    assert int(line["bytes_up"]) == len(plan.head) + plan.up, plan
    assert int(line["bytes_down"]) == plan.down, plan
