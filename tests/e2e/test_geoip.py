# SPDX-License-Identifier: Apache-2.0
"""Country rules against a real .mmdb, and its replacement while the server runs (RUNBOOK, "A fresh GeoIP database")."""

import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from geoip import write_database
from harness import Backend


@pytest.fixture
def blocked(tmp_path: Path, start_proxy: Callable, backend: Backend):
    """A server that blocks Germany, where these clients are, and the path of its database."""
    path = tmp_path / "GeoLite2-Country.mmdb"
    write_database(path, "country")
    proxy = start_proxy(routes={"*": backend}, firewall={"geoip_db": str(path), "blocked_countries": ["DE"]})
    return proxy, path


def test_a_client_from_a_blocked_country_is_reset(blocked) -> None:
    blocked[0].expect_blocked("blocked_country")


def test_a_database_copied_over_the_old_one_is_in_force_after_sighup(blocked, tmp_path: Path) -> None:
    proxy, path = blocked
    # Copied in place, as operators do it: the old file is truncated under the running server.
    write_database(path, "country_moved")
    proxy.expect_blocked("blocked_country")
    proxy.send_signal(signal.SIGHUP)
    proxy.wait_log(level="INFO", msg="received SIGHUP, reloading GeoIP database")
    proxy.wait_log(level="INFO", msg="GeoIP database reloaded")
    proxy.expect_served()


@pytest.mark.parametrize("damage", ["empty", "truncated", "foreign", "missing"])
def test_a_database_that_cannot_be_read_leaves_the_old_one_in_force(blocked, tmp_path: Path, damage: str) -> None:
    proxy, path = blocked
    match damage:
        case "empty":
            path.write_bytes(b"")
        case "truncated":
            path.write_bytes(path.read_bytes()[:200])
        case "foreign":
            write_database(path, "asn")
        case "missing":
            path.unlink()
    proxy.send_signal(signal.SIGHUP)
    line = proxy.wait_log(level="ERROR", msg="GeoIP database not reloaded; the one in force stays")
    assert str(path) in line["error"]
    proxy.expect_blocked("blocked_country")
