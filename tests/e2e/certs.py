# SPDX-License-Identifier: Apache-2.0
"""A throw-away certificate authority, made with the openssl program."""

import subprocess
from pathlib import Path
from typing import NamedTuple

# Longer than any test session, shorter than what any client calls too long.
_DAYS = "30"
_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")


class Certificate(NamedTuple):
    """PEM files."""

    certificate: Path
    key: Path


class Authority:
    """Issues server certificates. Clients trust `ca`, and only that."""

    def __init__(self, directory: Path):
        self._directory = directory
        self._issued: dict[tuple[str, ...], Certificate] = {}
        self.ca = directory / "ca.pem"
        self._ca_key = directory / "ca.key"
        _openssl(
            "req", "-x509", *_KEY, "-days", _DAYS, "-subj", "/CN=mc-proxy test authority",
            "-addext", "basicConstraints=critical,CA:TRUE",
            "-addext", "keyUsage=critical,keyCertSign,cRLSign",
            "-keyout", self._ca_key, "-out", self.ca,
        )  # fmt: skip

    def issue(self, *names: str) -> Certificate:
        """A certificate for these DNS names; the same names get the same one again."""
        if names not in self._issued:
            self._issued[names] = self._make(names)
        return self._issued[names]

    def _make(self, names: tuple[str, ...]) -> Certificate:
        stem = self._directory / f"server-{len(self._issued)}"
        made = Certificate(stem.with_suffix(".pem"), stem.with_suffix(".key"))
        request, extensions = stem.with_suffix(".csr"), stem.with_suffix(".ext")
        extensions.write_text(
            f"subjectAltName={','.join('DNS:' + name for name in names)}\n"
            "basicConstraints=critical,CA:FALSE\n"
            "keyUsage=critical,digitalSignature\n"
            "extendedKeyUsage=serverAuth\n"
        )
        _openssl("req", *_KEY, "-subj", f"/CN={names[0]}", "-keyout", made.key, "-out", request)
        _openssl(
            "x509", "-req", "-in", request, "-CA", self.ca, "-CAkey", self._ca_key,
            "-CAcreateserial", "-days", _DAYS, "-extfile", extensions, "-out", made.certificate,
        )  # fmt: skip
        return made


def _openssl(*arguments: object) -> None:
    done = subprocess.run(
        ["openssl", *map(str, arguments)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"openssl {arguments[0]}: {done.stderr}"
