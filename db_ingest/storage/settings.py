"""How to reach S3: boto3's settings and credentials, the same for boto3, TileDB and other processes.

The environment is the one channel: what is set there is seen by boto3, by our TileDB contexts and by processes started
later. Nothing is fixed when a module is imported, so a change of the environment counts from the next call on.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from db_ingest.errors import InputError, KerasgenError
from db_ingest.storage import faults
from db_ingest.storage.uris import split_s3

ADDRESSING_STYLE = "KERASGEN_S3_ADDRESSING_STYLE"
LOCK_LEASE = "KERASGEN_LOCK_LEASE"

_STYLES = ("auto", "path", "virtual")
_KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
_TRAVELS = (
    *_KEYS,
    "AWS_PROFILE",
    "AWS_REGION",
    "AWS_DEFAULT_REGION",
    "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT_URL_S3",
    "AWS_CA_BUNDLE",
    "AWS_CONFIG_FILE",
    "AWS_SHARED_CREDENTIALS_FILE",
    "AWS_MAX_ATTEMPTS",
    "AWS_RETRY_MODE",
    "AWS_REQUEST_CHECKSUM_CALCULATION",
    "AWS_RESPONSE_CHECKSUM_VALIDATION",
    "AWS_EC2_METADATA_DISABLED",
    ADDRESSING_STYLE,
    LOCK_LEASE,
)
_PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")

_ATTEMPTS = 5
_CONNECT_SECONDS = 10
_READ_SECONDS = 60
_CONNECTIONS = 64

Value = TypeVar("Value")


@dataclass(frozen=True)
class S3Settings:
    """Where S3 is and how it is spoken to.

    Args:
        endpoint_url: address of the service as configured; None for AWS's own.
        region: as configured; None if nothing names one.
        profile: section of the AWS configuration in use; None for the default.
        addressing_style: ``path`` (``endpoint/bucket/key``) or ``virtual`` (``bucket.endpoint/key``).
        max_attempts: how often a request is tried before it counts as failed.
        ca_bundle: file of trusted certificates; None for the system's.
    """

    endpoint_url: str | None
    region: str | None
    profile: str | None
    addressing_style: str
    max_attempts: int
    ca_bundle: str | None

    @classmethod
    def from_environment(cls) -> S3Settings:
        """As the environment and the AWS configuration files say now.

        Raises:
            InputError: one of them is wrong.
        """
        return connection().settings


@dataclass(frozen=True)
class Connection:
    """A client of boto3 and what it was made from; both may be used by threads."""

    settings: S3Settings
    session: Any
    client: Any


def apply_s3_flags(
    endpoint_url: str | None = None,
    region: str | None = None,
    profile: str | None = None,
    addressing_style: str | None = None,
) -> None:
    """Put what the ``--s3_…`` flags say into the environment, for this process and all that it starts.

    Args:
        endpoint_url: address of an S3 service, ``http(s)://host[:port]``.
        region: region of the bucket.
        profile: section of the AWS configuration; its credentials then count, not those of the environment.
        addressing_style: ``path``, ``virtual`` or ``auto``.

    Raises:
        InputError: an endpoint that is no URL, or an unknown style.
    """
    if endpoint_url is not None:
        if not endpoint_url.startswith(("http://", "https://")):
            raise InputError(f"--s3_endpoint_url {endpoint_url}: expected http://host[:port] or https://host[:port]")
        os.environ["AWS_ENDPOINT_URL_S3"] = endpoint_url
    if region is not None:
        os.environ["AWS_REGION"] = os.environ["AWS_DEFAULT_REGION"] = region
    if profile is not None:
        os.environ["AWS_PROFILE"] = os.environ["AWS_DEFAULT_PROFILE"] = profile
        for name in _KEYS:
            os.environ.pop(name, None)
    if addressing_style is not None:
        if addressing_style not in _STYLES:
            raise InputError(f"--s3_addressing_style {addressing_style}: expected one of {', '.join(_STYLES)}")
        os.environ[ADDRESSING_STYLE] = addressing_style


def s3_environment() -> dict[str, str]:
    """What to set in the environment of a process on another machine so that it reaches S3 as this one does.

    Endpoint, region and style are given as they were resolved, from whichever source; secrets only where they are in
    this process's environment.
    """
    found = {name: os.environ[name] for name in _TRAVELS if os.environ.get(name)}
    settings = S3Settings.from_environment()
    if settings.endpoint_url:
        found["AWS_ENDPOINT_URL_S3"] = settings.endpoint_url
    if settings.region:
        found["AWS_REGION"] = found["AWS_DEFAULT_REGION"] = settings.region
    return found | {ADDRESSING_STYLE: settings.addressing_style}


class LruCache:
    """The last few things made from settings, so that the same settings do not make them anew."""

    def __init__(self, size: int = 8) -> None:
        self._size = size
        self._kept: OrderedDict[Hashable, tuple[Hashable, Any]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Hashable, make: Callable[[], Value], *, version: Hashable = None) -> Value:
        """What was made for ``key``; made now if it was not, was given up since, or was of another version."""
        with self._lock:
            if key not in self._kept or self._kept[key][0] != version:
                self._kept[key] = version, make()
            self._kept.move_to_end(key)
            while len(self._kept) > self._size:
                self._kept.popitem(last=False)
            return self._kept[key][1]


_connections = LruCache()
_regions = LruCache(64)
_answered: set[str] = set()


def surroundings() -> Hashable:
    """All that a connection depends on; two equal ones mean the same connection."""
    named = tuple(
        sorted(
            (name, value)
            for name, value in os.environ.items()
            if name.startswith("AWS_") or name in (ADDRESSING_STYLE, "HOME") or name.lower() in _PROXIES
        )
    )
    # Other tools renew credentials by rewriting these files.
    files = (
        os.environ.get("AWS_CONFIG_FILE", "~/.aws/config"),
        os.environ.get("AWS_SHARED_CREDENTIALS_FILE", "~/.aws/credentials"),
    )
    return named, tuple(_modified(Path(name).expanduser()) for name in files)


def _modified(path: Path) -> int | None:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return None


def connection() -> Connection:
    """The connection to S3 that the environment describes now.

    Raises:
        InputError: the environment or a configuration file is wrong.
    """
    return _connections.get(surroundings(), _connect)


def note_answer() -> None:
    """Remember that the server in use has answered."""
    _answered.add(connection().client.meta.endpoint_url)


def has_answered() -> bool:
    """Whether the server in use has ever answered this process."""
    try:
        return connection().client.meta.endpoint_url in _answered
    except InputError:
        return False


def explain(uri: str, error: BaseException) -> KerasgenError:
    """One of our errors, of one line that names ``uri``; see :func:`db_ingest.storage.faults.explain`."""
    return faults.explain(uri, error, has_answered)


def _connect() -> Connection:
    import boto3
    import botocore.session
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError

    profile = os.environ.get("AWS_PROFILE") or os.environ.get("AWS_DEFAULT_PROFILE") or None
    place = f"S3 settings (profile {profile})" if profile else "S3 settings"
    try:
        session = botocore.session.Session()
        region = session.get_config_variable("region") or os.environ.get("AWS_REGION") or None
        attempts = session.get_config_variable("max_attempts") or _ATTEMPTS
        style = _style(session, None)
        mode = session.get_config_variable("retry_mode") or "standard"
        common: dict[str, Any] = {
            "connect_timeout": _CONNECT_SECONDS,
            "read_timeout": _READ_SECONDS,
            "max_pool_connections": _CONNECTIONS,
            "retries": {"mode": mode, "total_max_attempts": attempts},
        }
        makes = boto3.session.Session(botocore_session=session)
        own = makes.client("s3", region_name=region, config=Config(**common, ignore_configured_endpoint_urls=True))
        client = makes.client("s3", region_name=region, config=Config(**common, s3={"addressing_style": style}))
        endpoint = client.meta.endpoint_url
        if endpoint == own.meta.endpoint_url:
            endpoint = None
        elif style == "auto":
            style = _style(session, endpoint)
            client = makes.client("s3", region_name=region, config=Config(**common, s3={"addressing_style": style}))
        bundle = session.get_config_variable("ca_bundle")
    except (BotoCoreError, ValueError) as error:
        raise faults.explain(place, error) from error
    settings = S3Settings(
        endpoint_url=endpoint,
        region=region,
        profile=profile,
        addressing_style="virtual" if style == "auto" else style,
        max_attempts=attempts,
        ca_bundle=str(bundle) if isinstance(bundle, str) else None,
    )
    return Connection(settings, session, client)


def _style(session: Any, endpoint: str | None) -> str:
    """The addressing style asked for; ``auto`` if none is, and ``path`` for an endpoint of one's own."""
    configured = (session.get_scoped_config().get("s3") or {}).get("addressing_style")
    style = os.environ.get(ADDRESSING_STYLE) or configured or "auto"
    if style not in _STYLES:
        raise InputError(f"{ADDRESSING_STYLE} {style!r}: expected one of {', '.join(_STYLES)}")
    return "path" if style == "auto" and endpoint else style


def frozen_credentials(uri: str, connected: Connection) -> Any:
    """The credentials of boto3's chain as they are now, refreshed where they were about to expire.

    Returns:
        ``access_key``, ``secret_key`` and ``token`` (None without a session).

    Raises:
        DeniedError: there are none, or they cannot be refreshed.
    """
    from botocore.exceptions import BotoCoreError, NoCredentialsError

    try:
        credentials = connected.session.get_credentials()
        if credentials is None:
            raise NoCredentialsError
        return credentials.get_frozen_credentials()
    except BotoCoreError as error:
        raise explain(uri, error) from error


def region_of(uri: str, connected: Connection) -> str | None:
    """Region to sign requests for ``uri``'s bucket with: AWS says it of each bucket, others take the configured one."""
    bucket, _ = split_s3(uri)
    settings = connected.settings
    if settings.endpoint_url is not None:
        named = connected.client.meta.region_name
        return settings.region or (named if named != "aws-global" else None)

    def ask() -> str | None:
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            answer = connected.client.head_bucket(Bucket=bucket)["ResponseMetadata"]
        except ClientError as error:
            # A bucket's region is told also to those who may not see it.
            answer = error.response["ResponseMetadata"]
            if not answer.get("HTTPHeaders", {}).get("x-amz-bucket-region"):
                raise explain(f"s3://{bucket}", error) from error
        except BotoCoreError as error:
            raise explain(f"s3://{bucket}", error) from error
        return answer.get("HTTPHeaders", {}).get("x-amz-bucket-region") or settings.region

    return _regions.get((bucket, surroundings()), ask)
