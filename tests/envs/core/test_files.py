import os
import pickle
from pathlib import Path

import pytest

from makespan.envs.core import files
from makespan.envs.core.errors import (
    InstanceError,
    InvalidSolutionError,
    MakespanError,
    UnknownNameError,
    UsageError,
)


def test_text_is_read_without_its_byte_order_mark(tmp_path: Path) -> None:
    path = tmp_path / "instance.txt"
    path.write_bytes(b"\xef\xbb\xbf2 2\r\n\xc3\xa9")
    assert files.read_text(path, InstanceError) == "2 2\r\né"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\x89PNG\r\n", "found byte 0x89 at offset 0, expected text in UTF-8"),
        ("2 2".encode("utf-16"), "found byte 0xff at offset 0"),
        (b"2 2\n\0", "found a null character, expected text"),
    ],
)
def test_what_is_not_text_is_refused(content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "instance.txt"
    path.write_bytes(content)
    with pytest.raises(InstanceError, match=f"instance.txt: {message}"):
        files.read_text(path, InstanceError)


def test_missing_files_folders_and_impossible_names_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InstanceError, match=r"missing.txt.*cannot be read: No such file"):
        files.read_text(tmp_path / "missing.txt", InstanceError)
    with pytest.raises(InstanceError, match="cannot be read: Is a directory"):
        files.read_text(tmp_path, InstanceError)
    with pytest.raises(InstanceError, match="cannot be read: embedded null"):
        files.read_text(Path("a\0b"), InstanceError)


def test_files_without_permission_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", denied)  # chmod does not stop an administrator
    with pytest.raises(InstanceError, match="cannot be read: Permission denied"):
        files.read_text(Path("secret.txt"), InstanceError)


def test_no_more_than_the_limit_is_read(tmp_path: Path) -> None:
    path = tmp_path / "large.txt"
    path.write_bytes(b"1" * 2**20)
    files.read_text(path, InstanceError, max_size=2**20)
    path.write_bytes(b"1" * (2**20 + 1))
    with pytest.raises(InstanceError, match="larger than 1 MB"):
        files.read_text(path, InstanceError, max_size=2**20)


def test_writing_makes_the_folder_and_replaces_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "new" / "file.json"
    for text in ("first", "second\né"):
        files.write_atomically(path, text)
        assert path.read_text(encoding="utf-8") == text
    assert list(path.parent.iterdir()) == [path]


def test_a_failed_write_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file.json"
    path.write_text("old")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UsageError, match=r"file.json: cannot be written: No space left"):
        files.write_atomically(path, "new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    with pytest.raises(UsageError, match="cannot be written"):
        files.write_atomically(tmp_path / "taken" / "file.json", "text")


@pytest.mark.parametrize("name", [".", "/", "a\0b"])
def test_what_is_no_name_of_a_file_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="cannot be written"):
        files.write_atomically(Path(name), "text")


@pytest.mark.parametrize(
    "error",
    [
        UsageError("jobs: found 0, expected at least 1"),
        UnknownNameError("encoder", "gatv", ["gatv2", "none"]),
        InvalidSolutionError(["task 1 overlaps task 2", "task 3 is missing"]),
    ],
    ids=lambda error: type(error).__name__,
)
def test_errors_come_out_of_a_worker_process_as_they_went_in(error: MakespanError) -> None:
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error)
    assert str(again) == str(error)
    assert vars(again) == vars(error)
