"""Pictures of how far a network is: one row a photo, one column a stage."""

from collections.abc import Sequence

from PIL import Image

from retinex.contact_sheet import draw_contact_sheet
from retinex.photo import Pixels
from retinex.stages import Stage
from retinex.training.build import Network
from retinex.training.pairs import Crops
from retinex.training.portable import run_in_torch


def stage_grid(net: Network, photos: Sequence[Crops]) -> Image.Image:
    """Run `net` in float32 on each dark photo, or part of one, and draw all five stages."""
    rows = [[photo.low, *run_stages(net, photo.low, photo.thumbnail)] for photo in photos]
    return draw_contact_sheet(rows, [stage.label for stage in Stage])


def run_stages(net: Network, photo: Pixels, thumbnail: Pixels) -> list[Pixels]:
    """Return R, I, Î and the output of the exported form, (h, w, 3) or (h, w) uint8."""
    return [stage.squeeze() for stage in run_in_torch(net, photo[None], thumbnail[None])]
