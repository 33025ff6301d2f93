"""What asks for a login in front of a server, as in a deployment."""

from __future__ import annotations

import base64
import threading
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self


class Gate:
    """`Gate("http://127.0.0.1:5000", "me", "word")`, as a context manager; clients are given `.endpoint`."""

    def __init__(self, target: str, user: str, password: str) -> None:
        self.target = target.removeprefix("http://")
        self.login = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
        self.passed = 0
        gate = self

        class Passing(_Passing):
            def handle_any(self) -> None:
                self.through(gate)

        for method in ("GET", "POST", "PUT", "PATCH", "DELETE"):
            setattr(Passing, f"do_{method}", Passing.handle_any)
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Passing)

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Passing(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def through(self, gate: Gate) -> None:
        chunked = self.headers.get("Transfer-Encoding") == "chunked"  # requests sends empty files so
        body = self._chunks() if chunked else self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.headers.get("Authorization") != gate.login:
            self._answer(401, b"no", "text/plain")
            return
        gate.passed += 1
        kept = {k: v for k, v in self.headers.items() if k not in ("Transfer-Encoding", "Content-Length")}
        connection = HTTPConnection(gate.target)
        connection.request(self.command, self.path, body, {**kept, "Content-Length": str(len(body))})
        answer = connection.getresponse()
        self._answer(answer.status, answer.read(), answer.headers.get("Content-Type", ""))
        connection.close()

    def log_message(self, format: str, *args: object) -> None: ...

    def _chunks(self) -> bytes:
        found = b""
        while size := int(self.rfile.readline(), 16):
            found += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return found

    def _answer(self, status: int, body: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
