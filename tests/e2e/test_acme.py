# SPDX-License-Identifier: Apache-2.0
"""TLS-ALPN-01 (RFC 8737): a certificate authority's hello asks for the protocol acme-tls/1, and a route leads it to the program
that gets the certificates, while the site's own clients go to the site."""

from collections.abc import Callable
from pathlib import Path

import pytest

from certs import Authority
from harness import Listener, Proxy
from pools import pool_table
from sites import HttpsSite
from test_clients import ClientFailedError, curl_with, openssl_with, run
from tls_servers import OpensslServer

NAME = "app.example.com"
PROTOCOL = "acme-tls/1"


@pytest.fixture
def acme_server(start_backend: Callable, authority: Authority, tmp_path: Path) -> OpensslServer:
    """Has a certificate of its own for the same name, as RFC 8737 demands, and speaks nothing but PROTOCOL."""
    return start_backend(OpensslServer(tmp_path, authority.issue_another(NAME), "-alpn", PROTOCOL))


@pytest.fixture
def site(start_backend: Callable, authority: Authority) -> HttpsSite:
    return start_backend(HttpsSite(authority, NAME))


@pytest.fixture
def proxy(start_proxy: Callable, site: HttpsSite, acme_server: OpensslServer) -> Proxy:
    to_acme = {"pool": "acme", "alpn": PROTOCOL}
    matching = [{"hostname": name, **to_acme} for name in (NAME, "*.example.com")]
    pools = [pool_table([acme_server], name="acme")]
    return start_proxy(listeners=[Listener({NAME: site}, matching)], tables={"pools": pools}, workers=1)


def certificate_seen(proxy: Proxy, authority: Authority, *flags: str) -> str:
    """The server's certificate, as openssl shows it to a client that sends these flags, and the protocol."""
    return run(
        "openssl", "s_client", "-connect", f"127.0.0.1:{proxy.ports[0]}", "-servername", NAME, "-CAfile", authority.ca,
        "-verify_return_error", *flags,
    )  # fmt: skip


def pem(path: Path) -> str:
    text = path.read_text()
    return text[text.index("-----BEGIN") :].strip()


def test_a_validation_reaches_the_acme_server_and_everyone_else_the_site(
    proxy: Proxy, authority: Authority, site: HttpsSite, acme_server: OpensslServer, tmp_path: Path
) -> None:
    seen = certificate_seen(proxy, authority, "-alpn", PROTOCOL)
    assert f"ALPN protocol: {PROTOCOL}" in seen
    assert pem(acme_server.certificate.certificate) in seen
    assert proxy.wait_log(msg="connection closed")["backend"] == acme_server.address
    for visit in (curl_with("--http1.1"), openssl_with(), openssl_with("-alpn", "http/1.1,acme-tls/1")):
        assert site.text in visit(NAME, proxy.ports[0], authority.ca, tmp_path)
    proxy.wait_log(msg="connection closed", backend=site.address, count=3)


def test_a_name_that_has_no_site_can_be_validated_and_nothing_else(
    proxy: Proxy, authority: Authority, acme_server: OpensslServer, tmp_path: Path
) -> None:
    new = "new.example.com"
    shown = run(
        "openssl", "s_client", "-connect", f"127.0.0.1:{proxy.ports[0]}", "-servername", new, "-CAfile", authority.ca,
        "-alpn", PROTOCOL,
    )  # fmt: skip
    assert pem(acme_server.certificate.certificate) in shown
    with pytest.raises(ClientFailedError):
        curl_with()(new, proxy.ports[0], authority.ca, tmp_path)
    assert proxy.wait_log(msg="connection refused")["reason"] == "no_route"
