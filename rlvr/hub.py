"""Without a network the hub's client retries for half a minute and logs every try; here it is told to look at its cache."""

from __future__ import annotations

import functools
import os
import socket
from urllib.parse import urlsplit

CONNECT_SECONDS = 5.0


@functools.cache
def offline_if_unreachable() -> None:
    """Set HF_HUB_OFFLINE where the hub does not answer. Works before the client is imported, which reads it then."""
    if any(os.environ.get(name) for name in ("HF_HUB_OFFLINE", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy")):
        return  # decided already, or only the proxy can know
    host = urlsplit(os.environ.get("HF_ENDPOINT", "https://huggingface.co"))
    try:
        address = (host.hostname or "", host.port or (80 if host.scheme == "http" else 443))
        socket.create_connection(address, CONNECT_SECONDS).close()
    except OSError:
        os.environ["HF_HUB_OFFLINE"] = "1"
