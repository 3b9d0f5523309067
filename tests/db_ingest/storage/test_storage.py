"""Small files beside the arrays: whole or not at all, and one writer at a time."""

from __future__ import annotations

import os
import stat

import pytest
from servers import holding_lock

from db_ingest import storage
from db_ingest.errors import InputError, KerasgenError, NoDatabaseError, RunError


def test_replacing_makes_the_file_and_its_folder(tmp_path):
    path = tmp_path / "new" / "deep" / "result.json"
    storage.replace_bytes(path, b"whole")
    assert path.read_bytes() == b"whole"
    assert os.listdir(path.parent) == ["result.json"]


def test_failure_while_replacing_keeps_the_old_file_and_no_temporary(tmp_path):
    path = tmp_path / "result.txt"
    path.write_bytes(b"old")

    def fail_half_way() -> None:
        with storage.replacing(path) as temporary:
            temporary.write_bytes(b"half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_half_way()
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["result.txt"]


def test_file_keeps_its_name_until_the_new_one_is_whole(tmp_path):
    path = tmp_path / "result.txt"
    path.write_bytes(b"old")
    with storage.replacing(path) as temporary:
        temporary.write_bytes(b"new")
        assert path.read_bytes() == b"old"
        assert temporary.suffix == ".txt"
    assert path.read_bytes() == b"new"


def test_replaced_file_has_the_permissions_that_open_would_give(tmp_path):
    before = os.umask(0o027)
    try:
        storage.replace_bytes(tmp_path / "ours", b"")
        (tmp_path / "plain").touch()
    finally:
        os.umask(before)
    modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("ours", "plain")]
    assert modes == [0o640, 0o640]


def test_second_writer_in_this_process_is_refused_until_the_first_ends(tmp_path):
    uri = str(tmp_path / "db")
    with storage.write_lock(uri):
        with pytest.raises(RunError, match="another process is writing") as caught, storage.write_lock(uri):
            pass
        assert uri in str(caught.value)
        assert caught.value.exit_status == 1
    with storage.write_lock(uri):
        pass


def test_writer_in_another_process_holds_the_lock_and_its_death_frees_it(tmp_path):
    uri = str(tmp_path / "db")
    with holding_lock(uri) as holder:
        with pytest.raises(RunError), storage.write_lock(uri):
            pass
        holder.kill()
        holder.wait()
        with storage.write_lock(uri):
            pass


def test_join_takes_paths_and_uris_with_or_without_a_final_slash():
    assert storage.join("s3://bucket/prefix/", "mask", "peaks") == "s3://bucket/prefix/mask/peaks"
    assert storage.join("/data/db", "sequence") == "/data/db/sequence"


def test_lock_check_passes_until_the_lock_file_is_another(tmp_path):
    uri = str(tmp_path / "db")
    with storage.write_lock(uri) as lock:
        lock.check()
        storage.replace_bytes(tmp_path / "db" / storage.LOCK_NAME, b"")
        with pytest.raises(RunError, match=f"{uri}: this process lost the database"):
            lock.check()


@pytest.mark.parametrize("kept", [True, False])
def test_what_was_made_for_a_lock_goes_if_nothing_came_of_it(tmp_path, kept):
    (tmp_path / "mine").mkdir()
    uri = str(tmp_path / "mine" / "deep" / "db")
    with pytest.raises(ZeroDivisionError), storage.write_lock(uri, keep=lambda: kept):
        raise ZeroDivisionError
    assert os.listdir(tmp_path / "mine") == (["deep"] if kept else [])
    with storage.write_lock(uri, keep=lambda: kept):
        pass
    assert os.listdir(uri) == [storage.LOCK_NAME]


def test_local_path_is_asked_for_where_only_that_will_do():
    with pytest.raises(InputError, match=r"s3://bucket/db: .*local path"):
        storage.local_path("s3://bucket/db")
    assert str(storage.local_path("file:///data/db")) == "/data/db"


def test_listing_a_file_is_an_input_error(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="a file; expected a folder"):
        storage.names(str(tmp_path / "file"))


def test_file_that_cannot_be_written_is_told_in_one_line(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(KerasgenError, match=f"^{tmp_path}/file/below: [^\n]+$"):
        storage.replace_bytes(str(tmp_path / "file" / "below"), b"")


def test_unknown_kind_of_location_cannot_be_read():
    with pytest.raises(NoDatabaseError, match="ftp://host/db"):
        storage.read_bytes("ftp://host/db")


def test_reading_a_missing_local_file_raises_file_not_found(tmp_path):
    with pytest.raises(FileNotFoundError):
        storage.read_bytes(str(tmp_path / "none"))
