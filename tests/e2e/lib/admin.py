# SPDX-License-Identifier: Apache-2.0
"""A client of the admin API in Python, and a proxy with that API.

The messages come from the .proto files through protoc and a descriptor pool, the calls from grpcio's generic channel:
nothing is generated into this folder, and gRPC's tools for Python are not needed. (Generated modules would not work:
the one of grpc/health/v1 would have to be in grpcio's own package.)
"""

import contextlib
import functools
import os
import shutil
import signal
import sqlite3
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

# gRPC's hooks around fork() would disturb the programs that tests run.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")

import grpc
from google.protobuf import descriptor_pb2, message_factory
from google.protobuf.message import Message

from certs import Certificate
from harness import (
    PATIENCE,
    REPOSITORY,
    Proxy,
    reserve_port,
)

SERVICE = "mc_proxy.v1.ProxyAdminService"
HEALTH = "grpc.health.v1.Health"

IP, CIDR, COUNTRY = (f"FIREWALL_RULE_TYPE_{name}" for name in ("IP", "CIDR", "COUNTRY"))

# Addresses of clients that only firewall rules are about, so that the rules do not affect other clients of a test.
MALLORY, TRENT = "127.0.0.66", "127.0.0.99"


# ---- messages


@functools.cache
def _messages() -> dict[str, type[Message]]:
    """The class of every message of proto/, by its full name."""
    files = sorted((REPOSITORY / "proto").rglob("*.proto"))
    assert files, "there is no .proto file"
    with tempfile.TemporaryDirectory() as directory:
        compiled = Path(directory) / "all.pb"
        done = subprocess.run(
            ["protoc", "-I", REPOSITORY / "proto", "--include_imports", "--descriptor_set_out", compiled, *files],
            capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 0, f"protoc: {done.stderr}"
        descriptors = descriptor_pb2.FileDescriptorSet.FromString(compiled.read_bytes())
    return message_factory.GetMessages(descriptors.file)


class _Package:
    """`api.Route(hostname=...)` makes a message of the package."""

    def __init__(self, name: str):
        self._name = name

    def __getattr__(self, message: str) -> type[Message]:
        return _messages()[f"{self._name}.{message}"]


api = _Package("mc_proxy.v1")
health = _Package("grpc.health.v1")


def enum_name(message: Message, field: str) -> str:
    """The name of the value that an enum field has."""
    values = message.DESCRIPTOR.fields_by_name[field].enum_type.values_by_number
    return values[getattr(message, field)].name


def route(hostname: str, backend: object) -> Message:
    return api.Route(hostname=hostname, backend=getattr(backend, "address", backend))


def rule(kind: str, value: str) -> Message:
    return api.FirewallRule(type=kind, value=value)


def put(listener: str, hostname: str, backend: object) -> Message:
    return api.Change(put_route=api.ListenerRoute(listener_addr=listener, route=route(hostname, backend)))


def add(listener: str, hostname: str, backend: object) -> Message:
    return api.Change(add_route=api.ListenerRoute(listener_addr=listener, route=route(hostname, backend)))


def remove(listener: str, hostname: str) -> Message:
    return api.Change(remove_route=api.ListenerHostname(listener_addr=listener, hostname=hostname))


def block(kind: str, value: str) -> Message:
    return api.Change(add_firewall_rule=rule(kind, value))


def unblock(kind: str, value: str) -> Message:
    return api.Change(remove_firewall_rule=rule(kind, value))


# ---- the client


class ClientTls(NamedTuple):
    """PEM files: the CA that the client trusts, and the certificate that it shows, if any."""

    ca: Path
    certificate: Certificate | None = None

    def credentials(self) -> grpc.ChannelCredentials:
        shown = self.certificate
        return grpc.ssl_channel_credentials(
            self.ca.read_bytes(), shown and shown.key.read_bytes(), shown and shown.certificate.read_bytes()
        )


class Admin:
    """A connection to the admin API: `target` is "unix:/path" or, with `tls`, "host:port".

    Each RPC is a method: admin.AddRoute(listener_addr=":443", route=...) takes the fields of the request and returns
    the response; one that fails raises grpc.RpcError. See refused().
    """

    def __init__(self, target: str, tls: ClientTls | None = None, window: int | None = None):
        """`window`: how many bytes of a stream the server may send before the client reads; else gRPC decides."""
        options = [
            ("grpc.use_local_subchannel_pool", 1),  # a connection of its own
            ("grpc.enable_http_proxy", 0),
            ("grpc.max_send_message_length", -1),
            ("grpc.max_receive_message_length", 64 << 20),
            ("grpc.initial_reconnect_backoff_ms", 100),
        ]
        if window is not None:
            options += [("grpc.http2.bdp_probe", 0), ("grpc.http2.lookahead_bytes", window)]
        self.channel = (
            grpc.secure_channel(target, tls.credentials(), options) if tls else grpc.insecure_channel(target, options)
        )

    def __getattr__(self, method: str) -> Any:
        if not method[0].isupper():
            raise AttributeError(method)
        return functools.partial(self.call, method)

    def call(self, method: str, request: Message | None = None, **fields: object) -> Any:
        request = request if request is not None else _messages()[f"mc_proxy.v1.{method}Request"](**fields)
        return self.call_unary(f"/{SERVICE}/{method}", request, _messages()[f"mc_proxy.v1.{method}Response"])

    def CreateSnapshot(self) -> Iterator[Any]:
        return self._stream(f"/{SERVICE}/CreateSnapshot", api.CreateSnapshotRequest(), api.CreateSnapshotResponse)

    def snapshot(self) -> bytes:
        """The whole file that CreateSnapshot streams."""
        pieces = list(self.CreateSnapshot())
        content = b"".join(piece.chunk for piece in pieces)
        assert pieces[0].size == len(content)
        assert all(piece.size == 0 for piece in pieces[1:])
        assert all(0 < len(piece.chunk) <= 1 << 20 for piece in pieces)
        return content

    def ListConnections(self, **filter: object) -> Any:
        """The stream, which can be iterated once and cancelled."""
        request = api.ListConnectionsRequest(filter=api.ConnectionFilter(**filter))
        return self._stream(f"/{SERVICE}/ListConnections", request, api.ListConnectionsResponse)

    def connections(self, **filter: object) -> list[Any]:
        """All connections that ListConnections streams, as one list."""
        return [connection for message in self.ListConnections(**filter) for connection in message.connections]

    def close_connections(self, **filter: object) -> int:
        return self.CloseConnections(filter=api.ConnectionFilter(**filter)).closed

    def WatchEvents(self, **fields: object) -> Any:
        """The stream, which can be iterated once and cancelled."""
        return self._stream(f"/{SERVICE}/WatchEvents", api.WatchEventsRequest(**fields), api.WatchEventsResponse)

    @contextlib.contextmanager
    def watch(self, **fields: object) -> Iterator["Watch"]:
        """Starts WatchEvents with these fields in its request."""
        stream = self.WatchEvents(**fields)
        try:
            yield Watch(stream)
        finally:
            stream.cancel()

    def health(self, service: str = "") -> str:
        response = self.call_unary(
            f"/{HEALTH}/Check", health.HealthCheckRequest(service=service), health.HealthCheckResponse
        )
        return _serving_status(response)

    def watch_health(self, service: str = "") -> Iterator[str]:
        stream = self._stream(
            f"/{HEALTH}/Watch", health.HealthCheckRequest(service=service), health.HealthCheckResponse
        )
        return map(_serving_status, stream)

    def call_unary(self, path: str, request: Message | bytes, response: type[Message]) -> Any:
        """A call by its path. A request of bytes is sent unchanged."""
        return self.channel.unary_unary(path, request_serializer=_serialize, response_deserializer=response.FromString)(
            request, timeout=PATIENCE
        )

    def close(self) -> None:
        self.channel.close()

    def __enter__(self) -> "Admin":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _stream(self, path: str, request: Message, response: type[Message]) -> Iterator[Any]:
        return self.channel.unary_stream(
            path, request_serializer=_serialize, response_deserializer=response.FromString
        )(request, timeout=PATIENCE)


class Watch:
    """A stream of events that has started."""

    def __init__(self, stream: Iterator[Any]):
        self._stream = stream
        kind, self.started = self.next()
        assert kind == "watch_started"

    def next(self) -> tuple[str, Any]:
        """The next event: its kind and its content."""
        message = next(self._stream)
        assert message.time.seconds > 0
        kind = message.WhichOneof("event")
        return kind, getattr(message, kind)

    def expect(self, kind: str) -> Any:
        """The next event, which must be of this kind."""
        got, event = self.next()
        assert got == kind, f"{got}: {event}"
        return event


def _serialize(request: Message | bytes) -> bytes:
    return request if isinstance(request, bytes) else request.SerializeToString()


def _serving_status(response: Any) -> str:
    return type(response).ServingStatus.Name(response.status)


class Refusal(NamedTuple):
    """The error of a refused call; `fields` is from its google.rpc.BadRequest: field -> description."""

    code: grpc.StatusCode
    message: str
    fields: dict[str, str]


class Refused:
    """The target of `with refused() as refusal`, which sets its value."""

    value: Refusal

    @property
    def code(self) -> grpc.StatusCode:
        return self.value.code

    @property
    def message(self) -> str:
        return self.value.message

    @property
    def fields(self) -> dict[str, str]:
        return self.value.fields


@contextlib.contextmanager
def refused(code: grpc.StatusCode, *words: str) -> Iterator[Refused]:
    """The call inside must fail with this code, and with these words in its message."""
    told = Refused()
    try:
        yield told
    except grpc.RpcError as error:
        told.value = Refusal(error.code(), error.details(), _violations(error))
    else:
        raise AssertionError(f"the call went through; {code.name} was expected")
    assert told.code == code, f"{told.code}: {told.message}"
    for some in words:
        assert some in told.message


def _violations(error: grpc.RpcError) -> dict[str, str]:
    details = dict(error.trailing_metadata() or ()).get("grpc-status-details-bin")
    if details is None:
        return {}
    status = _messages()["google.rpc.Status"].FromString(details)
    assert (status.code, status.message) == (error.code().value[0], error.details())
    bad_request = _messages()["google.rpc.BadRequest"]()
    assert status.details[0].Unpack(bad_request)
    return {violation.field: violation.description for violation in bad_request.field_violations}


# ---- the proxy


class ServerTls(NamedTuple):
    """The server's certificate, and the CA of its clients."""

    certificate: Certificate
    client_ca: Path


class AdministeredProxy(Proxy):
    """A proxy with an admin API on a Unix socket, and on TCP too if it is given `tls`. Keywords as for Proxy.

    `admin` is a client on the socket, a new one for each start.
    """

    admin: Admin

    def __init__(self, directory: Path, *, tls: ServerTls | None = None, **options: Any):
        # Not below `directory`, because a socket's path has at most 107 bytes.
        self._short = Path(tempfile.mkdtemp(prefix="mcp-", dir="/tmp"))
        self.admin_socket = self._short / "admin.sock"
        self._admin_reserved = reserve_port("127.0.0.1")
        self.admin_port: int = self._admin_reserved.getsockname()[1]
        grpc_table: dict[str, object] = {"socket": str(self.admin_socket)}
        if tls is not None:
            grpc_table |= {
                "addr": f"127.0.0.1:{self.admin_port}",
                "tls_cert": str(tls.certificate.certificate),
                "tls_key": str(tls.certificate.key),
                "client_ca": str(tls.client_ca),
            }
        tables: Mapping[str, Mapping[str, object]] = options.pop("tables", None) or {}
        super().__init__(directory, tables={**tables, "grpc": grpc_table}, **options)

    def start(self) -> "AdministeredProxy":
        super().start()
        self.admin = Admin(f"unix:{self.admin_socket}")
        return self

    def stop(self, number: int = signal.SIGTERM, timeout: float = PATIENCE) -> int:
        # A server waits for its clients to disconnect, and a client in Python does so only when it is used.
        self.admin.close()
        return super().stop(number, timeout)

    def _reap(self) -> None:
        if hasattr(self, "admin"):
            self.admin.close()
        super()._reap()

    def close(self) -> None:
        try:
            super().close()
        finally:
            self._admin_reserved.close()
            shutil.rmtree(self._short, ignore_errors=True)

    def __enter__(self) -> "AdministeredProxy":
        return self.start()

    # ---- its state

    def listener_name(self, listener: int = 0) -> str:
        return f"{self.listeners[listener].host}:{self.ports[listener]}"

    def routes(self, listener: int = 0) -> dict[str, str]:
        answer = self.admin.ListRoutes(listener_addr=self.listener_name(listener))
        assert not answer.next_page_token
        return {one.hostname: one.backend for one in answer.routes}

    def rules(self) -> list[tuple[str, str]]:
        answer = self.admin.GetFirewallRules()
        assert not answer.next_page_token
        names = api.FirewallRule.DESCRIPTOR.fields_by_name["type"].enum_type.values_by_number
        return [(names[one.type].name, one.value) for one in answer.rules]

    def pools(self) -> list[Any]:
        """The pools as they are configured, with the states of their backends; without health and counters."""
        answer = self.admin.ListPools()
        assert not answer.next_page_token
        return [one.pool for one in answer.pools]

    def revision(self) -> int:
        return self.admin.GetStatus().revision

    def rows(self, query: str) -> list[tuple]:
        """The rows that the query selects from the database on disk, read as by another process."""
        return rows(self.database, query)

    def last_audit(self) -> tuple[int, str, str, str]:
        """Revision, who, action and detail of the last change."""
        return self.rows("SELECT revision, who, action, detail FROM audit ORDER BY id DESC LIMIT 1")[0]

    def everything(self) -> tuple:
        """All state that a refused request must leave unchanged."""
        return (
            self.revision(),
            [self.routes(i) for i in range(len(self.listeners))],
            self.rules(),
            self.pools(),
            self.rows("SELECT * FROM routes"),
            self.rows("SELECT * FROM pools"),
            self.rows("SELECT * FROM backends"),
            self.rows("SELECT * FROM firewall_rules"),
            self.rows("SELECT * FROM audit"),
        )


def rows(database: Path, query: str) -> list[tuple]:
    with contextlib.closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        return connection.execute(query).fetchall()
