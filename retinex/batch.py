"""Many photos, files and folders of them, to files of the same names in another folder."""

import os
import tempfile
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import chain
from pathlib import Path

from PIL import Image

from retinex.adjustments import Adjustments, adjust
from retinex.inference import Enhancer
from retinex.photo import (
    PHOTO_EXTENSIONS,
    choose_format,
    open_photo,
    save_photo,
    why_no_photo,
)
from retinex.stages import COMPUTED_STAGES, Stage

KEPT_FORMATS = {"JPEG", "PNG", "TIFF", "WEBP"}
"""Pillow's names of formats that are written as they came; others become PNG. Pillow writes more,
but not every colour (GIF), not gray with transparency (BMP) or not as a photo (PDF)."""


class BatchError(ValueError):
    """The photos can't be enhanced as asked; nothing was written, the message says what to do."""


class Format(StrEnum):
    """What the enhanced photos are written as."""

    KEEP = "keep"
    """As the original, where it is one of `KEPT_FORMATS`; else PNG."""
    PNG = "png"
    JPG = "jpg"
    JPEG = "jpeg"
    """The same by its longer extension."""
    WEBP = "webp"


@dataclass(frozen=True)
class Job:
    """One photo to enhance.

    Attributes:
        source: its file.
        target: where the output goes.
        stages: where R, I and Î go; empty if they aren't wanted.
    """

    source: Path
    target: Path
    stages: dict[Stage, Path]

    @property
    def files(self) -> list[Path]:
        """All files it writes."""
        return [*self.stages.values(), self.target]

    def is_done(self) -> bool:
        """Tell whether all its files exist."""
        return all(map(os.path.isfile, self.files))


@dataclass(frozen=True)
class Batch:
    """What is to be done.

    Attributes:
        jobs: sorted by target: the same on every machine that sees the same files.
        left_alone: number of files in the folders that aren't photos, by extension or what else
            they are: hidden, broken links, links to folders, folders that can't be listed.
    """

    jobs: list[Job]
    left_alone: dict[str, int]


def plan_batch(
    inputs: Sequence[Path], out: Path, file_format: Format = Format.KEEP, stages: bool = False
) -> Batch:
    """Decide which files to read and which to write.

    Folders are searched with all their sub-folders, but for linked ones, for files with an
    extension of `retinex.photo.PHOTO_EXTENSIONS`, except in `out`; files are taken whatever
    their extension. `out` is a folder, or for one photo its output by the name of a photo.

    Raises:
        BatchError: an input is missing, two photos would be written to one file, a photo would be
            overwritten, or `out` can't be written as the photo it is named like.
        OSError: a file can't be looked at.
    """
    out_is_file = _is_file_to_write(out, inputs, file_format)
    jobs: dict[tuple[Path, Path], Job] = {}
    left_alone: Counter[str] = Counter()
    for source_root in inputs:
        for file in _list_files(source_root, out):
            name = file.relative_to(source_root) if source_root.is_dir() else Path(file.name)
            if source_root.is_dir() and (kind := _why_left_alone(file, name)):
                left_alone[kind] += 1
                continue
            extension = choose_extension(file, file_format)
            target = out if out_is_file else out / name.with_name(_stem(name) + extension)
            job = Job(file, target, _stage_paths(target) if stages else {})
            # A file named twice is one job.
            jobs.setdefault((file.resolve(), target), job)
    in_order = sorted(jobs.values(), key=lambda job: job.target.relative_to(out).as_posix())
    _check_targets(in_order)
    return Batch(in_order, dict(left_alone))


def check_writable(out: Path) -> None:
    """Make the folder `out`, and raise `BatchError` if nothing can be written there."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=out):
            pass
    except OSError as error:
        raise BatchError(f"can't write into {out} ({error}); choose another --out") from error


def choose_extension(file: Path, file_format: Format) -> str:
    """Return the extension to write `file` with."""
    if file_format is not Format.KEEP:
        return f".{file_format}"
    kept = Image.registered_extensions().get(file.suffix.lower()) in KEPT_FORMATS
    return file.suffix if kept else ".png"


def run_job(job: Job, enhancer: Enhancer, adjustments: Adjustments) -> None:
    """Enhance and adjust one photo and write its files; a file is there whole or not at all.

    Raises:
        PhotoError: the photo can't be read, or is too large for the format to write.
        OSError, ValueError: a file can't be written.
    """
    photo = open_photo(job.source)
    choose_format(job.target, *photo.rgb.shape[1::-1])
    enhancement = enhancer.enhance(photo)
    job.target.parent.mkdir(parents=True, exist_ok=True)
    for stage, path in job.stages.items():
        save_photo(enhancement.stages[stage], path, enhancement.photo)
    save_photo(adjust(enhancement, adjustments), job.target, enhancement.photo)


def _list_files(root: Path, out: Path) -> Iterable[Path]:
    if root.is_file():
        return [root]
    if not root.is_dir():
        raise BatchError(f"there is no file or folder {root}")
    if out.resolve() == root.resolve():
        raise BatchError(f"--out is the folder {root} itself; choose another one")
    unlisted: list[Path] = []  # folders that mustn't be looked into
    tree = os.walk(root, onerror=lambda error: unlisted.append(Path(error.filename)))
    paths = [Path(folder, name) for folder, *names in tree for name in chain(*names)]
    files = [path for path in paths if os.path.isfile(path) or os.path.islink(path)]
    unlisted += {path.parent for path in paths if not os.path.lexists(path)}  # unseen within it
    files += filter(os.path.lexists, unlisted)
    results = out.resolve()
    if not results.is_relative_to(root.resolve()):
        return files
    return [
        file
        for file in files
        if not (os.path.exists(file) and file.resolve().is_relative_to(results))
    ]


def _stem(name: Path) -> str:
    """Return a file's name without the extension of a picture; other dots are the name's own."""
    return name.stem if _is_named_as_picture(name) else name.name


def _is_named_as_picture(name: Path) -> bool:
    extension = name.suffix.lower()
    return extension in PHOTO_EXTENSIONS or extension in Image.registered_extensions()


def _why_left_alone(file: Path, name: Path) -> str:
    if os.path.isfile(file):
        return why_no_photo(name)
    if not os.path.isdir(file):
        return "broken link(s)"
    return "linked folder(s)" if file.is_symlink() else "folder(s) that can't be listed"


def _is_file_to_write(out: Path, inputs: Sequence[Path], file_format: Format) -> bool:
    if out.is_dir():
        return False
    if not _is_named_as_picture(out):
        if out.suffix[1:].isalpha() and len(inputs) == 1 and inputs[0].is_file():
            raise BatchError(
                f"{out} doesn't end as a photo does, such as in .jpg; if it is to be a folder, "
                "make that first"
            )
        return False
    if len(inputs) > 1 or inputs[0].is_dir():
        raise BatchError(f"{out} is named like one photo; for several, let --out name a folder")
    written_as = choose_extension(out, file_format)
    formats = Image.registered_extensions()
    if formats.get(written_as.lower()) != formats.get(out.suffix.lower()):
        raise BatchError(f"{out} would be written as {written_as}; give --out that extension")
    return True


def _stage_paths(target: Path) -> dict[Stage, Path]:
    return {
        stage: target.with_stem(f"{target.stem}-{stage}")
        for stage in COMPUTED_STAGES
        if stage is not Stage.OUTPUT
    }


def _check_targets(jobs: Sequence[Job]) -> None:
    # Device and inode tell a file by whatever name: links, other spellings of the path or case.
    sources = {_identity(job.source): job.source for job in jobs}
    writers: dict[str, tuple[Path, Path]] = {}
    for job in jobs:
        for path in job.files:
            if os.path.exists(path) and _identity(path) in sources:
                raise BatchError(
                    f"{path} is one of the photos to enhance and would be overwritten; "
                    "choose another --out"
                )
            # Many file systems take names that differ in case or the spelling of accents for one.
            name = unicodedata.normalize("NFC", str(path)).casefold()
            same, other = writers.setdefault(name, (path, job.source))
            if other != job.source:
                where = path if path == same else f"{path}, which many disks take for {same}"
                raise BatchError(
                    f"{other} and {job.source} would both be written to {where}; "
                    "rename one of them, or enhance them in two runs with different --out"
                )


def _identity(path: Path) -> tuple[int, int]:
    facts = path.stat()
    return facts.st_dev, facts.st_ino
