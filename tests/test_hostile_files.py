"""Hostile and broken input: it never stops the rest, and each fault has its own diagnostic."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from dispatcher import Diagnostic, Registry, Severity, read_agent_file

GOOD = "---\nname: judge\ndescription: Judges cases.\n---\nYou judge.\n"
HEADER = "---\nname: sample\ndescription: Judges.\n"


def diagnostics_beside_a_good_agent(folder: Path) -> list[Diagnostic]:
    """What a registry reports of a folder, once a good agent has been put there and read all the same."""
    (folder / "good.md").write_text(GOOD, encoding="utf-8")
    registry = Registry.from_paths(folder)
    assert "judge" in [agent.name for agent in registry.agents]
    return list(registry.diagnostics)


@pytest.mark.parametrize(
    ("content", "code", "line"),
    [
        (b"", "empty-file", None),
        (b" \n\t\n", "empty-file", None),
        (b"\xef\xbb\xbf", "empty-file", None),
        (b"---\nname: a\n---\nx\n\0\n", "binary", 5),
        ("---\nname: a\n---\nx\n".encode("utf-16"), "binary", 1),
        (b"\x89PNG\r\n\x1a\n\x81\x8d", "not-utf-8", 1),
        (b"x" * 1_000_001, "too-large", None),
    ],
)
def test_file_that_is_no_text_is_an_error_of_its_own(
    tmp_path: Path, content: bytes, code: str, line: int | None
) -> None:
    (tmp_path / "bad.md").write_bytes(content)
    (found,) = diagnostics_beside_a_good_agent(tmp_path)
    assert (found.code, found.severity, found.line) == (code, Severity.ERROR, line)
    assert (found.path.name, bool(found.hint)) == ("bad.md", True)


def test_text_of_an_old_code_page_is_recovered(tmp_path: Path) -> None:
    path = tmp_path / "bad.md"
    path.write_bytes("---\nname: richter\ndescription: Prüft Fälle.\n---\nDu prüfst.\n".encode("cp1252"))
    result = read_agent_file(path)
    assert (result.agents[0].description, result.agents[0].prompt) == ("Prüft Fälle.", "Du prüfst.\n")
    assert [(found.code, found.line) for found in result.diagnostics] == [("not-utf-8", 3)]


def test_limit_of_size_can_be_set(tmp_path: Path) -> None:
    (tmp_path / "good.md").write_text(GOOD, encoding="utf-8")
    registry = Registry.from_paths(tmp_path, max_file_bytes=len(GOOD) - 1)
    assert (registry.agents, [found.code for found in registry.errors]) == ((), ["too-large"])
    assert len(Registry.from_paths(tmp_path, max_file_bytes=len(GOOD)).agents) == 1


BOMB = "\n".join(
    [
        "a: &a [x, x, x, x, x, x, x, x, x, x]",
        *(f"{b}: &{b} [{', '.join([f'*{a}'] * 10)}]" for a, b in zip("abcdefg", "bcdefgh", strict=True)),
    ]
)


@pytest.mark.parametrize(
    "line",
    [
        BOMB,
        "x: &x [*x]",
        "x: " + "[" * 60 + "]" * 60,
        "x: " + "[" * 100_000 + "]" * 100_000,
        "x: " + "{a: " * 50_000,
        "x:\n" + "".join(f"{' ' * depth}a:\n" for depth in range(1, 100)),
        "x: [" + "a, " * 100_000 + "]",
        'x: !!python/object/apply:os.system ["exit 1"]',
        "x: !secret y",
    ],
)
def test_dangerous_yaml_is_read_as_text(tmp_path: Path, line: str) -> None:
    (tmp_path / "bad.md").write_text(f"{HEADER}{line}\n---\nBody.\n", encoding="utf-8")
    found = diagnostics_beside_a_good_agent(tmp_path)
    assert {one.severity for one in found} == {Severity.WARNING}
    assert found[0].code in ("unsafe-yaml", "broken-yaml")
    agent = read_agent_file(tmp_path / "bad.md").agents[0]
    assert (agent.name, agent.description, agent.prompt) == ("sample", "Judges.", "Body.\n")


@pytest.mark.parametrize("entry", ["!!python/object/apply:os.system ['exit 1']", "[" * 50_000, "&x [*x]"])
def test_dangerous_yaml_in_a_list_stops_nothing(tmp_path: Path, entry: str) -> None:
    (tmp_path / "bad.md").write_text(f"---\n- name: sample\n- {entry}\n---\nBody.\n", encoding="utf-8")
    assert diagnostics_beside_a_good_agent(tmp_path) == []
    assert read_agent_file(tmp_path / "bad.md").passed_over


def test_links_that_lead_nowhere_out_or_in_circles(tmp_path: Path) -> None:
    folder, outside = tmp_path / "agents", tmp_path / "outside"
    (folder / "sub").mkdir(parents=True)
    outside.mkdir()
    (outside / "other.md").write_text(GOOD.replace("judge", "other"), encoding="utf-8")
    (folder / "out.md").symlink_to(outside / "other.md")
    (folder / "outdir").symlink_to(outside)
    (folder / "nowhere.md").symlink_to(folder / "missing.md")
    (folder / "self.md").symlink_to(folder / "self.md")
    (folder / "sub" / "loop").symlink_to(folder)
    found = {one.path.name: one.code for one in diagnostics_beside_a_good_agent(folder)}
    assert found == {
        "out.md": "link-out-of-folder",
        "outdir": "link-out-of-folder",
        "nowhere.md": "broken-link",
        "self.md": "broken-link",
        "loop": "link-loop",
    }
    assert [agent.name for agent in Registry.from_paths(folder).agents] == ["judge"]


def test_link_inside_the_folder_is_read_once(tmp_path: Path) -> None:
    (tmp_path / "again.md").symlink_to(tmp_path / "good.md")
    (found,) = diagnostics_beside_a_good_agent(tmp_path)
    assert (found.code, found.severity) == ("link-inside-folder", Severity.NOTE)


def test_link_to_a_file_that_is_not_read_by_itself_is_read(tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text(GOOD.replace("judge", "other"), encoding="utf-8")
    (tmp_path / "linked.md").symlink_to(tmp_path / "text.txt")
    assert diagnostics_beside_a_good_agent(tmp_path) == []
    assert [agent.name for agent in Registry.from_paths(tmp_path).agents] == ["judge", "other"]


def test_folder_that_is_itself_a_link_is_read(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "good.md").write_text(GOOD, encoding="utf-8")
    (tmp_path / "agents").symlink_to(tmp_path / "real")
    registry = Registry.from_paths(tmp_path / "agents")
    assert ([agent.name for agent in registry.agents], registry.diagnostics) == (["judge"], ())


def test_folder_called_like_a_file_is_reported_and_read(tmp_path: Path) -> None:
    (tmp_path / "x.md").mkdir()
    (tmp_path / "x.md" / "other.md").write_text(GOOD.replace("judge", "other"), encoding="utf-8")
    (found,) = diagnostics_beside_a_good_agent(tmp_path)
    assert (found.code, found.severity, found.path.name) == ("folder-not-file", Severity.WARNING, "x.md")
    assert [agent.name for agent in Registry.from_paths(tmp_path).agents] == ["judge", "other"]


def test_name_that_is_not_utf_8_is_reported(tmp_path: Path) -> None:
    try:
        (tmp_path / os.fsdecode(b"\xff.md")).write_text(GOOD.replace("judge", "other"), encoding="utf-8")
    except (OSError, UnicodeError):
        pytest.skip("this file system takes no such name")
    (found,) = diagnostics_beside_a_good_agent(tmp_path)
    assert (found.code, found.path.name) == ("odd-name", "\ufffd.md")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.md")
    (found,) = diagnostics_beside_a_good_agent(tmp_path)
    assert (found.code, found.path.name) == ("unreadable", "pipe.md")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="this user may read everything")
def test_file_and_folder_that_may_not_be_read(tmp_path: Path) -> None:
    (tmp_path / "bad.md").write_text(GOOD, encoding="utf-8")
    (tmp_path / "bad.md").chmod(0)
    (tmp_path / "closed").mkdir(mode=0)
    try:
        found = {one.path.name: one.code for one in diagnostics_beside_a_good_agent(tmp_path)}
    finally:
        (tmp_path / "closed").chmod(0o700)
    assert found == {"bad.md": "unreadable", "closed": "unreadable"}


PATTERNS = [
    "<example>", "<user>", "**", "* *", "```a\n", 'user: "', "Context: ", "[", "[a](", "(", "# ", "#", "---\n", "{{A",
    "## Capabilities\n", "- a\n", "  - a:\n", "a, ", "a or ", ". ", "...", "`", "_", "including ", "use a ", "a-",
    "a:\n", "a: b\n", "x\n===\n", "**a** (", "<!-- x -->\n", "\\n", "\n", "\t", "\x0c", " ", "\r\n", "é", "\n\n# a",
    "Use when ",
]  # fmt: skip
LIMIT_IN_SECONDS = 8  # far above what it takes: what is looked for takes minutes


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("place", ["body", "description", "tools", "heading", "no front matter", "never closed"])
def test_reading_takes_no_longer_than_the_text_is_long(tmp_path: Path, pattern: str, place: str) -> None:
    text = pattern * (200_000 // len(pattern))
    path = tmp_path / "bad.md"
    path.write_text(
        {
            "body": f"{HEADER}---\n{text}",
            "description": f"---\nname: sample\ndescription: Use when {text}\n---\nBody.\n",
            "tools": f"{HEADER}tools: {text}\n---\nBody.\n",
            "heading": f"{HEADER}---\n# {text.replace(chr(10), ' ')}\n" + "- a\n" * 1000,
            "no front matter": text,
            "never closed": f"{HEADER}{text}",
        }[place],
        encoding="utf-8",
    )
    start = time.process_time()
    result = read_agent_file(path)
    assert time.process_time() - start < LIMIT_IN_SECONDS
    assert result.agents or result.passed_over or result.diagnostics
