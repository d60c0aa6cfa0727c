"""Files given with a task: text, images and PDF, as content blocks of the Messages API."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dispatcher.errors import AttachmentError

__all__ = ["Attachment", "load_attachment"]

_MEGABYTE = 1_000_000
_LARGEST_TEXT = 2 * _MEGABYTE
_LARGEST_IMAGE = 5 * _MEGABYTE
_LARGEST_PDF = 24 * _MEGABYTE  # a request may have 32 MB, and base64 adds a third
_IMAGE_SIGNS: Mapping[bytes, str] = {
    b"\x89PNG\r\n\x1a\n": "image/png",
    b"\xff\xd8\xff": "image/jpeg",
    b"GIF87a": "image/gif",
    b"GIF89a": "image/gif",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Attachment:
    """A file's name, its content block and its size in bytes."""

    name: str
    block: Mapping[str, Any]
    size: int


def load_attachment(path: str | Path) -> Attachment:
    """Reads a file to be sent with a task; what it is is told by its content, not by its ending.

    Raises AttachmentError for a file that can't be read, is too large, or is neither text, image nor PDF.
    """
    path = Path(path).expanduser()
    try:
        size = path.stat().st_size
        _check_size(path, size, _LARGEST_PDF)
        content = path.read_bytes()
    except OSError as problem:
        raise AttachmentError(
            f"{path}: the file can't be read: {problem.strerror or problem}", hint="check --file"
        ) from None
    return Attachment(name=path.name, block=_block(path, content), size=len(content))


def _block(path: Path, content: bytes) -> Mapping[str, Any]:
    if content.startswith(b"%PDF-"):
        return {"type": "document", "source": _encoded("application/pdf", content), "title": path.name}
    if (media_type := _image_type(content)) is not None:
        _check_size(path, len(content), _LARGEST_IMAGE)
        return {"type": "image", "source": _encoded(media_type, content)}
    _check_size(path, len(content), _LARGEST_TEXT)
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:
        raise AttachmentError(
            f"{path}: the file is neither UTF-8 text nor an image (PNG, JPEG, GIF, WebP) nor a PDF",
            hint="convert it to one of these",
        )
    name = path.name.replace('"', "'")
    return {"type": "text", "text": f'<file name="{name}">\n{text}\n</file>'}


def _image_type(content: bytes) -> str | None:
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return "image/webp"
    return next((media_type for sign, media_type in _IMAGE_SIGNS.items() if content.startswith(sign)), None)


def _encoded(media_type: str, content: bytes) -> Mapping[str, str]:
    return {"type": "base64", "media_type": media_type, "data": base64.b64encode(content).decode("ascii")}


def _check_size(path: Path, size: int, largest: int) -> None:
    if size > largest:
        raise AttachmentError(
            f"{path}: the file has {size:,} bytes; up to {largest:,} of its kind can be sent", hint="send a part of it"
        )
