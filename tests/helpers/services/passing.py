"""One client's connection to a FaultProxy: requests read, passed on or failed, and counted."""

from __future__ import annotations

import select
import socket
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.client import HTTPConnection, HTTPException, HTTPResponse
from http.server import BaseHTTPRequestHandler
from typing import Protocol

from tests.helpers.services.faults import Fault, Faults, Request

PIECE = 64 * 1024
# Hop by hop: the proxy speaks for itself on both sides. "Expect" was answered when the head was read.
OWN = {"connection", "expect", "keep-alive", "proxy-connection", "te", "transfer-encoding", "upgrade"}


class Proxy(Protocol):
    target: str
    faults: Faults

    def record(self, request: Request) -> None: ...


class Passing(BaseHTTPRequestHandler):
    """The constructor serves the connection until either side closes it."""

    protocol_version = "HTTP/1.1"

    def __init__(self, connection: socket.socket, address: tuple[str, int], proxy: Proxy) -> None:
        self.proxy = proxy
        self.status = self.sent = self.received = 0
        self.expected: int | None = None  # bytes of the answer's body
        self.noted = False
        super().__init__(connection, address, None)  # type: ignore[arg-type]

    def log_message(self, format: str, *args: object) -> None:
        return

    def one(self) -> None:
        self.status = self.sent = self.received = 0
        self.expected, self.noted = None, False
        fault = self.proxy.faults.take(self.command, self.path)
        try:
            self.answer(fault)
        except (OSError, HTTPException):
            self.close_connection = True
            self.note()
            self.abort()
        self.note()

    def note(self) -> None:
        """Once a request, before the last byte of its answer is written: who has the answer finds it recorded."""
        if not self.noted:
            self.noted = True
            self.proxy.record(Request(self.command, self.path, self.status, self.sent, self.received))

    def __getattr__(self, name: str) -> Callable[[], None]:
        """The base class asks for do_GET, do_PUT, ...: all are one."""
        if name.startswith("do_"):
            return self.one
        raise AttributeError(name)

    def answer(self, fault: Fault | None) -> None:
        kind = fault.kind if fault else None
        if kind == "reset":
            raise ConnectionResetError
        if fault is not None and kind in ("status", "hang"):
            for _ in self.request_body(None):
                pass
            if kind == "hang":
                self.hang(fault)
            else:
                self.refuse_with(fault.code, fault.body)
            return
        self.pass_on(fault)

    def refuse_with(self, code: int, body: bytes) -> None:
        self.expected = 0 if self.command == "HEAD" else len(body)
        self.head(code, [("Content-Type", "application/xml"), ("Content-Length", str(len(body)))])
        if self.expected:
            self.give(body)

    def hang(self, fault: Fault) -> None:
        """Until the client goes away or the fault is over."""
        self.close_connection = True
        self.note()
        while left := fault.left():
            if select.select([self.connection], [], [], min(left, 0.2))[0]:
                return

    def pass_on(self, fault: Fault | None) -> None:
        rate = fault.rate if fault and fault.kind == "slow" else None
        upstream = HTTPConnection(self.proxy.target, timeout=600)
        try:
            upstream.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                if name.lower() not in OWN:
                    upstream.putheader(name, value)
            chunked = self.is_chunked()
            upstream.putheader("Connection", "close")
            if chunked:
                upstream.putheader("Transfer-Encoding", "chunked")
            upstream.endheaders()
            with suppress(BrokenPipeError, ConnectionResetError):  # a server may refuse before it read all
                for piece in self.request_body(rate):
                    upstream.send(b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece)
                if chunked:
                    upstream.send(b"0\r\n\r\n")
            self.give_back(upstream.getresponse(), rate, cut=bool(fault and fault.kind == "cut"))
        finally:
            upstream.close()

    def give_back(self, response: HTTPResponse, rate: float | None, *, cut: bool) -> None:
        length = response.headers.get("Content-Length")
        bodiless = self.command == "HEAD" or response.status in (204, 304) or length == "0"
        if cut and bodiless:
            raise ConnectionAbortedError
        kept = [(name, value) for name, value in response.headers.items() if name.lower() not in OWN]
        chunked = length is None and not bodiless
        left = (int(length or PIECE) + 1) // 2 if cut else None
        self.expected = 0 if bodiless else left or (int(length) if length else None)
        self.head(response.status, [*kept, ("Transfer-Encoding", "chunked")] if chunked else kept)
        while piece := response.read(PIECE if left is None else min(left, PIECE)):
            self.give(piece, rate, chunked=chunked)
            left = None if left is None else left - len(piece)
            if left == 0:
                self.close_connection = True
                self.connection.shutdown(socket.SHUT_RDWR)
                return
        self.note()
        if chunked:
            self.wfile.write(b"0\r\n\r\n")

    def head(self, status: int, headers: list[tuple[str, str]]) -> None:
        """As the server wrote it: no header of the proxy's own."""
        self.status = status
        self.send_response_only(status)
        for name, value in headers:
            self.send_header(name, value)
        if self.expected == 0:
            self.note()
        self.end_headers()

    def give(self, piece: bytes, rate: float | None = None, *, chunked: bool = False) -> None:
        for part in paced(piece, rate):
            self.received += len(part)
            if self.received == self.expected:
                self.note()
            self.wfile.write(b"%x\r\n%b\r\n" % (len(part), part) if chunked else part)

    def is_chunked(self) -> bool:
        return "chunked" in self.headers.get("Transfer-Encoding", "").lower()

    def request_body(self, rate: float | None) -> Iterator[bytes]:
        for piece in (
            self.chunks() if self.is_chunked() else self.pieces(int(self.headers.get("Content-Length", 0)))
        ):
            self.sent += len(piece)
            yield from paced(piece, rate)

    def pieces(self, left: int) -> Iterator[bytes]:
        while left > 0:
            piece = self.rfile.read1(min(left, PIECE))
            if not piece:
                raise ConnectionResetError
            left -= len(piece)
            yield piece

    def chunks(self) -> Iterator[bytes]:
        while size := int(self.rfile.readline().split(b";")[0], 16):
            yield from self.pieces(size)
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass

    def abort(self) -> None:
        """Resets the connection: the client sees an error, not an end."""
        with suppress(OSError):
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.rfile.close()
            self.connection.close()


def paced(piece: bytes, rate: float | None) -> Iterator[bytes]:
    """The piece in parts of a tenth of a second at `rate` bytes a second; at once where it is None."""
    if rate is None:
        yield piece
        return
    step = max(1, int(rate / 10))
    for start in range(0, len(piece), step):
        part = piece[start : start + step]
        time.sleep(len(part) / rate)
        yield part
