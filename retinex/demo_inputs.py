"""Inputs of the demo that take whatever visitors and callers give them, and messages to those."""

from pathlib import Path
from typing import Any

from retinex.quick_gradio import gr


def new_message(text: str, title: str) -> gr.Error:
    """Make what is shown to the visitor, and not logged: that they erred is their business."""
    return gr.Error(text, title=title, print_exception=False)


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

    photo.preprocess = hand_on  # type: ignore[method-assign,assignment]
    return photo


def new_slider(minimum: float, maximum: float, value: float, **options: Any) -> gr.Slider:
    """Build a slider whose number field takes what is half typed: nothing, or too much."""
    slider = gr.Slider(minimum, maximum, value, **options)

    def hand_on(payload: float | None) -> float:
        return value if payload is None else min(max(payload, minimum), maximum)

    slider.preprocess = hand_on  # type: ignore[method-assign]
    return slider


def _is_within(path: str, folder: str) -> bool:
    return Path(path).resolve().is_relative_to(Path(folder).resolve())
