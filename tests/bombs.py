"""Small bodies that unpack to large ones."""

from __future__ import annotations

import zlib


def bomb(megabytes: int) -> bytes:
    """Compress so many megabytes of spaces, without ever holding them."""
    packing = zlib.compressobj(9)
    piece = b" " * (1 << 20)
    return b"".join([*(packing.compress(piece) for _ in range(megabytes)), packing.flush()])
