"""Files that go with a task: text, images and PDF, told by their content."""

from __future__ import annotations

import base64
from collections.abc import Callable
from pathlib import Path

import pytest

from dispatcher import AttachmentError, Dispatcher, Registry, load_attachment
from dispatcher.testing import ScriptedClient

REVIEWER = "---\nname: reviewer\ndescription: Reviews pull requests for bugs and style.\n---\nYou review code.\n"
REVIEW = "review this pull request for bugs"


@pytest.fixture
def dispatcher(registry_of: Callable[..., Registry]) -> Dispatcher:
    return Dispatcher(registry_of({"reviewer.md": REVIEWER}), client=ScriptedClient())


def encoded(media_type: str, content: bytes) -> dict[str, str]:
    return {"type": "base64", "media_type": media_type, "data": base64.b64encode(content).decode()}


PNG = b"\x89PNG\r\n\x1a\n" + bytes(8)
FILES = {
    "notes.md": (b"\xef\xbb\xbf# Caf\xc3\xa9", {"type": "text", "text": '<file name="notes.md">\n# Café\n</file>'}),
    "a.txt": (PNG, {"type": "image", "source": encoded("image/png", PNG)}),
    "b": (b"\xff\xd8\xff\xe0", {"type": "image", "source": encoded("image/jpeg", b"\xff\xd8\xff\xe0")}),
    "c.gif": (b"GIF89a..", {"type": "image", "source": encoded("image/gif", b"GIF89a..")}),
    "d.webp": (b"RIFF0000WEBPVP8 ", {"type": "image", "source": encoded("image/webp", b"RIFF0000WEBPVP8 ")}),
    "e.pdf": (b"%PDF-1.7", {"type": "document", "title": "e.pdf", "source": encoded("application/pdf", b"%PDF-1.7")}),
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_is_sent_as_what_its_content_is(tmp_path: Path, dispatcher: Dispatcher, name: str) -> None:
    content, expected = FILES[name]
    (tmp_path / name).write_bytes(content)
    attachment = load_attachment(tmp_path / name)
    plan = dispatcher.plan(REVIEW, attachments=[attachment])
    assert plan.request is not None
    assert plan.request.messages[0].content == [attachment.block, {"type": "text", "text": REVIEW}]
    assert (attachment.name, attachment.size) == (name, len(content))
    assert attachment.block == expected


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "the file can't be read"),
        (b"\0\x01\x02", "neither UTF-8 text nor an image"),
        (b"caf\xe9", "neither UTF-8 text nor an image"),
        (b"x" * 2_000_001, "the file has 2,000,001 bytes; up to 2,000,000"),
        (PNG + bytes(5_000_000), "up to 5,000,000 of its kind"),
    ],
    ids=["absent", "binary", "latin-1", "long-text", "large-image"],
)
def test_a_file_that_can_not_be_sent_is_told(tmp_path: Path, content: bytes | None, message: str) -> None:
    path = tmp_path / "file.bin"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(AttachmentError, match=message) as caught:
        load_attachment(path)
    assert caught.value.message.startswith(str(path))


def test_a_file_alone_is_a_task_too(tmp_path: Path, dispatcher: Dispatcher) -> None:
    (tmp_path / "diff.txt").write_text("- a\n+ b\n", encoding="utf-8")
    attachment = load_attachment(tmp_path / "diff.txt")
    plan = dispatcher.plan("@reviewer", attachments=[attachment])
    assert plan.request is not None
    assert plan.request.messages[0].content == [attachment.block]
