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
        cell_width: width of every picture, in pixels; heights keep the proportions.
    """
    heights = [max(1, round(cell_width * row[0].shape[0] / row[0].shape[1])) for row in rows]
    gap_above = GAP if captions is None else CAPTION_HEIGHT
    size = (
        len(columns) * (cell_width + GAP) - GAP,
        CAPTION_HEIGHT + sum(heights) + len(rows) * gap_above,
    )
    sheet = Image.new("RGB", size, BACKGROUND)
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(FONT_SIZE)
    for column, title in enumerate(columns):
        draw.text((column * (cell_width + GAP) + 2, 2), title, fill="black", font=font)
    top = CAPTION_HEIGHT
    for index, (row, height) in enumerate(zip(rows, heights, strict=True)):
        if captions is not None:
            draw.text((2, top + 2), captions[index], fill="black", font=font)
        top += gap_above
        for column, pixels in enumerate(row):
            cell = Image.fromarray(pixels).resize((cell_width, height), Image.Resampling.LANCZOS)
            sheet.paste(cell, (column * (cell_width + GAP), top))
        top += height
    return sheet
