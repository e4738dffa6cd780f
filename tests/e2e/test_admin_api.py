# SPDX-License-Identifier: Apache-2.0
"""Each RPC of the admin API: what it does to traffic, to the database and to what the other RPCs show."""

import os
import time
from pathlib import Path

import grpc
import pytest
from google.protobuf.message import Message

from admin import (
    CIDR,
    COUNTRY,
    IP,
    MALLORY,
    TRENT,
    add,
    api,
    block,
    put,
    refused,
    remove,
    route,
    rule,
    unblock,
)
from geoip import write_database
from harness import Backend, Listener, echo, expect_echo, expect_rst, until

StatusCode = grpc.StatusCode


def me() -> str:
    return f"uid=0(root) pid={os.getpid()}" if os.getuid() == 0 else f"uid={os.getuid()}"


# ---- routes


def test_an_added_route_is_followed_by_the_next_connection_and_is_on_disk(proxy, backend) -> None:
    proxy.expect_refused("no_route", "new.example.com")
    name = proxy.listener_name()
    answer = proxy.admin.AddRoute(listener_addr=name, route=route("New.Example.COM.", backend))
    assert answer.revision == 2
    assert proxy.expect_served("new.example.com") == backend.address
    assert (name, "new.example.com", "", "", backend.address, "") in proxy.rows("SELECT * FROM routes")
    revision, who, action, detail = proxy.last_audit()
    assert (revision, action) == (2, "add_route")
    assert who.startswith(me())
    assert detail == f"{name} new.example.com none -> {backend.address}"
    proxy.wait_log(level="INFO", msg="policy changed", action="add_route", revision=2, by=who)


def test_a_removed_route_is_refused_from_the_next_connection_on_and_open_ones_go_on(proxy) -> None:
    with proxy.open_connection() as client:
        answer = proxy.admin.RemoveRoute(listener_addr=proxy.listener_name(), hostname="APP.example.com")
        assert answer.revision == 2
        proxy.expect_refused("no_route")
        expect_echo(client)
    assert proxy.routes() == {}
    assert proxy.rows("SELECT * FROM routes") == []
    assert proxy.last_audit()[2] == "remove_route"


def test_a_route_that_is_there_cannot_be_added_whatever_its_backend(proxy, backend) -> None:
    before = proxy.everything()
    for target in (backend.address, "192.0.2.1:443"):
        with refused(StatusCode.ALREADY_EXISTS, '"app.example.com"', backend.address):
            proxy.admin.AddRoute(listener_addr=proxy.listener_name(), route=route("app.example.com", target))
    with refused(StatusCode.NOT_FOUND, '"other.example.com"'):
        proxy.admin.RemoveRoute(listener_addr=proxy.listener_name(), hostname="other.example.com")
    assert proxy.everything() == before


def test_the_closest_of_the_added_routes_wins_at_once(proxy, backend, start_backend) -> None:
    apps, fallback = start_backend(Backend(echo)), start_backend(Backend(echo))
    for hostname, target in (("*", fallback), ("*.example.com", apps)):
        proxy.admin.AddRoute(listener_addr=proxy.listener_name(), route=route(hostname, target))
    assert proxy.expect_served("app.example.com") == backend.address
    assert proxy.expect_served("a.b.example.com") == apps.address
    assert proxy.expect_served("example.com") == fallback.address
    assert list(proxy.routes()) == ["*", "*.example.com", "app.example.com"]


def test_a_route_belongs_to_its_listener_alone(start_administered, backend) -> None:
    proxy = start_administered(listeners=[Listener({}), Listener({})])
    proxy.admin.AddRoute(listener_addr=proxy.listener_name(1), route=route("app.example.com", backend))
    proxy.expect_refused("no_route", listener=0)
    proxy.expect_served(listener=1)
    assert (proxy.routes(0), proxy.routes(1)) == ({}, {"app.example.com": backend.address})


def test_replaced_routes_are_told_by_what_changed(proxy, backend, start_backend) -> None:
    other = start_backend(Backend(echo))
    name = proxy.listener_name()

    def replace(routes: dict[str, object], **terms: object):
        answer = proxy.admin.ReplaceRoutes(
            listener_addr=name, routes=[route(*pair) for pair in routes.items()], **terms
        )
        summary = answer.summary
        return answer.revision, (summary.routes_added, summary.routes_changed, summary.routes_removed)

    wanted = {"app.example.com": backend, "b.example.com": backend, "c.example.com": backend}
    assert replace(wanted, dry_run=True) == (1, (2, 0, 0))
    assert list(proxy.routes()) == ["app.example.com"]
    assert replace(wanted) == (2, (2, 0, 0))
    assert replace(wanted) == (2, (0, 0, 0))
    assert replace({"b.example.com": other, "c.example.com": backend, "d.example.com": other}) == (3, (1, 1, 1))
    assert proxy.expect_served("b.example.com") == other.address
    assert proxy.expect_served("c.example.com") == backend.address
    proxy.expect_refused("no_route", "app.example.com")
    action, detail = proxy.last_audit()[2:]
    assert action == "replace_routes"
    assert [change.split()[1] for change in detail.split("; ")] == ["app.example.com", "b.example.com", "d.example.com"]
    assert replace({}) == (4, (0, 0, 3))
    assert proxy.routes() == {}


def test_a_replacement_with_the_same_host_name_twice_is_refused_by_its_place(proxy, backend) -> None:
    before = proxy.everything()
    routes = [route("a.example.com", backend), route("b.example.com", backend), route("A.example.com.", "192.0.2.1:1")]
    with refused(StatusCode.INVALID_ARGUMENT) as refusal:
        proxy.admin.ReplaceRoutes(listener_addr=proxy.listener_name(), routes=routes)
    assert refusal.fields == {"routes[2].hostname": '"A.example.com.": the same host name as routes[0]; leave one out'}
    assert proxy.everything() == before


# ---- firewall rules


@pytest.mark.parametrize(
    ("kind", "value", "reason"), [(IP, MALLORY, "blocked_ip"), (CIDR, "127.0.0.64/28", "blocked_cidr")]
)
def test_a_rule_blocks_the_next_connection_until_it_is_removed(proxy, kind: str, value: str, reason: str) -> None:
    proxy.expect_served(source=MALLORY)
    assert proxy.admin.AddFirewallRule(rule=rule(kind, value)).revision == 2
    proxy.expect_refused(reason, source=MALLORY)
    proxy.expect_served(source=TRENT)
    assert proxy.rules() == [(kind, value)]
    word = reason.removeprefix("blocked_")
    assert proxy.rows("SELECT * FROM firewall_rules") == [(word, value)]
    assert proxy.last_audit()[2:] == ("add_firewall_rule", f"+{word} {value}")

    assert proxy.admin.RemoveFirewallRule(rule=rule(kind, value)).revision == 3
    proxy.expect_served(source=MALLORY)
    assert proxy.rules() == []
    assert proxy.rows("SELECT * FROM firewall_rules") == []
    assert proxy.last_audit()[2:] == ("remove_firewall_rule", f"-{word} {value}")


def test_a_rule_that_is_there_in_another_spelling_cannot_be_added(proxy) -> None:
    proxy.admin.AddFirewallRule(rule=rule(IP, "::ffff:203.0.113.50"))
    assert proxy.rules() == [(IP, "203.0.113.50")]
    before = proxy.everything()
    with refused(StatusCode.ALREADY_EXISTS, 'ip "203.0.113.50"'):
        proxy.admin.AddFirewallRule(rule=rule(IP, "203.0.113.50"))
    with refused(StatusCode.NOT_FOUND, 'cidr "198.51.100.0/24"'):
        proxy.admin.RemoveFirewallRule(rule=rule(CIDR, "198.51.100.0/24"))
    assert proxy.everything() == before


def test_rules_are_shown_in_the_order_of_type_and_value_page_by_page(proxy) -> None:
    in_order = [
        (IP, "9.0.0.1"),
        (IP, "10.0.0.1"),
        (IP, "2001:db8::1"),
        (CIDR, "9.0.0.0/8"),
        (CIDR, "10.0.0.0/8"),
        (CIDR, "2001:db8::/32"),
    ]
    proxy.admin.ApplyChanges(changes=[block(*one) for one in reversed(in_order)])
    assert proxy.rules() == in_order
    seen, tokens, token = [], [], ""
    while True:
        page = proxy.admin.GetFirewallRules(page_size=2, page_token=token)
        assert page.revision == 2
        seen.append([one.value for one in page.rules])
        token = page.next_page_token
        if not token:
            break
        tokens.append(token)
    assert seen == [["9.0.0.1", "10.0.0.1"], ["2001:db8::1", "9.0.0.0/8"], ["10.0.0.0/8", "2001:db8::/32"]]
    # The rule that a token names may be gone by the next page, which then begins where it was.
    proxy.admin.RemoveFirewallRule(rule=rule(IP, "10.0.0.1"))
    page = proxy.admin.GetFirewallRules(page_size=2, page_token=tokens[0])
    assert [one.value for one in page.rules] == ["2001:db8::1", "9.0.0.0/8"]
    assert page.revision == 3


# ---- countries


@pytest.fixture
def geoip_db(tmp_path: Path) -> Path:
    return write_database(tmp_path / "GeoLite2-Country.mmdb", "country")


def test_a_country_rule_blocks_and_a_reloaded_database_moves_it(
    start_administered, backend, geoip_db: Path
) -> None:
    proxy = start_administered(routes={"*": backend}, firewall={"geoip_db": str(geoip_db)})
    proxy.expect_served()
    assert proxy.admin.AddFirewallRule(rule=rule(COUNTRY, "de")).revision == 2
    proxy.expect_refused("blocked_country")
    assert proxy.rules() == [(COUNTRY, "DE")]
    assert proxy.admin.GetStatus().geoip.type == "GeoLite2-Country"

    write_database(geoip_db, "country_moved")
    proxy.expect_refused("blocked_country")
    answer = proxy.admin.ReloadGeoIP()
    assert (answer.geoip.type, answer.revision) == ("GeoLite2-Country", 2)
    assert abs(answer.geoip.built_at.seconds - time.time()) < 24 * 3600
    proxy.expect_served()
    assert proxy.wait_log(msg="GeoIP database reloaded")["by"].startswith(me())


@pytest.mark.parametrize("damage", ["empty", "truncated", "foreign", "missing", "text"])
def test_a_database_that_cannot_be_read_is_refused_and_the_old_one_stays(
    start_administered, backend, geoip_db: Path, damage: str
) -> None:
    proxy = start_administered(routes={"*": backend}, firewall={"geoip_db": str(geoip_db), "blocked_countries": ["DE"]})
    built_at = proxy.admin.GetStatus().geoip.built_at
    match damage:
        case "empty":
            geoip_db.write_bytes(b"")
        case "truncated":
            geoip_db.write_bytes(geoip_db.read_bytes()[:200])
        case "foreign":
            write_database(geoip_db, "asn")
        case "missing":
            geoip_db.unlink()
        case "text":
            geoip_db.write_text("<html>404 Not Found</html>\n" * 100)
    with refused(StatusCode.FAILED_PRECONDITION, str(geoip_db)):
        proxy.admin.ReloadGeoIP()
    assert proxy.admin.GetStatus().geoip.built_at == built_at
    proxy.expect_refused("blocked_country")


def test_without_a_database_there_are_no_country_rules_and_nothing_to_reload(proxy) -> None:
    before = proxy.everything()
    with refused(StatusCode.FAILED_PRECONDITION, "firewall: geoip_db is required"):
        proxy.admin.AddFirewallRule(rule=rule(COUNTRY, "RU"))
    with refused(StatusCode.FAILED_PRECONDITION, "no GeoIP database is configured"):
        proxy.admin.ReloadGeoIP()
    assert not proxy.admin.GetStatus().HasField("geoip")
    assert proxy.everything() == before


def test_a_database_that_comes_after_the_start_serves_the_first_country_rule(
    start_administered, backend, tmp_path: Path
) -> None:
    path = tmp_path / "late.mmdb"
    proxy = start_administered(routes={"*": backend}, firewall={"geoip_db": str(path)})
    with refused(StatusCode.FAILED_PRECONDITION, "firewall: geoip_db is required", str(path)):
        proxy.admin.AddFirewallRule(rule=rule(COUNTRY, "DE"))
    write_database(path, "country")
    proxy.admin.AddFirewallRule(rule=rule(COUNTRY, "DE"))
    proxy.expect_refused("blocked_country")


# ---- open connections of blocked clients


@pytest.mark.parametrize(("configured", "asked"), [(False, True), (True, None)])
def test_a_rule_that_cuts_resets_the_open_connections_of_its_clients_alone(
    start_administered, backend, configured: bool, asked: bool | None
) -> None:
    proxy = start_administered(routes={"*": backend}, firewall={"cut_established": configured})
    terms = {} if asked is None else {"cut_established": asked}
    with proxy.open_connection(source=MALLORY) as blocked, proxy.open_connection(source=TRENT) as other:
        proxy.admin.AddFirewallRule(rule=rule(IP, MALLORY), **terms)
        expect_rst(blocked)
        assert proxy.outcome(blocked)["reason"] == "firewall_cut"
        expect_echo(other)
    until(lambda: proxy.admin.GetStatus().ended["firewall_cut"] == 1, "the cut is counted")


def test_a_rule_that_is_there_can_still_be_made_to_cut(start_administered, backend) -> None:
    """Under attack the client is blocked first, and cut when it turns out to have connections open."""
    proxy = start_administered(routes={"*": backend}, workers=1)
    with proxy.open_connection(source=MALLORY) as client:
        proxy.admin.AddFirewallRule(rule=rule(IP, MALLORY))
        expect_echo(client)
        again = api.Change(put_firewall_rule=rule(IP, MALLORY))
        answer = proxy.admin.ApplyChanges(changes=[again], cut_established=True)
        assert answer.revision == 2, "it is there already"
        expect_rst(client)
    assert proxy.outcome(client)["reason"] == "firewall_cut"
    with proxy.open_connection(source=TRENT) as client:
        proxy.admin.AddFirewallRule(rule=rule(IP, TRENT))
        assert proxy.cli("firewall", "add", "--cut", TRENT).code == 0
        expect_rst(client)


@pytest.mark.parametrize(("configured", "asked"), [(False, None), (True, False)])
def test_a_rule_that_does_not_cut_leaves_open_connections_alone(
    start_administered, backend, configured: bool, asked: bool | None
) -> None:
    proxy = start_administered(routes={"*": backend}, firewall={"cut_established": configured}, workers=1)
    terms = {} if asked is None else {"cut_established": asked}
    with proxy.open_connection(source=MALLORY) as spared, proxy.open_connection(source=TRENT) as cut:
        proxy.admin.AddFirewallRule(rule=rule(IP, MALLORY), **terms)
        proxy.expect_refused("blocked_ip", source=MALLORY)
        # Cutting another one later does not make up for it; when that one is gone, the first would be too.
        proxy.admin.ApplyChanges(changes=[block(IP, TRENT)], cut_established=True)
        expect_rst(cut)
        expect_echo(spared)


def test_a_reloaded_database_cuts_whoever_is_in_a_blocked_country_now(
    start_administered, backend, geoip_db: Path
) -> None:
    write_database(geoip_db, "country_moved")
    firewall = {"geoip_db": str(geoip_db), "blocked_countries": ["DE"], "cut_established": True}
    proxy = start_administered(routes={"*": backend}, firewall=firewall)
    with proxy.open_connection() as client:
        write_database(geoip_db, "country")
        proxy.admin.ReloadGeoIP()
        expect_rst(client)
        assert proxy.outcome(client)["reason"] == "firewall_cut"


# ---- batches


def test_a_batch_over_listeners_and_rules_is_one_revision(start_administered, backend) -> None:
    proxy = start_administered(listeners=[Listener({"app.example.com": backend}), Listener({})])
    answer = proxy.admin.ApplyChanges(
        changes=[
            remove(proxy.listener_name(0), "app.example.com"),
            put(proxy.listener_name(1), "app.example.com", backend),
            add(proxy.listener_name(1), "*", backend),
            block(IP, MALLORY),
        ]
    )
    summary = answer.summary
    assert answer.revision == 2
    assert (summary.routes_added, summary.routes_changed, summary.routes_removed) == (2, 0, 1)
    assert (summary.firewall_rules_added, summary.firewall_rules_removed) == (1, 0)
    proxy.expect_refused("no_route", listener=0)
    proxy.expect_served(listener=1)
    proxy.expect_refused("blocked_ip", source=MALLORY, listener=1)
    revision, detail = proxy.last_audit()[::3]
    first, second = proxy.listener_name(0), proxy.listener_name(1)
    assert revision == 2
    assert sorted(detail.split("; ")) == sorted([
        f"+ip {MALLORY}", f"{first} app.example.com {backend.address} -> none",
        f"{second} * none -> {backend.address}", f"{second} app.example.com none -> {backend.address}",
    ])  # fmt: skip


def test_each_change_of_a_batch_sees_what_those_before_it_have_done(proxy, backend) -> None:
    name = proxy.listener_name()
    answer = proxy.admin.ApplyChanges(
        changes=[
            remove(name, "app.example.com"),
            add(name, "app.example.com", "192.0.2.1:443"),  # changed, on the whole
            add(name, "gone.example.com", backend),
            remove(name, "gone.example.com"),  # nothing, on the whole
            put(name, "b.example.com", "192.0.2.1:443"),
            put(name, "b.example.com", backend),  # the last one counts
            block(IP, MALLORY),
            unblock(IP, MALLORY),
        ]
    )
    summary = answer.summary
    assert (summary.routes_added, summary.routes_changed, summary.routes_removed) == (1, 1, 0)
    assert (summary.firewall_rules_added, summary.firewall_rules_removed) == (0, 0)
    assert proxy.routes() == {"app.example.com": "192.0.2.1:443", "b.example.com": backend.address}
    proxy.expect_served(source=MALLORY, name="b.example.com")

    before = proxy.everything()
    for changes, code in (
        ([remove(name, "x.example.com"), add(name, "x.example.com", backend)], StatusCode.NOT_FOUND),
        ([add(name, "x.example.com", backend), add(name, "x.example.com", backend)], StatusCode.ALREADY_EXISTS),
        ([unblock(IP, MALLORY), block(IP, MALLORY)], StatusCode.NOT_FOUND),
        ([block(IP, MALLORY), block(IP, f"::ffff:{MALLORY}")], StatusCode.ALREADY_EXISTS),
    ):
        index = 0 if code == StatusCode.NOT_FOUND else 1
        with refused(code, f"changes[{index}]: "):
            proxy.admin.ApplyChanges(changes=changes)
    assert proxy.everything() == before


def test_one_wrong_change_among_ten_thousand_changes_nothing_and_is_named(proxy, backend) -> None:
    name = proxy.listener_name()
    changes = [put(name, f"h{i}.example.com", backend) for i in range(10_000)]
    before = proxy.everything()

    changes[7_777].put_route.route.backend = "backend.example.com:443"
    with refused(StatusCode.INVALID_ARGUMENT, '"backend.example.com:443"') as refusal:
        proxy.admin.ApplyChanges(changes=changes)
    assert list(refusal.fields) == ["changes[7777].put_route.route.backend"]

    changes[7_777] = add(name, "app.example.com", backend)
    with refused(StatusCode.ALREADY_EXISTS, "changes[7777]: "):
        proxy.admin.ApplyChanges(changes=changes)
    assert proxy.everything() == before

    changes[7_777] = put(name, "app.example.com", backend)
    assert proxy.admin.ApplyChanges(changes=changes, dry_run=True).summary.routes_added == 9_999
    assert proxy.everything() == before
    assert proxy.admin.ApplyChanges(changes=changes).summary.routes_added == 9_999
    assert proxy.revision() == 2
    assert proxy.rows("SELECT count(*) FROM routes") == [(10_000,)]
    proxy.expect_served("h9999.example.com")


def test_a_batch_that_is_wrong_throughout_is_told_by_its_first_mistakes(proxy) -> None:
    changes = [block(IP, f"no address {i}") for i in range(100)]
    with refused(StatusCode.INVALID_ARGUMENT, 'changes[0].add_firewall_rule.value: "no address 0"', "99 more") as told:
        proxy.admin.ApplyChanges(changes=changes)
    assert list(told.fields) == [f"changes[{i}].add_firewall_rule.value" for i in range(20)]


def test_what_changes_nothing_makes_no_revision(proxy, backend) -> None:
    name = proxy.listener_name()
    before = proxy.everything()
    no_changes = (
        [],
        [put(name, "app.example.com", backend)],
        [add(name, "x.example.com", backend), remove(name, "x.example.com")],
        [remove(name, "app.example.com"), add(name, "app.example.com", backend)],
        [block(IP, MALLORY), unblock(IP, MALLORY)],
    )
    for changes in no_changes:
        answer = proxy.admin.ApplyChanges(changes=changes)
        assert (answer.revision, answer.summary) == (1, api.ChangeSummary())
    assert proxy.everything() == before


def test_a_batch_too_long_to_tell_is_told_by_its_beginning_and_its_size(proxy) -> None:
    proxy.admin.ApplyChanges(changes=[block(IP, f"192.0.2.{i}") for i in range(200)])
    detail = proxy.last_audit()[3]
    assert detail.startswith("+ip 192.0.2.0; +ip 192.0.2.1; ")
    told = detail.count("+ip")
    assert detail.endswith(f"; and {200 - told} more") and 0 < told < 200


# ---- terms


def test_a_request_based_on_an_old_revision_is_aborted(proxy, backend) -> None:
    name = proxy.listener_name()
    proxy.admin.AddFirewallRule(rule=rule(IP, MALLORY), if_revision=1)
    before = proxy.everything()
    new = route("new.example.com", backend)
    for stale in (0, 1, 3, 2**64 - 1):
        for call in (
            lambda terms: proxy.admin.AddRoute(listener_addr=name, route=new, **terms),
            lambda terms: proxy.admin.RemoveRoute(listener_addr=name, hostname="app.example.com", **terms),
            lambda terms: proxy.admin.ReplaceRoutes(listener_addr=name, routes=[new], **terms),
            lambda terms: proxy.admin.ReplaceRoutes(listener_addr=name, routes=[new], dry_run=True, **terms),
            lambda terms: proxy.admin.AddFirewallRule(rule=rule(IP, TRENT), **terms),
            lambda terms: proxy.admin.RemoveFirewallRule(rule=rule(IP, MALLORY), **terms),
            lambda terms: proxy.admin.ApplyChanges(changes=[block(IP, TRENT)], **terms),
        ):
            with refused(StatusCode.ABORTED, f"if_revision is {stale}, but the current revision is 2"):
                call({"if_revision": stale})
    assert proxy.everything() == before
    assert proxy.admin.AddRoute(listener_addr=name, route=new, if_revision=2).revision == 3


def test_a_dry_run_tells_all_that_would_be_and_finds_all_that_is_wrong(proxy, backend) -> None:
    name = proxy.listener_name()
    before = proxy.everything()
    changes = [remove(name, "app.example.com"), put(name, "b.example.com", backend), block(IP, MALLORY)]
    answer = proxy.admin.ApplyChanges(changes=changes, dry_run=True, cut_established=True)
    assert answer.revision == 1
    assert answer.summary == api.ChangeSummary(routes_added=1, routes_removed=1, firewall_rules_added=1)
    for wrong, code in (
        (remove(name, "x.example.com"), StatusCode.NOT_FOUND),
        (block(COUNTRY, "RU"), StatusCode.FAILED_PRECONDITION),
        (block(COUNTRY, "UK"), StatusCode.INVALID_ARGUMENT),
    ):
        with refused(code):
            proxy.admin.ApplyChanges(changes=[*changes, wrong], dry_run=True)
    assert proxy.everything() == before
    proxy.expect_served(source=MALLORY)


# ---- large lists


def test_routes_come_page_by_page_in_the_order_of_their_names(proxy, backend) -> None:
    name = proxy.listener_name()
    wanted = sorted(["*", "*.b.example.com", "app.example.com", *(f"h{i:05}.example.com" for i in range(10_000))])
    proxy.admin.ReplaceRoutes(listener_addr=name, routes=[route(one, backend) for one in wanted])

    for size in (0, 10_000, 2**32 - 1):
        first = proxy.admin.ListRoutes(listener_addr=name, page_size=size)
        assert len(first.routes) == 10_000
        second = proxy.admin.ListRoutes(listener_addr=name, page_size=size, page_token=first.next_page_token)
        assert [one.hostname for one in (*first.routes, *second.routes)] == wanted
        assert (first.revision, second.revision, second.next_page_token) == (2, 2, "")

    small = proxy.admin.ListRoutes(listener_addr=name, page_size=3)
    assert [one.hostname for one in small.routes] == wanted[:3]
    assert small.routes[0].backend == backend.address
    # The route that a token names may be gone by the next page.
    proxy.admin.RemoveRoute(listener_addr=name, hostname=wanted[2])
    small = proxy.admin.ListRoutes(listener_addr=name, page_size=2, page_token=small.next_page_token)
    assert [one.hostname for one in small.routes] == wanted[3:5]
    assert small.revision == 3


def test_a_page_may_end_between_two_routes_of_one_host_name(proxy) -> None:
    name = proxy.listener_name()
    matches = [{}, {"sources": ["::1/128", "10.0.0.0/8"]}, {"sources": ["192.0.2.0/24"]}, {"alpn": "h2"},
               {"alpn": "h2", "sources": ["10.0.0.0/8"]}]
    wanted = [
        api.Route(hostname=host, backend="192.0.2.1:443", **match)
        for host in ("*", "a.example.com", "b.example.com") for match in matches
    ]
    proxy.admin.ReplaceRoutes(listener_addr=name, routes=wanted[::-1])
    for size in (1, 2, 7):
        assert listed_by(proxy, page_size=size) == wanted
    # The route that a token names may be gone by the next page.
    first = proxy.admin.ListRoutes(listener_addr=name, page_size=2)
    proxy.admin.RemoveRoute(listener_addr=name, hostname="*", sources=["10.0.0.0/8", "::1"])
    second = proxy.admin.ListRoutes(listener_addr=name, page_size=1, page_token=first.next_page_token)
    assert list(second.routes) == [wanted[2]]
    with refused(StatusCode.INVALID_ARGUMENT, "page_token"):
        proxy.admin.ListRoutes(listener_addr=name, page_token="a.example.com nonsense")


def test_a_page_of_routes_with_many_sources_fits_into_a_message(proxy) -> None:
    sources = [f"2001:db8:{i:x}:ffff:ffff:ffff:ffff:ffff/128" for i in range(1, 65)]
    wanted = [
        api.Route(hostname=f"h{i:04}.example.com", backend="192.0.2.1:443", sources=sources) for i in range(2_000)
    ]
    proxy.admin.ReplaceRoutes(listener_addr=proxy.listener_name(), routes=wanted)
    # The client takes no more than 4 MiB.
    assert listed_by(proxy) == wanted
    assert proxy.admin.GetStatus(routes_max=10_000).listeners[0].route_count == 2_000


def listed_by(proxy, **request: object) -> list[Message]:
    """The routes of the first listener, page by page."""
    listed, token = [], ""
    while not listed or token:
        page = proxy.admin.ListRoutes(listener_addr=proxy.listener_name(), page_token=token, **request)
        listed += page.routes
        token = page.next_page_token
    return listed


def test_a_host_name_has_sixteen_routes_that_ask_for_more(proxy) -> None:
    def asking(number: int) -> Message:
        route = api.Route(hostname="a.example.com", backend="192.0.2.1:443", alpn=f"p{number}")
        return api.Change(add_route=api.ListenerRoute(listener_addr=proxy.listener_name(), route=route))

    proxy.admin.ApplyChanges(changes=[asking(number) for number in range(16)])
    with refused(StatusCode.RESOURCE_EXHAUSTED, 'would have 17 routes for "a.example.com"', "at most 16"):
        proxy.admin.ApplyChanges(changes=[asking(16)])


def test_at_most_fifty_thousand_rules_are_on_a_page(proxy) -> None:
    values = [f"10.{i >> 16}.{i >> 8 & 255}.{i & 255}" for i in range(50_001)]
    proxy.admin.ApplyChanges(changes=[block(IP, value) for value in values])
    first = proxy.admin.GetFirewallRules()
    assert [one.value for one in first.rules] == values[:50_000]
    second = proxy.admin.GetFirewallRules(page_token=first.next_page_token)
    assert [one.value for one in second.rules] == values[50_000:]
    assert second.next_page_token == ""
    assert proxy.admin.GetStatus().firewall_rule_count == 50_001
