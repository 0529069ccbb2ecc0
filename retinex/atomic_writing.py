"""Files written so that nobody ever finds half of one."""

import os
import threading
import time
from contextlib import suppress
from pathlib import Path

PAUSES = (0.05, 0.1, 0.2, 0.4, 0.8)
"""Seconds before a file is replaced once more."""


def write_atomically(path: Path, content: bytes | memoryview, durable: bool = True) -> None:
    """Write a file beside `path`, then move it there; what is there stays until then.

    Args:
        durable: wait for the disk, so that the new file survives a power failure.

    Raises:
        OSError: it can't be written; nothing is left behind.
    """
    # A short name, as the longest that a disk takes can't be made longer.
    unfinished = path.with_name(f".{os.getpid()}-{threading.get_ident()}{path.suffix}")
    try:
        unfinished.write_bytes(content)
        if durable:
            with unfinished.open("rb+") as file:  # Windows flushes only what may be written
                os.fsync(file.fileno())
        _replace(path, unfinished)
    except OSError as error:
        if error.filename is not None:
            # The file that was asked for, not the unfinished one, of which nobody knows.
            error.filename, error.filename2 = str(path), None
        raise
    finally:
        unfinished.unlink(missing_ok=True)


def _replace(path: Path, by: Path) -> None:
    """Put a file in the place of `path`; Windows refuses while somebody reads what is there."""
    for seconds in PAUSES:
        with suppress(PermissionError):
            by.replace(path)
            return
        time.sleep(seconds)
    by.replace(path)
