"""Databases in S3: the same contract as on disk, few requests, errors in one line, and one writer at a time."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import boto3
import numpy as np
import pytest
import tiledb
from botocore.exceptions import ClientError
from servers import Proxy, S3Place, holding_lock

from db_ingest import storage
from db_ingest.errors import InputError, KerasgenError, MissingFileError, RunError
from db_ingest.storage import settings

TILE = 1 << 12


def schema(length: int = 1 << 26) -> tiledb.ArraySchema:
    domain = tiledb.Domain(
        tiledb.Dim("row", domain=(0, 2**31 - 1), tile=1, dtype=np.uint64),
        tiledb.Dim("position", domain=(0, length - 1), tile=TILE, dtype=np.uint64),
    )
    value = tiledb.Attr("value", dtype=np.float32, fill=np.nan, filters=[tiledb.ZstdFilter(3)])
    return tiledb.ArraySchema(domain=domain, attrs=[value])


def write(uri: str, values: np.ndarray, start: int = 0, row: int = 0) -> None:
    context = storage.tiledb_ctx(uri, upload_bytes=values.nbytes)
    with tiledb.open(uri, "w", timestamp=row + 1, ctx=context) as array:
        array[row, start : start + len(values)] = values


def read(uri: str, start: int, end: int, row: int = 0) -> np.ndarray:
    with tiledb.open(uri, ctx=storage.tiledb_ctx(uri)) as array:
        return array[row, start:end]["value"]


def one_line(error: BaseException, *words: str) -> bool:
    return "\n" not in str(error) and all(word in str(error) for word in words)


# --- what every store does ------------------------------------------------------------------------------------------


@pytest.fixture(params=["local", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A folder that is not there yet, on disk and in S3."""
    return str(tmp_path / "db") if request.param == "local" else request.getfixturevalue("s3").uri("some", "db")


def test_file_is_read_as_written_and_replaced(place):
    name = storage.join(place, "catalogue.json")
    with pytest.raises(FileNotFoundError) as caught:
        storage.read_bytes(name)
    assert name in str(caught.value)
    assert not storage.exists(name)
    storage.replace_bytes(name, b"one")
    storage.replace_bytes(name, b"other" * 9)
    assert storage.read_bytes(name) == b"other" * 9
    assert storage.exists(name)
    assert storage.names(place) == ["catalogue.json"]


def test_listing_and_removing_a_tree(place):
    for name in ("signal/a/x", "signal/a/y", "signal-2/x", "signal.txt", "top"):
        storage.replace_bytes(storage.join(place, *name.split("/")), name.encode())
    assert storage.names(place) == ["signal", "signal-2", "signal.txt", "top"]
    assert storage.names(storage.join(place, "signal")) == ["a"]
    assert storage.files(place) == {n: len(n) for n in ("signal-2/x", "signal.txt", "signal/a/x", "signal/a/y", "top")}
    assert storage.size(storage.join(place, "signal")) == 20
    assert all(storage.exists(storage.join(place, name)) for name in ("signal", "signal/a", "top"))
    assert not any(storage.exists(storage.join(place, name)) for name in ("sig", "signal/", "top/x")[::2])
    storage.remove_tree(storage.join(place, "signal"))
    assert not storage.exists(storage.join(place, "signal"))
    assert storage.names(place) == ["signal-2", "signal.txt", "top"]
    storage.remove_contents(place, keep=("top",))
    assert storage.names(place) == ["top"]
    storage.remove_tree(place)
    storage.remove_tree(place)
    assert storage.names(place) == []
    assert storage.files(place) == {}
    assert storage.size(place) == 0


def test_array_is_created_once_and_holds_what_is_written(place, rng):
    uri = storage.join(place, "signal", "a")
    storage.create_array(uri, schema())
    values = rng.random(3 * TILE).astype(np.float32)
    write(uri, values, start=TILE, row=2)
    storage.create_array(uri, schema(1 << 20))
    np.testing.assert_array_equal(read(uri, TILE, 4 * TILE, row=2), values)
    assert np.isnan(read(uri, 0, TILE, row=2)).all()
    assert storage.names(storage.join(place, "signal")) == ["a"]


def test_second_writer_is_refused_and_the_next_one_let_in(place):
    with storage.write_lock(place) as lock:
        lock.check()
        with pytest.raises(RunError, match="another process is writing") as caught, storage.write_lock(place):
            pass
        assert one_line(caught.value, place)
        lock.check()
    with pytest.raises(ZeroDivisionError), storage.write_lock(place):
        raise ZeroDivisionError
    with storage.write_lock(place):
        pass


def test_lock_taken_away_is_noticed(place):
    with storage.write_lock(place) as lock:
        storage.remove_tree(storage.join(place, storage.LOCK_NAME))
        with pytest.raises(RunError, match="lost the database"):
            lock.check()


@pytest.mark.parametrize("remote", [(False, False), (True, False), (False, True), (True, True)])
def test_copy_holds_the_same_and_goes_on_where_it_ended(s3: S3Place, tmp_path, rng, remote):
    source, copy = (s3.uri("x", name) if far else str(tmp_path / name) for far, name in zip(remote, "ab", strict=True))
    wanted = {f"signal/{i}/data": rng.bytes(int(rng.integers(0, 9_000))) for i in range(12)} | {"catalogue.json": b"{}"}
    for name, data in wanted.items():
        storage.replace_bytes(storage.join(source, name), data)
    storage.replace_bytes(storage.join(source, storage.LOCK_NAME), b"")
    done: list[int] = []
    total = storage.copy_tree(source, copy, last="catalogue.json", advance=done.append)
    assert total == sum(map(len, wanted.values())) == sum(done) + 2
    assert {name: storage.read_bytes(storage.join(copy, name)) for name in storage.files(copy)} == wanted

    # Cut off: no catalogue, one file missing, one half there, one half-copied.
    for name in ("catalogue.json", "signal/3/data"):
        storage.remove_tree(storage.join(copy, name))
    storage.replace_bytes(storage.join(copy, "signal/4/data"), wanted["signal/4/data"][:-1])
    if not remote[1]:
        storage.replace_bytes(storage.join(copy, "signal/3/.data.copying"), b"h")
    done.clear()
    assert storage.copy_tree(source, copy, last="catalogue.json", advance=done.append) == total
    assert done[1:] != []
    assert {name: storage.read_bytes(storage.join(copy, name)) for name in storage.files(copy)} == wanted


def test_copy_onto_other_files_or_of_nothing_is_refused(place, s3: S3Place, tmp_path):
    storage.replace_bytes(storage.join(place, "a"), b"a")
    for other in (s3.uri("full"), str(tmp_path / "full")):
        storage.replace_bytes(storage.join(other, "mine"), b"mine")
        with pytest.raises(InputError, match=r"holds other files \(mine\)"):
            storage.copy_tree(place, other)
        assert storage.names(other) == ["mine"]
    for last in (None, "catalogue.json"):
        with pytest.raises(MissingFileError):
            storage.copy_tree(storage.join(place, "none"), s3.uri("new"), last=last)


# --- TileDB in S3 ---------------------------------------------------------------------------------------------------


def test_a_fragment_takes_few_requests(s3: S3Place, rng):
    proxy = s3.through_proxy()
    uri = s3.uri("db", "signal", "a")
    storage.create_array(uri, schema())
    assert sum(proxy.counts().values()) <= 7
    values = rng.random(1 << 20).astype(np.float32)
    write(uri, values)
    requests = proxy.requests()
    assert [method for method, _ in requests].count("PUT") == 3  # data, metadata, commit
    assert "POST" not in {method for method, _ in requests}
    assert len(requests) <= 7
    with tiledb.open(uri, ctx=storage.tiledb_ctx(uri)) as array:
        proxy.requests()
        np.testing.assert_array_equal(array[0, : len(values)]["value"], values)
        assert proxy.counts() == {"GET": 2}
    # Of an object of unknown size, too.
    with tiledb.open(uri, "w", timestamp=2, ctx=storage.tiledb_ctx(uri)) as array:
        array[1, : len(values)] = values
    np.testing.assert_array_equal(read(uri, 0, len(values), row=1), values)


def test_settings_reach_tiledb(s3: S3Place, monkeypatch, tmp_path):
    storage.configure(threads=3)
    try:
        config = storage.tiledb_ctx(s3.uri("db")).config()
        assert storage.tiledb_ctx(str(tmp_path)).config()["sm.compute_concurrency_level"] == "3"
    finally:
        storage.configure()
    assert config["vfs.s3.region"] == "eu-central-1"
    assert config["vfs.s3.scheme"] == "http"
    assert f"http://{config['vfs.s3.endpoint_override']}" == s3.endpoint
    assert config["vfs.s3.use_virtual_addressing"] == "false"
    assert config["vfs.s3.ca_file"] == ""

    monkeypatch.setenv("AWS_CA_BUNDLE", "/etc/some.crt")
    storage.apply_s3_flags("https://store.example:9000/base/", "eu-north-1", None, "virtual")
    try:
        config = storage.tiledb_ctx(s3.uri("db")).config()
        found = storage.S3Settings.from_environment()
    finally:
        for name in ("AWS_ENDPOINT_URL_S3", "AWS_REGION", settings.ADDRESSING_STYLE):
            os.environ.pop(name)
        os.environ["AWS_DEFAULT_REGION"] = "eu-central-1"
    assert (found.endpoint_url, found.region) == ("https://store.example:9000/base/", "eu-north-1")
    assert config["vfs.s3.endpoint_override"] == "store.example:9000/base"
    assert (config["vfs.s3.scheme"], config["vfs.s3.region"]) == ("https", "eu-north-1")
    assert config["vfs.s3.use_virtual_addressing"] == "true"
    assert config["vfs.s3.ca_file"] == "/etc/some.crt"


def test_configuration_file_counts_and_a_profile_flag_beats_keys_in_the_environment(s3: S3Place, tmp_path, monkeypatch):
    config = tmp_path / "config"
    config.write_text(
        f"[profile lab]\nregion = eu-west-3\nendpoint_url = {s3.endpoint}\ns3 =\n  addressing_style = virtual\n"
        "aws_access_key_id = lab\naws_secret_access_key = secret\naws_session_token = token\n"
    )
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    for name in ("AWS_PROFILE", "AWS_DEFAULT_PROFILE"):
        monkeypatch.setenv(name, "")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "environment")
    storage.apply_s3_flags(profile="lab")
    found = storage.S3Settings.from_environment()
    assert (found.profile, found.region, found.endpoint_url) == ("lab", "eu-west-3", s3.endpoint)
    assert found.addressing_style == "virtual"
    context = storage.tiledb_ctx(s3.uri("db")).config()
    keys = [context[f"vfs.s3.aws_{name}"] for name in ("access_key_id", "secret_access_key", "session_token")]
    assert keys == ["lab", "secret", "token"]
    assert storage.s3_environment() == {
        "AWS_PROFILE": "lab",
        "AWS_CONFIG_FILE": str(config),
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_ENDPOINT_URL_S3": s3.endpoint,
        "AWS_REGION": "eu-west-3",
        "AWS_DEFAULT_REGION": "eu-west-3",
        "KERASGEN_S3_ADDRESSING_STYLE": "virtual",
    }
    storage.apply_s3_flags(profile="none")
    with pytest.raises(InputError, match=r"profile.*none") as caught:
        storage.exists(s3.uri("db"))
    assert one_line(caught.value)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"endpoint_url": "localhost:9000"}, "--s3_endpoint_url localhost:9000: expected http"),
        ({"addressing_style": "dns"}, "--s3_addressing_style dns: expected one of auto, path, virtual"),
    ],
)
def test_wrong_flags_are_refused(flags, message):
    with pytest.raises(InputError, match=message):
        storage.apply_s3_flags(**flags)


def test_wrong_settings_of_the_environment_are_refused(s3: S3Place, monkeypatch):
    monkeypatch.setenv(settings.ADDRESSING_STYLE, "dns")
    with pytest.raises(InputError, match="KERASGEN_S3_ADDRESSING_STYLE 'dns'"):
        storage.exists(s3.uri("db"))
    monkeypatch.setenv(settings.ADDRESSING_STYLE, "path")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "nowhere")
    with pytest.raises(InputError, match="nowhere"):
        storage.exists(s3.uri("db"))


def test_another_process_reaches_the_store_by_the_environment_it_is_given(s3: S3Place):
    storage.replace_bytes(s3.uri("x"), b"seen")
    code = "import sys; from db_ingest import storage; print(storage.read_bytes(sys.argv[1]).decode())"
    plain = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "KERASGEN_"))}
    found = subprocess.run(
        [sys.executable, "-c", code, s3.uri("x")],
        env=plain | storage.s3_environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout == "seen\n"


def test_context_stays_until_credentials_change(s3: S3Place, tmp_path, monkeypatch):
    uri = s3.uri("db")
    first = storage.tiledb_ctx(uri)
    assert storage.tiledb_ctx(s3.uri("db", "signal")) is first
    monkeypatch.setenv("AWS_SESSION_TOKEN", "new")
    assert storage.tiledb_ctx(uri).config()["vfs.s3.aws_session_token"] == "new"

    # A tool that renews credentials rewrites the file.
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name)
    file = tmp_path / "credentials"
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(file))
    for number, key in enumerate(("one", "two")):
        file.write_text(f"[default]\naws_access_key_id = {key}\naws_secret_access_key = s\n")
        os.utime(file, (number, number))
        assert storage.tiledb_ctx(uri).config()["vfs.s3.aws_access_key_id"] == key

    # Credentials that boto3 itself refreshes before they expire: these live for 5, 10, 15, 20 minutes.
    script, count = tmp_path / "give.py", tmp_path / "count"
    script.write_text(
        "import datetime, json, pathlib, sys\n"
        "count = pathlib.Path(sys.argv[1])\n"
        "n = len(count.read_text()) + 1 if count.exists() else 1\n"
        "count.write_text('x' * n)\n"
        "ends = datetime.datetime.now(datetime.UTC) + datetime.timedelta(minutes=5 * n)\n"
        "keys = {'AccessKeyId': f'k{n}', 'SecretAccessKey': 's', 'SessionToken': 't'}\n"
        "print(json.dumps({'Version': 1, 'Expiration': ends.isoformat(), **keys}))\n"
    )
    config = tmp_path / "config"
    config.write_text(f"[default]\ncredential_process = {sys.executable} {script} {count}\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
    seen = [storage.tiledb_ctx(uri) for _ in range(6)]
    keys = [context.config()["vfs.s3.aws_access_key_id"] for context in seen]
    assert keys == sorted(keys)
    assert keys[0] < keys[-1] == "k4"
    assert seen[-1] is seen[-2]
    assert count.read_text() == "xxxx"


def test_region_of_a_bucket_is_asked_of_aws_alone(s3: S3Place):
    proxy = s3.through_proxy()
    ours = settings.connection()
    assert settings.region_of(s3.uri(), ours) == "eu-central-1"
    assert proxy.counts() == {}
    at_aws = settings.Connection(
        settings.S3Settings(None, "us-west-2", None, "virtual", 1, None), ours.session, ours.client
    )
    assert settings.region_of(s3.uri(), at_aws) == "eu-central-1"
    assert settings.region_of(s3.uri(), at_aws) == "eu-central-1"
    assert proxy.counts() == {"HEAD": 1}
    with pytest.raises(MissingFileError, match="s3://no-such-bucket-here"):
        settings.region_of("s3://no-such-bucket-here/db", at_aws)


def test_a_proxy_that_the_environment_names_is_used(s3: S3Place, monkeypatch):
    monkeypatch.setenv("http_proxy", s3.proxy.url)
    uri = s3.uri("db")
    storage.create_array(uri, schema())
    requests = s3.proxy.requests()
    assert {method for method, _ in requests} == {"GET", "HEAD", "PUT"}
    assert all(path.startswith(s3.endpoint) for _, path in requests)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    np.testing.assert_array_equal(np.isnan(read(uri, 0, 3)), True)
    assert s3.proxy.requests() == []


# --- trouble --------------------------------------------------------------------------------------------------------


def test_passing_trouble_of_the_server_is_overcome(s3: S3Place, rng):
    proxy = s3.through_proxy()
    uri = s3.uri("db", "a")
    proxy.fault(status=503, code="ServiceUnavailable", times=1)
    storage.create_array(uri, schema())
    values = rng.random(TILE).astype(np.float32)
    for how in ({"status": 500}, {"lose": True}):
        proxy.mend()
        proxy.fault(method="PUT", times=2, **how)
        write(uri, values)
        proxy.fault(method="PUT", times=1, **how)
        storage.replace_bytes(s3.uri("file"), b"whole" * 100)
    for how in ({"status": 0}, {"cut": 40}):
        proxy.mend()
        proxy.fault(method="GET", times=2, **how)
        np.testing.assert_array_equal(read(uri, 0, TILE), values)
        proxy.mend()
        proxy.fault(method="GET", times=1, **how)
        assert storage.read_bytes(s3.uri("file")) == b"whole" * 100


WAYS: dict[str, Callable[[str], object]] = {
    "read": lambda uri: storage.read_bytes(f"{uri}/catalogue.json"),
    "replace": lambda uri: storage.replace_bytes(f"{uri}/catalogue.json", b"{}"),
    "list": storage.names,
    "exists": storage.exists,
    "lock": lambda uri: storage.write_lock(uri).__enter__(),
    "create": lambda uri: storage.create_array(f"{uri}/a", schema()),
    "open": lambda uri: opened(f"{uri}/a"),
    "copy": lambda uri: storage.copy_tree(uri, f"{uri}2", last="catalogue.json"),
}


def opened(uri: str) -> None:
    """Open an array as the readers do."""
    try:
        tiledb.open(uri, ctx=storage.tiledb_ctx(uri)).close()
    except tiledb.TileDBError as error:
        raise storage.explain(uri, error) from error


TROUBLE = (
    (403, "AccessDenied", storage.DeniedError, "access denied"),
    (0, "", storage.ServerError, "connection keeps failing"),
    (400, "ExpiredToken", storage.DeniedError, "expired"),
    (403, "ExpiredToken", storage.DeniedError, "expired"),
    (403, "InvalidAccessKeyId", storage.DeniedError, "access key is unknown"),
    (500, "InternalError", storage.ServerError, "keeps failing"),
)


@pytest.mark.parametrize("way", WAYS)
def test_lasting_trouble_is_told_in_one_line(s3: S3Place, monkeypatch, way):
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    proxy, act = s3.through_proxy(), WAYS[way]

    def fails(kind: type[KerasgenError], *words: str, uri: str = s3.uri("db")) -> None:
        with pytest.raises(kind) as caught:
            act(uri)
        assert one_line(caught.value, uri.split("/")[2], *words), caught.value
        assert len(str(caught.value)) < 400

    fails(FileNotFoundError, "no such bucket", uri="s3://no-such-bucket-here/db")
    # Every way takes one of two roads to the server: boto3's or TileDB's.
    for status, code, kind, words in TROUBLE if way in ("read", "open") else TROUBLE[:2]:
        proxy.mend()
        proxy.fault(status=status, code=code)
        fails(kind, words)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    fails(storage.UnreachableError, "nothing answers")
    if way in ("read", "open"):
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            monkeypatch.delenv(name)
        fails(storage.DeniedError, "no credentials")


def test_a_server_that_goes_away_while_running_is_not_the_callers_fault(s3_server, s3: S3Place, monkeypatch):
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    proxy = Proxy(s3.endpoint)
    monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
    storage.replace_bytes(s3.uri("db", "x"), b"x")
    proxy.close()
    for way in ("read", "open"):
        with pytest.raises(storage.ServerError, match="stopped answering") as caught:
            WAYS[way](s3.uri("db"))
        assert caught.value.exit_status == 1


def test_expired_credentials_while_writing_are_said_to_be_so(s3: S3Place, rng):
    proxy = s3.through_proxy()
    uri = s3.uri("db")
    storage.create_array(uri, schema())
    proxy.fault(status=400, code="ExpiredToken", method="PUT", path="__fragments")
    with pytest.raises(tiledb.TileDBError) as caught:
        write(uri, rng.random(TILE).astype(np.float32))
    said = storage.explain(uri, caught.value)
    assert isinstance(said, storage.DeniedError)
    assert one_line(said, uri, "expired; renew them")


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (OSError(28, "No space left on device"), storage.FullError, "disk full"),
        (
            tiledb.TileDBError("[TileDB::IO] Error: write error: No space left on device"),
            storage.FullError,
            "disk full",
        ),
        (OSError(122, "Disk quota exceeded"), storage.FullError, "disk full"),
        (PermissionError(13, "Permission denied"), storage.DeniedError, "Permission denied"),
        (FileNotFoundError(2, "No such file or directory"), MissingFileError, "No such file"),
        (OSError(5, "Input/output error"), RunError, "Input/output error"),
        (tiledb.TileDBError("Array: line one\nline two"), RunError, "line one line two"),
        (ValueError("odd"), InputError, "odd"),
        (InputError("ours"), InputError, "ours"),
        (MemoryError(), RunError, "MemoryError"),
    ],
)
def test_errors_of_disk_and_tiledb_become_one_line(error, kind, words):
    said = storage.explain("/data/db", error)
    assert isinstance(said, kind)
    assert one_line(said, words)
    assert words == "ours" or str(said).startswith("/data/db: ")


def test_a_full_disk_seen_by_tiledb_is_told(tmp_path, rng):
    uri = str(tmp_path / "db")
    storage.create_array(uri, schema())
    code = (
        "import resource, signal, sys; import numpy as np, tiledb; from db_ingest import storage\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))\n"
        "values = np.random.default_rng(0).random(50_000).astype(np.float32)\n"
        "try:\n"
        "    with tiledb.open(sys.argv[1], 'w', ctx=storage.tiledb_ctx(sys.argv[1])) as array:\n"
        "        array[0, :50_000] = values\n"
        "except Exception as error:\n"
        "    print(type(error).__name__, '|', storage.explain(sys.argv[1], error))\n"
    )
    found = subprocess.run([sys.executable, "-c", code, uri], capture_output=True, text=True, check=True)
    assert found.stdout.startswith("TileDBError | " + uri)
    assert "File too large" in found.stdout
    assert found.stdout.count("\n") == 1


def test_objects_that_may_not_be_deleted_are_named(s3: S3Place):
    proxy = s3.through_proxy()
    storage.replace_bytes(s3.uri("db", "kept"), b"")
    said = "<Error><Key>db/kept</Key><Code>AccessDenied</Code><Message>no</Message></Error>"
    proxy.fault(method="POST", status=200, body=f"<DeleteResult>{said}</DeleteResult>")
    with pytest.raises(storage.DeniedError, match=f"{s3.uri('db', 'kept')}: access denied"):
        storage.remove_tree(s3.uri("db"))


def test_a_place_without_a_bucket_and_a_whole_bucket_are_refused(s3: S3Place):
    with pytest.raises(InputError, match="names no bucket"):
        storage.exists("s3:///db")
    with pytest.raises(InputError, match="a whole bucket"):
        storage.remove_tree(s3.uri())
    with pytest.raises(InputError, match="Not_A_Bucket"):
        storage.exists("s3://Not_A_Bucket!/db")


# --- the lock -------------------------------------------------------------------------------------------------------


def lock_of(s3: S3Place) -> dict:
    return json.loads(s3.body("db/.lock"))


def test_lock_names_its_holder_and_goes_with_it(s3: S3Place):
    uri = s3.uri("db")
    with storage.write_lock(uri):
        held = lock_of(s3)
        assert (held["pid"], held["lease"]) == (os.getpid(), 60)
        with pytest.raises(RunError) as caught, storage.write_lock(uri):
            pass
        assert one_line(caught.value, str(os.getpid()), held["host"], held["since"])
    assert s3.keys() == {}


def test_of_many_writers_one_wins(s3: S3Place):
    uri = s3.uri("db")
    won, lost, ready, done = [], [], threading.Barrier(6), threading.Barrier(6)

    def attempt() -> None:
        ready.wait()
        with contextlib.ExitStack() as stack:
            try:
                won.append(stack.enter_context(storage.write_lock(uri)))
            except RunError as error:
                lost.append(error)
            done.wait()

    threads = [threading.Thread(target=attempt) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(won), len(lost)) == (1, 5)
    assert s3.keys() == {}


def test_lock_is_renewed_while_held_and_taken_over_when_its_holder_is_gone(s3: S3Place, monkeypatch, caplog):
    monkeypatch.setenv(settings.LOCK_LEASE, "6")
    uri, proxy = s3.uri("db"), s3.through_proxy()
    with holding_lock(uri) as holder:
        proxy.requests()
        proxy.wait_for("PUT")
        with pytest.raises(RunError, match=f"process {holder.pid} on "), storage.write_lock(uri):
            pass
        holder.kill()
        holder.wait()
    with pytest.raises(RunError), storage.write_lock(uri):
        pass  # not yet run out
    proxy.fault(later=8)
    with caplog.at_level(logging.WARNING, "kerasgen"), storage.write_lock(uri):
        assert lock_of(s3)["pid"] == os.getpid()
    assert "took over the lock" in caplog.text
    assert str(holder.pid) in caplog.text
    assert s3.keys() == {}


def test_a_lock_taken_over_is_not_touched_by_its_first_holder(s3: S3Place, monkeypatch):
    uri = s3.uri("db")
    with storage.write_lock(uri) as lock:
        theirs = {"owner": "them", "host": "elsewhere", "pid": 7, "since": "2026-01-01T00:00:00+00:00", "lease": 60}
        s3.client.put_object(Bucket=s3.bucket, Key="db/.lock", Body=json.dumps(theirs).encode())
        for _ in range(2):
            with pytest.raises(RunError, match="lost the database to process 7 on elsewhere"):
                lock.check()
    assert lock_of(s3) == theirs


def test_the_thread_notices_a_lost_lock_too(s3: S3Place, monkeypatch):
    monkeypatch.setenv(settings.LOCK_LEASE, "1")
    proxy = s3.through_proxy()
    with storage.write_lock(s3.uri("db")) as lock:
        proxy.requests()
        s3.client.delete_object(Bucket=s3.bucket, Key="db/.lock")
        proxy.wait_for("PUT", "GET")
        with pytest.raises(RunError, match="its lock was removed"):
            lock.check()
        assert proxy.requests() == []


def test_lost_answers_do_not_lose_the_lock(s3: S3Place):
    proxy = s3.through_proxy()
    proxy.fault(method="PUT", lose=True, times=1)
    with storage.write_lock(s3.uri("db")) as lock:
        proxy.fault(method="PUT", lose=True, times=1)
        lock.check()
    assert s3.keys() == {}


def test_trouble_while_renewing_is_survived_but_not_while_checking(s3: S3Place, monkeypatch):
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    monkeypatch.setenv(settings.LOCK_LEASE, "1.2")
    proxy = s3.through_proxy()
    with storage.write_lock(s3.uri("db")) as lock:
        proxy.fault(status=503, code="ServiceUnavailable")
        proxy.requests()
        proxy.wait_for("PUT")
        with pytest.raises(RunError, match="keeps failing"):
            lock.check()
        proxy.mend()
        lock.check()
    assert s3.keys() == {}


def test_lock_of_a_writer_that_may_not_delete_lets_the_next_one_in(s3: S3Place):
    proxy = s3.through_proxy()
    proxy.fault(method="DELETE", status=403, code="AccessDenied")
    with storage.write_lock(s3.uri("db")):
        pass
    assert lock_of(s3)["lease"] == 0
    proxy.fault(later=1)
    with storage.write_lock(s3.uri("db")) as lock:
        lock.check()


def test_something_else_under_the_name_of_the_lock_is_respected_for_a_lease(s3: S3Place):
    s3.client.put_object(Bucket=s3.bucket, Key="db/.lock", Body=b"")
    with pytest.raises(RunError, match="not one of ours"), storage.write_lock(s3.uri("db")):
        pass


def test_a_server_that_ignores_conditions_cannot_lock(s3: S3Place, monkeypatch):
    client = settings.connection().client
    put = client.put_object
    monkeypatch.setattr(client, "put_object", lambda IfNoneMatch=None, IfMatch=None, **rest: put(**rest))
    with pytest.raises(InputError, match="ignores conditions"), storage.write_lock(s3.uri("db")):
        pass


@pytest.mark.parametrize("text", ["soon", "0", "-1", "1e9", "nan"])
def test_lease_that_is_no_time_is_refused(s3: S3Place, monkeypatch, text):
    monkeypatch.setenv(settings.LOCK_LEASE, text)
    with pytest.raises(InputError, match=f"KERASGEN_LOCK_LEASE={text}"), storage.write_lock(s3.uri("db")):
        pass


def test_what_our_lock_relies_on_holds_on_the_test_server(s3: S3Place):
    client = boto3.client("s3")
    tag = client.put_object(Bucket=s3.bucket, Key="k", Body=b"1", IfNoneMatch="*")["ETag"]
    for condition in ({"IfNoneMatch": "*"}, {"IfMatch": '"other"'}):
        with pytest.raises(ClientError, match="PreconditionFailed"):
            client.put_object(Bucket=s3.bucket, Key="k", Body=b"2", **condition)
    client.put_object(Bucket=s3.bucket, Key="k", Body=b"2", IfMatch=tag)
    assert s3.body("k") == b"2"
