"""The Hugging Face hub without a network: its client would retry for half a minute and log each try; here it uses its cache."""

from __future__ import annotations

import functools
import os
import socket
from urllib.parse import urlsplit

CONNECT_SECONDS = 5.0


@functools.cache
def offline_if_unreachable() -> None:
    """Set HF_HUB_OFFLINE if the hub does not answer. Must run before the client is imported, which reads it then."""
    if any(os.environ.get(name) for name in ("HF_HUB_OFFLINE", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy")):
        return  # already decided, or behind a proxy, which a socket cannot test
    host = urlsplit(os.environ.get("HF_ENDPOINT", "https://huggingface.co"))
    try:
        address = (host.hostname or "", host.port or (80 if host.scheme == "http" else 443))
        socket.create_connection(address, CONNECT_SECONDS).close()
    except OSError:
        os.environ["HF_HUB_OFFLINE"] = "1"
