"""One request for a file behind an http, https or s3 URI: whole, from a byte on, or only if it has changed."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from db_ingest.errors import InputError, KerasgenError, MissingFileError
from db_ingest.storage import DeniedError, ServerError, UnreachableError, explain
from db_ingest.storage.settings import connection
from db_ingest.storage.uris import split_s3

if TYPE_CHECKING:
    import urllib3

_BLOCK_BYTES = 2**20
_CONNECT_SECONDS = 10
_READ_SECONDS = 60
_LONGEST_WAIT = 60.0
_REDIRECTS = 10


class BrokenOffError(ServerError):
    """A request failed that may do better when tried again, after ``wait`` seconds if the server said so."""

    def __init__(self, text: str, wait: float | None = None) -> None:
        super().__init__(text)
        self.wait = wait


@dataclass(frozen=True)
class Version:
    """What tells one state of a remote file from another.

    Args:
        etag, modified: as the server says; empty if it does not.
        bytes: its size; None if the server does not say.
    """

    etag: str = ""
    modified: str = ""
    bytes: int | None = None

    @property
    def tells(self) -> bool:
        """Whether a later request can ask for this very version."""
        return bool(self.condition)

    @property
    def condition(self) -> str:
        """What to ask for it by: an entity tag that means equality of bytes, else the date."""
        return self.etag if self.etag and not self.etag.startswith("W/") else self.modified


@dataclass(frozen=True)
class Answer:
    """A server's answer to :func:`ask`.

    Args:
        version: state of the whole file.
        start: which byte of the file ``body`` begins with.
        body: blocks of bytes; raises :class:`BrokenOffError` where the connection breaks.
        close: ends the connection, read to its end or not.
        unchanged: the file is still of the version named; there is no body.
    """

    version: Version
    start: int
    body: Iterator[bytes]
    close: Callable[[], None]
    unchanged: bool = False


def require_known(uri: str) -> None:
    """Raise :class:`InputError` for a kind of URI that cannot be fetched."""
    scheme = uri.partition("://")[0].lower()
    if scheme not in ("http", "https", "s3"):
        raise InputError(
            f"{uri}: unknown kind of location '{scheme}://'; expected a local path, s3://, http:// or https://"
        )


def ask(
    uri: str, shown: str, *, start: int = 0, version: Version | None = None, unless: Version | None = None
) -> Answer:
    """Ask for a file, in one request.

    Args:
        uri: address of the file.
        shown: the URI as errors name it, without secrets.
        start: byte to begin with, if the file is still of ``version``; else it comes whole.
        version: see ``start``.
        unless: do not send it if it is of this version.

    Raises:
        MissingFileError, InputError: no use in trying again.
        BrokenOffError: the server or the connection failed.
    """
    asks = _ask_s3 if uri.startswith("s3://") else _ask_http
    return asks(uri, shown, start, version or Version(), unless)


_pools: dict[str, urllib3.PoolManager] = {}
_lock = threading.Lock()


def _pool(scheme: str, host: str) -> urllib3.PoolManager:
    """Connections to servers, through the proxy that the environment names."""
    from urllib.request import getproxies, proxy_bypass

    import urllib3

    proxy = "" if proxy_bypass(host) else getproxies().get(scheme, "")
    with _lock:
        if proxy not in _pools:
            user = urlsplit(proxy).netloc.rpartition("@")[0]
            headers = urllib3.make_headers(proxy_basic_auth=unquote(user)) if user else None
            _pools[proxy] = (
                urllib3.ProxyManager(proxy, proxy_headers=headers, maxsize=8)
                if proxy
                else urllib3.PoolManager(maxsize=8)
            )
        return _pools[proxy]


def _ask_http(uri: str, shown: str, start: int, version: Version, unless: Version | None) -> Answer:
    import urllib3

    parts = urlsplit(uri)
    headers = {"Accept-Encoding": "identity", "User-Agent": "kerasgen"}
    user = parts.netloc.rpartition("@")[0]
    if user:
        headers |= urllib3.make_headers(basic_auth=unquote(user))
    if start:
        headers |= {"Range": f"bytes={start}-", "If-Range": version.condition}
    if unless is not None and unless.etag:
        headers["If-None-Match"] = unless.etag
    elif unless is not None and unless.modified:
        headers["If-Modified-Since"] = unless.modified
    try:
        response = _pool(parts.scheme.lower(), parts.hostname or "").request(
            "GET",
            shown,
            headers=headers,
            preload_content=False,
            decode_content=False,
            timeout=urllib3.Timeout(connect=_CONNECT_SECONDS, read=_READ_SECONDS),
            retries=urllib3.Retry(connect=0, read=0, status=0, other=0, redirect=_REDIRECTS, raise_on_redirect=True),
        )
    except urllib3.exceptions.HTTPError as error:
        raise _from_urllib3(shown, error) from error
    if response.status not in (200, 206, 304):
        response.close()
        raise _from_status(shown, response.status, response.headers)
    first, total = 0, response.headers.get("Content-Length")
    if response.status == 206:
        place, _, total = response.headers.get("Content-Range", "").removeprefix("bytes ").partition("/")
        first = int(place.partition("-")[0]) if place.partition("-")[0].isdigit() else -1
    found = Version(
        response.headers.get("ETag", ""),
        response.headers.get("Last-Modified", ""),
        int(total) if total and total.isdigit() else None,
    )

    def body() -> Iterator[bytes]:
        try:
            yield from response.stream(_BLOCK_BYTES, decode_content=False)
        except urllib3.exceptions.HTTPError as error:
            raise _from_urllib3(shown, error) from error

    return Answer(found, first, body(), response.close, response.status == 304)


def _from_urllib3(shown: str, error: Any) -> KerasgenError:
    from urllib3 import exceptions as known

    reason = getattr(error, "reason", None) or error
    if isinstance(reason, known.ResponseError) or "redirect" in str(reason):
        return InputError(f"{shown}: redirects without end")
    if isinstance(reason, known.LocationValueError):
        return InputError(f"{shown}: not a URL ({reason})")
    if isinstance(reason, known.SSLError):
        return UnreachableError(f"{shown}: no secure connection ({_short(reason)})")
    if isinstance(reason, known.NameResolutionError):
        return UnreachableError(f"{shown}: no such host; check the name and the network")
    if isinstance(reason, known.NewConnectionError | known.ConnectTimeoutError | known.ProxyError):
        return BrokenOffError(f"{shown}: nothing answers ({_short(reason)})")
    return BrokenOffError(f"{shown}: the connection broke off ({_short(reason)})")


def _short(reason: object) -> str:
    return " ".join(str(reason).rpartition(": ")[2].split())[:200] or type(reason).__name__


def _from_status(shown: str, status: int, headers: Any) -> KerasgenError:
    if status in (404, 410):
        return MissingFileError(f"{shown}: no such file ({status})")
    if status in (401, 403, 407):
        return DeniedError(f"{shown}: access denied ({status})")
    if status in (408, 416, 429) or status >= 500:
        wait = headers.get("Retry-After", "")
        return BrokenOffError(
            f"{shown}: the server fails ({status})", min(float(wait), _LONGEST_WAIT) if wait.isdigit() else None
        )
    return InputError(f"{shown}: the server refuses ({status})")


def _ask_s3(uri: str, shown: str, start: int, version: Version, unless: Version | None) -> Answer:
    from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError

    bucket, key = split_s3(uri)
    arguments = {"Bucket": bucket, "Key": key}
    if start:
        arguments |= {"Range": f"bytes={start}-", "IfMatch": version.etag}
    if unless is not None and unless.etag:
        arguments["IfNoneMatch"] = unless.etag
    try:
        answer = connection().client.get_object(**arguments)
    except ClientError as error:
        status = error.response["ResponseMetadata"]["HTTPStatusCode"]
        if status == 304 and unless is not None:
            return Answer(unless, 0, iter(()), lambda: None, unchanged=True)
        if status in (412, 416) and start:
            return _ask_s3(uri, shown, 0, Version(), None)
        raise explain(shown, error) from error
    except BotoCoreError as error:
        raise explain(shown, error) from error
    total = answer["ContentLength"]
    if start:
        total = int(answer["ContentRange"].rpartition("/")[2])

    def body() -> Iterator[bytes]:
        try:
            yield from answer["Body"].iter_chunks(_BLOCK_BYTES)
        except (HTTPClientError, BotoCoreError) as error:
            raise BrokenOffError(f"{shown}: the connection broke off ({_short(error)})") from error

    return Answer(Version(answer["ETag"], "", total), start, body(), answer["Body"].close)
