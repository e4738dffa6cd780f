# SPDX-License-Identifier: Apache-2.0
"""Builds ClientHello messages by hand, the wrong ones too. RFC 8446 sections 4.1.2 and 5.1.

client_hello() is the whole stream of a client's first flight; its parts (extension(), handshake(),
records()...) are there for the tests that need one of them to be wrong.
"""

import struct
from collections.abc import Iterable, Sequence
from itertools import chain, repeat
from typing import Any

HANDSHAKE = 22
ALERT = 21
CLIENT_HELLO = 1

SERVER_NAME = 0
ALPN = 16
PADDING = 21
PRE_SHARED_KEY = 41
EARLY_DATA = 42
SUPPORTED_VERSIONS = 43
ENCRYPTED_CLIENT_HELLO = 0xFE0D

RECORD_MAX = 16384

# Not random, so that a test that fails will fail again.
_RANDOM = bytes(range(32))
_SESSION_ID = bytes(range(0x80, 0xA0))
_CIPHERS = bytes.fromhex("130113021303c02bc02fc02cc030")

Name = str | bytes


def vector8(body: bytes) -> bytes:
    return struct.pack("!B", len(body)) + body


def vector16(body: bytes) -> bytes:
    return struct.pack("!H", len(body)) + body


def extension(kind: int, body: bytes = b"") -> bytes:
    return struct.pack("!H", kind) + vector16(body)


def server_name(*names: Name) -> bytes:
    """The server_name extension. More than one name is not allowed, but can be sent."""
    raw = (name.encode() if isinstance(name, str) else name for name in names)
    return extension(SERVER_NAME, vector16(b"".join(b"\0" + vector16(name) for name in raw)))


def alpn(*protocols: str) -> bytes:
    names = b"".join(vector8(protocol.encode()) for protocol in protocols)
    return extension(ALPN, vector16(names))


def supported_versions(*versions: int) -> bytes:
    return extension(SUPPORTED_VERSIONS, vector8(struct.pack(f"!{len(versions)}H", *versions)))


def hello_body(
    extensions: bytes | None,
    *,
    version: int = 0x0303,
    session_id: bytes = _SESSION_ID,
    ciphers: bytes = _CIPHERS,
    compressions: bytes = b"\0",
) -> bytes:
    """A ClientHello without its handshake header; without the extensions' block if that is None."""
    fixed = struct.pack("!H", version) + _RANDOM + vector8(session_id)
    fixed += vector16(ciphers) + vector8(compressions)
    return fixed if extensions is None else fixed + vector16(extensions)


def handshake(body: bytes, kind: int = CLIENT_HELLO) -> bytes:
    return struct.pack("!I", kind << 24 | len(body)) + body


def record(
    payload: bytes, version: int = 0x0301, kind: int = HANDSHAKE, length: int | None = None
) -> bytes:
    """One record; `length` is the length in its header, if it is to be wrong."""
    return struct.pack("!BHH", kind, version, len(payload) if length is None else length) + payload


def records(message: bytes, sizes: Iterable[int] = (), version: int = 0x0301) -> bytes:
    """The message in records of these payload sizes; the records after them have the maximum size."""
    stream = bytearray()
    begin = 0
    for size in chain(sizes, repeat(RECORD_MAX)):
        stream += record(message[begin : begin + size], version)
        begin += size
        if begin >= len(message):
            break
    return bytes(stream)


def hello_message(
    sni: Name | None = "app.example.com",
    *,
    alpn_protocols: Sequence[str] = (),
    extensions: bytes = b"",
    tls13: bool = True,
    pad_to: int | None = None,
    **body_fields: Any,
) -> bytes:
    """A whole ClientHello message, its handshake header included, padded to `pad_to` bytes."""
    block = b"" if sni is None else server_name(sni)
    block += alpn(*alpn_protocols) if alpn_protocols else b""
    block += supported_versions(0x0304, 0x0303) if tls13 else b""
    block += extensions
    message = handshake(hello_body(block, **body_fields))
    if pad_to is None:
        return message
    # RFC 7685: the padding is an extension of zeros, with a header of four bytes.
    missing = pad_to - len(message) - 4
    assert missing >= 0, f"{len(message)} bytes cannot be padded to {pad_to}"
    return handshake(hello_body(block + extension(PADDING, bytes(missing)), **body_fields))


def client_hello(
    sni: Name | None = "app.example.com",
    *,
    record_sizes: Iterable[int] = (),
    record_version: int = 0x0301,
    **message_fields: Any,
) -> bytes:
    """A ClientHello as it goes over the wire. Further fields: those of hello_message()."""
    return records(hello_message(sni, **message_fields), record_sizes, record_version)
