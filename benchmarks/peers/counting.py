"""A proxy before an S3 server that counts requests and the bytes of their bodies, in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))

import servers

__all__ = ["CountingProxy", "make_bucket", "servers"]


class CountingForwarder(servers._Forwarder):
    """Passes requests on and adds up what they carry; a request of ``/-/bytes`` takes the sums."""

    def __init__(self, upstream: str) -> None:
        super().__init__(upstream)
        self.sent = self.received = 0

    def answer(self, method: str, path: str, headers: dict[str, str], body: bytes) -> servers.Answer:
        """The upstream's answer, its bytes and the request's added up."""
        answer = super().answer(method, path, headers, body)
        if not path.startswith("/-/"):
            with self._lock:
                self.sent += len(body)
                self.received += len(answer.body)
        return answer

    def _steer(self, what: str, how: dict[str, Any]) -> Any:
        if what != "bytes":
            return super()._steer(what, how)
        with self._lock:
            found = self.sent, self.received
            self.sent = self.received = 0
        return found


class CountingProxy(servers.Proxy):
    """The proxy, started; see :class:`servers.Proxy`."""

    def __init__(self, upstream: str) -> None:
        command = [sys.executable, __file__, upstream]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self.url = self._process.stdout.readline().strip()

    def bytes(self) -> tuple[int, int]:
        """Bytes sent to the server and received from it since the last call."""
        sent, received = self._steer("bytes")
        return sent, received


def make_bucket(name: str) -> None:
    """Make a bucket on the server that the environment names."""
    import boto3

    client = boto3.session.Session().client("s3")
    client.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": client.meta.region_name})


if __name__ == "__main__":
    with CountingForwarder(sys.argv[1]) as running:
        print(running.url, flush=True)
        sys.stdin.read()
