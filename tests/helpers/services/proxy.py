"""An HTTP proxy in front of S3 or MLflow that passes everything on, until a test orders a fault.

It runs in threads of the test's process, so that a test orders and counts without another protocol. The Host header
is kept as the client sent it: a signed request stays valid. Bodies are streamed, never held whole.
"""

from __future__ import annotations

import re
import socket
import threading
from contextlib import suppress
from types import TracebackType
from typing import Self

from tests.helpers.services.faults import SLOW_DOWN, Fault, Faults, Kind, Request
from tests.helpers.services.passing import Passing


class FaultProxy:
    """`FaultProxy("http://127.0.0.1:5000")`, as a context manager; clients are given `.endpoint`."""

    def __init__(self, target: str, *, host: str = "127.0.0.1") -> None:
        self.target = target.removeprefix("http://").rstrip("/")
        self.host = host
        self.requests: list[Request] = []
        self.faults = Faults()
        self._connections: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._listener = socket.create_server((host, 0), backlog=128)
        self.port: int = self._listener.getsockname()[1]
        self._closed = threading.Event()

    @property
    def endpoint(self) -> str:
        return f"http://{self.host}:{self.port}"

    def __enter__(self) -> Self:
        self._serve(self._listener)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closed.set()
        self.clear()
        with self._lock:
            self._listener.close()
        self._drop_connections()

    def fault(
        self,
        kind: Kind,
        *,
        seconds: float | None = None,
        times: int | None = None,
        match: str = "",
        code: int = 503,
        body: bytes = SLOW_DOWN,
        rate: float = 10_000,
    ) -> None:
        """Orders a fault for requests whose "METHOD /path?query" `match` (a regular expression) is found in.

        - `status`: answers `code` with `body`, and the server never hears of the request.
        - `hang`: reads the request and never answers; closes once the fault is over.
        - `slow`: passes both bodies on with `rate` bytes a second.
        - `cut`: the server does what is asked; half of its answer's body reaches the client (nothing of an answer
          that has no body), then the connection closes.
        - `reset`: resets the connection when it has read the request's head.
        - `refuse`: for `seconds` or until `clear`, nothing listens, and open connections are closed.
        """
        fault = Fault(kind, re.compile(match), seconds, times, code, body, rate)
        if kind == "refuse":
            if times is not None or match:
                raise ValueError(
                    "a refused connection has no request to match or count: give seconds, or say 'reset'"
                )
            self._refuse(fault)
        self.faults.add(fault)

    def clear(self) -> None:
        """Ends every fault; what hangs is closed."""
        self.faults.clear()

    def reset(self) -> None:
        """Ends every fault and forgets the requests seen."""
        self.clear()
        with self._lock:
            self.requests.clear()

    def record(self, request: Request) -> None:
        with self._lock:
            self.requests.append(request)

    def _serve(self, listener: socket.socket) -> None:
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()

    def _accept(self, listener: socket.socket) -> None:
        listener.settimeout(0.2)  # closing a socket does not wake an accept on it
        while not self._closed.is_set() and listener.fileno() >= 0:
            try:
                connection, address = listener.accept()
            except TimeoutError:
                continue
            except OSError:
                return
            connection.setblocking(True)
            threading.Thread(target=self._converse, args=(connection, address), daemon=True).start()

    def _converse(self, connection: socket.socket, address: tuple[str, int]) -> None:
        with self._lock:
            self._connections.add(connection)
        try:
            with suppress(OSError):
                Passing(connection, address, self)
        finally:
            with self._lock:
                self._connections.discard(connection)
            connection.close()

    def _drop_connections(self) -> None:
        with self._lock:
            for connection in self._connections:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def _refuse(self, fault: Fault) -> None:
        """Closes the listening socket, holding its port by one that does not listen until the fault is over."""
        with self._lock:
            with suppress(OSError):
                self._listener.shutdown(socket.SHUT_RDWR)  # else it listens for as long as an accept waits on it
            self._listener.close()
            self._listener = waiting = socket.socket()
            waiting.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            waiting.bind((self.host, self.port))
        self._drop_connections()
        threading.Thread(target=self._listen_again, args=(waiting, fault), daemon=True).start()

    def _listen_again(self, waiting: socket.socket, fault: Fault) -> None:
        while left := fault.left():
            fault.over.wait(min(left, 1.0))
        with self._lock, suppress(OSError):
            if not self._closed.is_set() and waiting is self._listener:
                waiting.listen(128)
                self._serve(waiting)
