"""What only the demo needs; `demo.py` says in which order to read it.

Importing this package imports gradio, seconds faster than usual; its modules can then simply
`import gradio`.
"""

import gc
import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch


def _find_no_file(_: Any) -> str:
    raise OSError


# For every component class, gradio reads its own source again, to keep type stubs for editors up to
# date. It leaves out classes that come from no file; for the time of the import none does. Nor is
# there garbage among what is imported: looking for it takes a tenth of the time.
gc.disable()
with patch.object(inspect, "getfile", _find_no_file):
    import gradio as gr
    from gradio import mcp as gradio_mcp
    from gradio.routes import App
gc.freeze()
gc.enable()

__all__ = ["gr", "gradio_mcp", "without_servers"]


@contextmanager
def without_servers() -> Iterator[None]:
    """Build a page without the web servers that gradio makes of it before `launch` makes the one.

    The end of `gr.Blocks()` and `queue()` each throw away the former one and make another.
    """
    with patch.object(App, "create_app"):
        yield
