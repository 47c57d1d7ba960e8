"""Marks tests of the strongest isolation."""

from __future__ import annotations

from conftest import needs
from rlvr.sandbox.probe import probe

NEEDS_NAMESPACES = needs(probe().tier == "namespaces", f"bubblewrap, and a machine that allows namespaces ({probe()})")
