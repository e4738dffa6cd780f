#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""HTTPS sites behind one address, routed by name and never decrypted: what `./dev demo` shows.

  demo.py MC_PROXY [--once]

Makes a throw-away CA, starts sites with certificates of their own and mc-proxy in front of them, then fetches
them through the proxy with curl, which verifies the certificates end to end. Also shows a name without a route and a
client that the firewall blocks; and a third site with two servers, of which one is killed. Then it adds and removes a route and a rule while the proxy runs, restarts it, and shows
that the changes stayed. Stays up with the lines to try by hand; with --once it ends, and its exit code says whether
everything was as it should be.
"""

import http.server
import pathlib
import re
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading

SITES = {
    "red.example.com": "This is the red site.",
    "blue.example.net": "This is the blue site.",
    "shop.example.com": "This is the shop.",
}
SHOP = "shop.example.com"  # has two servers
BLOCKED_CLIENT = "127.0.0.66"  # curl --interface makes any 127.0.0.x its source address
LATER_BLOCKED_CLIENT = "127.0.0.77"

CONFIG = """\
[[listeners]]
addr = ":{port}"

  [[listeners.routes]]
  hostname = "red.example.com"
  backend = "127.0.0.1:{red}"

  [[listeners.routes]]
  hostname = "*.example.net"
  backend = "127.0.0.1:{blue}"

  [[listeners.routes]]
  hostname = "shop.example.com"
  pool = "shop"

[[pools]]
name = "shop"

  [pools.check]
  kind = "tls"
  interval = "500ms"
  fast_interval = "200ms"

  [[pools.backends]]
  address = "127.0.0.1:{shop_1}"

  [[pools.backends]]
  address = "127.0.0.1:{shop_2}"

[database]
path = "{directory}/mc-proxy.db"

[grpc]
socket = "{directory}/admin.sock"

[firewall]
blocked_ips = ["{blocked}"]
"""


def run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)


def make_certificates(directory: pathlib.Path) -> pathlib.Path:
    """A CA, and a certificate for each site."""
    ca_key, ca = directory / "ca-key.pem", directory / "ca.pem"
    key_type = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    run("openssl", "req", "-x509", *key_type, "-days", "2", "-subj", "/CN=mc-proxy demo CA",
        "-keyout", str(ca_key), "-out", str(ca))
    for name in SITES:
        key, request, certificate = (str(directory / f"{name}.{end}") for end in ("key", "csr", "pem"))
        extensions = directory / f"{name}.ext"
        extensions.write_text(f"subjectAltName=DNS:{name}\n")
        run("openssl", "req", *key_type, "-subj", f"/CN={name}", "-keyout", key, "-out", request)
        run("openssl", "x509", "-req", "-in", request, "-CA", str(ca), "-CAkey", str(ca_key), "-CAcreateserial",
            "-days", "2", "-extfile", str(extensions), "-out", certificate)
    return ca


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_) -> None:
        """A check resets its connection, which is no error."""


def start_site(directory: pathlib.Path, name: str) -> Server:
    """An HTTPS server for one name, on a port of its own."""
    body = f"{SITES[name]}\n".encode()

    class Page(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"  # the client closes first, as on real sites

        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/plain")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_) -> None:
            pass

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(directory / f"{name}.pem", directory / f"{name}.key")
    server = Server(("127.0.0.1", 0), Page)
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def port_of(server: Server) -> int:
    return server.server_address[1]


def free_port(preferred: int) -> int:
    for port in (preferred, 0):
        with socket.socket(socket.AF_INET6) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("::", port))
            except OSError:
                continue
            return probe.getsockname()[1]
    sys.exit("demo: no free port")


class Proxy:
    """mc-proxy, and what it logged so far."""

    def __init__(self, binary: str, config: pathlib.Path, lines_before: list[str]):
        self.lines: list[str] = list(lines_before)
        self.own_from = len(lines_before)
        self._news = threading.Condition()
        self.process = subprocess.Popen([binary, "server", "-c", str(config)], stderr=subprocess.PIPE, text=True)
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self) -> None:
        for line in self.process.stderr:
            with self._news:
                self.lines.append(line.rstrip())
                self._news.notify_all()
        with self._news:
            self.lines.append("(mc-proxy has ended)")
            self._news.notify_all()

    def wait_for(self, *words: str, ever: bool = False) -> bool:
        """A line with all these words: of this server, or of those before it too."""
        begin = 0 if ever else self.own_from

        def logged() -> bool:
            return any(all(word in line for word in words) for line in self.lines[begin:])

        with self._news:
            return self._news.wait_for(lambda: logged() or self.process.poll() is not None, timeout=10) and logged()


class Demo:
    def __init__(self, directory: pathlib.Path, binary: str):
        print("Making a throw-away CA and a certificate for each site …")
        self.ca = make_certificates(directory)
        ports = {name: port_of(start_site(directory, name)) for name in SITES if name != SHOP}
        self.shops = [start_site(directory, SHOP) for _ in range(2)]
        self.port = free_port(8443)
        config = directory / "mc-proxy.toml"
        config.write_text(CONFIG.format(port=self.port, red=ports["red.example.com"], blue=ports["blue.example.net"],
                                        shop_1=port_of(self.shops[0]), shop_2=port_of(self.shops[1]),
                                        directory=directory, blocked=BLOCKED_CLIENT))
        self.config = config
        self.binary = binary
        self.red_backend = f"127.0.0.1:{ports['red.example.com']}"
        self.failures = 0
        self.lines: list[str] = []  # of the log, of servers before this one
        self.start()
        version = next(found[1] for line in self.proxy.lines if (found := re.search("version=(v[^ ]+)", line)))
        print(f"mc-proxy {version} serves :{self.port}, configured by {config}\n")

    def start(self) -> None:
        self.proxy = Proxy(self.binary, self.config, self.lines)
        if not self.proxy.wait_for("msg=serving"):
            sys.exit("demo: mc-proxy did not start:\n" + "\n".join(self.proxy.lines))

    def stop(self) -> None:
        self.proxy.process.send_signal(signal.SIGTERM)
        self.failures += self.proxy.process.wait(timeout=40) != 0
        self.proxy.reader.join()
        self.lines = self.proxy.lines

    def curl_words(self, name: str, *options: str) -> list[str]:
        return ["curl", "--silent", "--show-error", "--max-time", "10", "--cacert", str(self.ca),
                "--resolve", f"{name}:{self.port}:127.0.0.1", *options, f"https://{name}:{self.port}/"]

    def show(self, title: str, name: str, expected: str | None, *options: str) -> None:
        """Fetches, and prints whether the page was the expected one; None: the connection must be refused."""
        answer = subprocess.run(self.curl_words(name, *options), capture_output=True, text=True)
        seen = answer.stdout.strip() or answer.stderr.strip()
        # curl meets a reset while connecting (7), in its handshake (35) or when it reads (56), as timing has it.
        good = seen == expected if expected else answer.returncode in (7, 35, 56)
        self.failures += not good
        print(f"  {'ok  ' if good else 'FAIL'} {title}\n         {seen}")

    def command(self, *words: str) -> None:
        """Runs one of mc-proxy's own commands, as an operator would, and shows it."""
        answer = subprocess.run([self.binary, *words, "-c", str(self.config)], capture_output=True, text=True)
        self.failures += answer.returncode != 0
        print(f"  $ mc-proxy {' '.join(words)}")
        for line in (answer.stdout + answer.stderr).splitlines():
            print(f"         {line}")

    def kill_a_server(self) -> None:
        """No client notices that one of two servers behind a name is gone."""
        print("\nTwo servers behind one name, and one is killed:\n")
        self.show(f"{SHOP}, by one of its two servers", SHOP, SITES[SHOP])
        killed = self.shops[0]
        killed.shutdown()
        killed.server_close()
        print(f"  killed 127.0.0.1:{port_of(killed)}")
        for number in range(1, 5):
            self.show(f"{SHOP} is served, {number} of 4", SHOP, SITES[SHOP])
        self.failures += not self.proxy.wait_for("backend is down", f"backend=127.0.0.1:{port_of(killed)}")
        self.command("backends", "list", "shop")
        self.command("status")

    def change_it_live(self) -> None:
        """Routes and rules come and go while the proxy serves, and stay over a restart."""
        green = "green.example.org"
        print("\nChange it while it runs:\n")
        self.command("routes", "add", green, self.red_backend)
        self.show(f"{green} now has a route, to the red site", green, SITES["red.example.com"], "--insecure")
        self.command("firewall", "add", LATER_BLOCKED_CLIENT)
        self.show(f"{LATER_BLOCKED_CLIENT} is blocked", "red.example.com", None, "--interface", LATER_BLOCKED_CLIENT)
        self.command("firewall", "remove", BLOCKED_CLIENT)
        self.show(f"{BLOCKED_CLIENT} is not any more", "red.example.com", SITES["red.example.com"],
                  "--interface", BLOCKED_CLIENT)
        self.command("status")

        print("\nRestart it:\n")
        self.stop()
        self.start()
        self.show(f"{green} still has its route", green, SITES["red.example.com"], "--insecure")
        self.show(f"{LATER_BLOCKED_CLIENT} is still blocked", "red.example.com", None, "--interface", LATER_BLOCKED_CLIENT)
        self.command("routes", "remove", green)
        self.show(f"{green} is reset again", green, None, "--insecure")
        self.command("routes", "list")
        self.command("firewall", "list")

    def tour(self) -> bool:
        self.show("red.example.com, by its own name, its certificate verified", "red.example.com",
                  SITES["red.example.com"])
        self.show("blue.example.net, by the wildcard route *.example.net", "blue.example.net",
                  SITES["blue.example.net"])
        self.show("green.example.org, which has no route, is reset", "green.example.org", None)
        self.show(f"a client at {BLOCKED_CLIENT}, which the firewall blocks, is reset", "red.example.com", None,
                  "--interface", BLOCKED_CLIENT)
        self.kill_a_server()
        self.change_it_live()
        logged = [self.proxy.wait_for("connection closed", "sni=red.example.com", ever=True),
                  self.proxy.wait_for("connection closed", "sni=blue.example.net", "route=*.example.net", ever=True),
                  self.proxy.wait_for("sni=green.example.org", "reason=no_route", ever=True),
                  self.proxy.wait_for(f"client={BLOCKED_CLIENT}", "reason=blocked_ip", ever=True)]
        self.failures += logged.count(False)
        print("\nWhat the log said:\n")
        print("\n".join(f"  {line}" for line in self.proxy.lines))
        return self.failures == 0

    def stay(self) -> None:
        print("\nTry it (Ctrl-C ends the demo):\n")
        for name in SITES:
            print(f"  curl --cacert {self.ca} --resolve {name}:{self.port}:127.0.0.1 https://{name}:{self.port}/")
        print(f"  openssl s_client -connect 127.0.0.1:{self.port} -servername red.example.com -CAfile {self.ca}")
        for words in ("status --routes 5", "routes list", "backends list", "routes add --help", "check"):
            print(f"  {self.binary} {words} -c {self.config}")
        print()
        seen = len(self.proxy.lines)
        try:
            while self.proxy.process.poll() is None:
                with self.proxy._news:
                    self.proxy._news.wait_for(lambda: len(self.proxy.lines) > seen)
                print("\n".join(f"  {line}" for line in self.proxy.lines[seen:]))
                seen = len(self.proxy.lines)
        except KeyboardInterrupt:
            print()

    def end(self) -> None:
        self.stop()


def main() -> int:
    binary, once = sys.argv[1], "--once" in sys.argv[2:]
    with tempfile.TemporaryDirectory(prefix="mc-proxy-demo-") as directory:
        demo = Demo(pathlib.Path(directory), binary)
        good = demo.tour()
        if not once:
            demo.stay()
        demo.end()
    print("\n" + ("The demo worked." if good and not demo.failures else "The demo FAILED."))
    return 0 if good and not demo.failures else 1


if __name__ == "__main__":
    sys.exit(main())
