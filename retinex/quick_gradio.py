"""gradio, imported in 3.5 instead of 5.5 seconds (two Zen cores, Python 3.11).

For every component class, gradio reads its own source again, to keep type stubs for editors up to
date. It leaves out classes that come from no file; for the time of the import none does.
"""

import inspect
from typing import Any
from unittest.mock import patch


def _find_no_file(_: Any) -> str:
    raise OSError


with patch.object(inspect, "getfile", _find_no_file):
    import gradio as gr
    from gradio import mcp as gradio_mcp

__all__ = ["gr", "gradio_mcp"]
