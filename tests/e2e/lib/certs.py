# SPDX-License-Identifier: Apache-2.0
"""A throw-away certificate authority, made with the openssl program."""

import subprocess
from pathlib import Path
from typing import NamedTuple

# Longer than any test session, and short enough for every client.
_DAYS = "30"
_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")


class Certificate(NamedTuple):
    """PEM files."""

    certificate: Path
    key: Path


class Authority:
    """Issues certificates to servers and clients. Those who trust it trust only `ca`."""

    def __init__(self, directory: Path, name: str = "mc-proxy test authority"):
        self._directory = directory
        self._issued: dict[tuple[str, ...], Certificate] = {}
        self._made = 0
        self.ca = directory / "ca.pem"
        self._ca_key = directory / "ca.key"
        _openssl(
            "req", "-x509", *_KEY, "-days", _DAYS, "-subj", f"/CN={name}",
            "-addext", "basicConstraints=critical,CA:TRUE",
            "-addext", "keyUsage=critical,keyCertSign,cRLSign",
            "-keyout", self._ca_key, "-out", self.ca,
        )  # fmt: skip

    def issue(self, *names: str) -> Certificate:
        """A certificate for these DNS names; the same names get the same one again."""
        if names not in self._issued:
            self._issued[names] = self.issue_another(*names)
        return self._issued[names]

    def issue_another(self, *names: str, expired: bool = False) -> Certificate:
        """The same, but a new one each time, as in a renewal."""
        alternatives = ",".join(f"DNS:{name}" for name in names)
        return self._make(f"/CN={names[0]}", "serverAuth", f"subjectAltName={alternatives}\n", expired)

    def issue_client(self, subject: str, *, expired: bool = False) -> Certificate:
        """A client's certificate, such as for "/O=Example/CN=alice"."""
        return self._make(subject, "clientAuth", "", expired)

    def _make(self, subject: str, usage: str, extension: str, expired: bool) -> Certificate:
        stem = self._directory / f"issued-{self._made}"
        self._made += 1
        made = Certificate(stem.with_suffix(".pem"), stem.with_suffix(".key"))
        request, extensions = stem.with_suffix(".csr"), stem.with_suffix(".ext")
        extensions.write_text(
            f"{extension}"
            "basicConstraints=critical,CA:FALSE\n"
            "keyUsage=critical,digitalSignature\n"
            f"extendedKeyUsage={usage}\n"
        )
        _openssl("req", *_KEY, "-subj", subject, "-keyout", made.key, "-out", request)
        if expired:
            self._sign_expired(request, extensions, made.certificate)
        else:
            _openssl(
                "x509", "-req", "-in", request, "-CA", self.ca, "-CAkey", self._ca_key,
                "-CAcreateserial", "-days", _DAYS, "-extfile", extensions, "-out", made.certificate,
            )  # fmt: skip
        return made

    def _sign_expired(self, request: Path, extensions: Path, certificate: Path) -> None:
        # OpenSSL 3.5 refuses a negative number of days, and before 3.4 only `openssl ca` takes dates. It keeps a database.
        database = certificate.with_suffix(".db")
        database.touch()
        config = certificate.with_suffix(".cnf")
        config.write_text(f"[authority]\ndatabase = {database}\nrand_serial = yes\npolicy = any\n[any]\ncommonName = optional\n")
        _openssl(
            "ca", "-batch", "-notext", "-preserveDN", "-config", config, "-name", "authority",
            "-md", "sha256", "-cert", self.ca, "-keyfile", self._ca_key,
            "-startdate", "20250101000000Z", "-enddate", "20250131000000Z",
            "-in", request, "-extfile", extensions, "-outdir", self._directory, "-out", certificate,
        )  # fmt: skip


def _openssl(*arguments: object) -> None:
    done = subprocess.run(
        ["openssl", *map(str, arguments)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"openssl {arguments[0]}: {done.stderr}"
