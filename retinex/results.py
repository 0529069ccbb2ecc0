"""The enhancements of one photo as files: kept for a visitor, or packed to take home."""

import zipfile
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from PIL import Image

from retinex.contact_sheet import draw_contact_sheet
from retinex.experiments import EXPERIMENTS
from retinex.inference import Enhancement
from retinex.photo import Photo, Pixels, open_photo, save_photo
from retinex.stages import Stage

GRAY = {Stage.ILLUMINATION, Stage.ENHANCED_ILLUMINATION}
"""Stages of one channel."""


@dataclass
class Results:
    """What several experiments made of one photo, on disk.

    Attributes:
        folder: where the pictures are, one exact PNG a stage and experiment.
        name: stem of the photo's file name; all files start with it.
        photo: the original.
        done: what is known of each experiment that has run, without its pictures.
    """

    folder: Path
    name: str
    photo: Photo
    done: dict[str, Enhancement] = field(default_factory=dict)

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
        stages = {}
        for stage in Stage:
            with Image.open(self.path(experiment, stage)) as image:
                # Transparency is saved with every stage but isn't part of it.
                stages[stage] = np.asarray(image.convert("L" if stage in GRAY else "RGB"))
        return replace(self.done[experiment], stages=stages)

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
        output = open_photo(self._adjusted_path(experiment)).rgb
        path = self._adjusted_path(experiment).with_suffix(extension)
        save_photo(output, path, self.photo)
        return path

    def _adjusted_path(self, experiment: str) -> Path:
        return self.folder / "adjusted" / f"{self.name}-{experiment}.png"

    def write_zip(self) -> Path:
        """Pack all stages of all experiments with a contact sheet; return the file."""
        sheet = self.folder / f"{self.name}-contact-sheet.png"
        loaded = [self.load(experiment) for experiment in self.done]
        draw_contact_sheet(
            rows=[[result.stages[stage] for stage in Stage] for result in loaded],
            columns=[stage.label for stage in Stage],
            captions=[EXPERIMENTS[name].title for name in self.done],
        ).save(sheet)
        path = self.folder / f"{self.name}-stages.zip"
        # PNG files don't get smaller by compressing them again.
        with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
            for file in sorted(self.folder.rglob("*.png")):
                archive.write(file, file.relative_to(self.folder))
        return path
