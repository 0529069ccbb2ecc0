"""Contact sheets: many pictures on one, in captioned rows and columns."""

from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

from retinex.photo import Pixels

CELL_WIDTH = 300
CAPTION_HEIGHT = 22
FONT_SIZE = 14
GAP = 4


def draw_contact_sheet(
    rows: Sequence[Sequence[Pixels]],
    columns: Sequence[str],
    captions: Sequence[str] | None = None,
    cell_width: int = CELL_WIDTH,
) -> Image.Image:
    """Draw pictures, (h, w, 3) or (h, w) uint8, as a grid on white.

    Args:
        rows: the pictures of each row; those of one row have the same shape.
        columns: what stands above each column.
        captions: what stands above each row, if anything.
        cell_width: width of every picture, in pixels; heights keep the proportions.
    """
    heights = [round(cell_width * row[0].shape[0] / row[0].shape[1]) for row in rows]
    row_gap = GAP if captions is None else CAPTION_HEIGHT
    width = len(columns) * (cell_width + GAP) - GAP
    sheet = Image.new("RGB", (width, CAPTION_HEIGHT + sum(heights) + len(rows) * row_gap), "white")
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(FONT_SIZE)
    for column, title in enumerate(columns):
        draw.text((column * (cell_width + GAP) + 2, 2), title, fill="black", font=font)
    top = CAPTION_HEIGHT
    for index, (row, height) in enumerate(zip(rows, heights, strict=True)):
        if captions is not None:
            draw.text((2, top + 2), captions[index], fill="dimgray", font=font)
            top += row_gap
        for column, pixels in enumerate(row):
            cell = Image.fromarray(pixels).resize((cell_width, height), Image.Resampling.LANCZOS)
            sheet.paste(cell, (column * (cell_width + GAP), top))
        top += height if captions is not None else height + row_gap
    return sheet
