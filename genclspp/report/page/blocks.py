"""Blocks: named pieces of data, compressed into the page, which a browser unpacks when it first needs them."""

import base64
import json
import zlib
from typing import Any

Blocks = dict[str, str]  # name -> base64 of zlib


def pack(data: bytes) -> str:
    """Compressed bytes as text that is safe inside a script element."""
    return base64.b64encode(zlib.compress(data, 9)).decode("ascii")


def pack_json(value: Any) -> str:
    """Compressed JSON; raises ValueError for NaN and infinity, which browsers do not read."""
    return pack(json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode())


def unpack(block: str) -> bytes:
    """What was packed."""
    return zlib.decompress(base64.b64decode(block))
