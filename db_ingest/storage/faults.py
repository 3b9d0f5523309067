"""What goes wrong in a store, in one line that names the place and whose turn it is."""

from __future__ import annotations

import errno
import re
from collections.abc import Callable
from typing import Any

from db_ingest.errors import InputError, KerasgenError, MissingFileError, RunError


class DeniedError(InputError, PermissionError):
    """A store refuses these credentials, or there are none."""


class UnreachableError(InputError, ConnectionError):
    """Nothing answers at the endpoint, nor has it ever."""


class ServerError(RunError, ConnectionError):
    """A store or the connection to it failed, again and again."""


class FullError(RunError, OSError):
    """There is no space left."""


_CREDENTIALS = "check the credentials (AWS_PROFILE, AWS_ACCESS_KEY_ID, ~/.aws)"
_BY_CODE: dict[str, tuple[type[KerasgenError], str]] = {
    "NoSuchBucket": (MissingFileError, "no such bucket; expected one that exists"),
    "InvalidBucketName": (InputError, "not a bucket name that S3 allows"),
    "NoSuchKey": (MissingFileError, "no such object"),
    "ExpiredToken": (DeniedError, "the credentials have expired; renew them"),
    "RequestExpired": (DeniedError, "the credentials have expired; renew them"),
    "TokenRefreshRequired": (DeniedError, "the credentials have expired; renew them"),
    "InvalidAccessKeyId": (DeniedError, f"the access key is unknown to the server; {_CREDENTIALS}"),
    "SignatureDoesNotMatch": (DeniedError, f"the secret key does not fit the access key; {_CREDENTIALS}"),
    "InvalidToken": (DeniedError, f"the session token is not valid; {_CREDENTIALS}"),
    "RequestTimeTooSkewed": (DeniedError, "this machine's clock differs from the server's; set it"),
    "AuthorizationHeaderMalformed": (InputError, "signed for another region; name the bucket's (--s3_region)"),
    "PermanentRedirect": (InputError, "lies in another region or behind another endpoint; name it (--s3_region)"),
    "NotImplemented": (InputError, "the server lacks a kind of request that is needed here"),
    "IllegalLocationConstraintException": (InputError, "lies in another region; name it (--s3_region)"),
}
_ALIASES = {
    "ExpiredTokenException": "ExpiredToken",
    "ERR_EXPIRED_TOKEN": "ExpiredToken",
    "301": "PermanentRedirect",
    "NotFound": "404",
}
_DENIED = "access denied; the credentials do not allow this, or the bucket is another's"


def explain(uri: str, error: BaseException, has_answered: Callable[[], bool] = lambda: False) -> KerasgenError:
    """Turn an error of TileDB, boto3 or the operating system into one of ours, of one line, that names ``uri``.

    Args:
        uri: what was being read or written.
        error: as it was caught; one of ours is given back as it is.
        has_answered: whether the server in use has ever answered this process; asked where it does not now.

    Returns:
        An :class:`~db_ingest.errors.InputError` where the caller can mend it (bucket, credentials, endpoint,
        permissions), a :class:`~db_ingest.errors.RunError` where the server, the connection or the disk failed.
    """
    if isinstance(error, KerasgenError):
        return error
    if isinstance(error, OSError) and error.errno is not None:
        return _from_errno(uri, error.errno, error.strerror or str(error))
    response = getattr(error, "response", None)
    if isinstance(response, dict):
        return _from_response(uri, response)
    module = type(error).__module__.split(".")[0]
    if module in ("botocore", "boto3", "s3transfer"):
        return _from_boto(uri, error, has_answered)
    return _from_text(uri, error, has_answered)


def _line(text: object, limit: int = 300) -> str:
    line = " ".join(str(text).split())
    return line if len(line) <= limit else f"{line[: limit - 1]}…"


def _from_errno(uri: str, number: int, reason: str) -> KerasgenError:
    if number in (errno.ENOSPC, errno.EDQUOT):
        return FullError(f"{uri}: disk full ({reason}); free some space and run again")
    if number in (errno.EACCES, errno.EPERM, errno.EROFS):
        return DeniedError(f"{uri}: {reason}; expected a place this user may use")
    if number in (errno.ENOENT, errno.ENOTDIR):
        return MissingFileError(f"{uri}: {reason}")
    return RunError(f"{uri}: {reason}")


def _from_response(uri: str, response: dict[str, Any]) -> KerasgenError:
    """From the answer that a botocore ClientError carries."""
    fault = response.get("Error", {})
    status = int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    return _from_code(uri, str(fault.get("Code", "")), status, str(fault.get("Message", "")))


def _from_code(uri: str, code: str, status: int, message: str) -> KerasgenError:
    code = _ALIASES.get(code, code)
    if code in _BY_CODE:
        kind, text = _BY_CODE[code]
        return kind(f"{uri}: {text}")
    if status in (401, 403) or code in ("AccessDenied", "401", "403"):
        return DeniedError(f"{uri}: {_DENIED}" + (f" ({code})" if code and not code.isdigit() else ""))
    if status == 404 or code == "404":
        return MissingFileError(f"{uri}: no such bucket or object")
    answer = " ".join(part for part in (str(status or ""), code if code != str(status) else "") if part)
    if status >= 500 or status == 429 or code in ("SlowDown", "RequestTimeout"):
        return ServerError(f"{uri}: the server keeps failing ({answer}); try again later")
    return RunError(f"{uri}: the server refuses ({_line(f'{answer}: {message}')})")


def _from_boto(uri: str, error: BaseException, has_answered: Callable[[], bool]) -> KerasgenError:
    from botocore import exceptions as known

    if error.__cause__ is not None or error.__context__ is not None:
        inner = error.__cause__ or error.__context__
        # boto3's transfers wrap the answer of the server.
        if isinstance(getattr(inner, "response", None), dict):
            return explain(uri, inner, has_answered)  # type: ignore[arg-type]
    if isinstance(error, known.NoCredentialsError):
        return DeniedError(f"{uri}: no credentials found; {_CREDENTIALS}")
    if isinstance(error, known.ProfileNotFound):
        return InputError(f"{uri}: {_line(error)}; expected a profile of ~/.aws/config")
    if isinstance(
        error,
        known.PartialCredentialsError
        | known.CredentialRetrievalError
        | known.MetadataRetrievalError
        | known.SSOError
        | known.TokenRetrievalError,
    ):
        return DeniedError(f"{uri}: {_line(error)}; {_CREDENTIALS}")
    if isinstance(error, known.EndpointConnectionError | known.ConnectTimeoutError | known.ProxyConnectionError):
        return _unreachable(uri, _line(error), has_answered)
    if isinstance(error, known.SSLError):
        return UnreachableError(f"{uri}: no secure connection ({_line(error)}); check the endpoint and AWS_CA_BUNDLE")
    if isinstance(error, known.HTTPClientError | known.ConnectionError):
        return ServerError(f"{uri}: the connection keeps failing ({_line(error)}); try again later")
    return InputError(f"{uri}: {_line(error)}")


def _unreachable(uri: str, reason: str, has_answered: Callable[[], bool]) -> KerasgenError:
    if has_answered():
        return ServerError(f"{uri}: the server has stopped answering ({reason}); try again later")
    return UnreachableError(f"{uri}: nothing answers ({reason}); check --s3_endpoint_url and the network")


_STATUS = re.compile(r"\[HTTP Response Code: (-?\d+)\]")
_CODE = re.compile(r"\[Exception: ([\w.]+)\]")
_NO_ANSWER = ("connection refused", "couldn't resolve", "could not resolve", "couldn't connect", "could not connect")


def _from_text(uri: str, error: BaseException, has_answered: Callable[[], bool]) -> KerasgenError:
    """From the text of a TileDBError, or of an error that we know nothing of."""
    text = str(error)
    status = _STATUS.search(text)
    if status is not None:
        code = _CODE.search(text)
        message = text.rpartition(" : ")[2]
        if int(status[1]) >= 300:
            return _from_code(uri, code[1] if code else "", int(status[1]), message)
        if any(words in text.lower() for words in _NO_ANSWER):
            return _unreachable(uri, _line(message), has_answered)
        return ServerError(f"{uri}: the connection keeps failing ({_line(message)}); try again later")
    for number, words in (
        (errno.ENOSPC, "no space left on device"),
        (errno.EDQUOT, "disk quota exceeded"),
        (errno.EACCES, "permission denied"),
        (errno.EROFS, "read-only file system"),
    ):
        if words in text.lower():
            return _from_errno(uri, number, words)
    if isinstance(error, ValueError):
        return InputError(f"{uri}: {_line(text)}")
    return RunError(f"{uri}: {_line(text) or type(error).__name__}")
