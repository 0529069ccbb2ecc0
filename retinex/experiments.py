"""The experiments: the one place that says what each of them is.

Training, export, evaluation and the demo read `EXPERIMENTS`, and a test holds README's table to it;
adding a network to the project starts with adding a line here.
"""

from dataclasses import dataclass
from enum import StrEnum
from itertools import groupby


class Mode(StrEnum):
    """What is trained, and in which order."""

    SPLIT = "split"
    """Decom-Net to the end first, then Enhance-Net on the frozen Decom-Net (as in the paper's code;
    its text goes on to fine-tune both, which is `JOIN`, started from these weights)."""
    JOIN = "join"
    """Both at once, on the sum of their losses."""
    PLUS = "plus"
    """One network of the project's own for all stages, on its output (see plus_network.py)."""


class Upsampling(StrEnum):
    """How Enhance-Net's decoder doubles the size of a feature map."""

    RESIZE = "resize"
    """Nearest-neighbour resize, then a 3×3 convolution (as in the paper)."""
    TRANSPOSED = "transposed"
    """One 3×3 transposed convolution of stride 2."""


@dataclass(frozen=True)
class Experiment:
    """One way to build and train a network that makes the five stages.

    Attributes:
        name: identifier in file names, flags and the Python API.
        title: what a person reads above its pictures.
        summary: one sentence that tells it from the others.
        best_at: one sentence on what it does best, with its scores on LOL's test photos as in
            onnx_models/README.md.
        mode: what is trained, and whether separately or together.
        upsampling: the decoder of its Enhance-Net, if it has one.
        ignore_enhance: there is no Enhance-Net: Î = 1, so the output is the reflectance.
    """

    name: str
    title: str
    summary: str
    best_at: str
    mode: Mode
    upsampling: Upsampling = Upsampling.RESIZE
    ignore_enhance: bool = False

    @property
    def decom(self) -> str:
        """Which Decom-Net makes its R and I: both split experiments share one."""
        return self.mode if self.mode is Mode.SPLIT else self.name

    @property
    def command(self) -> str:
        """What trains it."""
        mode = "" if self.mode is Mode.SPLIT else f" -m {self.mode}"
        ignore = " -i True" if self.ignore_enhance else ""
        transposed = " -t True" if self.upsampling is Upsampling.TRANSPOSED else ""
        return f"python train.py -e 200{mode}{ignore}{transposed}"

    @property
    def layers(self) -> tuple[str, Upsampling, bool]:
        """Equal for experiments whose networks differ in their weights alone."""
        network = "RetinexNet" if self.mode in (Mode.SPLIT, Mode.JOIN) else self.mode
        return network, self.upsampling, self.ignore_enhance


EXPERIMENTS: dict[str, Experiment] = {
    experiment.name: experiment
    for experiment in (
        Experiment(
            name="retinex_plus",
            title="Retinex plus",
            summary=(
                "Our own: one small network makes all stages and cleans the reflectance of noise."
            ),
            best_at=(
                "Usually the most faithful picture, and the fastest network: PSNR 23.98 dB, SSIM "
                "0.849 on LOL's test photos, most of whose rooms it knows."
            ),
            mode=Mode.PLUS,
        ),
        Experiment(
            name="split_resize",
            title="Split, resize",
            summary="Decom-Net first, then Enhance-Net with resize + convolution, as in the paper.",
            best_at=(
                "Shows Retinex at work, light and objects apart, at practically the scores of its "
                "transposed twin: PSNR 18.20 dB, SSIM 0.753 on LOL's test photos."
            ),
            mode=Mode.SPLIT,
        ),
        Experiment(
            name="split_transposed",
            title="Split, transposed",
            summary="The same, but Enhance-Net grows with transposed convolutions.",
            best_at=(
                "Shows light and objects apart as its resizing twin does, and shares the highest "
                "SSIM of the study's four ways with it: PSNR 18.33 dB, SSIM 0.753 on LOL's test "
                "photos."
            ),
            mode=Mode.SPLIT,
            upsampling=Upsampling.TRANSPOSED,
        ),
        Experiment(
            name="join",
            title="Join",
            summary="Decom-Net and Enhance-Net trained together on the sum of their losses.",
            best_at=(
                "The highest PSNR of the study's four ways, 18.50 dB on LOL's test photos, SSIM "
                "0.749, and 21.87 dB once brightness is matched, though its enhanced illumination "
                "is white."
            ),
            mode=Mode.JOIN,
        ),
        Experiment(
            name="join_ignore_enhance",
            title="Join, no Enhance-Net",
            summary="Trained together with Enhance-Net ignored: the output is the reflectance.",
            best_at=(
                "Close to the best of the study's four ways from less than half of the weights: "
                "PSNR 18.44 dB, SSIM 0.747 on LOL's test photos."
            ),
            mode=Mode.JOIN,
            ignore_enhance=True,
        ),
    )
}
DEFAULT_EXPERIMENT = "retinex_plus"
"""The one whose pictures are closest to their references, and the fastest."""
GROUPS = tuple(
    tuple(experiment.name for experiment in group)
    for _, group in groupby(EXPERIMENTS.values(), lambda experiment: experiment.decom)
)
"""The names of all experiments in their order; neighbours that share a Decom-Net are together."""


def find_experiment(mode: Mode, upsampling: Upsampling, ignore_enhance: bool) -> Experiment:
    """Return the experiment that trains in this way.

    Raises:
        ValueError: no experiment does; the message lists those that exist.
    """
    wanted = (mode, upsampling, ignore_enhance)
    for experiment in EXPERIMENTS.values():
        if (experiment.mode, experiment.upsampling, experiment.ignore_enhance) == wanted:
            return experiment
    known = "; ".join(
        f"{e.name}: mode {e.mode}, upsampling {e.upsampling}, ignore_enhance {e.ignore_enhance}"
        for e in EXPERIMENTS.values()
    )
    raise ValueError(
        f"no experiment has mode {mode}, upsampling {upsampling}, ignore_enhance "
        f"{ignore_enhance}. Those there are: {known}"
    )
