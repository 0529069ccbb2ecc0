"""One ONNX file in onnxruntime: how it is opened, and how an image goes through it."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from retinex.machine import usable_cores
from retinex.photo import Pixels
from retinex.thumbnail import DESCRIPTION, make_thumbnail

NOT_BLACK = 32
"""Steps of 255: no stage of a photo that has a value this high can be all black."""


@dataclass(frozen=True)
class OnnxNetwork:
    """An ONNX file, opened.

    Attributes:
        session: the onnxruntime session that computes the stages.
        describer: the one that computes the `DESCRIPTION` that `session` takes in place of the
            thumbnail; None if `session` takes the thumbnail itself, or needs none.
    """

    session: onnxruntime.InferenceSession
    describer: onnxruntime.InferenceSession | None = None

    @property
    def sees_thumbnail(self) -> bool:
        """Whether `run_into` takes the whole photo's thumbnail."""
        inputs = self.session.get_inputs() + self.session.get_overridable_initializers()
        return self.describer is not None or any(value.name == "thumbnail" for value in inputs)

    def run_whole(self, photo: Pixels) -> list[Pixels]:
        """Compute all stages of a photo, (h, w, 3), in one pass: each (1, h, w, channels)."""
        stages = self.allocate_outputs(*photo.shape[:2])
        self.run_into(stages, {"image": photo[None]} | self.common_inputs(photo))
        return list(stages.values())

    def common_inputs(self, photo: Pixels) -> dict[str, Pixels]:
        """Return what `run_into` takes besides the image, for `photo` and each of its tiles."""
        return {"thumbnail": make_thumbnail(photo)[None]} if self.sees_thumbnail else {}

    def allocate_outputs(self, height: int, width: int) -> dict[str, Pixels]:
        """Make an array for each output, (1, height, width, channels), by its name."""
        return {
            value.name: np.empty((1, height, width, value.shape[3]), np.uint8)
            for value in self.session.get_outputs()
        }

    def run_into(self, outputs: dict[str, Pixels], inputs: dict[str, Pixels]) -> None:
        """Run the network, its results written into `outputs` (onnxruntime's IO binding).

        A device copies straight to and from these arrays, which the tiles of a photo can share.

        Args:
            outputs: what `allocate_outputs` made.
            inputs: "image", (1, h, w, 3), and, if the network `sees_thumbnail`, "thumbnail",
                (1, 64, 64, 3).
        """
        binding = self.session.io_binding()
        # Some versions of onnxruntime don't hold what is bound: this does until the end.
        bound = {
            name: onnxruntime.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(values))
            for name, values in describe(self.describer, inputs).items()
        }
        for name, value in bound.items():
            binding.bind_ortvalue_input(name, value)  # bind_cpu_input doesn't know optional inputs
        for name, pixels in outputs.items():
            binding.bind_output(name, "cpu", 0, np.uint8, pixels.shape, pixels.ctypes.data)
        self.session.run_with_iobinding(binding)
        binding.synchronize_outputs()


def describe(
    describer: onnxruntime.InferenceSession | None, inputs: dict[str, Pixels]
) -> dict[str, NDArray[Any]]:
    """Return `inputs` with the thumbnail's `DESCRIPTION` in its place, if there is a describer."""
    if describer is None:
        return inputs
    # Of the image only its place in the batch counts: any size will do.
    image = inputs["image"]
    description = describer.run(DESCRIPTION, inputs | {"image": image[:, :1, :1]})
    return {"image": image, **dict(zip(DESCRIPTION, description, strict=True))}


def new_session(model: Path | bytes, providers: list[Any]) -> onnxruntime.InferenceSession:
    """Open an ONNX file, or the bytes of one, on the first of `providers` that works."""
    # Else a session that fails moves to the CPU without an error.
    return onnxruntime.InferenceSession(
        model, session_options(), providers=providers, enable_fallback=0
    )


def session_options() -> onnxruntime.SessionOptions:
    """Return the options that all sessions are opened with."""
    _create_shared_arena()
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.use_env_allocators", "1")
    # A plan reserves a block of its own for every session and photo size, and gains no time.
    options.enable_mem_pattern = False
    # Threads that wait for the next run would keep cores from what comes after this one.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    # onnxruntime counts the machine's cores.
    options.intra_op_num_threads = usable_cores()
    options.log_severity_level = 3
    return options


@cache
def _create_shared_arena() -> None:
    """Let sessions take memory on the CPU from one arena: each on its own would keep its peak."""
    arena = onnxruntime.OrtAllocatorType.ORT_ARENA_ALLOCATOR
    kind = onnxruntime.OrtMemoryInfo("Cpu", arena, 0, onnxruntime.OrtMemType.DEFAULT)
    onnxruntime.create_and_register_allocator(kind, None)


def check_not_black(photo: Pixels, stages: list[Pixels]) -> None:
    """Raise `RuntimeError` if any stage of `photo` is black though the photo isn't.

    Numbers that aren't any, as float16 leaves where it overflows, become black in 8 bits.
    """
    if photo.max() >= NOT_BLACK and not all(stage.any() for stage in stages):
        raise RuntimeError("its pictures are black, as when float16 overflows")
