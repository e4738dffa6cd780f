# SPDX-License-Identifier: Apache-2.0
"""What connections cost while they are open, and what they leave behind: nothing.

An idle connection owns two sockets, less than 1 KiB of the process, and neither a pipe nor a
buffer. After a connection there is no descriptor, no pipe and no memory that was not there before,
however it ended, and the counters know every single one.
"""

import io
import re
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import pytest

from harness import OUTCOMES, PATIENCE, SLOW_FACTOR, Proxy, until
from traffic import Companion, hear_all

# kPipesKept of src/proxy/limits.hpp, as descriptors, for each of two workers.
PIPES_KEPT = 2 * 2 * 16

UNDER_SANITIZER = SLOW_FACTOR > 1

BYTES_PER_CONNECTION_MAX = 1024
BYTES_LEFT_MAX = 200 * 1024

IDLE_CONNECTIONS = 9000
SHORT_CONNECTIONS = 100_000 // SLOW_FACTOR
WARM_UP = 20_000 // SLOW_FACTOR
DIAL_FAILURES_KEPT = 4096  # for whoever comes to watch

# A client's address has 28,232 ports towards the proxy, and so has the proxy's towards a backend;
# those of connections that have just ended are not free yet.
SOURCES = [f"127.0.1.{i}" for i in range(1, 17)]
BACKENDS = [f"127.0.2.{i}" for i in range(1, 9)]


def names(count: int) -> list[str]:
    return [f"b{i}.footprint.test" for i in range(count)]


def check_growth(what: str, grown: int, limit: int) -> None:
    print(f"{what}: {grown} bytes")
    if UNDER_SANITIZER:
        print("not checked: a sanitizer's allocator keeps what is freed, and counts for itself")
    else:
        assert grown < limit, f"{what}: {grown} bytes, more than {limit}"


def wait_for_descriptors(proxy: Proxy, wanted: Counter[str]) -> None:
    """Waits until it has these again, but for pipes that a worker keeps."""

    def are_back() -> bool:
        fds = proxy.fds()
        kept = fds["pipe"] - wanted["pipe"]
        return 0 <= kept <= PIPES_KEPT and fds - Counter(pipe=kept) == wanted

    until(are_back, f"descriptors are {wanted} again", 3 * PATIENCE)


@pytest.fixture
def start_quiet_proxy(tmp_path: Path, start_backend: Callable) -> Iterator[Callable[..., Proxy]]:
    """As start_proxy(), but a test that fails does not show its log of many megabytes."""
    started: list[Proxy] = []

    def start(**options: Any) -> Proxy:
        started.append(Proxy(tmp_path, **options).start())
        return started[-1]

    yield start
    with redirect_stdout(io.StringIO()):
        for proxy in started:
            proxy.close()


@pytest.mark.heavy
def test_9000_idle_connections_cost_two_sockets_and_less_than_a_kibibyte_each(
    start_quiet_proxy: Callable, start_backend: Callable, engine: str
) -> None:
    backend = start_backend(Companion("echo", hosts=BACKENDS))
    routes = dict(zip(names(len(BACKENDS)), backend.hear()["addresses"], strict=True))
    proxy = start_quiet_proxy(routes=routes, splice=engine, workers=2, shutdown_timeout="5s")
    clients = start_backend(
        Companion("hold", port=proxy.ports[0], sources=SOURCES, names=list(routes))
    )
    at_first = proxy.fds()
    # A few before the measurement, so that what is made once is not counted as theirs.
    clients.ask("open 200")
    clients.ask("close")
    wait_for_descriptors(proxy, at_first)
    before = proxy.memory()

    clients.ask(f"open {IDLE_CONNECTIONS}", 6 * PATIENCE)
    wanted = at_first + Counter(socket=2 * IDLE_CONNECTIONS)
    wait_for_descriptors(proxy, wanted)
    grown = proxy.memory().rss - before.rss
    print(f"{grown / IDLE_CONNECTIONS:.0f} bytes for each of {IDLE_CONNECTIONS} idle connections")
    check_growth("all connections", grown, IDLE_CONNECTIONS * BYTES_PER_CONNECTION_MAX)

    assert clients.ask("echo", 6 * PATIENCE)["speaking"] == IDLE_CONNECTIONS
    assert backend.ask("count")["open"] == IDLE_CONNECTIONS
    wait_for_descriptors(proxy, wanted)
    clients.ask("close", 6 * PATIENCE)
    wait_for_descriptors(proxy, at_first)
    until(lambda: backend.ask("count")["open"] == 0, "the backend sees all of them end")


@pytest.mark.heavy
def test_a_silent_client_costs_one_socket_and_no_buffer(
    start_quiet_proxy: Callable, start_backend: Callable, engine: str
) -> None:
    # A silent client is unknown, and the cheapest way to attack a proxy.
    routes = {"any.test": "127.0.0.1:9"}
    proxy = start_quiet_proxy(routes=routes, splice=engine, workers=2, hello_timeout="120s")
    clients = start_backend(
        Companion("hold", port=proxy.ports[0], sources=SOURCES, names=list(routes))
    )
    at_first = proxy.fds()
    clients.ask("silent 200")
    clients.ask("close")
    wait_for_descriptors(proxy, at_first)
    before = proxy.memory()
    clients.ask(f"silent {IDLE_CONNECTIONS}", 6 * PATIENCE)
    wait_for_descriptors(proxy, at_first + Counter(socket=IDLE_CONNECTIONS))
    grown = proxy.memory().rss - before.rss
    print(f"{grown / IDLE_CONNECTIONS:.0f} bytes for each of {IDLE_CONNECTIONS} silent clients")
    check_growth("all clients", grown, IDLE_CONNECTIONS * BYTES_PER_CONNECTION_MAX)
    assert clients.ask("echo")["silent"] == IDLE_CONNECTIONS
    clients.ask("close", 6 * PATIENCE)
    wait_for_descriptors(proxy, at_first)


@pytest.mark.heavy
def test_100000_short_connections_leave_nothing_behind_and_are_all_accounted_for(
    start_quiet_proxy: Callable, start_backend: Callable
) -> None:
    backend = start_backend(Companion("echo", hosts=BACKENDS))
    living = dict(zip(names(len(BACKENDS)), backend.hear()["addresses"], strict=True))
    routes = living | {"dead.footprint.test": "127.0.2.1:1"}
    proxy = start_quiet_proxy(routes=routes, workers=2)
    churners = [
        start_backend(
            Companion("churn", port=proxy.ports[0], sources=sources, names=list(routes), seed=seed)
        )
        for seed, sources in enumerate((SOURCES[::2], SOURCES[1::2]))
    ]
    at_first = proxy.fds()

    answers = hear_all(churners, f"fail {DIAL_FAILURES_KEPT // len(churners)}", 20 * PATIENCE)
    with proxy.unread_log():  # its queue is filled once: a reader that is slow later must not count as growth
        answers += hear_all(churners, f"run {WARM_UP // len(churners)}", 20 * PATIENCE)
    wait_for_descriptors(proxy, at_first)
    before = proxy.memory()
    answers += hear_all(churners, f"run {SHORT_CONNECTIONS // len(churners)}", 20 * PATIENCE)
    wait_for_descriptors(proxy, at_first)
    until(lambda: backend.ask("count")["open"] == 0, "the backend sees all of them end")
    grown = proxy.memory().rss - before.rss
    check_growth(f"after {SHORT_CONNECTIONS} short connections", grown, BYTES_LEFT_MAX)

    assert proxy.stop() == 0
    made: Counter[str] = Counter()
    for answer in answers:
        made.update(answer["ended"])
    (summary,) = proxy.lines(msg="stopped")
    ended = re.findall(r"(\w+)=(\d+)", summary["ended"])
    assert {reason: int(number) for reason, number in ended} == made
    assert int(summary["accepted"]) == made.total()
    lost = sum(int(line["dropped"]) for line in proxy.lines(msg=re.compile("^log lines were lost")))
    logged = Counter(line["reason"] for line in proxy.lines(msg=OUTCOMES))
    for line in proxy.lines(msg=re.compile("^too many similar lines")):
        logged[line["reason"]] += int(line["suppressed"])
    # A client that was gone before it was accepted has no address any more, and so no line.
    nameless = sum(answer["half_reset"] for answer in answers)
    missing = made - logged
    assert logged - made == Counter()
    assert missing.total() <= lost + nameless
    assert lost > 0 or set(missing) <= {"client_reset"}
