"""A photo's EXIF and XMP data: kept as they were, but fitting the upright pixels and the format."""

import re
import struct
from collections.abc import Mapping, MutableMapping
from typing import Any

from PIL import ExifTags, Image, ImageOps, PngImagePlugin, TiffTags

Tag = ExifTags.Base

LONGEST_JPEG_EXIF = 65533
"""In bytes."""

LONGEST_JPEG_XMP = 65504
"""In bytes."""

BROKEN_EXIF = (
    AttributeError, KeyError, OverflowError, SyntaxError, TypeError, ValueError, struct.error,
)  # fmt: skip
"""What Pillow raises of it."""

TIFF_EXIF_TAGS = (
    Tag.DocumentName,
    Tag.ImageDescription,
    Tag.Make,
    Tag.Model,
    Tag.XResolution,
    Tag.YResolution,
    Tag.ResolutionUnit,
    Tag.Software,
    Tag.DateTime,
    Tag.Artist,
    Tag.HostComputer,
    Tag.Rating,
    Tag.RatingPercent,
    Tag.Copyright,
    Tag.XPTitle,
    Tag.XPComment,
    Tag.XPAuthor,
    Tag.XPKeywords,
    Tag.XPSubject,
)
"""Those of the main block that describe the photo, not its file's layout."""
EXIF_BLOCKS = (ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo)
"""Those within the main one."""

# Pillow writes data of tags that it doesn't know as a list of numbers; readers then miss comments.
for tag in (
    Tag.ComponentsConfiguration,
    Tag.MakerNote,
    Tag.UserComment,
    Tag.FileSource,
    Tag.SceneType,
    Tag.DeviceSettingDescription,
):
    TiffTags.TAGS_V2_GROUPS[ExifTags.IFD.Exif].setdefault(
        tag, TiffTags.TagInfo(tag, tag.name, TiffTags.UNDEFINED, 1)
    )


def read_xmp(upright: Image.Image) -> bytes:
    """Return an image's XMP packet, that of upright pixels; empty if it has none."""
    xmp = upright.info.get("xmp")
    if not isinstance(xmp, bytes):  # none, or a TIFF tag of another kind
        return b""
    # EXIF data had the last word on it.
    xmp = re.sub(rb"(tiff:Orientation(?:=[\"']|>))[2-8]", rb"\g<1>1", xmp)
    # Phones append a short video, which the output doesn't have.
    return re.sub(rb"((?:MotionPhoto|MicroVideo)(?:=[\"']|>))1", rb"\g<1>0", xmp)


def turn_upright(image: Image.Image) -> tuple[Image.Image, bytes]:
    """Apply EXIF orientation to a loaded image; return it and the EXIF block without it."""
    try:
        upright = ImageOps.exif_transpose(image)
        exif = upright.getexif()
        if image.format == "TIFF":
            exif = _without_layout(image.getexif())
        _drop_former_size(exif, upright.size)
        _keep_text(exif)
        _drop_unwritable(exif)
        return upright, exif.tobytes() if exif else b""
    except BROKEN_EXIF:  # the pixels are intact
        return _turn_by_orientation_alone(image), b""


def _drop_former_size(exif: Image.Exif, size: tuple[int, int]) -> None:
    """Take the size out of EXIF data: the file's, and the camera's if it isn't the upright one."""
    tags = _block(exif, ExifTags.IFD.Exif)
    width, height = Tag.ExifImageWidth, Tag.ExifImageHeight
    if (tags.get(width), tags.get(height)) != size:
        tags.pop(width, None)
        tags.pop(height, None)
    for tag in (Tag.ImageWidth, Tag.ImageLength):  # phones' main block has them
        exif.pop(tag, None)


def _turn_by_orientation_alone(image: Image.Image) -> Image.Image:
    """Apply EXIF orientation where other EXIF data is broken; where it is, too, copy the image."""
    plain = image.copy()
    plain.info.pop("exif", None)
    try:
        plain.getexif()[Tag.Orientation] = image.getexif()[Tag.Orientation]
        return ImageOps.exif_transpose(plain)
    except BROKEN_EXIF:
        return plain


class _Text(str):
    """Text of EXIF data that Pillow writes as it read it, not with "?" for all but ASCII."""

    def encode(self, *_: str) -> bytes:
        """Return the bytes that the text was read from."""
        return super().encode("latin-1", "replace")


def _load_exif(block: bytes) -> Image.Exif:
    """Read EXIF data so that it keeps its accents when it is written."""
    exif = Image.Exif()
    exif.load(block)
    _keep_text(exif)
    return exif


def _keep_text(exif: Image.Exif) -> None:
    """Let no text of any block lose its accents when it is written."""
    for block in (exif, *(_block(exif, ifd) for ifd in EXIF_BLOCKS)):
        for tag, value in list(block.items()):
            if isinstance(value, str):
                block[tag] = _Text(value)


def _drop_unwritable(exif: Image.Exif) -> None:
    """Take out the tags that Pillow reads but can't write, lest they cost the photo all others."""
    for ifd in EXIF_BLOCKS:
        block = _block(exif, ifd)
        for tag, value in list(block.items()):
            if tag != ExifTags.IFD.Interop and not _is_writable({ifd: {tag: value}}):
                del block[tag]
    for tag, value in list(exif.items()):
        if tag not in EXIF_BLOCKS and not _is_writable({tag: value}):
            del exif[tag]


def _is_writable(tags: Mapping[int, Any]) -> bool:
    exif = Image.Exif()
    exif.update(tags)
    try:
        exif.tobytes()
    except BROKEN_EXIF:
        return False
    return True


def _block(exif: Image.Exif, ifd: int) -> MutableMapping[int, Any]:
    """Return a block within EXIF data; empty if there is none."""
    block = exif.get(ifd, {})
    return block if isinstance(block, dict) else exif.get_ifd(ifd)  # else a place in the file


def _without_layout(tags: Image.Exif) -> Image.Exif:
    """Take what describes the photo; other tags describe a file's layout, not that of its copy."""
    exif = Image.Exif()
    exif.update({tag: tags[tag] for tag in TIFF_EXIF_TAGS if tag in tags})
    for ifd in EXIF_BLOCKS:
        if ifd in tags:
            exif[ifd] = dict(tags.get_ifd(ifd))
            exif[ifd].pop(ExifTags.IFD.Interop, None)  # a place in the former file
    return exif


def fit_exif(exif: bytes, xmp: bytes, file_format: str) -> bytes | Image.Exif:
    """Take out of EXIF data what a file of this format has no place for; add XMP to a TIFF's."""
    match file_format:
        case "JPEG":
            return _shorten_exif(exif)
        case "TIFF" if exif or xmp:
            described = _without_layout(_load_exif(exif))
            if xmp:
                described[Tag.XMLPacket] = xmp
            # Not its bytes: Pillow would read them, and lose accents.
            return _load_exif(described.tobytes())
    return exif


def xmp_options(xmp: bytes, file_format: str) -> dict[str, Any]:
    """Return what makes `Image.save` write XMP data; TIFF has it among its EXIF tags."""
    if not xmp or (file_format == "JPEG" and len(xmp) > LONGEST_JPEG_XMP):
        return {}
    if file_format == "PNG":
        text = PngImagePlugin.PngInfo()
        # The zeros: neither compressed nor translated.
        text.add(b"iTXt", b"XML:com.adobe.xmp" + bytes(5) + xmp)
        return {"pnginfo": text}
    return {"xmp": xmp}


def _shorten_exif(block: bytes) -> bytes:
    """Take the maker's notes, and if need be all, out of EXIF data too long for a JPEG file."""
    if len(block) <= LONGEST_JPEG_EXIF:
        return block
    exif = _load_exif(block)
    exif.get_ifd(ExifTags.IFD.Exif).pop(Tag.MakerNote, None)
    shorter = exif.tobytes()
    return shorter if len(shorter) <= LONGEST_JPEG_EXIF else b""
