# SPDX-License-Identifier: Apache-2.0
"""A client behind a proxy that sends the PROXY protocol: who it is, and how it comes."""

import json

import proxy_protocol as pp
from admin import AdministeredProxy
from harness import Client, Listener, client_hello
from hello_site import NAME

HELLO = client_hello(NAME)

# The proxy in front of this one, and the client that it names; and where that client connected to.
FRONT = "127.0.0.9"
CLIENT, CLIENT6 = "192.0.2.77:4711", "[2001:db8::77]:4711"
FRONTEND, FRONTEND6 = "192.0.2.1:443", "[2001:db8::1]:443"

LINE = pp.v1(CLIENT, FRONTEND)
HEADER = pp.v2(CLIENT, FRONTEND)

TRUSTED = {"from": [FRONT], "others": "direct"}


def trusting(routes: dict, host: str = "127.0.0.1", **settings: object) -> Listener:
    """A listener that takes the header of FRONT."""
    return Listener(routes, host=host, settings={"proxy_protocol": TRUSTED | settings})


def come(proxy: AdministeredProxy, header: bytes = b"", client: str | None = CLIENT, listener: int = 0) -> Client:
    """FRONT connects, sends this header, and names a client; None: itself."""
    connection = proxy.connect(FRONT, listener=listener)
    connection.name = client or connection.name
    connection.sendall(header)
    return connection


def named(client: str, listener: str = FRONTEND) -> tuple[bytes, str]:
    """A header, and whom it names: the arguments of come()."""
    return pp.v2(client, listener), client


def listed(proxy: AdministeredProxy, *words: str) -> list[dict]:
    """What `connections list` shows."""
    return [json.loads(line) for line in proxy.cli("connections", "list", "--json", *words).out.splitlines()]
