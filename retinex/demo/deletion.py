"""Visitors' files, deleted in time.

gradio's own `delete_cache` leaves files that came over MCP and empty folders, and ends for good at
the first error.
"""

import os
import shutil
import threading
import time
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

SECONDS_RESULTS_ARE_KEPT = 900
SECONDS_UPLOADS_ARE_KEPT = 3600
"""Longer than results: photos may wait for those of other visitors."""
SECONDS_WHEN_SPACE_IS_SHORT = 300
LEAST_SPACE = 5_000_000_000
"""Bytes free on the disk below which it is."""
SECONDS_BETWEEN_DELETIONS = 60


FOLDER_PREFIX = "retinex-demo-"
"""What the folder of a running demo is called, before some letters at random."""


def keep_deleting_old_files(folder: Path, uploads: Path) -> None:
    """From now on delete what visitors leave in `uploads`; what is in `folder` already stays."""
    kept = {folder, *folder.rglob("*")}

    def run() -> None:
        while True:
            touch_files(folder, uploads, kept)
            with suppress(OSError):  # there is no folder just now, or its disk doesn't answer
                delete_old_files(uploads, kept, seconds_to_keep(shutil.disk_usage(uploads).free))
            time.sleep(SECONDS_BETWEEN_DELETIONS)

    threading.Thread(target=run, daemon=True).start()


def touch_files(folder: Path, uploads: Path, kept: Collection[Path]) -> None:
    """Show the system, and other demos, that nothing of `folder` is abandoned but uploads.

    The example's results, for one, come after the start, and are read rarely.
    """
    paths = list(kept)
    with suppress(OSError):  # a folder may go while it is listed
        paths.extend(path for path in folder.rglob("*") if uploads not in path.parents)
    for path in paths:
        with suppress(OSError):
            os.utime(path)


def delete_abandoned_folders(parent: Path) -> None:
    """Delete what demos have left below `parent` that were killed, or whose machine lost power."""
    newest = time.time() - SECONDS_UPLOADS_ARE_KEPT
    for folder in parent.glob(f"{FOLDER_PREFIX}*"):
        with suppress(OSError):  # it has gone by itself
            if folder.stat().st_mtime < newest:
                shutil.rmtree(folder, ignore_errors=True)


def seconds_to_keep(free: int) -> int:
    """Return how long files stay on a disk with `free` bytes left."""
    return SECONDS_UPLOADS_ARE_KEPT if free > LEAST_SPACE else SECONDS_WHEN_SPACE_IS_SHORT


def delete_old_files(folder: Path, kept: Collection[Path], seconds: float) -> None:
    """Delete files below `folder` that weren't written for `seconds`, and folders left empty."""
    newest = time.time() - seconds
    paths: list[Path] = []
    with suppress(OSError):  # a folder may go while it is listed; the next time lists the rest
        paths.extend(folder.rglob("*"))
    for path in sorted(paths, reverse=True):  # what is in a folder comes before it
        if path in kept:
            continue
        with suppress(OSError):  # it has gone by itself, or the folder isn't empty
            facts = path.stat()
            if max(facts.st_mtime, facts.st_ctime) < newest:
                path.rmdir() if path.is_dir() else path.unlink()
