"""Requests to S3 through boto3, their failures told as ours."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from db_ingest.storage.settings import connection, explain, note_answer
from db_ingest.storage.uris import split_s3


@contextmanager
def explained(uri: str) -> Iterator[None]:
    """Turn what boto3 raises into our own errors, which name ``uri``."""
    from boto3.exceptions import Boto3Error
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except (BotoCoreError, Boto3Error, ClientError) as error:
        raise explain(uri, error) from error
    note_answer()


def get_object(uri: str) -> tuple[bytes, dict[str, Any]]:
    """Contents of an object, and what the server said of it.

    Raises:
        MissingFileError: there is no such object or bucket.
    """
    from botocore.exceptions import HTTPClientError, IncompleteReadError

    bucket, key = split_s3(uri)
    connected = connection()
    left = connected.settings.max_attempts
    with explained(uri):
        while True:
            answer = connected.client.get_object(Bucket=bucket, Key=key)
            try:
                return answer["Body"].read(), answer
            # boto3 tries a request again, but not the reading of an answer that breaks off.
            except (HTTPClientError, IncompleteReadError):
                left -= 1
                if left <= 0:
                    raise
