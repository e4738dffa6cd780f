# SPDX-License-Identifier: Apache-2.0
"""Servers for the proxy to connect to."""

import socket
import ssl
import threading
from collections.abc import Callable

from certs import Certificate
from sockets import PATIENCE, address_text, recv_to_eof

Handler = Callable[[socket.socket], None]


def _listen(host: str, port: int = 0) -> socket.socket:
    # Without SO_REUSEADDR, unlike create_server(): with it the kernel may choose a port that is reserved for a proxy.
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    if port != 0:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind((host, port))
    sock.listen(4096)
    return sock


class ManualBackend:
    """A listening socket without a thread: the test accepts, and drives the connection itself."""

    def __init__(self, host: str = "127.0.0.1"):
        self._socket = _listen(host)
        self._socket.settimeout(PATIENCE)
        self.address = address_text(self._socket.getsockname())

    def accept(self) -> socket.socket:
        """The next connection of the proxy."""
        connection, _ = self._socket.accept()
        connection.settimeout(PATIENCE)
        return connection

    def has_connections(self) -> bool:
        """Whether a connection waits to be accepted."""
        self._socket.setblocking(False)
        try:
            self._socket.accept()[0].close()
        except BlockingIOError:
            return False
        finally:
            self._socket.settimeout(PATIENCE)
        return True

    def close(self) -> None:
        self._socket.close()

    def __enter__(self) -> "ManualBackend":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Backend:
    """Runs handler(connection) in a thread of its own for each connection, and closes it after.

    A peer may break its connection (OSError); any other exception of a handler fails the test when
    the backend is closed. `port`: one that reserve_port() has reserved; else the kernel chooses.
    """

    def __init__(self, handler: Handler, host: str = "127.0.0.1", port: int = 0):
        self._handler = handler
        self._socket = _listen(host, port)
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._errors: list[BaseException] = []
        self._closing = False
        self.address = address_text(self._socket.getsockname())
        self._acceptor = threading.Thread(target=self._accept_all, daemon=True)
        self._acceptor.start()

    def close(self) -> None:
        with self._lock:
            self._closing = True
            for connection in self._open:
                _shut_down(connection)
        _shut_down(self._socket)  # wakes accept(), which close() does not
        self._acceptor.join(PATIENCE)
        for thread in self._threads:
            thread.join(PATIENCE)
        self._socket.close()
        stuck = [thread for thread in self._threads if thread.is_alive()]
        assert not stuck, f"{len(stuck)} handlers do not end"
        if self._errors:
            raise self._errors[0]

    def wrap(self, connection: socket.socket) -> socket.socket:
        """Prepares a connection for its handler."""
        return connection

    def __enter__(self) -> "Backend":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _accept_all(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._serve, args=(connection,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, raw: socket.socket) -> None:
        connection = raw
        try:
            raw.settimeout(PATIENCE)
            connection = self.wrap(raw)
            with self._lock:
                if self._closing:
                    return
                self._open.add(connection)
            self._handler(connection)
        except OSError:
            pass
        except BaseException as error:  # noqa: BLE001 - handed on by close()
            self._errors.append(error)
        finally:
            with self._lock:
                self._open.discard(connection)
            connection.close()


def _shut_down(sock: socket.socket) -> None:
    try:
        socket.socket.shutdown(sock, socket.SHUT_RDWR)  # of a TLS connection too, below its TLS layer
    except OSError:
        pass


class TlsBackend(Backend):
    """Ends TLS with the given certificate, and hands the plain stream to its handler."""

    def __init__(self, handler: Handler, certificate: Certificate, host: str = "127.0.0.1"):
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(certificate.certificate, certificate.key)
        super().__init__(handler, host)

    def wrap(self, connection: socket.socket) -> socket.socket:
        return self._context.wrap_socket(connection, server_side=True)


class RecordingBackend(Backend):
    """Records all bytes of each connection. Sends nothing; ends after the peer has ended."""

    def __init__(self, host: str = "127.0.0.1"):
        self._ended = threading.Condition()
        self._streams: list[bytes] = []
        super().__init__(self._record, host)

    def streams(self, count: int) -> list[bytes]:
        """The bytes of all ended connections, in the order of their ends; waits until there are `count`."""
        with self._ended:
            there = self._ended.wait_for(lambda: len(self._streams) >= count, PATIENCE)
            assert there, f"{len(self._streams)} of {count} connections have ended"
            return list(self._streams)

    def _record(self, connection: socket.socket) -> None:
        stream = recv_to_eof(connection)
        with self._ended:
            self._streams.append(stream)
            self._ended.notify_all()


def echo(connection: socket.socket) -> None:
    """Handler: sends back what it receives, and the end after the last byte."""
    while data := connection.recv(1 << 16):
        connection.sendall(data)
    connection.shutdown(socket.SHUT_WR)
