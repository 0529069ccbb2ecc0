"""The enhancements of one photo as files: kept for a visitor, or packed to take home."""

import os
import shutil
import tempfile
import threading
import weakref
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from PIL import Image

from retinex.adjustments import Adjustments, adjust
from retinex.contact_sheet import CELL_WIDTH, draw_contact_sheet, fit_cell
from retinex.demo.colour_map import colour
from retinex.demo.statistics import Statistics, measure
from retinex.experiments import EXPERIMENTS
from retinex.inference import Enhancement
from retinex.photo import Photo, Pixels, open_photo, save_photo
from retinex.stages import COMPUTED_STAGES, Stage


@dataclass(frozen=True, eq=False)
class Measured:
    """Numbers of an output: its own, and those of `compare_with_reference`."""

    adjustments: Adjustments
    """What was made of the output."""
    reference: Pixels | None
    """What it was compared with."""
    reference_name: str
    """Its file's name, also if it can't be used; empty if none was chosen."""
    statistics: Statistics
    scores: dict[str, float]


@dataclass(frozen=True)
class View:
    """How a visitor looks at results: what changes without running a network.

    Attributes:
        compared: the experiment that is compared with the input.
        coloured: the illuminations shown in colours.
        adjustments: what is made of the outputs.
    """

    compared: str
    coloured: tuple[Stage, ...]
    adjustments: Adjustments


@dataclass(eq=False)
class Results:
    """What several experiments made of one photo, on disk.

    Attributes:
        folder: where the pictures are, an exact PNG of the input and one a stage and experiment.
        source: the photo's file; all files start with its name.
        photo: the original.
        view: how their owner looks at them.
        reference: the same scene in normal light, (h, w, 3) uint8 of the photo's size, if given.
        reference_source: its file, also if it can't be used.
        done: what is known of each experiment that has run, without its pictures.
        measured: numbers of each experiment's adjusted output.
        last_view: what the whole page was filled for last.
        stopped: set to end a run that still adds experiments.
        lock: held while an output is adjusted and written.
    """

    folder: Path
    source: Path
    photo: Photo
    view: View
    reference: Pixels | None = None
    reference_source: str | None = None
    done: dict[str, Enhancement] = field(default_factory=dict)
    measured: dict[str, Measured] = field(default_factory=dict)
    last_view: View | None = None
    stopped: bool = False
    lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    @property
    def name(self) -> str:
        """What all files start with."""
        return self.source.stem

    @cached_property
    def statistics(self) -> Statistics:
        """What is measured of the original, once for all experiments and adjustments."""
        return measure(self.photo.rgb)

    def add(self, enhancement: Enhancement) -> None:
        """Write the stages of an experiment."""
        files = {stage: self.path(enhancement.experiment, stage) for stage in Stage}
        if files[Stage.INPUT].exists():  # that of an experiment before
            del files[Stage.INPUT]
        save_stages(enhancement, files)
        self.done[enhancement.experiment] = replace(enhancement, stages={})

    def path(self, experiment: str, stage: Stage) -> Path:
        """Name the file of a stage; the input's is that of all experiments."""
        if stage is Stage.INPUT:
            return self.folder / f"{self.name}-{stage}.png"
        return self.folder / f"{self.name}-{experiment}-{stage}.png"

    def load(self, experiment: str) -> Enhancement:
        """Read the stages of an experiment that was added."""
        stages = {
            stage: np.asarray(_open_stage(self.path(experiment, stage), stage))
            for stage in COMPUTED_STAGES
        }
        return replace(self.done[experiment], stages={Stage.INPUT: self.photo.rgb} | stages)

    def write_adjusted(self, enhancement: Enhancement) -> None:
        """Write an experiment's output as the visitor wants to see it by now, and measure it."""
        with self.lock:
            # Both may change meanwhile.
            adjustments, reference = self.view.adjustments, self.reference
            name = Path(self.reference_source or "").name
            output = adjust(enhancement, adjustments)
            self._write(output, self.adjusted_path(enhancement.experiment))
            scores = compare_with_reference(output, reference)
            measured = Measured(adjustments, reference, name, measure(output), scores)
            self.measured[enhancement.experiment] = measured

    def is_stale(self, experiment: str) -> bool:
        """Tell whether an output is still as the visitor wanted to see it before."""
        measured = self.measured[experiment]
        return (
            measured.adjustments != self.view.adjustments
            or measured.reference is not self.reference
        )

    def has(self, experiments: Iterable[str]) -> bool:
        """Tell whether experiments are done, with all that is measured of them."""
        return self.measured.keys() >= set(experiments)

    def are_shown(self) -> bool:
        """Tell whether the page, but for the comparison, is filled as the visitor wants it."""
        shown = self.last_view
        return shown is not None and replace(shown, compared=self.view.compared) == self.view

    def refresh(self, experiments: Iterable[str]) -> None:
        """Write and measure those outputs anew that are stale."""
        with self.lock:  # what is being written may be of the former view
            stale = list(filter(self.is_stale, experiments))
        for experiment in stale:
            self.write_adjusted(self.load(experiment))

    def displayed_files(self, experiment: str) -> dict[Stage, Path]:
        """List the file of each stage; the output's is the adjusted one."""
        files = {stage: self.path(experiment, stage) for stage in Stage}
        return files | {Stage.OUTPUT: self.adjusted_path(experiment)}

    def write_coloured(self, experiment: str, stage: Stage) -> Path:
        """Write an illumination in the colours of `retinex.demo.colour_map`; return the file."""
        path = self.folder / "coloured" / self.path(experiment, stage).name
        if not path.exists():
            gray = _open_stage(self.path(experiment, stage), stage)
            self._write(colour(np.asarray(gray)), path)
        return path

    def _write(self, pixels: Pixels, path: Path) -> None:
        """Write a PNG file into a folder that may not be there yet."""
        path.parent.mkdir(exist_ok=True)
        save_photo(pixels, path, self.photo)

    def write_jpeg(self, experiment: str) -> Path:
        """Write the adjusted output as JPEG, with EXIF data and colour profile; return the file."""
        adjusted = self.adjusted_path(experiment)
        path = adjusted.with_suffix(".jpg")
        save_photo(open_photo(adjusted).rgb, path, self.photo)
        return path

    def adjusted_path(self, experiment: str) -> Path:
        """Name the file of an experiment's adjusted output."""
        return self.folder / "adjusted" / f"{self.name}-{experiment}.png"

    def write_zip(self) -> Path:
        """Pack all stages of all experiments with a contact sheet; return the file."""
        done = list(self.measured)  # other experiments may finish meanwhile
        sheet = self.folder / f"{self.name}-contact-sheet.png"
        draw_contact_sheet(
            rows=[
                [
                    self._read_small(path, stage)
                    for stage, path in self.displayed_files(name).items()
                ]
                for name in done
            ],
            columns=[stage.label for stage in Stage],
            captions=[EXPERIMENTS[name].title for name in done],
        ).save(sheet)
        files = [sheet]
        for name in done:
            files += [self.adjusted_path(name), *(self.path(name, stage) for stage in Stage)]
        path = self.folder / f"{self.name}-stages.zip"
        # PNG files don't get smaller by compressing them again.
        with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
            for file in dict.fromkeys(files):  # the input is one file for all
                archive.write(file, file.relative_to(self.folder))
        return path

    def _read_small(self, path: Path, stage: Stage) -> Pixels:
        """Read a stage no larger than a contact sheet shows it, to hold many of them."""
        image = _open_stage(path, stage)
        size = fit_cell(image.width, image.height, CELL_WIDTH)
        return np.asarray(image.resize(size, Image.Resampling.LANCZOS))


def _open_stage(path: Path, stage: Stage) -> Image.Image:
    with Image.open(path) as image:
        # Transparency is saved with every stage but isn't part of it.
        return image.convert("RGB" if stage.channels == 3 else "L")


def new_results(folder: Path, source: Path, photo: Photo, view: View) -> Results:
    """Make a place below `folder` for the results of one photo."""
    own = Path(tempfile.mkdtemp(dir=folder))
    try:
        rgb = keep_on_disk(photo.rgb, own)
        alpha = None if photo.alpha is None else keep_on_disk(photo.alpha, own)
    except OSError:  # a full disk, which must not fill further
        shutil.rmtree(own, ignore_errors=True)
        raise
    results = Results(own, source, replace(photo, rgb=rgb, alpha=alpha), view)
    # gradio calls no `delete_callback` for visitors that it forgets.
    weakref.finalize(results, shutil.rmtree, results.folder, ignore_errors=True)
    return results


def add_enhancements(results: Results, enhancements: Iterable[Enhancement]) -> None:
    """Add the stages of experiments, and their outputs as the visitor wants to see them."""
    with unless_deleted(results):
        for enhancement in enhancements:
            results.add(enhancement)
            results.write_adjusted(enhancement)


@contextmanager
def unless_deleted(results: Results) -> Iterator[None]:
    """Leave out the rest of the block, and go on after it, if the results are deleted meanwhile."""
    try:
        yield
    except FileNotFoundError:
        if not results.stopped:
            raise


def save_stages(enhancement: Enhancement, files: Mapping[Stage, Path]) -> None:
    """Write stages with the photo's EXIF data, colour profile and transparency."""

    def save(stage: Stage) -> None:
        save_photo(enhancement.stages[stage], files[stage], enhancement.photo)

    with ThreadPoolExecutor() as pool:
        list(pool.map(save, files))


def keep_on_disk(pixels: Pixels, folder: Path) -> Pixels:
    """Write pixels into a file below `folder` that takes the place of memory where that is short.

    A server remembers the photos of many visitors. The file has no name any longer and goes with
    the pixels. Not on Windows, which doesn't delete a file as long as it stands for memory.
    """
    if os.name == "nt":
        return pixels
    with tempfile.NamedTemporaryFile(dir=folder, suffix=".npy") as file:
        np.save(file, pixels)
        file.flush()
        mapped: Pixels = np.load(file.name, mmap_mode="r")
    return mapped


def compare_with_reference(output: Pixels, reference: Pixels | None) -> dict[str, float]:
    """Score an output by a reference of its shape, (h, w, 3) uint8.

    Returns:
        "psnr" and, once brightness is matched, "psnr_gt_mean" in dB (inf if they are equal), and
        "ssim", which pictures below 7×7 pixels don't have; nothing without a reference.
    """
    if reference is None:
        return {}
    # Loads SciPy, which only those with a reference wait for.
    from retinex.metrics import SSIM_WINDOW, psnr, psnr_gt_mean, ssim

    scores = {"psnr": psnr(output, reference), "psnr_gt_mean": psnr_gt_mean(output, reference)}
    if min(output.shape[:2]) >= SSIM_WINDOW:
        scores["ssim"] = ssim(output, reference)
    return scores


def delete_results(results: Results | None) -> None:
    """Delete a visitor's files, and end the run that adds to them."""
    if results is not None:
        results.stopped = True
        shutil.rmtree(results.folder, ignore_errors=True)
