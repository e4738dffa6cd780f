# SPDX-License-Identifier: Apache-2.0
"""kill -9 at random moments while changes stream in: every acknowledged change is there, and nothing else."""

import random
import sqlite3
import threading
import time
from collections.abc import Callable

import grpc

from admin import CIDR, Admin, AdministeredProxy, add, api, block, remove, route, unblock
from harness import Backend, echo

KILLS = 50
CHANGES = 2000
# A change takes about a millisecond, so that kills fall before, in and after commits, publications and responses.
KILL_WITHIN_S = 0.1

Routes = frozenset[tuple[str, str]]
Rules = frozenset[str]


class Operator:
    """Makes changes of every kind, one after the other, and remembers what must be there."""

    def __init__(self, seed: int, backends: list[str]):
        self._random = random.Random(seed)
        self._backends = backends
        self.acknowledged = 0
        self.revision = 0
        self.state: tuple[Routes, Rules] = (frozenset(), frozenset())
        self.in_flight: tuple[Routes, Rules] | None = None

    def run(self, proxy: AdministeredProxy) -> None:
        """Until the server is gone."""
        try:
            with Admin(f"unix:{proxy.admin_socket}") as admin:
                while True:
                    self._change(admin, proxy.listener_name())
        except grpc.RpcError as error:
            assert error.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED), error

    def _change(self, admin: Admin, listener: str) -> None:
        (method, request), after = self._next(listener)
        self.in_flight = after
        answer = admin.call(method, request)
        self.state, self.in_flight = after, None
        self.acknowledged += 1
        assert answer.revision == self.revision + 1, "each change makes one revision"
        self.revision = answer.revision

    def _next(self, listener: str):
        routes, rules = self.state
        choice = self._random.random()
        hostname = f"app{self._random.randrange(10_000)}.example.com"
        backend = self._random.choice(self._backends)
        cidr = f"10.{self._random.randrange(256)}.{self._random.randrange(256)}.0/24"
        known = {name for name, _ in routes}
        if choice < 0.25 and len(routes) > 3:
            gone = self._random.choice(sorted(routes))
            request = "RemoveRoute", api.RemoveRouteRequest(listener_addr=listener, hostname=gone[0])
            return request, (routes - {gone}, rules)
        if choice < 0.4 and cidr not in rules:
            request = "AddFirewallRule", api.AddFirewallRuleRequest(rule=api.FirewallRule(type=CIDR, value=cidr))
            return request, (routes, rules | {cidr})
        if choice < 0.6 and rules and len(routes) > 3 and hostname not in known:
            # Of three tables at once: all of it or none.
            gone, old = self._random.choice(sorted(routes)), self._random.choice(sorted(rules))
            changes = [add(listener, hostname, backend), remove(listener, gone[0]), unblock(CIDR, old)]
            if cidr not in rules:
                changes.append(block(CIDR, cidr))
            request = "ApplyChanges", api.ApplyChangesRequest(changes=changes)
            return request, (routes - {gone} | {(hostname, backend)}, rules - {old} | {cidr})
        if hostname in known:
            return self._next(listener)
        request = "AddRoute", api.AddRouteRequest(listener_addr=listener, route=route(hostname, backend))
        return request, (routes | {(hostname, backend)}, rules)

    def reconcile(self, found: tuple[Routes, Rules], revision: int) -> bool:
        """Takes what a restarted server has; true if the change in flight is in it."""
        if found == self.state and revision == self.revision:
            took = False
        else:
            assert self.in_flight is not None, "something changed without a request"
            assert found == self.in_flight, "what is there is neither before nor after the change in flight"
            assert revision == self.revision + 1
            took = True
        self.state, self.revision, self.in_flight = found, revision, None
        return took


def contents(proxy: AdministeredProxy) -> tuple[Routes, Rules]:
    return frozenset(proxy.routes().items()), frozenset(value for _, value in proxy.rules())


def integrity(proxy: AdministeredProxy) -> str:
    with sqlite3.connect(proxy.database) as connection:
        answer = connection.execute("PRAGMA integrity_check").fetchone()[0]
    connection.close()
    return answer


def test_what_was_acknowledged_survives_kill_9(start_administered: Callable, start_backend: Callable) -> None:
    chance = random.Random(4)
    backend = start_backend(Backend(echo))
    proxy: AdministeredProxy = start_administered(routes={})
    operator = Operator(1, [backend.address])
    operator.revision = proxy.revision()
    kills = in_flight_kept = 0
    while kills < KILLS or operator.acknowledged < CHANGES:
        change = threading.Thread(target=operator.run, args=(proxy,))
        change.start()
        # The moment is the point here: it must not depend on what the server does.
        time.sleep(chance.random() * KILL_WITHIN_S)
        proxy.kill()
        change.join()
        kills += 1
        assert integrity(proxy) == "ok"
        proxy.start()
        in_flight_kept += operator.reconcile(contents(proxy), proxy.revision())
        expect_traffic_follows(proxy, operator, chance)
    print(f"{operator.acknowledged} changes acknowledged, {kills} kills, {in_flight_kept} changes in flight were kept")


def expect_traffic_follows(proxy: AdministeredProxy, operator: Operator, chance: random.Random) -> None:
    routes, _ = operator.state
    if routes:
        proxy.expect_served(chance.choice(sorted(routes))[0])
    proxy.expect_refused("no_route", "never.example.com")
