import os
from pathlib import Path

import pytest

from retinex import atomic_writing
from retinex.atomic_writing import write_atomically


@pytest.mark.parametrize("durable", [True, False])
def test_a_file_is_replaced(tmp_path: Path, durable: bool) -> None:
    path = tmp_path / "file"
    for content in (b"old", b"new"):
        write_atomically(path, content, durable)
        assert path.read_bytes() == content
    assert list(tmp_path.iterdir()) == [path]


def test_a_failed_write_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "state"
    write_atomically(path, b"old")

    def fail(descriptor: int) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="disk full"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(("refusals", "written"), [(2, True), (99, False)])
def test_a_file_that_somebody_reads_is_replaced_when_they_are_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refusals: int, written: bool
) -> None:
    path = tmp_path / "photo.png"
    path.write_bytes(b"read by somebody")
    left = iter(range(refusals))
    really_replace = Path.replace

    def replace(unfinished: Path, target: Path) -> None:
        if next(left, None) is not None:  # as Windows does
            raise PermissionError("used by another process")
        really_replace(unfinished, target)

    monkeypatch.setattr(Path, "replace", replace)
    monkeypatch.setattr(atomic_writing, "PAUSES", (0.01, 0.01))
    if written:
        write_atomically(path, b"new")
        assert path.read_bytes() == b"new"
    else:
        with pytest.raises(PermissionError):
            write_atomically(path, b"new")
        assert path.read_bytes() == b"read by somebody"
    assert list(tmp_path.iterdir()) == [path]
