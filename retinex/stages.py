"""The pictures that an enhancement consists of."""

from enum import StrEnum


class Stage(StrEnum):
    """The five pictures, in the order a photo goes through them."""

    INPUT = "input"
    REFLECTANCE = "reflectance"
    ILLUMINATION = "illumination"
    ENHANCED_ILLUMINATION = "enhanced_illumination"
    OUTPUT = "output"

    @property
    def label(self) -> str:
        """What a person reads above the picture."""
        return STAGE_LABELS[self]

    @property
    def channels(self) -> int:
        """1 for illuminations, 3 (RGB) for the others."""
        return 1 if self in {Stage.ILLUMINATION, Stage.ENHANCED_ILLUMINATION} else 3


STAGE_LABELS = {
    Stage.INPUT: "Input",
    Stage.REFLECTANCE: "Reflectance R",
    Stage.ILLUMINATION: "Illumination I",
    Stage.ENHANCED_ILLUMINATION: "Enhanced illumination",
    Stage.OUTPUT: "Output",
}
COMPUTED_STAGES = tuple(stage for stage in Stage if stage is not Stage.INPUT)
"""Names and order of the outputs of an ONNX file."""
