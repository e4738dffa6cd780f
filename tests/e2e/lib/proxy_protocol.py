# SPDX-License-Identifier: Apache-2.0
"""The headers of the PROXY protocol, as its specification has them (HAProxy's doc/proxy-protocol.txt).

Written without a look at the proxy's own code, so that both can be wrong only in different ways.
"""

import ipaddress
import struct

from hello import vector16

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
LOCAL, PROXY = 0x20, 0x21  # version 2, and the command
UNSPEC, TCP4, UDP4, TCP6, UNIX = 0x00, 0x11, 0x12, 0x21, 0x31
AUTHORITY, CRC32C, NOOP, UNIQUE_ID = 0x02, 0x03, 0x04, 0x05

LINE_MAX = 107


def _split(address: str) -> tuple[ipaddress.IPv4Address | ipaddress.IPv6Address, int]:
    host, _, port = address.rpartition(":")
    return ipaddress.ip_address(host.strip("[]")), int(port)


def v1(source: str, destination: str) -> bytes:
    """The line for two addresses of one family, each "ip:port" as the proxy writes it."""
    (from_ip, from_port), (to_ip, to_port) = _split(source), _split(destination)
    assert from_ip.version == to_ip.version
    return f"PROXY TCP{from_ip.version} {from_ip} {to_ip} {from_port} {to_port}\r\n".encode()


def v2(source: str, destination: str, tlvs: bytes = b"") -> bytes:
    """The header for two addresses of one family."""
    (from_ip, from_port), (to_ip, to_port) = _split(source), _split(destination)
    assert from_ip.version == to_ip.version
    addresses = from_ip.packed + to_ip.packed + struct.pack("!HH", from_port, to_port)
    return v2_raw(PROXY, TCP4 if from_ip.version == 4 else TCP6, addresses + tlvs)


def v2_raw(command: int, family: int, rest: bytes = b"", length: int | None = None) -> bytes:
    """`length` is the one in the header, if it is to be wrong."""
    return SIGNATURE + struct.pack("!BBH", command, family, len(rest) if length is None else length) + rest


def tlv(kind: int, value: bytes) -> bytes:
    return bytes([kind]) + vector16(value)


def with_checksum(header: bytes, damage: int = 0) -> bytes:
    """A header of version 2 and its checksum at the end; a damaged one is wrong by these bits."""
    (length,) = struct.unpack("!H", header[14:16])
    length += 7
    zeroed = header[:14] + struct.pack("!H", length) + header[16:] + tlv(CRC32C, bytes(4))
    return zeroed[:-4] + struct.pack("!I", crc32c(zeroed) ^ damage)


def crc32c(data: bytes) -> int:
    """RFC 3720, appendix B.4, bit by bit."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF
