"""Finding and reading pairs of a dark and a normal photo; shared by training and evaluation.

A folder of pairs holds `low` and `high`; the two files of a pair have the same stem, the extensions
may differ. LOL has two such folders, `our485` to train on and `eval15` to test on.
"""

import os
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from retinex.photo import PHOTO_EXTENSIONS, PhotoError, Pixels, open_photo, why_no_photo

LOL_TRAINING_FOLDER = "our485"
LOL_TEST_FOLDER = "eval15"
PARTS = {LOL_TRAINING_FOLDER, LOL_TEST_FOLDER, "low", "high"}
"""Folders within datasets."""


class DatasetError(ValueError):
    """A dataset folder can't be used; the message names the files."""


def match_stems(root: Path, part: str) -> list[tuple[Path, Path]]:
    """List the (low, high) files below `root`, sorted by stem.

    Args:
        root: a folder with `low` and `high`, or one that holds such a folder `part`.
        part: LOL's name of the folder wanted; the others beside it aren't looked at.

    Raises:
        DatasetError: no `low` and `high` folder, no photos in them, or stems without a partner.
    """
    folder = root / part if (root / part).is_dir() else root
    if not ((folder / "low").is_dir() and (folder / "high").is_dir()):
        raise DatasetError(
            f"{root} holds no pairs: expected folders 'low' and 'high' in it, or in its "
            f"'{part}'. `python train.py --help` says where to get datasets."
        )
    low, high = _photos_by_stem(folder / "low"), _photos_by_stem(folder / "high")
    unmatched = [str(low[stem]) for stem in sorted(low.keys() - high.keys())]
    unmatched += [str(high[stem]) for stem in sorted(high.keys() - low.keys())]
    if unmatched:
        raise DatasetError(f"photos without a partner of the same name: {shorten(unmatched)}")
    return [(low[stem], high[stem]) for stem in sorted(low)]


def name_dataset(folder: Path) -> str:
    """Name a dataset alike whichever of its folders is given: "lol" for lol/our485/high, too."""
    whole = _in_full(folder)
    return next((path.name for path in (whole, *whole.parents) if path.name not in PARTS), "")


def name_pairs(folder: Path) -> str:
    """Name a folder of pairs by its dataset, too: "lol", "lol-eval15"."""
    dataset, own = name_dataset(folder), _in_full(folder).name
    return own if own == dataset else f"{dataset}-{own}"


def _in_full(folder: Path) -> Path:
    # Not resolved: a link counts by its own name.
    return Path(os.path.abspath(folder))  # noqa: PTH100


def may_have_seen(facts: Mapping[str, Any], settings: Mapping[str, Any]) -> bool:
    """Tell whether weights may have been trained on photos that a run holds out.

    So they may if this is true of any run that they started from.

    Args:
        facts: of the weights, as in `checkpoints/*.json`.
        settings: the run's "held_out" and, for weights that don't say what was held out from them,
            "val_share", "seed" and "pairs".
    """
    if any(may_have_seen(run, settings) for run in facts.get("started_from", [])):
        return True
    before = facts.get("settings", {})
    folders = [*before.get("data", []), *before.get("photos", [])]
    shared = {name for name in settings["held_out"] if name.split("/")[0] in folders}
    if "held_out" in before:
        return not shared <= set(before["held_out"])
    deciding = ("val_share", "seed", "pairs")
    return bool(shared) and any(before.get(name) != settings.get(name) for name in deciding)


def list_photos(folder: Path) -> list[Path]:
    """List the photos directly in `folder`, sorted, but for hidden files.

    Raises:
        DatasetError: there are none, or no such folder.
    """
    if not folder.is_dir():
        raise DatasetError(f"there is no folder {folder}")
    photos = sorted(path for path in folder.iterdir() if not why_no_photo(Path(path.name)))
    if not photos:
        raise DatasetError(
            f"no photos in {folder} (looked for {sorted(PHOTO_EXTENSIONS)}, not in sub-folders)"
        )
    return photos


def read_photo(path: Path) -> Pixels:
    """Read a photo, (h, w, 3) uint8.

    Raises:
        DatasetError: it can't be read.
    """
    try:
        return open_photo(path).rgb
    except (PhotoError, OSError) as error:
        raise DatasetError(str(error)) from error


def read_pair(low_path: Path, high_path: Path) -> tuple[Pixels, Pixels]:
    """Read both photos of a pair, (h, w, 3) uint8 of the same size.

    Raises:
        DatasetError: one of them can't be read, or their sizes differ.
    """
    low, high = read_photo(low_path), read_photo(high_path)
    if low.shape != high.shape:
        raise DatasetError(
            f"the photos of a pair differ in size: {low_path} is {low.shape[1]}×{low.shape[0]}, "
            f"{high_path} is {high.shape[1]}×{high.shape[0]}"
        )
    return low, high


def read_size(photo: Path) -> tuple[int, int] | None:
    """Read width and height from a photo's header, before any turn; None if it can't be read."""
    try:
        with Image.open(photo) as header:
            return header.size
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return None  # reading it whole will say what is wrong


def check_sizes(pairs: Sequence[tuple[Path, Path]]) -> None:
    """Raise `DatasetError` that names all pairs whose photos differ in size by their headers.

    Swapped sides pass: whether one of the photos is to be turned, reading it will tell.
    """
    unequal = []
    for low, high in pairs:
        low_size, high_size = read_size(low), read_size(high)
        if low_size and high_size and sorted(low_size) != sorted(high_size):
            unequal.append(str(low))
    if unequal:
        raise DatasetError(
            f"these differ in size from the photos of their name: {shorten(unequal)}"
        )


def shorten(names: list[str], shown: int = 10) -> str:
    """Join names for a message; only the first `shown` if there are more."""
    rest = f" and {len(names) - shown} more" if len(names) > shown else ""
    return ", ".join(names[:shown]) + rest


def _photos_by_stem(folder: Path) -> dict[str, Path]:
    by_stem: dict[str, Path] = {}
    for path in list_photos(folder):
        # File systems spell accents in two ways.
        other = by_stem.setdefault(unicodedata.normalize("NFC", path.stem), path)
        if other != path:
            raise DatasetError(f"two photos of the same stem: {other} and {path}; keep one")
    return by_stem
