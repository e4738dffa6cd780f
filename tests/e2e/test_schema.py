# SPDX-License-Identifier: Apache-2.0
"""A database of an older version is taken over by a server that may write nowhere but in its directory."""

import sqlite3
from collections.abc import Callable
from contextlib import closing

from admin import AdministeredProxy

ROUTES = 5_000

# Back to version 2, as the migration to 3 found it.
BACK = """
CREATE TABLE old (listener TEXT NOT NULL, hostname TEXT NOT NULL, backend TEXT NOT NULL, pool TEXT NOT NULL DEFAULT '',
  PRIMARY KEY (listener, hostname)) STRICT, WITHOUT ROWID;
INSERT INTO old SELECT listener, hostname, backend, pool FROM routes;
DROP TABLE routes;
ALTER TABLE old RENAME TO routes;
ALTER TABLE pools DROP COLUMN send_proxy;
ALTER TABLE pools DROP COLUMN send_proxy_tlvs;
DROP TABLE resolved_names;
PRAGMA user_version = 2;
"""


def test_many_routes_of_the_version_before_are_migrated(start_administered: Callable[..., AdministeredProxy]) -> None:
    proxy = start_administered(routes={})
    listener = proxy.listener_name()
    proxy.stop()
    with closing(sqlite3.connect(proxy.database)) as database:
        database.executemany(
            "INSERT INTO routes (listener, hostname, backend) VALUES (?, ?, '192.0.2.1:443')",
            ((listener, f"{i}.{'x' * 40}.example.com") for i in range(ROUTES)),
        )
        database.executescript(BACK)
    proxy.start()
    assert proxy.cli("routes", "list").out.count("example.com 192.0.2.1:443") == ROUTES
