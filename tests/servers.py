"""Servers for tests: S3 in a process of its own, a proxy that misbehaves on demand, and a plain file server.

``from servers import s3_fixture, s3_server_fixture  # noqa: F401`` gives a test module (or a conftest) the fixtures
``s3`` and ``s3_server``.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import http.client
import json
import os
import re
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from email.utils import formatdate, parsedate_to_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

import pytest

_PER_HOP = {"connection", "keep-alive", "transfer-encoding", "proxy-connection"}


class Answer(NamedTuple):
    """What a server sends back."""

    status: int
    headers: dict[str, str]
    body: bytes


@dataclass
class Fault:
    """What a server does wrong.

    Args:
        status: answer with this instead of the truth; 0 hangs up without an answer.
        code: the S3 error code of that answer.
        body: the whole body of that answer, instead of an error of this code.
        cut: send the true answer but hang up after so many bytes of its body.
        lose: do what was asked but hang up instead of answering.
        delay: wait so many seconds before answering truly.
        later: put so many seconds more on the date of the true answer, as if it were later by the server's clock.
        method, path: regular expressions that a request must match in full (method) or somewhere (path).
        times: how often; afterwards all is well again.
    """

    status: int | None = None
    code: str = "InternalError"
    body: str = ""
    cut: int | None = None
    lose: bool = False
    delay: float = 0.0
    later: float = 0.0
    method: str = ".*"
    path: str = ""
    times: int = 1_000_000

    def answer(self) -> Answer:
        body = f"<?xml version='1.0'?><Error><Code>{self.code}</Code><Message>a fault of the test</Message></Error>"
        return Answer(self.status or 0, {"Content-Type": "application/xml"}, (self.body or body).encode())


class Server(ThreadingHTTPServer):
    """An HTTP server on 127.0.0.1 that keeps a list of its requests and can be told to fail."""

    daemon_threads = False  # so that the end of the server waits for them

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self._connections: set[socket.socket] = set()
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self.requests: list[tuple[str, str]] = []
        self.faults: list[Fault] = []
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)

    def __enter__(self) -> Server:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self._thread.join()
        # A client's pool may keep a connection open, and a thread of ours waits for its next request.
        for connection in tuple(self._connections):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self.server_close()

    def process_request(self, request: Any, client_address: Any) -> None:
        self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._connections.discard(request)
        super().shutdown_request(request)

    def handle_error(self, *_: object) -> None:
        """Clients that hang up are part of the tests."""

    def fault(self, **how: Any) -> Fault:
        """Do something wrong from now on; see :class:`Fault`."""
        self.faults.append(Fault(**how))
        return self.faults[-1]

    def note(self, method: str, path: str) -> Fault | None:
        """Record a request; gives the fault that it meets."""
        with self._lock:
            self.requests.append((method, path))
            for fault in self.faults:
                if fault.times > 0 and re.fullmatch(fault.method, method) and re.search(fault.path, path):
                    fault.times -= 1
                    return fault
        return None

    def take_requests(self) -> list[tuple[str, str]]:
        """Method and path of each request since the last call."""
        with self._lock:
            found = list(self.requests)
            self.requests.clear()
        return found

    def answer(self, method: str, path: str, headers: dict[str, str], body: bytes) -> Answer:
        """The true answer to a request."""
        raise NotImplementedError


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Server

    def log_message(self, *_: object) -> None:
        pass

    def _body(self) -> bytes:
        if "chunked" not in self.headers.get("Transfer-Encoding", ""):
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def _serve(self) -> None:
        body = self._body()
        fault = self.server.note(self.command, self.path) or Fault()
        time.sleep(fault.delay)
        if fault.status == 0:
            self._hang_up()
            return
        headers = dict(self.headers)
        answer = fault.answer() if fault.status else self.server.answer(self.command, self.path, headers, body)
        if fault.lose:
            self._hang_up()
            return
        self.send_response_only(answer.status)
        length = len(answer.body)
        for name, value in answer.headers.items():
            if name.lower() == "date" and fault.later:
                value = formatdate(parsedate_to_datetime(value).timestamp() + fault.later, usegmt=True)
            if name.lower() not in _PER_HOP and (name.lower() != "content-length" or self.command == "HEAD"):
                self.send_header(name, value)
        if self.command != "HEAD":
            self.send_header("Content-Length", str(length))
        self.end_headers()
        if self.command == "HEAD":
            return
        self.wfile.write(answer.body if fault.cut is None else answer.body[: fault.cut])
        if fault.cut is not None:
            self.wfile.flush()
            self._hang_up()

    def _hang_up(self) -> None:
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _serve


class _Forwarder(Server):
    """Passes requests on to another server, also as a forward proxy; requests under ``/-/`` steer it."""

    def __init__(self, upstream: str) -> None:
        super().__init__()
        self.upstream = urlsplit(upstream).netloc

    def note(self, method: str, path: str) -> Fault | None:
        return None if path.startswith("/-/") else super().note(method, path)

    def answer(self, method: str, path: str, headers: dict[str, str], body: bytes) -> Answer:
        if path.startswith("/-/"):
            return Answer(200, {}, json.dumps(self._steer(path[3:], json.loads(body))).encode())
        parts = urlsplit(path)
        address = parts.netloc or self.upstream
        path = path[path.index(parts.netloc) + len(parts.netloc) :] if parts.netloc else path
        headers = {name: value for name, value in headers.items() if name.lower() not in _PER_HOP | {"expect"}}
        headers["Content-Length"] = str(len(body))
        connection = http.client.HTTPConnection(address, timeout=60)
        try:
            connection.request(method, path, body=body, headers=headers)
            response = connection.getresponse()
            return Answer(response.status, dict(response.getheaders()), response.read())
        finally:
            connection.close()

    def _steer(self, what: str, how: dict[str, Any]) -> Any:
        if what == "fault":
            self.fault(**how)
        elif what == "mend":
            self.faults.clear()
        return self.take_requests() if what == "requests" else None


class Proxy:
    """A proxy in a process of its own before another server (TileDB keeps the GIL while it opens an array)."""

    def __init__(self, upstream: str) -> None:
        words = [sys.executable, __file__, upstream]
        self._process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self.url = self._process.stdout.readline().strip()

    def close(self) -> None:
        """End the process."""
        self._process.communicate()

    def _steer(self, what: str, **how: Any) -> Any:
        connection = http.client.HTTPConnection(urlsplit(self.url).netloc, timeout=60)
        try:
            connection.request("POST", f"/-/{what}", body=json.dumps(how))
            return json.loads(connection.getresponse().read())
        finally:
            connection.close()

    def fault(self, **how: Any) -> None:
        """Do something wrong from now on; see :class:`Fault`."""
        self._steer("fault", **how)

    def mend(self) -> None:
        """Do nothing wrong any more."""
        self._steer("mend")

    def requests(self) -> list[tuple[str, str]]:
        """Method and path of each request since the last call."""
        return [(method, path) for method, path in self._steer("requests")]

    def counts(self) -> dict[str, int]:
        """Requests by method since the last call."""
        return dict(Counter(method for method, _ in self.requests()))

    def wait_for(self, *methods: str) -> None:
        """Return once a request of each method has come that no earlier call has told of."""
        missing, until = set(methods), time.monotonic() + 60
        while missing := missing - set(self.counts()):
            assert time.monotonic() < until, f"no {' or '.join(missing)} request came"
            time.sleep(0.02)


class Files(Server):
    """Serves ``files`` (path -> bytes) with ETag, Last-Modified, Range, If-Range and If-None-Match."""

    def __init__(self, **options: bool) -> None:
        super().__init__()
        self.files: dict[str, bytes] = {}
        self.etags = options.get("etags", True)
        self.ranges = options.get("ranges", True)
        self.seen: list[dict[str, str]] = []

    def answer(self, method: str, path: str, headers: dict[str, str], body: bytes) -> Answer:
        given = {name.lower(): value for name, value in headers.items()}
        self.seen.append(given)
        data = self.files.get(unquote(path))
        if data is None:
            return Answer(404, {}, b"no such file")
        etag = f'"{hashlib.md5(data).hexdigest()}"'
        out = {"Last-Modified": formatdate(1.7e9, usegmt=True)}
        if self.etags:
            out["ETag"] = etag
            if given.get("if-none-match") == etag:
                return Answer(304, out, b"")
        if method == "HEAD":
            return Answer(200, {**out, "Content-Length": str(len(data))}, b"")
        wanted = re.fullmatch(r"bytes=(\d+)-", given.get("range", ""))
        if not (wanted and self.ranges) or given.get("if-range", etag) not in (etag, out["Last-Modified"]):
            return Answer(200, out, data)
        start = int(wanted[1])
        if start >= len(data):
            return Answer(416, {"Content-Range": f"bytes */{len(data)}"}, b"")
        out["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
        return Answer(206, out, data[start:])


def free_port() -> int:
    """A port that nothing listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


# A server ends with the process that started it, however that ends: then its standard input is closed.
_MOTO = """
import os, sys, threading
from moto.server import main
threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()
main(sys.argv[1:])
"""


@contextlib.contextmanager
def moto(log: Path) -> Iterator[str]:
    """S3 in a process of its own, its log in a file; yields its endpoint."""
    port = free_port()
    words = [sys.executable, "-W", "ignore", "-c", _MOTO, "-H", "127.0.0.1", "-p", str(port)]
    plain = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    with (
        log.open("wb") as output,
        subprocess.Popen(words, stdin=subprocess.PIPE, stdout=output, stderr=output, env=plain) as server,
    ):
        try:
            until = time.monotonic() + 60
            while True:
                try:
                    socket.create_connection(("127.0.0.1", port), timeout=1).close()
                    break
                except OSError:
                    if server.poll() is not None or time.monotonic() > until:
                        raise RuntimeError(f"moto did not start: {log.read_text()}") from None
                    time.sleep(0.02)
            yield f"http://127.0.0.1:{port}"
        finally:
            server.terminate()
            server.wait()


@dataclass
class S3Place:
    """A fresh bucket, the server it lies on and a proxy before that server.

    Args:
        endpoint: URL of the server.
        proxy: the proxy; :meth:`through_proxy` makes ours and TileDB's requests take it.
        bucket: name of the bucket.
        client: boto3's, for looking without our own code.
        patch: takes back at the end of the test what the environment was set to.
    """

    endpoint: str
    proxy: Proxy
    bucket: str
    client: Any
    patch: pytest.MonkeyPatch

    def uri(self, *parts: str) -> str:
        return "/".join([f"s3://{self.bucket}", *parts])

    def through_proxy(self) -> Proxy:
        self.patch.setenv("AWS_ENDPOINT_URL", self.proxy.url)
        return self.proxy

    def keys(self, prefix: str = "") -> dict[str, int]:
        """Keys and sizes of all objects."""
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=prefix)
        return {item["Key"]: item["Size"] for page in pages for item in page.get("Contents", [])}

    def body(self, key: str) -> bytes:
        return bytes(self.client.get_object(Bucket=self.bucket, Key=key)["Body"].read())


def use_environment(patch: pytest.MonkeyPatch, endpoint: str) -> None:
    """Make boto3 and TileDB use a server of ours and hear nothing of the machine's own settings."""
    for name in [name for name in os.environ if name.startswith(("AWS_", "KERASGEN_S3_"))]:
        patch.delenv(name)
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        patch.delenv(name, raising=False)
        patch.delenv(name.upper(), raising=False)
    settings = {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "eu-central-1",
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    for name, value in settings.items():
        patch.setenv(name, value)


@dataclass
class S3Server:
    """An S3 server and a proxy before it, both processes of their own."""

    endpoint: str
    proxy: Proxy

    @functools.cached_property
    def client(self) -> Any:
        """boto3's client, made in an environment of ours."""
        import boto3

        with pytest.MonkeyPatch.context() as patch:
            use_environment(patch, self.endpoint)
            return boto3.session.Session().client("s3")

    @contextlib.contextmanager
    def place(self) -> Iterator[S3Place]:
        """A fresh bucket; the environment names the server for as long as the context lasts."""
        client = self.client
        with pytest.MonkeyPatch.context() as patch:
            use_environment(patch, self.endpoint)
            bucket = f"test-{uuid.uuid4().hex[:12]}"
            client.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
            self.proxy.mend()
            self.proxy.requests()
            yield S3Place(self.endpoint, self.proxy, bucket, client, patch)


@pytest.fixture(scope="session", name="s3_server")
def s3_server_fixture(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """An S3 server that lives as long as the tests; its ``place()`` makes a bucket of any scope."""
    proxy = None
    with moto(tmp_path_factory.mktemp("moto") / "log") as endpoint:
        try:
            proxy = Proxy(endpoint)
            yield S3Server(endpoint, proxy)
        finally:
            if proxy is not None:
                proxy.close()


@pytest.fixture(name="s3")
def s3_fixture(s3_server: S3Server) -> Iterator[S3Place]:
    """A fresh bucket of the S3 server; the environment names the server for boto3, TileDB and spawned processes."""
    with s3_server.place() as place:
        yield place


if __name__ == "__main__":
    with _Forwarder(sys.argv[1]) as running:
        print(running.url, flush=True)
        sys.stdin.read()


@contextlib.contextmanager
def holding_lock(uri: str) -> Iterator[subprocess.Popen]:
    """Another process that holds the writer's lock of a database, until it is killed or the block ends."""
    code = (
        "import sys; from db_ingest import storage\n"
        "with storage.write_lock(sys.argv[1]):\n"
        "    print('held', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", code, uri]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout.readline() == "held\n"
        yield holder
