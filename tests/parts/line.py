"""A line to PostgreSQL that breaks where it hurts: when a transaction is about to be kept, or has been."""

from __future__ import annotations

import contextlib
import select
import socket
import threading

from tests.faults.proxy import bound, reset

KEEP = b"COMMIT\0"


class Line:
    """Passes on to ``target``, a port of this machine. Of the transactions, each ``every``-th is lost on the way, or
    its answer, in turn; and with it all connections."""

    def __init__(self, target: int, every: int) -> None:
        self.target, self.every = target, every
        self.kept = self.lost = self.unanswered = 0
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._listener = bound(0)
        self.port = self._listener.getsockname()[1]
        self._listener.listen(100)
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._break()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        broken = contextlib.suppress(OSError, ValueError)  # the latter of what was closed meanwhile
        with broken, socket.create_connection(("127.0.0.1", self.target)) as server:
            for one in (client, server):
                one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._open |= {client, server}
            other = {client: server, server: client}
            while True:
                for ready in select.select(list(other), [], [])[0]:
                    content = ready.recv(1 << 16)
                    if not content:
                        return
                    if ready is client and KEEP in content:
                        self._keep(server, content)
                    else:
                        other[ready].sendall(content)
        reset(client)

    def _keep(self, server: socket.socket, content: bytes) -> None:
        with self._lock:
            self.kept += 1
            turn, is_broken = divmod(self.kept, self.every)
        if is_broken:
            server.sendall(content)
        elif turn % 2:
            self.lost += 1
            self._break()
        else:
            self.unanswered += 1
            server.sendall(content)
            server.recv(1 << 16)
            self._break()

    def _break(self) -> None:
        broken, self._open = self._open, set()
        for one in broken:
            reset(one)
