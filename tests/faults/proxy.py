"""A proxy of the tests' own, in front of a server: what it does to a request can be changed while it runs.

A mode is a function that is called for each request, on a thread of the connection's own.
"""

from __future__ import annotations

import email.utils
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

LONGEST_LINE = 1 << 16


class Message(NamedTuple):
    """The head of a request or an answer, with the empty line behind it, and how many bytes follow."""

    head: bytes
    length: int

    @property
    def path(self) -> str:
        return self.head.split(b" ", 2)[1].decode()

    @property
    def has_events(self) -> bool:
        return self.head.startswith(b"POST") and self.path.partition("?")[0].endswith("/events")


class Exchange:
    """A request that has come as far as its head."""

    def __init__(self, proxy: Proxy, client: socket.socket, request: Message) -> None:
        self.proxy, self.client, self.request = proxy, client, request
        self.changed = proxy.changed

    def body(self) -> bytes:
        """The rest of it."""
        return read(self.client, self.request.length)

    def forward(self, content: bytes) -> bytes:
        """What the server answers to ``content``, a whole request."""
        with self.connected() as server:
            server.sendall(content)
            return whole_answer(server)

    def connected(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.proxy.target), timeout=30)

    def answer(self, content: bytes) -> None:
        self.client.sendall(content)


class Cut(Exception):
    """The connection is to be ended now."""


Mode = Callable[[Exchange], None]


class Proxy:
    """A proxy for the server on port ``target`` of this machine."""

    def __init__(self, target: int) -> None:
        self.target = target
        self.requests: list[str] = []
        self.events: list[bytes] = []  # whole requests with events, as they came
        self.changed = threading.Event()
        self._mode: Mode = passing
        self._connections: set[socket.socket] = set()
        self._listener = bound(0)
        self.port = self._listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._listen()

    @property
    def mode(self) -> Mode:
        return self._mode

    @mode.setter
    def mode(self, mode: Mode) -> None:
        was, self._mode = self._mode, mode
        before, self.changed = self.changed, threading.Event()
        before.set()
        if mode is refusing and was is not refusing:
            self._refuse()
        if mode is not refusing and was is refusing:
            self._listen()

    def wait_for(self, count: int, seconds: float = 30.0) -> None:
        """Wait for so many more requests."""
        until, wanted = time.monotonic() + seconds, len(self.requests) + count
        while len(self.requests) < wanted:
            assert time.monotonic() < until, f"no request came within {seconds} s"
            time.sleep(0.01)

    def close(self) -> None:
        self.mode = refusing
        self._listener.close()

    def _listen(self) -> None:
        self._listener.listen(100)
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def _refuse(self) -> None:
        """A socket that is bound and does not listen refuses connections, and nobody else gets its port."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._listener = bound(self.port)
        for connection in list(self._connections):
            reset(connection)

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            self._connections.add(client)
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        try:
            while head := read_head(client):
                request = Message(head, length_of(head))
                self.requests.append(head.partition(b"\r\n")[0].decode())
                self._mode(Exchange(self, client, request))
        except (OSError, Cut):
            pass
        finally:
            self._connections.discard(client)
            reset(client)


def bound(port: int) -> socket.socket:
    """A socket that does not listen yet."""
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    made.bind(("127.0.0.1", port))
    return made


def read_head(connection: socket.socket) -> bytes:
    """Up to the empty line; nothing where the connection has ended."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        piece = connection.recv(1)
        if not piece or len(head) > LONGEST_LINE:
            return b""
        head += piece
    return head


def length_of(head: bytes) -> int:
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return int(line.partition(b":")[2])
    return 0


def read(connection: socket.socket, size: int) -> bytes:
    content = b""
    while len(content) < size:
        piece = connection.recv(min(size - len(content), 1 << 20))
        if not piece:
            raise Cut
        content += piece
    return content


def whole_answer(server: socket.socket) -> bytes:
    head = read_head(server)
    if not head:
        raise Cut
    return head + read(server, length_of(head))


def reset(connection: socket.socket) -> None:
    """End a connection as a machine does that has gone: what is on its way is thrown away."""
    try:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass
    connection.close()


# -- modes --


def passing(exchange: Exchange) -> None:
    """Passes on."""
    content = exchange.request.head + exchange.body()
    if exchange.request.has_events:
        exchange.proxy.events.append(content)
    exchange.answer(exchange.forward(content))


def refusing(exchange: Exchange) -> None:
    """Nobody listens; and the connections that were open are no more."""
    raise Cut


def hanging(exchange: Exchange) -> None:
    """Takes all, and says nothing until there is another mode."""
    exchange.body()
    exchange.changed.wait()
    raise Cut


def deaf(exchange: Exchange) -> None:
    """Takes nothing, so that the sender's buffers fill."""
    exchange.changed.wait()
    raise Cut


def answering(status: int, body: bytes = b"", **headers: str) -> Mode:
    """Answers by itself, always the same."""

    def mode(exchange: Exchange) -> None:
        exchange.body()
        exchange.answer(answer(status, body, **headers))

    return mode


def later_by_date(seconds: float, wrong: float = 0.0) -> Mode:
    """Too many requests; come again at a time of day, by a clock that is ``wrong`` seconds ahead."""

    def mode(exchange: Exchange) -> None:
        exchange.body()
        now = time.time() + wrong
        said, after = email.utils.formatdate(now, usegmt=True), email.utils.formatdate(now + seconds, usegmt=True)
        exchange.answer(answer(429, b"", Date=said, Retry_After=after))

    return mode


def cutting_requests(exchange: Exchange) -> None:
    """Passes on the first half of a body, and then all connections are cut."""
    request = exchange.request
    if not request.length:
        passing(exchange)
        return
    with exchange.connected() as server:
        server.sendall(request.head + read(exchange.client, request.length // 2))
        time.sleep(0.05)
        reset(server)
    raise Cut


def cutting_after(size: int) -> Mode:
    """Passes on so many bytes of a body, and then all connections are cut."""

    def mode(exchange: Exchange) -> None:
        request = exchange.request
        if request.length <= size:
            passing(exchange)
            return
        with exchange.connected() as server:
            server.sendall(request.head + read(exchange.client, size))
            time.sleep(0.05)
            reset(server)
        raise Cut

    return mode


def cutting_answers(exchange: Exchange) -> None:
    """Passes on the first half of an answer."""
    found = exchange.forward(exchange.request.head + exchange.body())
    exchange.answer(found[: -max(1, length_of(found) // 2)])
    raise Cut


def losing_answers(exchange: Exchange) -> None:
    """The server has what was sent, and the sender does not get to know it. Questions are answered."""
    if not exchange.request.length:
        passing(exchange)
        return
    exchange.forward(exchange.request.head + exchange.body())
    raise Cut


def every_second(mode: Mode) -> Mode:
    """Of the requests of a kind that have a body, one is treated so and the next one passed on."""
    turns: Counter[tuple[bytes, bool]] = Counter()

    def alternating(exchange: Exchange) -> None:
        request = exchange.request
        kind = request.head[:4], request.has_events
        turns[kind] += 1
        (mode if request.length and turns[kind] % 2 else passing)(exchange)

    return alternating


def for_events(mode: Mode) -> Mode:
    """What has no events is passed on."""
    return lambda exchange: (mode if exchange.request.has_events else passing)(exchange)


def dripping(seconds: float) -> Mode:
    """Passes on one byte at a time, that long after the one before."""

    def drip(to: socket.socket, content: bytes, changed: threading.Event) -> None:
        to.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in content:
            to.sendall(bytes([byte]))
            if changed.wait(seconds):
                raise Cut

    def mode(exchange: Exchange) -> None:
        with exchange.connected() as server:
            drip(server, exchange.request.head + exchange.body(), exchange.changed)
            drip(exchange.client, whole_answer(server), exchange.changed)

    return mode


def delaying(seconds: float) -> Mode:
    """Passes on later."""

    def mode(exchange: Exchange) -> None:
        if exchange.changed.wait(seconds):
            raise Cut
        passing(exchange)

    return mode


def replaying(exchange: Exchange) -> None:
    """Passes on, and then all requests with events that there were before once more, the newest first."""
    earlier = list(exchange.proxy.events)
    passing(exchange)
    for content in reversed(earlier):
        exchange.forward(content)


def answer(status: int, body: bytes = b"", **headers: str) -> bytes:
    """An answer as it goes over the wire."""
    lines = [f"HTTP/1.1 {status} Told", f"Content-Length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body
