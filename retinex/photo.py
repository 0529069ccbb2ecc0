"""Reading and writing photos: their files ↔ 8-bit RGB. EXIF and XMP are in photo_metadata.py."""

import io
import math
import warnings
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageCms, PngImagePlugin, UnidentifiedImageError
from PIL.TiffImagePlugin import TiffImageFile

from retinex.atomic_writing import write_atomically
from retinex.photo_metadata import fit_exif, read_xmp, turn_upright, xmp_options

# Pillow's 1 MiB is less than printers' profiles.
PngImagePlugin.MAX_TEXT_CHUNK = max(PngImagePlugin.MAX_TEXT_CHUNK, 16 * 2**20)
# Pillow warns of large files; how large is too large is for `max_pixels` to say. Once for all, as
# filters are those of the whole process; behind those that it has set itself.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning, append=True)

Tag = ExifTags.Base

HEIC_EXTENSIONS = {".heic", ".heif"}
"""Of iPhones' photos, which need a package more."""

PHOTO_EXTENSIONS = {
    ".png", ".jpg", ".jpeg", ".jfif", ".webp", ".bmp", ".tif", ".tiff", ".avif", *HEIC_EXTENSIONS,
}  # fmt: skip
"""Of files in a folder that are taken for photos."""

PHOTO_FORMATS = [
    "JPEG", "PNG", "TIFF", "WEBP", "GIF", "BMP", "AVIF", "JPEG2000", "PPM", "PSD", "QOI", "TGA",
]  # fmt: skip
"""Pillow's names of formats that are read. Of its others, EPS starts a program that draws what the
file says, and icons hold pictures larger than their header says."""

with suppress(ImportError):
    from pillow_heif import register_heif_opener

    register_heif_opener()
    PHOTO_FORMATS.append("HEIF")

Pixels = NDArray[np.uint8]
"""An image in memory: (height, width, 3) RGB or (height, width) gray, uint8; where networks take
and give it, (1, height, width, channels)."""

Bytes = bytes | bytearray | memoryview
PhotoSource = str | Path | Bytes | IO[bytes] | Image.Image | Pixels | NDArray[np.uint16]
"""What `open_photo` takes: a path, a file's bytes, an open file, a Pillow image or an array."""

LUMA = (0.299, 0.587, 0.114)
"""ITU-R BT.601 weights of red, green and blue in a gray value."""

FORMAT_OPTIONS: dict[str, dict[str, Any]] = {
    "JPEG": {"quality": 95, "subsampling": "4:4:4"},
    # Four times as fast as Pillow's default, and a tenth larger.
    "PNG": {"compress_level": 1},
    "WEBP": {"quality": 95},
}

SIXTEEN_BIT_WHITE = 65535
WHITE_IS_ZERO, UNCOMPRESSED, SEPARATE_PLANES = 0, 1, 2
"""Values of a TIFF's tags."""
SAVE_ANEW = "Save it anew with 8 bits a channel: not all kinds of TIFF can be read."

BLOCK_ROWS = 256
"""Rows computed at a time, so that large photos need floats for a part of them only."""

LONGEST_SIDES = {"JPEG": 65500, "WEBP": 16383}
"""In pixels, of formats that have a limit."""

RAW_TAGS = {Tag.DNGVersion, 0x9216}
"""What tells a camera's raw file from a TIFF; the second is TIFF/EP's standard ID."""


class PhotoError(ValueError):
    """A file or an array isn't a photo that can be enhanced; the message says what to do."""


@dataclass(frozen=True, eq=False)
class Photo:
    """A photo as the networks take it, and what is kept of its file besides colours.

    Attributes:
        rgb: (height, width, 3) uint8, upright.
        alpha: (height, width) uint8 transparency, or None.
        exif: the file's EXIF block with orientation reset, empty if it had none.
        icc_profile: the colour profile the values of `rgb` refer to, or None (sRGB is assumed).
        xmp: the file's XMP packet (ratings, keywords) with orientation reset, empty if it had none.
    """

    rgb: Pixels
    alpha: Pixels | None = None
    exif: bytes = field(default=b"", repr=False)
    icc_profile: bytes | None = field(default=None, repr=False)
    xmp: bytes = field(default=b"", repr=False)


def why_no_photo(file: Path) -> str:
    """Say what else a file, its path within a folder, is than a photo; empty if it is one."""
    # macOS puts a hidden file beside each photo on foreign disks, others folders of thumbnails.
    if any(part.startswith(".") for part in file.parts):
        return "hidden"
    extension = file.suffix.lower()
    return "" if extension in PHOTO_EXTENSIONS else extension or "without extension"


def open_photo(source: PhotoSource, max_pixels: int | None = None) -> Photo:
    """Read a photo of any mode: gray, palette, transparent, CMYK, 8 or 16 bits a channel.

    EXIF orientation is applied. 16-bit values are scaled to 8 bits (in colour files cut to the
    upper ones, as Pillow does); floating-point pixels are taken as [0, 1]. CMYK is converted to
    sRGB by its colour profile if it has one; other profiles are kept, the values untouched. Of an
    animation the first frame is taken. Arrays are (h, w), (h, w, 1), (h, w, 3) or (h, w, 4) RGB(A).

    Raises:
        PhotoError: not a readable picture, a camera's raw file, or more than `max_pixels` pixels.
        FileNotFoundError, IsADirectoryError, PermissionError: `source` is a path without a file
            that may be read.
        TypeError: `source` is none of the kinds above.
    """
    if isinstance(source, np.ndarray):
        return _photo_from_array(source, max_pixels)
    name = source if isinstance(source, str | Path) else "this file"
    file = io.BytesIO(source) if isinstance(source, Bytes) else source
    if not (isinstance(file, str | Path | Image.Image) or hasattr(file, "read")):
        raise TypeError(f"{type(file).__name__} is no photo: pass a path, bytes, file or array")
    try:
        if isinstance(file, Image.Image):
            return _photo_from_image(file, name, max_pixels)
        if isinstance(file, str | Path):
            # By its name Pillow would map it into memory, and get TIFFs lying on their side wrong.
            with Path(file).open("rb") as opened:
                return _photo_from_file(opened, name, max_pixels)
        return _photo_from_file(file, name, max_pixels)
    except (FileNotFoundError, IsADirectoryError, PermissionError, MemoryError, PhotoError):
        raise
    except Exception as error:  # decoders raise nearly anything of broken files
        raise PhotoError(_explain(error, name)) from error


def save_photo(rgb: Pixels, path: str | Path, original: Photo) -> None:
    """Write a picture with the EXIF and XMP data, colour profile and transparency of `original`.

    The format is that of `path`'s extension, the picture (h, w, 3) RGB or (h, w) gray, uint8. JPEG,
    PNG, TIFF, WebP, AVIF and HEIC keep EXIF, XMP and the colour profile; so is transparency kept,
    where the format has it. JPEG takes 64 KB of EXIF and as much of XMP: where there is more, EXIF
    goes without the camera maker's notes, or not at all, XMP not at all. JPEG and WebP are written
    at quality 95, JPEG with full colour resolution. A file or link that is there is replaced.

    Raises:
        ValueError: the extension is of no format for photos, or Pillow doesn't write it.
        PhotoError: the picture is larger than files of the format can be.
        OSError: the file can't be written; what was there stays.
    """
    image = Image.fromarray(rgb)
    path = Path(path)
    file_format = choose_format(path, image.width, image.height)
    if original.alpha is not None and file_format != "JPEG":
        image.putalpha(Image.fromarray(original.alpha))
    options = FORMAT_OPTIONS.get(file_format, {}) | xmp_options(original.xmp, file_format)
    # A profile of RGB values doesn't describe a gray picture.
    icc_profile = original.icc_profile if rgb.ndim == 3 else None
    if exif := fit_exif(original.exif, original.xmp, file_format):
        options = options | {"exif": exif}
    # Into memory first: Pillow itself doesn't notice where a full disk takes a part of a file.
    file = io.BytesIO()
    image.save(file, file_format, icc_profile=icc_profile, **options)
    write_atomically(path, file.getbuffer(), durable=False)


def choose_format(path: Path, width: int, height: int) -> str:
    """Return Pillow's name of the format that a picture of this size is written to `path` in.

    Raises:
        ValueError: the extension is of no format for photos, or Pillow doesn't write it.
        PhotoError: the picture is larger than files of the format can be.
    """
    file_format = Image.registered_extensions().get(path.suffix.lower(), "")
    if file_format not in PHOTO_FORMATS or file_format not in Image.SAVE:
        raise ValueError(f"{path}: {path.suffix!r} is no format to write; try .jpg or .png")
    limit = LONGEST_SIDES.get(file_format, math.inf)
    if max(width, height) > limit:
        raise PhotoError(
            f"the photo has {width}×{height} pixels, and {file_format} files up to {limit} a side: "
            "write it as PNG"
        )
    return file_format


def _explain(error: Exception, name: str | Path) -> str:
    """Say why a file can't be read and what helps."""
    if isinstance(error, Image.DecompressionBombError):
        return f"{name} is too large ({error}). Make it smaller first."
    if not isinstance(error, UnidentifiedImageError):
        detail = str(error) or type(error).__name__
        remedy = "It seems damaged: try its original, or save it anew in another program."
        return f"{name} can't be read as a photo ({detail}). {remedy}"
    remedy = "Use a JPEG, PNG, TIFF or WebP file."
    if Path(name).suffix.lower() in {".tif", ".tiff"}:
        remedy = SAVE_ANEW
    if Path(name).suffix.lower() in HEIC_EXTENSIONS - Image.registered_extensions().keys():
        remedy = "For iPhones' photos, `pip install pillow-heif` first."
    return f"{name} can't be read as a photo. {remedy}"


def _check_size(width: int, height: int, max_pixels: int | None) -> None:
    if width < 1 or height < 1:
        raise PhotoError(f"the photo is empty: {width}×{height} pixels")
    if max_pixels is not None and width * height > max_pixels:
        raise PhotoError(
            f"the photo has {width}×{height} pixels ({width * height / 1e6:.1f} megapixels); "
            f"the limit is {max_pixels / 1e6:g} megapixels. Make it smaller first."
        )


def _photo_from_array(pixels: NDArray[np.uint8] | NDArray[np.uint16], limit: int | None) -> Photo:
    if pixels.ndim == 2:
        pixels = pixels[:, :, None]
    if pixels.ndim != 3 or pixels.shape[2] not in {1, 3, 4}:
        raise PhotoError(
            f"an array of shape {pixels.shape} is no photo: pass (height, width), "
            "(height, width, 3) RGB or (height, width, 4) RGBA"
        )
    _check_size(pixels.shape[1], pixels.shape[0], limit)
    if pixels.dtype.newbyteorder("=") not in (np.uint8, np.uint16):
        raise PhotoError(f"an array of {pixels.dtype} is no photo: pass uint8 or uint16 values")
    eight_bit = _to_eight_bit(pixels)
    # A copy: the caller may go on to change the array.
    rgb = np.broadcast_to(eight_bit[:, :, :3], (*pixels.shape[:2], 3)).copy()
    return Photo(rgb, alpha=eight_bit[:, :, 3].copy() if pixels.shape[2] == 4 else None)


def _photo_from_file(file: IO[bytes], name: str | Path, limit: int | None) -> Photo:
    with Image.open(file, formats=PHOTO_FORMATS) as image:
        return _photo_from_image(image, name, limit)


def _photo_from_image(image: Image.Image, name: str | Path, limit: int | None) -> Photo:
    if isinstance(image, TiffImageFile):
        _check_tiff(image, name)
    _check_size(image.width, image.height, limit)
    image.load()
    largest, zero_is_white = _read_range(image)
    image, exif = turn_upright(image)
    xmp = read_xmp(image)
    icc_profile = image.info.get("icc_profile")
    if image.mode == "CMYK" and isinstance(icc_profile, bytes):
        image, icc_profile = _cmyk_to_srgb(image, icc_profile), None
    if not isinstance(icc_profile, bytes) or icc_profile[16:20] != b"RGB ":
        icc_profile = None  # describes ink or gray, not the RGB values made of them
    if image.mode in {"I", "F"} or image.mode.startswith("I;16"):
        pixels = np.asarray(image)
        if image.mode == "I" and not (pixels.min() >= 0 and pixels.max() <= SIXTEEN_BIT_WHITE):
            raise PhotoError(f"{name} has more than 16 bits, or a sign. {SAVE_ANEW}")
        eight_bit = _to_eight_bit(pixels, largest)
        image = Image.fromarray(255 - eight_bit if zero_is_white else eight_bit)
    if not image.has_transparency_data:
        return Photo(np.asarray(image.convert("RGB")), None, exif, icc_profile, xmp)
    rgba = np.asarray(image.convert("RGBA"))
    return Photo(np.ascontiguousarray(rgba[:, :, :3]), rgba[:, :, 3].copy(), exif, icc_profile, xmp)


def _check_tiff(image: TiffImageFile, name: str | Path) -> None:
    """Raise `PhotoError` of what Pillow would open, but as another picture than it is."""
    tags = image.tag_v2
    if RAW_TAGS & set(tags):  # a small preview
        raise PhotoError(f"{name} is a camera's raw file. Develop it to a JPEG or TIFF file first.")
    plain = tags.get(Tag.Compression, UNCOMPRESSED) == UNCOMPRESSED
    deep = max(tags.get(Tag.BitsPerSample, (8,))) > 8
    in_planes = tags.get(Tag.PlanarConfiguration) == SEPARATE_PLANES
    swapped_floats = image.mode == "F" and tags.prefix == b"MM"
    if (plain and deep and in_planes) or (swapped_floats and not plain):
        raise PhotoError(f"{name} is a TIFF of a rare kind. {SAVE_ANEW}")


def _cmyk_to_srgb(image: Image.Image, icc_profile: bytes) -> Image.Image:
    try:
        converted = ImageCms.profileToProfile(
            image, io.BytesIO(icc_profile), ImageCms.createProfile("sRGB"), outputMode="RGB"
        )
    except ImageCms.PyCMSError:  # a broken profile: Pillow's plain conversion is what is left
        return image.convert("RGB")
    assert converted is not None  # None is returned only with inPlace=True
    return converted


def _read_range(image: Image.Image) -> tuple[int, bool]:
    """Return the largest value of 12 or 16 bits and whether 0 is white, as a TIFF's may be."""
    tags = image.tag_v2 if isinstance(image, TiffImageFile) else {}
    largest = 2**12 - 1 if tags.get(Tag.BitsPerSample) == (12,) else SIXTEEN_BIT_WHITE
    return largest, tags.get(Tag.PhotometricInterpretation) == WHITE_IS_ZERO


def _to_eight_bit(pixels: NDArray[np.generic], white: float = SIXTEEN_BIT_WHITE) -> Pixels:
    """Scale integers from 0…`white` and floats from [0, 1] to 0…255."""
    if pixels.dtype == np.uint8:
        return pixels.astype(np.uint8, copy=False)
    if np.issubdtype(pixels.dtype, np.floating):
        white = 1.0
    eight_bit = np.empty(pixels.shape, np.uint8)
    for rows in split_rows(len(pixels)):
        in_floats = np.nan_to_num(pixels[rows].astype(np.float64), posinf=white)
        eight_bit[rows] = np.rint(in_floats.clip(0, white) * (255.0 / white))
    return eight_bit


def is_gray(rgb: Pixels) -> bool:
    """Tell whether the channels of a picture, (h, w, 3), are equal everywhere."""
    return all(bool((rgb[rows] == rgb[rows, :, :1]).all()) for rows in split_rows(len(rgb)))


def remove_colour(rgb: Pixels) -> None:
    """Set the channels of a picture, (h, w, 3), to its luma (`LUMA`), in place."""
    for rows in split_rows(len(rgb)):
        rgb[rows] = np.asarray(Image.fromarray(rgb[rows]).convert("L"))[:, :, None]


def split_rows(height: int) -> Iterator[slice]:
    """Split the rows of a photo into blocks of `BLOCK_ROWS`."""
    for top in range(0, height, BLOCK_ROWS):
        yield slice(top, min(top + BLOCK_ROWS, height))
