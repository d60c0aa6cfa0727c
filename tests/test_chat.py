"""`dispatch chat` without a terminal: what lines do to the conversation, and what is shown of it."""

from __future__ import annotations

import io
import json
import re
import stat
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console as Rich

from dispatcher import Dispatcher, OfflineClient, Registry, TextDelta
from dispatcher.cli.chat.commands import COMMANDS
from dispatcher.cli.chat.completion import suggestions
from dispatcher.cli.chat.view import Answer, View, settled
from dispatcher.cli.console import Console
from dispatcher.errors import OverloadedError
from dispatcher.testing import ScriptedClient, breaks_off, says
from tests.chatting import Chat
from tests.cli_calls import call
from tests.conversing import BAKE, SEW, agent, dispatcher_of
from tests.test_public_api import loaded_by

NAMES = {"baker": "Bakes.", "tailor": "Sews."}


class Interrupted(ScriptedClient):
    """Ctrl-C is pressed after the first piece of an answer."""

    def stream(self, request: Any) -> Iterator[Any]:
        yield TextDelta(text="The first half")
        raise KeyboardInterrupt


@pytest.fixture
def client() -> ScriptedClient:
    return ScriptedClient(says("One."), says("Two."), says("Three."))


@pytest.fixture
def chat(client: ScriptedClient) -> Chat:
    return Chat(dispatcher_of(client=client))


def sent(client: ScriptedClient) -> list[Any]:
    """The messages of the last request."""
    return [message.content for message in client.requests[-1].messages]


def test_a_question_is_answered_by_whom_it_fits_and_why(chat: Chat, capsys: pytest.CaptureFixture[str]) -> None:
    chat.type(BAKE)
    first, second, blank, answer, *_ = chat.shown.splitlines()
    assert first.startswith("● baker  (")
    assert second.startswith("  whole: ")
    assert "/shop/baker.md" in second
    assert (blank, answer) == ("", "One.")
    assert "claude-sonnet-5-5: 10 tokens in, 5 out, $0.0001" in capsys.readouterr().err


def test_the_conversation_goes_on(chat: Chat, client: ScriptedClient) -> None:
    chat.type(BAKE, "", "why?")
    assert sent(client) == [BAKE, "One.", "why?"]
    assert "sticky: a follow-up: it has no subject of its own" in chat.shown
    chat.type(f"@tailor {SEW}")
    assert chat.session.agent == "tailor"


def test_an_error_ends_the_turn_and_not_the_chat(
    chat: Chat, client: ScriptedClient, capsys: pytest.CaptureFixture[str]
) -> None:
    client.script(OverloadedError("no capacity"), breaks_off("Half an answer"), says("Whole."))
    chat.type(BAKE, BAKE, BAKE)
    assert "error: no capacity" in capsys.readouterr().err
    assert chat.shown.index("Half an answer") < chat.shown.index("Whole.")
    assert [turn.state for turn in chat.session.turns] == ["failed", "failed", "done"]


def test_an_answer_that_is_cut_off_is_told(
    chat: Chat, client: ScriptedClient, capsys: pytest.CaptureFixture[str]
) -> None:
    client.script(says("Half", stop_reason="max_tokens"))
    chat.type(BAKE)
    assert "error: the answer was cut off at its longest" in capsys.readouterr().err


def test_ctrl_c_stops_the_answer_and_not_the_chat(capsys: pytest.CaptureFixture[str]) -> None:
    chat = Chat(dispatcher_of(client=Interrupted()))
    chat.type(BAKE, "/cost")
    assert "The first half" in chat.shown
    assert "in all" in chat.shown
    assert "Stopped. What came is kept" in capsys.readouterr().err
    [turn] = chat.session.turns
    assert (turn.state, turn.answer) == ("cancelled", "The first half")


def test_ctrl_c_at_the_prompt_gives_a_line_up(chat: Chat) -> None:
    typed = chat.type(KeyboardInterrupt, BAKE)
    assert len(typed.prompts) == 3
    assert len(chat.session.turns) == 1


def test_quit_leaves_at_once(chat: Chat, client: ScriptedClient) -> None:
    chat.type("/quit", BAKE)
    assert client.requests == []


def test_the_last_turn_is_taken_back(chat: Chat, client: ScriptedClient, capsys: pytest.CaptureFixture[str]) -> None:
    chat.type(BAKE, SEW, "/undo", "why?")
    assert f'Taken back: "{SEW}". 1 turn left.' in capsys.readouterr().err
    assert sent(client) == [BAKE, "One.", "why?"]
    assert [turn.task for turn in chat.session.turns] == [BAKE, "why?"]


@pytest.mark.parametrize(("line", "name"), [("/retry", "baker"), ("/retry tailor", "tailor")])
def test_the_last_task_is_asked_again(chat: Chat, client: ScriptedClient, line: str, name: str) -> None:
    chat.type(BAKE, line)
    assert sent(client) == [BAKE]
    [turn] = chat.session.turns
    assert (turn.agent, turn.answer) == (name, "Two.")


def test_what_was_named_is_named_again(chat: Chat) -> None:
    chat.type(f"@tailor {BAKE}", "/retry")
    [turn] = chat.session.turns
    assert (turn.agent, turn.task, turn.answer) == ("tailor", BAKE, "Two.")


def test_a_wrong_name_takes_nothing_back(chat: Chat, capsys: pytest.CaptureFixture[str]) -> None:
    chat.type(BAKE, "/retry bakr", "/agent bakr")
    assert capsys.readouterr().err.count('did you mean "baker"?') == 2
    assert len(chat.session.turns) == 1


def test_all_tasks_go_to_the_agent_that_is_named(chat: Chat, capsys: pytest.CaptureFixture[str]) -> None:
    typed = chat.type("/agent", "/agent tailor", BAKE, f"@baker {BAKE}", "/agent auto", "/agent", BAKE)
    assert typed.prompts == [None, None, "tailor", "tailor", "tailor", None, None, None]
    assert [turn.agent for turn in chat.session.turns] == ["tailor", "baker", "baker"]
    said = capsys.readouterr().err
    assert "Nobody has the conversation yet" in said
    assert "All tasks go to tailor; /agent auto lets it go." in said
    assert "baker has the conversation" in said


def test_agents_are_listed_and_the_one_that_answers_is_marked(chat: Chat, capsys: pytest.CaptureFixture[str]) -> None:
    chat.type(BAKE, "/agents", "/agents coats", "/agents zebra")
    lines = chat.shown.splitlines()
    assert "● baker   Bakes rye bread, rolls and cakes in the oven." in lines
    assert sum("Sews and mends" in line for line in lines) == 2
    assert 'no agent has "zebra" in its name or description' in capsys.readouterr().err


def test_why_says_it_in_full(chat: Chat, capsys: pytest.CaptureFixture[str]) -> None:
    chat.type("/why", BAKE, "/why")
    said = capsys.readouterr().err
    assert "there is no decision yet" in said
    assert "ranking" in said


def test_why_is_known_of_a_turn_before_this_chat(chat: Chat, capsys: pytest.CaptureFixture[str]) -> None:
    chat.type(f"@tailor {BAKE}")
    Chat(chat.conversation.dispatcher, chat.session).type("/why")
    assert 'tailor (mention): the task begins with "@tailor"' in capsys.readouterr().err


def test_the_cost_is_told_by_agent() -> None:
    priced = ScriptedClient(says("One.", usage={"input_tokens": 1_000_000, "output_tokens": 0}), says("Two."))
    chat = Chat(dispatcher_of(client=priced))
    chat.type(BAKE, f"@tailor {SEW}", "/cost")
    rows = [line.split() for line in chat.shown.splitlines()[-4:]]
    assert rows[0][:4] == ["last", "turn", "1", "turn,"]
    assert rows[1][:5] == ["baker", "1", "turn,", "1,000,000", "tokens"]
    assert rows[2][:2] == ["tailor", "1"]
    assert rows[3][:4] == ["in", "all", "2", "turns,"]


def test_a_conversation_is_saved_once(chat: Chat, capsys: pytest.CaptureFixture[str]) -> None:
    chat.type(
        "/save early.md", BAKE, "/save talk.md", "/save talk.jsonl", "/save talk.md", "/save no/where.md", "/save"
    )
    assert Path("talk.md").read_text(encoding="utf-8").startswith("# Session talk\n\n## 1. ")
    assert json.loads(Path("talk.jsonl").read_text(encoding="utf-8"))["task"] == BAKE
    assert stat.S_IMODE(Path("talk.md").stat().st_mode) == 0o600
    assert not Path("early.md").exists()
    said = " ".join(capsys.readouterr().err.split())
    for message in ("nothing to save yet", "the file is there already", "can't be written", "into which file?"):
        assert message in said


def test_a_file_goes_with_the_next_task_and_with_another_try(chat: Chat, client: ScriptedClient) -> None:
    Path("dough.txt").write_text("flour", encoding="utf-8")
    chat.type("/file dough.txt", BAKE)
    with_file = sent(client)
    assert "flour" in str(with_file)
    chat.type("/retry")
    assert sent(client) == with_file
    chat.type("/undo", BAKE)
    assert sent(client) == [BAKE]


def test_a_file_of_a_turn_that_was_taken_back_does_not_go_with_the_one_before(
    chat: Chat, client: ScriptedClient
) -> None:
    Path("dough.txt").write_text("flour", encoding="utf-8")
    chat.type(BAKE, "/file dough.txt", SEW, "/undo", "/retry")
    assert sent(client) == [BAKE]


def test_a_file_of_an_earlier_chat_is_told_to_be_left_out(chat: Chat, capsys: pytest.CaptureFixture[str]) -> None:
    Path("dough.txt").write_text("flour", encoding="utf-8")
    chat.type("/file dough.txt", BAKE)
    Chat(chat.conversation.dispatcher, chat.session).type("/retry")
    assert "the files of that turn are not sent again" in capsys.readouterr().err


def test_another_conversation_is_begun(chat: Chat, client: ScriptedClient) -> None:
    chat.type(BAKE, "/new", BAKE)
    assert sent(client) == [BAKE]
    assert chat.session.id != "talk"


def test_help_names_every_command(chat: Chat) -> None:
    chat.type("/help")
    for name in COMMANDS:
        assert f"/{name}" in chat.shown
    assert max(map(len, chat.shown.splitlines())) <= 80


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("/agnets", "did you mean /agents?"),
        ("/xyzzy", 'there is no command "/xyzzy"'),
        ("/undo it", "nothing goes after /undo"),
        ("/undo", "there is no turn to take back"),
        ("/cost", "nothing was sent yet"),
        ("/file", "which file?"),
        ("/file gone.txt", "the file can't be read"),
        ("@auto", "there is no task after @auto"),
    ],
)
def test_what_can_not_be_done_is_told(
    chat: Chat, client: ScriptedClient, capsys: pytest.CaptureFixture[str], line: str, message: str
) -> None:
    chat.type(line)
    assert message in " ".join(capsys.readouterr().err.split())
    assert client.requests == []


def test_a_path_at_the_beginning_is_no_command(chat: Chat, client: ScriptedClient) -> None:
    chat.type("/home/oven/bread.md says: bake rye bread")
    assert len(client.requests) == 1


def test_nobody_being_sure_is_told_and_sends_nothing(
    chat: Chat, client: ScriptedClient, capsys: pytest.CaptureFixture[str]
) -> None:
    chat.type("qwertz")
    assert "Name one with @NAME" in capsys.readouterr().err
    assert client.requests == []


def test_without_a_key_it_is_shown_what_would_be_sent(capsys: pytest.CaptureFixture[str]) -> None:
    chat = Chat(dispatcher_of(client=OfflineClient()))
    chat.type(BAKE, "/undo")
    said = capsys.readouterr().err
    assert "there is no API key, so nothing will be sent" in said
    assert "Nothing was sent: there is no API key. This is what would have been:" in said
    assert "--dry-run" not in said
    assert "● baker" in chat.shown
    assert chat.session.turns == ()


def test_a_chat_that_goes_on_shows_where_it_was(chat: Chat, capsys: pytest.CaptureFixture[str]) -> None:
    chat.type(BAKE)
    again = Chat(chat.conversation.dispatcher, chat.session)
    again.type()
    assert again.shown.splitlines()[:2] == [f"you: {BAKE}", "baker: One."]
    assert "Going on with talk (1 turn); /new begins another." in capsys.readouterr().err


def test_an_answer_has_no_control_characters_and_no_hidden_addresses(chat: Chat, client: ScriptedClient) -> None:
    client.script(says("[bank](http://elsewhere.example) \x1b[2J", "\x1b]0;title\x07end"))
    chat.type(BAKE)
    assert "bank (http://elsewhere.example)" in chat.shown
    assert "\x1b" not in chat.shown


MARKDOWN = """# Bread

Rye *and* salt.

1. knead

2. bake

```python
x = 1

y = 2
```

> a
b

| a | b |
|---|---|
| 1 | 2 |

End."""


@pytest.mark.parametrize("size", [1, 3, 7, 1000])
@pytest.mark.parametrize("is_terminal", [False, True])
def test_markdown_in_pieces_of_any_size_looks_the_same(size: int, is_terminal: bool) -> None:
    shown = drawn([MARKDOWN[start : start + size] for start in range(0, len(MARKDOWN), size)], is_terminal=is_terminal)
    for line in ("Rye and salt.", " 1 knead", " 2 bake", " x = 1", " y = 2", "▌ a b", " 1  2", "End."):
        assert shown.count(f"\n{line}\n") == 1, (line, shown)


@pytest.mark.parametrize(
    ("text", "whole"),
    [
        ("one", ""),
        ("one\n\n", ""),
        ("one\n\ntwo", ""),  # the second line is not whole, and might become anything
        ("one\n\ntwo\n", "one\n\n"),
        ("- a\n\n- b\n", ""),
        ("```\na\n\nb\n\n", ""),
        ("```\na\n```\n\nb\n", "```\na\n```\n\n"),
    ],
)
def test_a_block_stands_when_nothing_can_change_it(text: str, whole: str) -> None:
    assert text[: settled(text)] == whole


def drawn(pieces: list[str], *, is_terminal: bool) -> str:
    """What a terminal shows in the end: what is erased and drawn again counts once."""
    output = io.StringIO()
    rich = Rich(file=output, width=80, height=24, force_terminal=is_terminal, color_system=None)
    with Answer(rich, 80, "model") as answer:
        for piece in pieces:
            answer.add(piece)
    return screen(output.getvalue())


def screen(written: str) -> str:
    """The lines that are left after cursor movements, as a terminal without an upper end would show them."""
    lines, row = [""], 0
    for piece in re.findall(r"\x1b\[[?\d;]*[A-Za-z]|\r|\n|[^\x1b\r\n]+", written):
        if piece == "\n":
            row += 1
            lines += [""] * (row + 1 - len(lines))
        elif piece == "\x1b[2K":
            lines[row] = ""
        elif (up := re.fullmatch(r"\x1b\[(\d+)A", piece)) is not None:
            row = max(0, row - int(up[1]))
        elif piece[0] not in "\x1b\r":
            lines[row] += piece
    return "\n".join(["", *lines, ""])


@pytest.mark.parametrize(
    ("color", "code"),
    [
        ("red", "\x1b[1;31m"),
        ("#0EA5E9", "\x1b[1;38;2;14;165;233m"),
        ("orange", "\x1b[1;38;5;208m"),
        ("no such", "\x1b[1m"),
    ],
)
def test_an_agent_has_the_color_of_its_file(color: str, code: str) -> None:
    output = io.StringIO()
    registry = Registry.from_agents([agent("painter", "Paints walls and doors.", color=color)])
    rich = Rich(file=output, width=80, force_terminal=True, color_system="truecolor", no_color=False)
    dispatcher = Dispatcher(registry, client=ScriptedClient("Done."))
    View(Console(), registry, rich).plan(dispatcher.plan("paint walls", agent="painter"))
    assert output.getvalue().startswith(f"{code}● painter")


@pytest.mark.parametrize(
    ("typed", "found"),
    [
        ("/ag", ["/agents", "/agent"]),
        ("/agent b", ["baker"]),
        ("/retry ", ["baker", "tailor", "auto"]),
        ("/why b", []),
        ("@", ["baker", "tailor", "auto"]),
        ("@TAI", ["tailor"]),
        ("mail @b", []),  # a name counts at the beginning only
        ("/save ", ["notes.md", "oven/"]),
        ("/file oven/", ["rye.txt"]),
        ("look at ./n", ["notes.md"]),
        ("look at oven/r", ["rye.txt"]),
        ("look at .", []),
        ("/file .h", [".hidden"]),
        ("/file gone/", []),
        ("and/or", []),
        ("bake", []),
        ("", []),
    ],
)
def test_names_and_files_are_completed(typed: str, found: list[str]) -> None:
    Path("oven").mkdir()
    for name in ("notes.md", "oven/rye.txt", ".hidden"):
        Path(name).touch()
    assert [suggestion.text for suggestion in suggestions(typed, NAMES, Path.cwd())] == found


def test_a_completion_replaces_what_was_begun() -> None:
    Path("notes.md").touch()
    for typed, completed in {"/agent ba": "/agent baker", "see ./no": "see ./notes.md", "@ta": "@tailor"}.items():
        [suggestion] = suggestions(typed, NAMES, Path.cwd())
        assert typed[: len(typed) - suggestion.replaces] + suggestion.text == completed


def test_without_the_packages_the_extra_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "prompt_toolkit", None)
    done = call(capsys, ["chat"])
    assert done.code == 2
    assert (
        'for the chat a package is missing: prompt_toolkit\n  install it: pip install "agent-dispatcher[chat]"'
        in done.err
    )


def test_the_packages_are_loaded_by_the_chat_alone() -> None:
    assert loaded_by("import dispatcher.cli.chat.command").isdisjoint({"prompt_toolkit", "rich"})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "a chat needs a terminal"),
        (("--session", "a", "--new"), "--session and --new go against each other"),
        (("--session", "a", "--no-store"), "--session and --no-store go against each other"),
        (("--session", ""), "can't be the name of a session"),
    ],
)
def test_a_chat_that_can_not_begin_is_told(
    capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], message: str
) -> None:
    done = call(capsys, ["chat", *arguments])
    assert done.code == 2
    assert message in done.err
