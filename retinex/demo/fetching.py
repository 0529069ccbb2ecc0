"""Photos that callers of the demo's API name by their address on the web.

gradio fetches them, from public addresses alone, but whole into memory, whatever their size; here
they get the limit of uploads.
"""

from collections.abc import AsyncIterator

import httpx
import safehttpx
from gradio import processing_utils

MOST_BYTES = 200_000_000
"""Of an upload, and of what is fetched."""


class LimitedTransport(safehttpx.AsyncSecureTransport):  # type: ignore[misc]
    """The transport by which gradio fetches files, but that breaks off what is too long."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Answer `request` with a body that raises ValueError at `MOST_BYTES`."""
        request.headers["Accept-Encoding"] = "identity"
        response: httpx.Response = await super().handle_async_request(request)
        # A server that compresses all the same isn't unpacked: it may be a thousand times as long.
        response.headers.pop("Content-Encoding", None)
        assert isinstance(response.stream, httpx.AsyncByteStream)
        response.stream = LimitedBody(response.stream)
        return response


class LimitedBody(httpx.AsyncByteStream):
    """What a server sends, piece by piece."""

    def __init__(self, body: httpx.AsyncByteStream) -> None:
        self._body = body

    async def __aiter__(self) -> AsyncIterator[bytes]:
        received = 0
        async for part in self._body:
            received += len(part)
            if received > MOST_BYTES:
                raise ValueError(f"the file is larger than {MOST_BYTES // 1_000_000} MB")
            yield part

    async def aclose(self) -> None:
        """Close the connection."""
        await self._body.aclose()


def limit_fetching() -> None:
    """From now on, let gradio fetch no more than `MOST_BYTES` of any file."""
    safehttpx.AsyncSecureTransport = LimitedTransport
    processing_utils.PUBLIC_HOSTNAME_WHITELIST.clear()  # of servers that it takes anything from
