"""The journal of an unfinished run: what came is on the disk, whatever happens to the process or to the disk."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from dispatcher import UsageError
from dispatcher.enrich import BatchRecord, Journal, JournalContent, Journals, WrittenLine, read_journals

LINE = WrittenLine(
    name="tailor", digest="new", examples=("my zip is stuck",), near_misses=(), model="m", created="2026-11-20"
)
OTHER = WrittenLine(
    name="baker", digest="new", examples=("dough is flat",), near_misses=(("oak", "joiner"),), model="m", created="x"
)
BATCH = BatchRecord(
    id="msgbatch_1", model="m", submitted="now", count=9, requests={"agent-0": ("tailor", "new", ("joiner", "baker"))}
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "enriched.jsonl"


@pytest.fixture
def journal(path: Path) -> Iterator[Journal]:
    opened = Journal(path)
    yield opened
    opened.close()


def partial(path: Path) -> Path:
    return path.with_name("enriched.jsonl.partial")


def test_what_is_kept_is_on_the_disk_at_once(journal: Journal, path: Path) -> None:
    journal.keep(LINE)
    journal.remember(BATCH)
    assert read_journals([path]) == {path: JournalContent(lines=(LINE,), batches=(BATCH,))}
    assert not path.exists()


def test_a_later_run_finds_what_an_earlier_one_left(path: Path) -> None:
    first = Journal(path)
    first.keep(LINE)
    first.close()
    second = Journal(path)
    second.keep(OTHER)
    assert second.content.lines == (LINE, OTHER)
    second.put_in_place()
    second.close()
    assert [json.loads(line)["name"] for line in path.read_text().splitlines()] == ["baker", "tailor"]
    assert not partial(path).exists()


def test_what_a_crash_cut_off_is_as_if_it_had_not_come(path: Path) -> None:
    first = Journal(path)
    first.keep(LINE)
    first.close()
    with partial(path).open("ab") as file:
        file.write(b'{"line": {"name": "bak\xc3')
    second = Journal(path)
    second.keep(OTHER)
    second.close()
    assert read_journals([path])[path].lines == (LINE, OTHER)


@pytest.mark.parametrize(
    "record", ["[]", "7", '{"line": 7}', '{"line": {}}', '{"batch": {"id": 1}}', '{"collected": []}', "[" * 50_000]
)
def test_records_of_another_shape_are_passed_over(path: Path, record: str) -> None:
    partial(path).write_text(f"{record}\n{json.dumps({'line': LINE.to_record()})}\n")
    assert read_journals([path])[path].lines == (LINE,)


def test_a_collected_batch_is_forgotten(journal: Journal, path: Path) -> None:
    journal.remember(BATCH)
    journal.forget(BATCH)
    assert journal.content == read_journals([path])[path] == JournalContent()


def test_lines_in_place_are_forgotten_and_a_batch_is_not(path: Path) -> None:
    journal = Journal(path)
    journal.remember(BATCH)
    journal.keep(LINE)
    journal.put_in_place()
    journal.close()
    assert read_journals([path])[path] == JournalContent(batches=(BATCH,))


def test_killed_between_the_file_and_the_journal_nothing_is_there_twice(path: Path) -> None:
    journal = Journal(path)
    journal.keep(LINE)
    path.write_text(journal.text())  # as put_in_place does before it forgets the lines
    journal.close()
    again = Journal(path)
    again.put_in_place()
    again.close()
    assert len(path.read_text().splitlines()) == 1


def test_an_edit_made_during_the_run_is_kept(journal: Journal, path: Path) -> None:
    journal.keep(LINE)
    path.write_text('{"name": "baker", "examples": ["typed just now"]}\n')
    journal.put_in_place()
    assert "typed just now" in path.read_text()
    assert "my zip is stuck" in path.read_text()


def test_set_aside_is_beside_the_file_and_not_in_it(journal: Journal, path: Path) -> None:
    path.write_text("")
    journal.keep(LINE)
    aside = journal.set_aside()
    assert (aside.name, path.read_text()) == ("enriched.jsonl.rejected", "")
    assert json.loads(aside.read_text())["examples"] == ["my zip is stuck"]
    assert journal.content == JournalContent()


def test_what_was_set_aside_before_stays(journal: Journal, path: Path) -> None:
    for line in (LINE, OTHER):
        journal.keep(line)
        aside = journal.set_aside()
    assert [json.loads(content)["name"] for content in aside.read_text().splitlines()] == ["tailor", "baker"]


def test_a_journal_with_nothing_in_it_leaves_no_file(path: Path) -> None:
    with Journals([path]):
        assert partial(path).exists()
    assert list(path.parent.glob("enriched*")) == []


def test_two_runs_do_not_get_in_each_others_way(journal: Journal, path: Path) -> None:
    with pytest.raises(UsageError, match=r"another `dispatch enrich` is at work on \S+/enriched.jsonl$"):
        Journal(path)
    journal.keep(LINE)
    assert journal.content.lines == (LINE,)


def test_where_one_file_is_taken_the_others_are_let_go(journal: Journal, path: Path, tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    free = tmp_path / "a" / "enriched.jsonl"
    with pytest.raises(UsageError, match="another"):
        Journals([free, path])
    Journal(free).close()


def test_the_lock_goes_with_the_process(path: Path) -> None:
    code = (
        "import os, signal, sys, pathlib\nfrom dispatcher.enrich import Journal\n"
        "journal = Journal(pathlib.Path(sys.argv[1]))\nos.kill(os.getpid(), signal.SIGKILL)"
    )
    ended = subprocess.run([sys.executable, "-c", code, str(path)], check=False)
    assert ended.returncode == -9
    assert partial(path).exists()
    Journal(path).close()


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="can't be written: No such file or directory"):
        Journal(tmp_path / "none" / "enriched.jsonl")


def test_a_file_that_is_not_utf_8_is_left_alone(journal: Journal, path: Path) -> None:
    path.write_bytes(b"\xff\xfe")
    journal.keep(LINE)
    with pytest.raises(UsageError, match="can't be read"):
        journal.put_in_place()
    assert path.read_bytes() == b"\xff\xfe"
    assert read_journals([path])[path].lines == (LINE,)


def test_a_link_and_the_rights_of_a_file_stay(journal: Journal, path: Path, tmp_path: Path) -> None:
    real = tmp_path / "real.jsonl"
    real.write_text("")
    real.chmod(0o640)
    path.symlink_to(real)
    journal.keep(LINE)
    journal.put_in_place()
    assert path.is_symlink()
    assert "my zip" in real.read_text()
    assert real.stat().st_mode & 0o777 == 0o640


FULL = """
import pathlib, resource, signal, sys
from dispatcher import DispatcherError
from dispatcher.enrich import Journal
from tests.test_enrich_journal import LINE, OTHER
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
journal = Journal(pathlib.Path(sys.argv[1]))
journal.keep(LINE)
size = journal.path.stat().st_size
resource.setrlimit(resource.RLIMIT_FSIZE, (size + 20, size + 20))
try:
    journal.keep(OTHER)
except DispatcherError as problem:
    print(problem.message, problem.exit_code, sep="|")
print(journal.path.stat().st_size == size)
"""


def test_where_there_is_no_room_what_came_before_stays_whole(path: Path) -> None:
    """A limit on the size of files stands for the full disk: the write stops in the middle of a line."""
    ended = subprocess.run(
        [sys.executable, "-c", FULL, str(path)],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[1],
    )
    message, is_cut_back = ended.stdout.splitlines()
    assert message == f"{partial(path)}: it could not be written: File too large|1"
    assert is_cut_back == "True"
    assert read_journals([path])[path].lines == (LINE,)
