# SPDX-License-Identifier: Apache-2.0
"""GeoIP databases of tests/support/make_mmdb.pl. Each kind is made once per process: the writer takes a second of CPU."""

import functools
import subprocess
import tempfile
from pathlib import Path

from harness import REPOSITORY


@functools.cache
def _content(kind: str) -> bytes:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "made.mmdb"
        subprocess.run(["perl", REPOSITORY / "tests/support/make_mmdb.pl", kind, path], check=True, timeout=60)
        return path.read_bytes()


def write_database(path: Path, kind: str) -> Path:
    """Writes a database and returns its path: "country" has 127.0.0.0/8 in DE, "country_moved" does not have it."""
    path.write_bytes(_content(kind))
    return path
