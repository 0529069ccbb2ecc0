"""What visitors and callers give the demo: inputs that take anything, opening it, messages."""

from pathlib import Path
from typing import Any

import gradio as gr

from retinex.demo.settings import Settings
from retinex.photo import Photo, PhotoError, Pixels, open_photo


def new_message(text: str, title: str) -> gr.Error:
    """Make an error message for the visitor; it isn't logged."""
    return gr.Error(text, title=title, print_exception=False)


def as_sentence(error: Exception) -> str:
    """Return an error's message with a capital letter."""
    message = str(error)
    return message[:1].upper() + message[1:]


def new_photo_input(**options: Any) -> gr.Image:
    """Build an image input that hands on the file itself.

    gr.Image would open it first, and fail without a message if it is broken.
    """
    photo = gr.Image(**options)

    def hand_on(payload: gr.FileData | None) -> str | None:
        if payload is None:
            return None
        # Callers may name any file of the server.
        if not payload.path or not _is_within(payload.path, photo.GRADIO_CACHE):
            raise new_message("Upload it first, and send the path that you get.", "No photo")
        return payload.path

    # Not in a class derived from gr.Image: gradio writes a file beside the source of each.
    photo.preprocess = hand_on  # type: ignore[method-assign,assignment]
    return photo


def new_slider(minimum: float, maximum: float, value: float, **options: Any) -> gr.Slider:
    """Build a slider whose number field takes what is half typed: nothing, or too much."""
    slider = gr.Slider(minimum, maximum, value, **options)

    def hand_on(payload: float | None) -> float:
        return value if payload is None else min(max(payload, minimum), maximum)

    slider.preprocess = hand_on  # type: ignore[method-assign]
    return slider


def open_upload(path: str | None, settings: Settings) -> Photo:
    """Open a visitor's photo; what is wrong with it becomes a message for them."""
    if path is None:
        raise new_message("Send one.", "No photo")
    try:
        # As bytes: messages don't name a path on the server.
        content = Path(path).read_bytes()
        return open_photo(content, max_pixels=round(settings.max_megapixels * 1e6))
    except (FileNotFoundError, IsADirectoryError) as error:
        raise new_message("It was deleted after a while. Choose it again.", "No photo") from error
    except PhotoError as error:
        raise new_message(as_sentence(error), "This photo can't be enhanced") from error


def open_reference(path: str | None, photo: Photo, settings: Settings) -> Pixels | None:
    """Open a reference photo if there is one; it must be as large as the photo."""
    if path is None:
        return None
    title = "This reference can't be compared"
    try:
        reference = open_upload(path, settings).rgb
    except gr.Error as error:
        raise new_message(error.message, title) from error
    if reference.shape != photo.rgb.shape:
        sizes = [f"{image.shape[1]}×{image.shape[0]}" for image in (reference, photo.rgb)]
        raise new_message(
            f"It has {sizes[0]} pixels, the dark photo {sizes[1]}. Choose a reference of the same "
            "scene at the same size.",
            title,
        )
    return reference


def _is_within(path: str, folder: str) -> bool:
    return Path(path).resolve().is_relative_to(Path(folder).resolve())
