"""From a photo to its Retinex stages with an exported network; needs onnxruntime, not PyTorch."""

import json
import math
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from onnxruntime.capi.onnxruntime_pybind11_state import (
    Fail,
    InvalidArgument,
    InvalidGraph,
    InvalidProtobuf,
    NoModel,
)

from retinex.device import OPENING, Device, DeviceError, open_model
from retinex.experiments import DEFAULT_EXPERIMENT, EXPERIMENTS
from retinex.onnx_network import check_not_black
from retinex.photo import Photo, PhotoSource, Pixels, is_gray, open_photo, remove_colour
from retinex.stages import COMPUTED_STAGES, Stage
from retinex.tiles import split_into_tiles

MODELS_FOLDER = Path(__file__).parent.parent / "onnx_models"
"""Also where the package is installed: pyproject.toml puts the folder beside it."""

Progress = Callable[[int, int], None]
"""Called with the tiles done and the number of tiles; an exception it raises ends the run."""

BROKEN_MODEL = (Fail, InvalidArgument, InvalidGraph, InvalidProtobuf, NoModel)
"""What onnxruntime raises of a file that it can't use."""


class ModelError(ValueError):
    """There is no such experiment, or no ONNX file of it that can be used; the message says why."""


@dataclass(frozen=True, eq=False)
class Enhancement:
    """A photo, taken apart and brightened.

    Attributes:
        experiment: name of the experiment whose networks ran.
        photo: the original.
        stages: one uint8 image per `Stage`: (h, w, 3) RGB for input, reflectance and output,
            (h, w) for the illuminations, where 255 stands for 1.
        device: where the networks really ran.
        device_reason: why nothing faster was chosen, if that was wanted; else empty.
        seconds: time the networks took; of experiments computed together, an equal share.
        together: number of experiments computed together.
    """

    experiment: str
    photo: Photo = field(repr=False)
    stages: dict[Stage, Pixels] = field(repr=False)
    device: Device
    device_reason: str
    seconds: float
    together: int = 1

    @property
    def output(self) -> Pixels:
        """The enhanced photo, (h, w, 3) uint8 RGB."""
        return self.stages[Stage.OUTPUT]


class Enhancer:
    """An experiment's networks, loaded once, to enhance any number of photos.

    A `CombinedEnhancer` of one experiment. Safe to use from several threads.

    Attributes:
        experiment: its name.
        training: the facts of the run that the weights come from, as in `checkpoints/*.json`.
    """

    def __init__(
        self,
        experiment: str = DEFAULT_EXPERIMENT,
        device: Device | str = Device.AUTO,
        models: str | Path = MODELS_FOLDER,
    ) -> None:
        """Load `<models>/<experiment>.onnx`.

        Raises:
            ModelError: no such file, or it isn't one of export_onnx.py.
            DeviceError: `device` is "cuda" or "openvino" and doesn't work here.
            ValueError: there is no such device.
        """
        self.experiment = experiment
        self._networks = CombinedEnhancer([experiment], device, models)
        self.training = self._networks.training

    @property
    def device(self) -> Device:
        """Where the networks really run."""
        return self._networks.device

    @property
    def device_reason(self) -> str:
        """Why nothing faster was chosen, if that was wanted; else empty."""
        return self._networks.device_reason

    def enhance(self, photo: PhotoSource | Photo, progress: Progress | None = None) -> Enhancement:
        """Compute all stages of `photo` at its full size.

        Large photos are computed in tiles; the result is that of one pass, within rounding. Where
        the photo is gray all stages are, though the networks would tint it.

        Raises:
            PhotoError: `photo` can't be read.
            DeviceError: the device that was asked for fails, for want of memory for one.
        """
        (enhancement,) = self._networks.enhance(photo, progress)
        return enhancement


class CombinedEnhancer:
    """Several experiments' networks that run as one: what they have in common is computed once.

    For both split experiments, which have one Decom-Net. Safe to use from several threads.

    Attributes:
        experiments: their names.
        training: the facts of the run that the weights of the first come from.
    """

    def __init__(
        self,
        experiments: Sequence[str],
        device: Device | str = Device.AUTO,
        models: str | Path = MODELS_FOLDER,
    ) -> None:
        """Load `<models>/<experiment>.onnx` of each.

        Raises: as `Enhancer`; ModelError, too, where files can't be merged, as `retinex_plus`'s.
        """
        self.experiments = tuple(experiments)
        names = ", ".join(experiments)
        self._model, self._outputs = _find_model(self.experiments, Path(models))
        self._wanted = Device(device)
        try:
            self._opened = open_model(self._model, self._wanted)
            facts = self._opened.network.session.get_modelmeta().custom_metadata_map
            self._stride = int(facts["stride"])
            receptive_radius = int(facts["receptive_radius"])
            self.training: dict[str, Any] = json.loads(facts["training"])
            held = facts["experiment"]
        except (KeyError, ValueError, *BROKEN_MODEL) as error:
            raise ModelError(
                f"the ONNX file of {names} in {models} is broken, or not one of "
                f"export_onnx.py ({error}); make or download it anew"
            ) from error
        if held != names:
            raise ModelError(
                f"what should be the ONNX file of {names} in {models} is of {held}; make or "
                "download it anew"
            )
        self._halo = math.ceil(receptive_radius / self._stride) * self._stride

    @property
    def device(self) -> Device:
        """Where the networks really run."""
        return self._opened.device

    @property
    def device_reason(self) -> str:
        """Why nothing faster was chosen, if that was wanted; else empty."""
        return self._opened.reason

    def enhance(
        self, photo: PhotoSource | Photo, progress: Progress | None = None
    ) -> list[Enhancement]:
        """Compute all stages of each experiment; as `Enhancer.enhance`."""
        opened = photo if isinstance(photo, Photo) else open_photo(photo)
        started = time.perf_counter()
        images = self._compute_images(opened.rgb, progress)
        if is_gray(opened.rgb):
            for image in images.values():
                if image.ndim == 3:
                    remove_colour(image)
        seconds = (time.perf_counter() - started) / len(self.experiments)
        ran = self._opened
        return [
            Enhancement(
                experiment,
                opened,
                {Stage.INPUT: opened.rgb}
                | {stage: images[name] for stage, name in zip(COMPUTED_STAGES, names, strict=True)},
                ran.device,
                ran.reason,
                seconds,
                together=len(self.experiments),
            )
            for experiment, names in zip(self.experiments, self._outputs, strict=True)
        ]

    def _compute_images(self, rgb: Pixels, progress: Progress | None) -> dict[str, Pixels]:
        """Compute each output of the model, by its name."""
        height, width = rgb.shape[:2]
        network = self._opened.network
        images = network.allocate_outputs(height, width)
        tiles = list(split_into_tiles(height, width, self._halo, self._stride))
        outputs = network.allocate_outputs(*rgb[tiles[0].rows, tiles[0].columns].shape[:2])
        inputs = network.common_inputs(rgb)
        for done, tile in enumerate(tiles, start=1):
            inputs["image"] = rgb[None, tile.rows, tile.columns]
            self._run_or_fall_back(outputs, inputs)
            for name, pixels in outputs.items():
                images[name][0][tile.core] = pixels[0][tile.core_inside]
            if progress is not None:
                progress(done, len(tiles))
        return {
            name: image[0] if image.shape[3] == 3 else image[0, :, :, 0]
            for name, image in images.items()
        }

    def _run_or_fall_back(self, outputs: dict[str, Pixels], inputs: dict[str, Pixels]) -> None:
        """Run the networks; if the device fails that `auto` chose, on the CPU from now on."""
        opened = self._opened  # which another thread may replace
        try:
            opened.network.run_into(outputs, inputs)
            if opened.device is not Device.CPU:
                check_not_black(inputs["image"], list(outputs.values()))
        except Exception as error:  # a GPU without enough memory, for one; each has its own kinds
            if opened.device is Device.CPU:
                raise
            reason = f"{opened.device.label} failed on a part of the photo: {error}"
            if self._wanted is not Device.AUTO:
                advice = "Free some of its memory, or choose the CPU."
                raise DeviceError(opened.device, reason, advice) from error
            warnings.warn(f"{reason}. The CPU takes over.", RuntimeWarning, stacklevel=5)
            self._opened = replace(open_model(self._model, Device.CPU), reason=reason)
            self._run_or_fall_back(outputs, inputs)


def _find_model(experiments: Sequence[str], models: Path) -> tuple[Path | bytes, list[list[str]]]:
    """Return the model of these experiments and, of each, what its stages are called in it."""
    for name in experiments:
        if name not in EXPERIMENTS:
            raise ModelError(f"no experiment is called {name}; there are {', '.join(EXPERIMENTS)}")
    files = [models / f"{experiment}.onnx" for experiment in experiments]
    for file in files:
        if not file.is_file():
            raise ModelError(
                f"there is no {file}; `python export_onnx.py` makes the experiments' files"
            )
    if len(files) == 1:
        return files[0], [list(COMPUTED_STAGES)]
    from retinex.merged_graphs import merge_graphs  # onnx takes a quarter of a second to import

    try:
        return merge_graphs(files)
    except ValueError as error:
        raise ModelError(str(error)) from error


_loaded: dict[tuple[str, Device, Path], tuple[tuple[int, int] | None, Enhancer]] = {}
"""What `enhance` keeps: when its file was written, how large it is, and the networks in it."""


def _load_once(experiment: str, device: Device, models: Path) -> Enhancer:
    """Load networks, unless they are loaded and their file is still the same."""
    folder = models.resolve()
    file = folder / f"{experiment}.onnx"
    there = file.stat() if file.exists() else None
    facts = (there.st_mtime_ns, there.st_size) if there else None
    loaded_from, enhancer = _loaded.get((experiment, device, folder), (None, None))
    if enhancer is None or loaded_from != facts:
        enhancer = Enhancer(experiment, device, folder)
        _loaded[experiment, device, folder] = facts, enhancer
    return enhancer


def enhance(
    photo: PhotoSource | Photo,
    experiment: str = DEFAULT_EXPERIMENT,
    device: Device | str = Device.AUTO,
    models: str | Path = MODELS_FOLDER,
) -> Enhancement:
    """Enhance a photo; the networks stay loaded for the next one, until their file is replaced.

    >>> result = retinex.enhance("dark.jpg")
    >>> retinex.save_photo(result.output, "bright.jpg", original=result.photo)

    Raises: as `Enhancer` and `Enhancer.enhance`.
    """
    with OPENING:  # else threads would load the same networks at once
        enhancer = _load_once(experiment, Device(device), Path(models))
    return enhancer.enhance(photo)
