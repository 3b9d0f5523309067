"""Inputs from anywhere: local paths as they are; files behind http, https and s3 URIs fetched once into a cache.

A file is kept as ``sha256/<first two digits>/<digest>/<its name>``, so that what a format reads from its name stays.
``urls/`` holds for each URI which digest it had, and what tells whether it has changed.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit, urlunsplit

from db_ingest import storage
from db_ingest.errors import InputError, KerasgenError
from db_ingest.inputs import remote
from db_ingest.inputs.remote import Answer, BrokenOffError, Version
from db_ingest.storage import ServerError, is_uri

__all__ = ["Fetcher", "is_uri"]

log = logging.getLogger("kerasgen")

_BACKOFF_SECONDS = 1.0


@dataclass(frozen=True)
class _Entry:
    """What the cache knows of a URI."""

    uri: str
    name: str
    bytes: int
    sha256: str
    fetched: str
    etag: str
    modified: str

    @property
    def version(self) -> Version:
        return Version(self.etag, self.modified, self.bytes)


class Fetcher:
    """Makes local files of inputs; threads and processes may use one cache at the same time.

    Args:
        cache_dir: the cache; ``$KERASGEN_CACHE``, ``$XDG_CACHE_HOME/kerasgen`` or ``~/.cache/kerasgen`` if not given.
        tries: number of times in a row that a download may break off before it counts as failed.
    """

    def __init__(self, cache_dir: str | Path | None = None, *, tries: int = 6) -> None:
        self._tries = tries
        self.cache_dir = Path(cache_dir).expanduser() if cache_dir else _default_cache()
        self._checked: dict[str, Path] = {}
        self._lock = threading.Lock()

    def local(self, place: str | Path) -> Path:
        """A local path with the contents of ``place``.

        A URI is fetched at its first use; later it is asked once a :class:`Fetcher` whether it has changed, and where
        that cannot be learnt the copy is used, with a warning.

        Args:
            place: local path, ``file://``, ``http://``, ``https://`` or ``s3://`` URI.

        Raises:
            MissingFileError: there is nothing behind the URI.
            InputError: it is not allowed, nothing answers, or the URI is of another kind.
            RunError: the server or the connection keeps failing; what has come is kept for the next try.
        """
        text = str(place)
        if not is_uri(text):
            return Path(place)
        if text.startswith("file://"):
            return Path(unquote(urlsplit(text).path))
        remote.require_known(text)
        key = hashlib.sha256(self.source(text).encode()).hexdigest()
        with self._lock:
            found = self._checked.get(key)
        if found is None:
            folder = self.cache_dir / "urls"
            storage.require_writable(folder)
            with _locked(folder / f"{key}.lock", self.source(text)):
                found = self._checked.get(key) or self._fetch(text, folder / key)
                with self._lock:
                    self._checked[key] = found
        return found

    @staticmethod
    def source(place: str | Path) -> str:
        """What a catalogue keeps of a place: its absolute path, or its URI without user and password."""
        text = str(place)
        if not is_uri(text):
            return str(Path(place).resolve())
        parts = urlsplit(text)
        return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))

    def _fetch(self, uri: str, base: Path) -> Path:
        shown = self.source(uri)
        answer = None
        entry = _read_entry(base.with_suffix(".json"))
        if entry is not None:
            path = self._path(entry)
            if path.is_file() and path.stat().st_size == entry.bytes:
                try:
                    answer = remote.ask(uri, shown, unless=entry.version)
                except KerasgenError as error:
                    log.warning("%s; the copy of %s is used", error, entry.fetched)
                    return path
                if answer.unchanged or (answer.version == entry.version and entry.version.tells):
                    answer.close()
                    return path
                log.info("%s: has changed since %s", shown, entry.fetched)
            else:
                log.warning("%s: the copy in %s is damaged; fetched anew", shown, self.cache_dir)
        try:
            version = self._download(uri, shown, base, answer)
            return self._publish(shown, base, version)
        except OSError as error:
            raise storage.explain(str(self.cache_dir), error) from error

    def _download(self, uri: str, shown: str, base: Path, answer: Answer | None) -> Version:
        """Fetch into ``<base>.part``, going on where an earlier try broke off."""
        part, notes = base.with_suffix(".part"), base.with_suffix(".part.json")
        failures = 0
        while True:
            try:
                have, version = _partial(part, notes)
                if answer is None and have and have == version.bytes:
                    return version
                if answer is None:
                    answer = remote.ask(uri, shown, start=have, version=version)
                with contextlib.closing(answer):
                    if answer.start != have or answer.start == 0:
                        part.unlink(missing_ok=True)
                        if answer.start:
                            raise BrokenOffError(f"{shown}: the server sent another part than it was asked for")
                    version = answer.version
                    storage.replace_bytes(notes, json.dumps(asdict(version)).encode())
                    size = "" if version.bytes is None else f", {version.bytes - answer.start:,} bytes"
                    log.info("fetching %s%s%s", shown, size, " (the rest)" if answer.start else "")
                    with part.open("ab") as out:
                        for block in answer.body:
                            out.write(block)
                            failures = 0
                got = part.stat().st_size
                if version.bytes is None or got == version.bytes:
                    return version
                if got > version.bytes:
                    part.unlink()
                raise BrokenOffError(f"{shown}: {got:,} bytes came of {version.bytes:,}")
            except BrokenOffError as error:
                failures += 1
                if failures >= self._tries:
                    raise ServerError(f"{error}, {self._tries} times in a row; try again later") from error
                time.sleep(error.wait if error.wait is not None else _BACKOFF_SECONDS * 2 ** (failures - 1))
            answer = None

    def _publish(self, shown: str, base: Path, version: Version) -> Path:
        part = base.with_suffix(".part")
        with part.open("rb") as handle:
            digest = hashlib.file_digest(handle, "sha256").hexdigest()
            os.fsync(handle.fileno())
        name = unquote(urlsplit(shown).path.rpartition("/")[2]).replace("/", "_").replace("\0", "")
        if name in ("", ".", ".."):
            name = "download"
        entry = _Entry(
            uri=shown,
            name=name,
            bytes=part.stat().st_size,
            sha256=digest,
            fetched=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            etag=version.etag,
            modified=version.modified,
        )
        path = self._path(entry)
        path.parent.mkdir(parents=True, exist_ok=True)
        os.replace(part, path)
        storage.replace_bytes(base.with_suffix(".json"), json.dumps(asdict(entry), indent=1).encode())
        base.with_suffix(".part.json").unlink(missing_ok=True)
        return path

    def _path(self, entry: _Entry) -> Path:
        return self.cache_dir / "sha256" / entry.sha256[:2] / entry.sha256 / entry.name


def _default_cache() -> Path:
    if os.environ.get("KERASGEN_CACHE"):
        return Path(os.environ["KERASGEN_CACHE"]).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "kerasgen"


def _read_entry(path: Path) -> _Entry | None:
    try:
        return _Entry(**json.loads(path.read_bytes()))
    except (OSError, ValueError, TypeError):
        return None


def _partial(part: Path, notes: Path) -> tuple[int, Version]:
    """Bytes that an earlier try left, and of which version; none if the rest cannot be asked for."""
    try:
        version = Version(**json.loads(notes.read_bytes()))
        have = part.stat().st_size
    except (OSError, ValueError, TypeError):
        return 0, Version()
    usable = version.tells and version.bytes is not None and have <= version.bytes
    return (have, version) if usable else (0, Version())


@contextlib.contextmanager
def _locked(path: Path, shown: str) -> Iterator[None]:
    """Hold a lock that other threads and processes wait for."""
    import fcntl

    try:
        with path.open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                log.debug("%s: waiting for another that fetches it", shown)
                fcntl.flock(lock, fcntl.LOCK_EX)
            yield
    except OSError as error:
        if isinstance(error, KerasgenError):
            raise
        raise InputError(f"{path}: cannot be used as a cache ({error.strerror})") from error
