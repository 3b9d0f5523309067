"""Inputs from anywhere: fetched once, resumed, checked for changes, and never half."""

from __future__ import annotations

import dataclasses
import hashlib
import logging
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import unquote

import pytest
from servers import Files, S3Place, free_port

from db_ingest import storage
from db_ingest.errors import InputError, MissingFileError, RunError
from db_ingest.inputs import fetch, remote
from db_ingest.inputs.fetch import Fetcher, is_uri

DATA = bytes(range(256)) * 9_000  # 2.3 MB, more than one block


@pytest.fixture(autouse=True)
def _in_no_hurry_to_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch, "_BACKOFF_SECONDS", 0.01)
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def site() -> Iterator[Files]:
    with Files() as server:
        server.files["/lab/a.bigWig"] = DATA
        yield server


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def stored(cache: Path) -> list[Path]:
    return sorted(path for path in (cache / "sha256").rglob("*") if path.is_file())


def test_local_paths_pass_through(cache, tmp_path):
    fetcher = Fetcher(cache)
    assert fetcher.local("some/a.bw") == Path("some/a.bw")
    assert fetcher.local(tmp_path / "b") == tmp_path / "b"
    assert fetcher.local("file:///data/with%20space") == Path("/data/with space")
    assert not cache.exists()
    assert Fetcher.source("some/a.bw") == str(Path("some/a.bw").resolve())


@pytest.mark.parametrize(
    ("text", "expected"),
    [("s3://b/k", True), ("https://x/y", True), ("C:/x", False), ("/a/b", False), ("a://", True), ("x:y//z", False)],
)
def test_what_is_a_uri(text, expected):
    assert is_uri(text) is expected


def test_file_is_fetched_once_and_kept_by_checksum_and_name(site, cache):
    url = f"{site.url}/lab/a.bigWig"
    path = Fetcher(cache).local(url)
    digest = hashlib.sha256(DATA).hexdigest()
    assert path == cache / "sha256" / digest[:2] / digest / "a.bigWig"
    assert path.read_bytes() == DATA
    assert Fetcher.source(url) == url
    again = Fetcher(cache)
    assert [again.local(url) for _ in range(3)] == [path] * 3
    assert [method for method, _ in site.requests] == ["GET", "GET"]
    assert "if-none-match" in site.seen[1]
    assert sorted(p.suffix for p in (cache / "urls").iterdir()) == [".json", ".lock"]


def test_changed_file_is_fetched_anew_and_the_old_one_stays(site, cache):
    url = f"{site.url}/lab/a.bigWig"
    old = Fetcher(cache).local(url)
    site.files["/lab/a.bigWig"] = b"new"
    new = Fetcher(cache).local(url)
    assert (old.read_bytes(), new.read_bytes()) == (DATA, b"new")
    assert len(site.requests) == 2


@pytest.mark.parametrize("etags", [True, False])
def test_server_without_entity_tags_or_conditions_is_asked_once_too(cache, etags):
    with Files(etags=etags) as site:
        site.files["/a.bed"] = DATA
        first = Fetcher(cache).local(f"{site.url}/a.bed")
        assert Fetcher(cache).local(f"{site.url}/a.bed") == first
        assert len(site.requests) == 2
        site.files["/a.bed"] = b"other size"
        assert Fetcher(cache).local(f"{site.url}/a.bed").read_bytes() == b"other size"


@pytest.mark.parametrize("name", ["x y%23.bed.gz", "", "..", "a%2Fb.bed", "%00n"])
def test_names_cannot_lead_out_of_the_cache(site, cache, name):
    site.files |= {f"/lab/{unquote(name)}": b"data", "/": b"data"}
    path = Fetcher(cache).local(f"{site.url}/lab/{name}")
    assert path.read_bytes() == b"data"
    assert path.parent.parent.parent == cache / "sha256"
    assert path.resolve().is_relative_to(cache.resolve() / "sha256")
    if name.startswith("x"):
        assert path.name == "x y#.bed.gz"


@pytest.mark.parametrize(
    "fault",
    [
        {"status": 503, "times": 3},
        {"status": 500, "times": 5},
        {"status": 429, "times": 1},
        {"status": 0, "times": 3},
        {"cut": 0, "times": 2},
        {"cut": 1_500_000, "times": 1},
        {"cut": 200_000, "times": 9},
    ],
)
def test_passing_trouble_is_overcome(site, cache, fault):
    site.fault(**fault)
    assert Fetcher(cache).local(f"{site.url}/lab/a.bigWig").read_bytes() == DATA


def test_broken_download_goes_on_where_it_ended_also_in_another_run(site, cache, monkeypatch):
    url = f"{site.url}/lab/a.bigWig"
    site.fault(cut=1_000_000, times=1)
    with pytest.raises(RunError, match="try again later"):
        Fetcher(cache, tries=1).local(url)
    assert stored(cache) == []
    assert Fetcher(cache, tries=1).local(url).read_bytes() == DATA
    assert site.seen[1]["range"] == "bytes=1000000-"
    assert site.seen[1]["if-range"] == f'"{hashlib.md5(DATA).hexdigest()}"'


def test_run_that_ended_between_the_last_byte_and_the_cache_need_not_fetch_again(site, cache, monkeypatch):
    def killed(*_: object) -> Path:
        raise KeyboardInterrupt

    url = f"{site.url}/lab/a.bigWig"
    with monkeypatch.context() as patch:
        patch.setattr(Fetcher, "_publish", killed)
        with pytest.raises(KeyboardInterrupt):
            Fetcher(cache).local(url)
    assert Fetcher(cache).local(url).read_bytes() == DATA
    assert len(site.requests) == 1


@pytest.mark.parametrize("ranges", [True, False])
def test_file_that_changes_between_two_tries_is_not_patched_together(cache, monkeypatch, ranges):
    with Files(ranges=ranges) as site:
        site.files["/a"] = DATA
        site.fault(cut=1_000_000, times=1)
        with pytest.raises(RunError):
            Fetcher(cache, tries=1).local(f"{site.url}/a")
        site.files["/a"] = DATA[::-1]
        assert Fetcher(cache, tries=1).local(f"{site.url}/a").read_bytes() == DATA[::-1]


def test_lasting_trouble_ends_and_says_so(site, cache):
    site.fault(status=503)
    with pytest.raises(RunError, match=rf"{site.url}/lab/a.bigWig: the server fails \(503\), 6 times in a row"):
        Fetcher(cache).local(f"{site.url}/lab/a.bigWig")
    assert len(site.requests) == 6


@pytest.mark.parametrize(
    ("status", "kind", "words"),
    [
        (404, MissingFileError, r"no such file \(404\)"),
        (410, MissingFileError, r"no such file \(410\)"),
        (403, storage.DeniedError, r"access denied \(403\)"),
        (401, InputError, r"access denied \(401\)"),
        (418, InputError, r"the server refuses \(418\)"),
    ],
)
def test_refusals_are_final(site, cache, status, kind, words):
    site.fault(status=status)
    with pytest.raises(kind, match=f"^{site.url}/lab/a.bigWig: {words}$"):
        Fetcher(cache).local(f"{site.url}/lab/a.bigWig")
    assert len(site.requests) == 1


def test_no_such_host_nothing_there_and_unknown_kinds(cache, monkeypatch):
    with pytest.raises(InputError, match="no such host"):
        Fetcher(cache, tries=2).local("http://no-such-host.invalid/a.bw")
    with pytest.raises(RunError, match="nothing answers") as caught:
        Fetcher(cache, tries=2).local(f"http://127.0.0.1:{free_port()}/a.bw")
    assert "\n" not in str(caught.value)
    for uri in ("gs://bucket/a.bw", "ftp://host/a.bw", "az://c/a"):
        with pytest.raises(InputError, match=r"unknown kind of location .*; expected a local path, s3://, http://"):
            Fetcher(cache, tries=2).local(uri)
    with pytest.raises(InputError, match="not a URL|no such host"):
        Fetcher(cache, tries=2).local("http:///a.bw")


@pytest.mark.parametrize("how", [{"status": 0}, {"status": 500}, {"status": 404}])
def test_copy_is_used_with_a_warning_where_it_cannot_be_checked(site, cache, caplog, how):
    url = f"{site.url}/lab/a.bigWig"
    path = Fetcher(cache).local(url)
    site.fault(**how)
    with caplog.at_level(logging.WARNING, "kerasgen"):
        assert Fetcher(cache).local(url) == path
    assert url in caplog.text
    assert "the copy of 20" in caplog.text
    assert len(site.requests) == 2


@pytest.mark.parametrize("damage", ["cut", "gone", "index"])
def test_damaged_copy_is_fetched_anew(site, cache, damage):
    url = f"{site.url}/lab/a.bigWig"
    path = Fetcher(cache).local(url)
    if damage == "cut":
        path.write_bytes(DATA[:-1])
    elif damage == "gone":
        path.unlink()
    else:
        next((cache / "urls").glob("*.json")).write_text("{")
    assert Fetcher(cache).local(url).read_bytes() == DATA


def test_threads_and_processes_fetch_a_file_once(site, cache):
    url = f"{site.url}/lab/a.bigWig"
    site.fault(delay=0.2, times=1)
    fetcher = Fetcher(cache)
    code = "import sys; from db_ingest.inputs.fetch import Fetcher; print(Fetcher(sys.argv[1]).local(sys.argv[2]))"
    words = [sys.executable, "-c", code, str(cache), url]
    with ThreadPoolExecutor(6) as pool, subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as other:
        paths = set(pool.map(fetcher.local, [url] * 6))
        said, _ = other.communicate()
    assert {str(path) for path in paths} == {said.strip()}
    whole = [seen for seen in site.seen if "if-none-match" not in seen]
    assert len(whole) == 1
    assert len(site.seen) <= 2


def test_redirects_are_followed_and_endless_ones_refused(site, cache):
    class Elsewhere(Files):
        def answer(self, method, path, headers, body):
            return super().answer(method, path, headers, body)._replace(status=302, headers={"Location": self.to})

    with Elsewhere() as other:
        other.to = f"{site.url}/lab/a.bigWig"
        path = Fetcher(cache).local(f"{other.url}/@@download/b.bw")
        assert (path.name, path.read_bytes()) == ("b.bw", DATA)
        other.to = f"{other.url}/again"
        with pytest.raises(InputError, match="redirects without end"):
            Fetcher(cache).local(f"{other.url}/c.bw")


def test_password_is_sent_but_not_kept(site, cache):
    url = f"http://me:p%40ss@{site.url[7:]}/lab/a.bigWig"
    Fetcher(cache).local(url)
    assert site.seen[0]["authorization"] == "Basic bWU6cEBzcw=="
    assert Fetcher.source(url) == f"{site.url}/lab/a.bigWig"
    assert not any("p%40ss" in path.read_text() for path in (cache / "urls").iterdir())
    site.fault(status=403)
    with pytest.raises(InputError) as caught:
        Fetcher(cache / "b").local(url)
    assert "ss@" not in str(caught.value)


def test_proxy_of_the_environment_is_used(s3: S3Place, site, cache, monkeypatch):
    monkeypatch.setenv("http_proxy", s3.proxy.url)
    Fetcher(cache).local(f"{site.url}/lab/a.bigWig")
    assert s3.proxy.requests() == [("GET", f"{site.url}/lab/a.bigWig")]


def test_default_cache(monkeypatch, tmp_path):
    monkeypatch.delenv("KERASGEN_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert Fetcher().cache_dir == Path.home() / ".cache" / "kerasgen"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert Fetcher().cache_dir == tmp_path / "xdg" / "kerasgen"
    monkeypatch.setenv("KERASGEN_CACHE", str(tmp_path / "own"))
    assert Fetcher().cache_dir == tmp_path / "own"
    assert Fetcher("~/here").cache_dir == Path.home() / "here"


def test_cache_that_cannot_be_written_is_an_input_error(site, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot be written to"):
        Fetcher(tmp_path / "file").local(f"{site.url}/lab/a.bigWig")


def test_full_disk_is_told_in_one_line(site, cache, monkeypatch):
    def full(*_: object, **__: object) -> Iterator[bytes]:
        raise OSError(28, "No space left on device")
        yield b""

    ask = remote.ask
    monkeypatch.setattr(remote, "ask", lambda *a, **k: dataclasses.replace(ask(*a, **k), body=full()))
    with pytest.raises(storage.FullError, match="disk full") as caught:
        Fetcher(cache).local(f"{site.url}/lab/a.bigWig")
    assert str(cache) in str(caught.value)


# --- s3:// ----------------------------------------------------------------------------------------------------------


def test_objects_are_fetched_alike(s3: S3Place, cache, monkeypatch):
    proxy = s3.through_proxy()
    s3.client.put_object(Bucket=s3.bucket, Key="lab/a.bw", Body=DATA)
    uri = s3.uri("lab", "a.bw")
    path = Fetcher(cache).local(uri)
    assert (path.name, path.read_bytes()) == ("a.bw", DATA)
    assert Fetcher.source(uri) == uri
    assert Fetcher(cache).local(uri) == path
    assert proxy.counts() == {"GET": 2}
    s3.client.put_object(Bucket=s3.bucket, Key="lab/a.bw", Body=b"new")
    assert Fetcher(cache).local(uri).read_bytes() == b"new"

    s3.client.put_object(Bucket=s3.bucket, Key="lab/b.bw", Body=DATA)
    proxy.fault(cut=1_100_000, times=1)
    with pytest.raises(RunError, match=f"{s3.uri('lab', 'b.bw')}: .*try again later"):
        Fetcher(cache, tries=1).local(s3.uri("lab", "b.bw"))
    assert Fetcher(cache, tries=1).local(s3.uri("lab", "b.bw")).read_bytes() == DATA
    s3.client.put_object(Bucket=s3.bucket, Key="lab/c.bw", Body=DATA)
    proxy.fault(cut=1_100_000, times=1)
    with pytest.raises(RunError):
        Fetcher(cache, tries=1).local(s3.uri("lab", "c.bw"))
    s3.client.put_object(Bucket=s3.bucket, Key="lab/c.bw", Body=DATA[:5])
    assert Fetcher(cache, tries=1).local(s3.uri("lab", "c.bw")).read_bytes() == DATA[:5]


def test_missing_objects_and_refusals_are_told_in_one_line(s3: S3Place, cache):
    proxy = s3.through_proxy()
    with pytest.raises(MissingFileError, match="no such object"):
        Fetcher(cache).local(s3.uri("none"))
    with pytest.raises(MissingFileError, match="no such bucket"):
        Fetcher(cache).local("s3://no-such-bucket-here/a")
    proxy.fault(status=403, code="ExpiredToken")
    with pytest.raises(storage.DeniedError, match="expired"):
        Fetcher(cache).local(s3.uri("x"))


def test_many_files_at_a_time(site, cache):
    contents = {f"/{i}.bed": bytes([i]) * (i * 1000 + 1) for i in range(12)}
    site.files.update(contents)
    fetcher, barrier = Fetcher(cache), threading.Barrier(4)

    def fetch(path: str) -> bytes:
        if path in list(contents)[:4]:
            barrier.wait()
        return fetcher.local(site.url + path).read_bytes()

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(fetch, contents)) == list(contents.values())
