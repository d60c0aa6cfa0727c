"""How a chat looks: who answers, in the color of its file, and why; the answer as Markdown while it comes.

Everything goes through here or through the Console of the command line, whose lines rich keeps apart from an answer
that is under way.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from types import TracebackType
from typing import Self

from markdown_it import MarkdownIt
from rich.color import Color, ColorParseError
from rich.console import Console as Rich
from rich.console import ConsoleOptions, RenderableType, RenderResult
from rich.live import Live
from rich.markdown import Markdown
from rich.segment import Segment
from rich.spinner import Spinner
from rich.style import Style
from rich.table import Table
from rich.text import Text

from dispatcher.agent import Agent
from dispatcher.cli.chat.keys import unechoed, uninterrupted
from dispatcher.cli.console import Console, one_line, printable
from dispatcher.cli.views import certainty, reason_line, shortfall, show_event, show_preview, show_reply
from dispatcher.registry import Registry
from dispatcher.runtime import Event, HandedOver, Plan, Reply, Session, ToolCalled
from dispatcher.sessions import Turn

__all__ = ["Answer", "View"]

_SECONDS_A_DRAWING = 0.12
_NEAREST_COLORS = {"orange": "dark_orange", "pink": "hot_pink", "gray": "bright_black", "grey": "bright_black"}
_ROWS_BESIDE = 2  # of the terminal, that stay free while an answer comes
_CODE_THEME = "ansi_dark"  # of the terminal's own colors, on its own background


class View:
    """What the user sees.

    Parameters
    ----------
    console: for notices, problems and explanations, on standard error.
    registry: whose agents have colors.
    rich: for answers; a terminal on standard output if not given.
    """

    def __init__(self, console: Console, registry: Registry, rich: Rich | None = None) -> None:
        self.console = console
        self._registry = registry
        self._rich = rich or Rich(highlight=False)

    def opening(self, session: Session, *, is_offline: bool) -> None:
        """What the chat is about to be: a new conversation, or one that is gone on with, and its last turn."""
        turns = session.turns
        count = len(self._registry.routable)
        self.console.say(f"{count} {'agent' if count == 1 else 'agents'}. /help shows what can be typed.", style="dim")
        if is_offline:
            self.console.notice("there is no API key, so nothing will be sent; you see what would be")
        if turns:
            said = f"{len(turns)} {'turn' if len(turns) == 1 else 'turns'}"
            self.console.say(f"Going on with {session.id} ({said}); /new begins another.", style="dim")
            self._said_last(turns[-1])

    def closing(self, session: Session) -> None:
        if session.turns:
            self.console.say(f"`dispatch sessions show {session.id}` shows this conversation.", style="dim")

    def plan(self, plan: Plan) -> None:
        """Who answers and why, before anything is sent."""
        decision = plan.decision
        self._name(decision.agent, certainty(decision))
        if decision.agent is not None:
            self._dim("  " + one_line(reason_line(decision), self._width - 2))
        for notice in plan.notices:
            self.console.notice(notice)

    def answer(self, plan: Plan) -> Answer:
        """Where the answer to a plan is going to be written."""
        return Answer(self._rich, self._width, plan.model.name if plan.model is not None else "")

    def event(self, event: Event, answer: Answer) -> None:
        """What happened during a turn besides its text."""
        if isinstance(event, HandedOver) and not event.is_new_subject:
            answer.pause()
            self._name(self._agent(event.after), f"  (takes over from {event.before})")
            self._dim(f"  {one_line(event.reason, self._width - 2)}")
        elif isinstance(event, ToolCalled):
            answer.pause()
            self._dim(f"  uses {event.call.name}")
        else:
            show_event(event, self.console)

    def preview(self, plan: Plan, *, key: str) -> None:
        show_preview(plan, self.console, key=key)

    def reply(self, reply: Reply) -> None:
        """What the turn took, and what is missing of its answer."""
        show_reply(reply, self.console)
        if (problem := shortfall(reply)) is not None:
            self.console.problem(problem)

    def stopped(self) -> None:
        self.console.say("Stopped. What came is kept; /retry asks again, /undo takes it back.", style="yellow")

    def table(self, rows: Iterable[tuple[str, str]]) -> None:
        """Rows of a name and a text."""
        table = Table.grid(padding=(0, 2))
        table.add_column(no_wrap=True)
        table.add_column()
        for name, text in rows:
            table.add_row(Text(printable(name), style="bold"), Text(printable(text)))
        self._rich.print(table, width=self._width)

    def agents(self, agents: Sequence[Agent], *, current: str | None) -> None:
        """A line an agent; the one that has the conversation is marked."""
        widest = max(len(agent.name) for agent in agents)
        for agent in agents:
            mark = "●" if agent.name == current else " "
            about = one_line(agent.description, max(10, self._width - widest - 4))
            line = Text(f"{mark} {printable(agent.name):{widest}}", style=_style(agent)).append(
                f"  {about}", "not bold"
            )
            line.stylize(Style(color="default", bold=False), len(line) - len(about))
            self._rich.print(line, width=self._width, no_wrap=True, overflow="crop")

    @property
    def _width(self) -> int:
        return min(self._rich.width, self.console.width)

    def _said_last(self, turn: Turn) -> None:
        self._dim(one_line(f"you: {turn.task}", self._width))
        if turn.answer.strip():
            name = Text(turn.agent or "nobody", style=_style(self._agent(turn.agent)))
            rest = one_line(turn.answer, self._width - len(name) - 2)
            self._rich.print(name.append(f": {rest}", Style(bold=False, dim=True)), width=self._width)

    def _name(self, agent: Agent | None, beside: str) -> None:
        line = Text("● " + printable(agent.name if agent is not None else "nobody"), style=_style(agent))
        self._rich.print(line.append(beside, Style(bold=False, dim=True)), width=self._width)

    def _dim(self, text: str) -> None:
        self._rich.print(Text(printable(text), style="dim"), width=self._width)

    def _agent(self, name: str | None) -> Agent | None:
        return next((agent for agent in self._registry.agents if agent.name == name), None)


class Answer:
    """An answer as it comes: blocks of Markdown that are whole stand for good, the last one is drawn again and again.

    Of a block that is higher than the terminal its end is shown until it is whole. Leaving it writes out what came,
    however it is left.
    """

    def __init__(self, rich: Rich, width: int, waiting_for: str) -> None:
        self._rich = rich
        self._width = width
        self._open = ""
        self._is_drawn = False  # as it is now
        self._spinner: Spinner | None = Spinner("dots", Text(waiting_for, style="dim"))
        self._held = ExitStack()
        self._live = self._drawing_anew()
        self._is_over = threading.Event()
        # Only one thread writes at a time, which the refreshing that rich itself offers does not see to.
        self._writing = threading.Lock()
        self._drawing = threading.Thread(target=self._draw, daemon=True)

    def __enter__(self) -> Self:
        try:
            self._held.enter_context(unechoed())
            self._rich.print()
            self._live.start(refresh=True)
            self._drawing.start()
        except BaseException:  # Ctrl-C does not wait for the block either
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def add(self, text: str) -> None:
        """Takes a piece of the answer."""
        with self._writing:
            self._open += printable(text)
            self._is_drawn = False
            if self._open.strip():
                self._spinner = None
            if "\n" in text:
                self._settle(settled(self._open))

    def pause(self) -> None:
        """Ends a piece of the answer: what comes next is another paragraph."""
        with self._writing:
            self._settle(len(self._open))

    @contextmanager
    def set_aside(self) -> Iterator[None]:
        """Leaves the terminal to a question, as it was before the answer; then goes on."""
        with self._writing:
            self._settle(len(self._open))
            self._live.stop()
            self._held.close()
            yield
            self._held.enter_context(unechoed())
            self._live = self._drawing_anew()  # which goes on below the question, not over it
            self._live.start(refresh=True)

    def _drawing_anew(self) -> Live:
        return Live(get_renderable=self._drawn, console=self._rich, transient=True, auto_refresh=False)

    def _end(self) -> None:
        """Puts the terminal in order, and writes what is left."""
        with uninterrupted(), self._held:
            self._is_over.set()
            if self._drawing.is_alive():
                self._drawing.join()
            rest, self._open, self._spinner = self._open, "", None
            self._live.stop()
            self._write(rest)

    def _settle(self, end: int) -> None:
        whole, self._open = self._open[:end], self._open[end:]
        if whole.strip():
            self._live.refresh()  # or what was open until now would be drawn once more below it
            self._write(whole)

    def _write(self, text: str) -> None:
        if text.strip():
            self._rich.print(_Rendered(text, self._width))
            self._rich.print()

    def _draw(self) -> None:
        while not self._is_over.wait(_SECONDS_A_DRAWING):
            with self._writing:
                if not self._is_drawn or self._spinner is not None:
                    self._live.refresh()
                    self._is_drawn = True

    def _drawn(self) -> RenderableType:
        if self._spinner is not None:
            return self._spinner
        most = max(1, self._rich.height - _ROWS_BESIDE)
        return _Rendered(self._open, self._width, most=most) if self._open.strip() else ""


class _Rendered:
    """A piece of Markdown without blank lines around it, nor spaces after its lines, which copying would bring along.

    `most` is the number of lines at its end that are shown, all of them if it is not given.
    """

    def __init__(self, text: str, width: int, *, most: int = 0) -> None:
        # Addresses are written out: a link must not look as if it led elsewhere.
        self._markdown = Markdown(text, code_theme=_CODE_THEME, hyperlinks=False)
        self._width = width
        self._most = most

    def __rich_console__(self, console: Rich, options: ConsoleOptions) -> RenderResult:
        rendered = console.render_lines(self._markdown, options.update(width=self._width, height=None), pad=False)
        lines = [_without_end(line) for line in rendered]
        filled = [number for number, line in enumerate(lines) if line]
        shown = lines[filled[0] : filled[-1] + 1] if filled else []
        for line in shown[-self._most :]:
            yield from line
            yield Segment.line()


def _without_end(line: Sequence[Segment]) -> list[Segment]:
    """A line without the spaces at its end."""
    kept = list(line)
    while kept and not kept[-1].text.strip():
        kept.pop()
    return [*kept[:-1], Segment(kept[-1].text.rstrip(), kept[-1].style)] if kept else []


def settled(text: str) -> int:
    """How many characters of a Markdown text belong to blocks that nothing that follows can change: all but the last.

    A line that is not whole yet is not looked at, since it may become anything.
    """
    lines = text.split("\n")
    tokens = MarkdownIt().enable("table").parse("\n".join([*lines[:-1], ""]))
    starts = [token.map[0] for token in tokens if token.level == 0 and token.map is not None]
    return sum(len(line) + 1 for line in lines[: starts[-1]]) if starts else 0


def _style(agent: Agent | None) -> Style:
    """The color that an agent's file names, if it is one."""
    written = (agent.color or "").strip().lower() if agent is not None else ""
    try:
        return (
            Style(bold=True, color=Color.parse(_NEAREST_COLORS.get(written, written))) if written else Style(bold=True)
        )
    except ColorParseError:
        return Style(bold=True)
