# SPDX-License-Identifier: Apache-2.0
"""Programs that receive PROXY headers (web servers, which log who their clients are), and such that send them."""

import re
import socket
import ssl
from pathlib import Path

from certs import Certificate
from harness import Client, address_text, until
from programs import Program, nginx, nginx_temporary_paths

_STREAM = "load_module /usr/lib/nginx/modules/ngx_stream_module.so;"
_APACHE_MODULES = "/usr/lib/apache2/modules"


def _both_pem(directory: Path, certificate: Certificate) -> Path:
    """HAProxy and stunnel read the certificate and its key from one file."""
    path = directory / "both.pem"
    path.write_text(certificate.certificate.read_text() + certificate.key.read_text())
    return path


# ---- receivers


class Receiver(Program):
    """Ends TLS and serves a page, to those alone who send a PROXY header, and logs whom that names.

    A line of the file `log` that is about a client begins with its address and its port.
    """

    log = "clients"
    complaint = ""  # what its output has about a client that does not keep to the protocol

    def __init__(self, directory: Path, certificate: Certificate, host: str = "127.0.0.1"):
        super().__init__(directory, host)
        self.certificate = certificate

    def line_of(self, client: str) -> str:
        """Waits until it has logged this client, and returns the rest of the line."""
        until(lambda: client in self._logged(), f"{type(self).__name__} logs {client}")
        return self._logged()[client]

    def complaints(self) -> list[str]:
        return [line for line in self.output().splitlines() if re.search(self.complaint, line)]

    def _logged(self) -> dict[str, str]:
        path = self._directory / self.log
        lines = re.findall(r"^([0-9a-f.:]+) (\d+)(.*)$", path.read_text() if path.exists() else "", re.MULTILINE)
        return {address_text((host, port)): rest.strip() for host, port, rest in lines}


class NginxReceiver(Receiver):
    complaint = r"\[(warn|error|crit)\]"

    def command(self, directory: Path) -> list[object]:
        return nginx(
            directory,
            f"""
http {{
  log_format seen "$remote_addr $remote_port";
  access_log {directory}/clients seen;
  {nginx_temporary_paths(directory)}
  set_real_ip_from 127.0.0.0/8;
  set_real_ip_from ::1;
  set_real_ip_from unix:;
  real_ip_header proxy_protocol;
  server {{
    listen {self.address} ssl proxy_protocol;
    ssl_certificate {self.certificate.certificate};
    ssl_certificate_key {self.certificate.key};
    location / {{ return 200 "nginx"; }}
  }}
}}
""",
            log_level="info",
        )


class NginxStreamReceiver(Receiver):
    """Its TCP proxy, in front of a web server of its own."""

    complaint = NginxReceiver.complaint

    def command(self, directory: Path) -> list[object]:
        return nginx(
            directory,
            f"""
user root;
stream {{
  log_format seen "$remote_addr $remote_port";
  access_log {directory}/clients seen;
  server {{
    listen {self.address} ssl proxy_protocol;
    set_real_ip_from 127.0.0.0/8;
    set_real_ip_from ::1;
    ssl_certificate {self.certificate.certificate};
    ssl_certificate_key {self.certificate.key};
    proxy_pass unix:{directory}/page;
  }}
}}
http {{
  access_log off;
  {nginx_temporary_paths(directory)}
  server {{
    listen unix:{directory}/page;
    location / {{ return 200 "nginx"; }}
  }}
}}
""",
            modules=_STREAM,
            log_level="info",
        )


class HaproxyReceiver(Receiver):
    """Logs the TLVs too: the authority, and the unique id."""

    log = "output"
    complaint = "PROXY"

    def command(self, directory: Path) -> list[object]:
        (directory / "haproxy.cfg").write_text(
            f"""
global
  log stdout format raw local0
  maxconn 100
defaults
  mode http
  log global
  log-format "%ci %cp %[fc_pp_authority] %[fc_pp_unique_id]"
  timeout client 60s
  timeout http-request 60s
frontend page
  bind {self.address.replace("unix:", "unix@")} accept-proxy ssl crt {_both_pem(directory, self.certificate)}
  http-request return status 200 content-type text/plain string haproxy
"""
        )
        return ["haproxy", "-db", "-f", directory / "haproxy.cfg"]


class ApacheReceiver(Receiver):
    complaint = "RemoteIPProxyProtocol: (?!enabled)"

    def command(self, directory: Path) -> list[object]:
        modules = ("mpm_event", "authz_core", "remoteip", "socache_shmcb", "ssl", "status")
        loads = "".join(f"LoadModule {name}_module {_APACHE_MODULES}/mod_{name}.so\n" for name in modules)
        (directory / "apache.conf").write_text(
            f"""
ServerRoot {directory}
DefaultRuntimeDir {directory}
PidFile {directory}/pid
ServerName localhost
{loads}
User www-data
Group www-data
StartServers 1
ErrorLog /dev/stderr
LogFormat "%a %{{remote}}p" seen
CustomLog {directory}/clients seen
Listen {self.address}
SSLEngine on
SSLCertificateFile {self.certificate.certificate}
SSLCertificateKeyFile {self.certificate.key}
RemoteIPProxyProtocol On
<Location />
  SetHandler server-status
</Location>
"""
        )
        return ["apache2", "-D", "FOREGROUND", "-f", directory / "apache.conf"]


# ---- senders


class Sender(Program):
    """Relays each connection to `target`, from the address `source`, behind a PROXY header."""

    def __init__(
        self, directory: Path, target: str, source: str, *flags: str, certificate: Certificate | None = None
    ):
        """`flags` are options of its own; with a certificate it ends its clients' TLS."""
        super().__init__(directory)
        self.target = target
        self.source = source
        self.flags = " ".join(flags)
        self.certificate = certificate

    def reach(self, client: Client, source: str, name: str) -> socket.socket:
        """Connects the client, from this address, and returns the stream that the sender relays."""
        host, _, port = self.address.rpartition(":")
        client.connect_from(source, (host, int(port)))
        if self.certificate is None:
            return client
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        return context.wrap_socket(client, server_hostname=name)


class NginxSender(Sender):
    def command(self, directory: Path) -> list[object]:
        return nginx(
            directory,
            f"""
stream {{
  server {{
    listen {self.address};
    proxy_pass {self.target};
    proxy_bind {self.source};
    proxy_protocol on;
  }}
}}
""",
            modules=_STREAM,
        )


class HaproxySender(Sender):
    """With a certificate it makes TLS connections of its own, for the name that its client has asked for."""

    def command(self, directory: Path) -> list[object]:
        front = back = ""
        if self.certificate is not None:
            front = f"ssl crt {_both_pem(directory, self.certificate)}"
            back = "ssl verify none sni ssl_fc_sni"
        (directory / "haproxy.cfg").write_text(
            f"""
global
  log stdout format raw local0
  maxconn 100
defaults
  mode tcp
  log global
  timeout client 60s
  timeout server 60s
  timeout connect 10s
frontend clients
  bind {self.address} {front}
  unique-id-format %ci:%cp
  default_backend next
backend next
  server next {self.target} source {self.source} {back} {self.flags}
"""
        )
        return ["haproxy", "-db", "-f", directory / "haproxy.cfg"]


class StunnelSender(Sender):
    """Ends TLS, and relays what is inside of it: here, the hello of another TLS connection."""

    def command(self, directory: Path) -> list[object]:
        assert self.certificate is not None
        (directory / "stunnel.conf").write_text(
            f"""
foreground = yes
pid =
[next]
accept = {self.address}
connect = {self.target}
local = {self.source}
protocol = proxy
cert = {_both_pem(directory, self.certificate)}
"""
        )
        return ["stunnel4", directory / "stunnel.conf"]
