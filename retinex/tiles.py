"""Large photos in tiles that come out as the whole photo would in one pass."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

TILE = 1024
"""Longest side of a tile's core, in pixels. The margin around each core is computed, too, so that
larger tiles waste less."""


@dataclass(frozen=True)
class Tile:
    """A part of a photo: what the network sees and what of its result is used."""

    rows: slice
    columns: slice
    core: tuple[slice, slice]
    """The used part, in the photo's coordinates."""
    core_inside: tuple[slice, slice]
    """The used part, in the tile's coordinates."""


def split_into_tiles(height: int, width: int, halo: int, stride: int) -> Iterator[Tile]:
    """Cover a photo with tiles of equal size, each seen with `halo` pixels around its core.

    Where `halo` covers the network's receptive radius and both it and where tiles start are
    multiples of the network's stride, every pixel comes out as in one pass, within rounding: it
    sees the same neighbours on the same grid. The network mirrors a tile at its border as it would
    the photo; within the photo that lies further from the core than the network sees, at the
    photo's edge it is the same mirror image, of fewer pixels than a tile always has.

    Equal sizes let a GPU choose its algorithms once a photo.
    """
    for rows, core_rows, inside_rows in _split(height, halo, stride):
        for columns, core_columns, inside_columns in _split(width, halo, stride):
            yield Tile(rows, columns, (core_rows, core_columns), (inside_rows, inside_columns))


def _split(size: int, halo: int, stride: int) -> Iterator[tuple[slice, slice, slice]]:
    """Yield one axis of each tile: what is seen, what is used, and the latter within the former."""
    inner = size - 2 * halo  # the first and the last tile have no halo at the photo's edge
    count = max(1, math.ceil(inner / TILE))
    step = max(1, math.ceil(inner / (count * stride))) * stride
    count = max(1, math.ceil(inner / step))  # fewer where rounding up covers more
    length = step + 2 * halo + size % stride  # the last tile, too, has to start on the grid
    for k in range(count):
        start = max(0, min(k * step, size - length))
        core_start = 0 if k == 0 else k * step + halo
        core_end = size if k == count - 1 else (k + 1) * step + halo
        seen = slice(start, min(start + length, size))
        yield seen, slice(core_start, core_end), slice(core_start - start, core_end - start)
