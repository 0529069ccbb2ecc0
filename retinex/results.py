"""The enhancements of one photo as files: kept for a visitor, or packed to take home."""

import zipfile
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from PIL import Image

from retinex.contact_sheet import CELL_WIDTH, draw_contact_sheet, fit_cell
from retinex.experiments import EXPERIMENTS
from retinex.inference import Enhancement
from retinex.photo import Photo, Pixels, open_photo, save_photo
from retinex.stages import COMPUTED_STAGES, Stage
from retinex.statistics import Statistics, measure


@dataclass
class Results:
    """What several experiments made of one photo, on disk.

    Attributes:
        folder: where the pictures are, one exact PNG a stage and experiment.
        name: stem of the photo's file name; all files start with it.
        photo: the original.
        done: what is known of each experiment that has run, without its pictures.
        view: how the adjusted outputs were made, for their owner to compare with.
    """

    folder: Path
    name: str
    photo: Photo
    done: dict[str, Enhancement] = field(default_factory=dict)
    view: object = None

    @cached_property
    def statistics(self) -> Statistics:
        """What is measured of the original, once for all experiments and adjustments."""
        return measure(self.photo.rgb)

    def add(self, enhancement: Enhancement) -> None:
        """Write the stages of an experiment."""
        for stage, pixels in enhancement.stages.items():
            save_photo(pixels, self.path(enhancement.experiment, stage), self.photo)
        self.done[enhancement.experiment] = replace(enhancement, stages={})

    def path(self, experiment: str, stage: Stage) -> Path:
        """Name the file of a stage."""
        return self.folder / f"{self.name}-{experiment}-{stage}.png"

    def load(self, experiment: str) -> Enhancement:
        """Read the stages of an experiment that was added."""
        stages = {stage: np.asarray(self._open(experiment, stage)) for stage in COMPUTED_STAGES}
        return replace(self.done[experiment], stages={Stage.INPUT: self.photo.rgb} | stages)

    def _open(self, experiment: str, stage: Stage) -> Image.Image:
        with Image.open(self.path(experiment, stage)) as image:
            # Transparency is saved with every stage but isn't part of it.
            return image.convert("RGB" if stage.channels == 3 else "L")

    def write_adjusted(self, experiment: str, output: Pixels) -> Path:
        """Write an experiment's output as adjusted by the visitor; return the file."""
        path = self._adjusted_path(experiment)
        path.parent.mkdir(exist_ok=True)
        save_photo(output, path, self.photo)
        return path

    def convert_adjusted(self, experiment: str, extension: str) -> Path:
        """Write the adjusted output in another file format; return the file.

        What the photo's file held besides colours is kept, as `save_photo` does.
        """
        adjusted = self._adjusted_path(experiment)
        path = adjusted.with_suffix(extension)
        if path != adjusted:
            save_photo(open_photo(adjusted).rgb, path, self.photo)
        return path

    def _adjusted_path(self, experiment: str) -> Path:
        return self.folder / "adjusted" / f"{self.name}-{experiment}.png"

    def write_zip(self) -> Path:
        """Pack all stages of all experiments with a contact sheet; return the file."""
        done = list(self.done)  # other experiments may finish meanwhile
        sheet = self.folder / f"{self.name}-contact-sheet.png"
        draw_contact_sheet(
            rows=[[self._read_small(name, stage) for stage in Stage] for name in done],
            columns=[stage.label for stage in Stage],
            captions=[EXPERIMENTS[name].title for name in done],
        ).save(sheet)
        files = [sheet]
        for name in done:
            files += [self._adjusted_path(name), *(self.path(name, stage) for stage in Stage)]
        path = self.folder / f"{self.name}-stages.zip"
        # PNG files don't get smaller by compressing them again.
        with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
            for file in files:
                archive.write(file, file.relative_to(self.folder))
        return path

    def _read_small(self, experiment: str, stage: Stage) -> Pixels:
        """Read a stage no larger than a contact sheet shows it, to hold many of them."""
        image = self._open(experiment, stage)
        size = fit_cell(image.width, image.height, CELL_WIDTH)
        return np.asarray(image.resize(size, Image.Resampling.LANCZOS))
