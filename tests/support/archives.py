"""Zip archives that cannot be read."""

from __future__ import annotations


def flipped(content: bytes) -> bytes:
    """An archive whose first member's compressed bytes are none, behind a header that is whole."""
    start = 30 + int.from_bytes(content[26:28], "little") + int.from_bytes(content[28:30], "little")
    return content[:start] + b"\xff" * 8 + content[start + 8 :]


def set_encrypted(content: bytes) -> bytes:
    """An archive whose members say that they are encrypted."""
    for mark, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        parts = content.split(mark)
        for i, part in enumerate(parts[1:], 1):
            at = flags - len(mark)
            parts[i] = part[:at] + bytes([part[at] | 1]) + part[at + 1 :]
        content = mark.join(parts)
    return content
