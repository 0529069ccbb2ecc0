"""Contact sheets: many pictures on one, in captioned rows and columns."""

from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

from retinex.photo import Pixels

CELL_WIDTH = 300
CAPTION_HEIGHT = 22
FONT_SIZE = 14
GAP = 4
BACKGROUND = (224, 224, 224)
"""Light, but told from a white picture."""


def fit_cell(width: int, height: int, cell_width: int) -> tuple[int, int]:
    """Return the size a picture is shown at, at most twice as high as a cell is wide."""
    scale = min(cell_width / width, 2 * cell_width / height)
    return max(1, round(width * scale)), max(1, round(height * scale))


def draw_contact_sheet(
    rows: Sequence[Sequence[Pixels]],
    columns: Sequence[str],
    captions: Sequence[str] | None = None,
    cell_width: int = CELL_WIDTH,
) -> Image.Image:
    """Draw pictures, (h, w, 3) or (h, w) uint8, as a grid.

    Args:
        rows: the pictures of each row; those of one row have the same shape.
        columns: what stands above each column.
        captions: what stands above each row, if anything.
        cell_width: width of a column, in pixels; pictures keep their proportions.
    """
    sizes = [fit_cell(row[0].shape[1], row[0].shape[0], cell_width) for row in rows]
    gap_above = GAP if captions is None else CAPTION_HEIGHT
    size = (
        len(columns) * (cell_width + GAP) - GAP,
        CAPTION_HEIGHT + sum(height for _, height in sizes) + len(rows) * gap_above,
    )
    sheet = Image.new("RGB", size, BACKGROUND)
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(FONT_SIZE)
    for column, title in enumerate(columns):
        draw.text((column * (cell_width + GAP) + 2, 2), title, fill="black", font=font)
    top = CAPTION_HEIGHT
    for index, (row, cell_size) in enumerate(zip(rows, sizes, strict=True)):
        if captions is not None:
            draw.text((2, top + 2), captions[index], fill="black", font=font)
        top += gap_above
        for column, pixels in enumerate(row):
            cell = Image.fromarray(pixels).resize(cell_size, Image.Resampling.LANCZOS)
            sheet.paste(cell, (column * (cell_width + GAP), top))
        top += cell_size[1]
    return sheet
