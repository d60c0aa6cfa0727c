"""What a line of the chat does to its conversation: a turn, one taken back, one asked again.

Knows the session facade and the view, neither how lines are typed nor the commands' names.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from functools import partial

from dispatcher.cli.approval import Approval
from dispatcher.cli.chat.view import View
from dispatcher.cli.choosing import choose
from dispatcher.errors import UsageError
from dispatcher.llm import TextDelta
from dispatcher.routing import Decision, How
from dispatcher.runtime import Attachment, Dispatcher, Plan, Reply, RunOptions, Session, Stopped
from dispatcher.sessions import MemorySessionStore, Turn

__all__ = ["Conversation"]

_NAMED = (How.FORCED, How.MENTION, How.CHOSEN)  # by the user, whose word still holds when a task is asked again


class Conversation:
    """A session with what the chat adds to it.

    Parameters
    ----------
    model: the one for all answers, before the agents' own.

    `agent` is the name of the one that all tasks go to, None where each is routed. `attachments` go with the next
    task. `decision` is the last one of this chat. `is_over` ends the chat.
    """

    def __init__(self, dispatcher: Dispatcher, session: Session, view: View, *, model: str | None = None) -> None:
        self.dispatcher = dispatcher
        self.session = session
        self.view = view
        self.agent: str | None = None
        self.attachments: list[Attachment] = []
        self.decision: Decision | None = None
        self.is_over = False
        self._model = model
        self._approval = Approval(view.console, dispatcher.settings.tools)
        self._last_attachments: Sequence[Attachment] = ()

    @property
    def is_kept(self) -> bool:
        """Whether it will be there after the chat."""
        return not isinstance(self.dispatcher.store, MemorySessionStore)

    def ask(self, task: str, *, agent: str | None = None) -> None:
        """Takes a turn, and shows it as it comes.

        Parameters
        ----------
        agent: the one to ask, before the one that all tasks go to.

        Ctrl-C stops it; what came is shown and kept. Raises what `Session.stream` raises.
        """
        plan = self._planned(task, agent)
        if plan is None:
            return
        self.decision = plan.decision
        self._last_attachments, self.attachments = tuple(self.attachments), []
        self.view.plan(plan)
        try:
            reply = self._answered(plan)
        except KeyboardInterrupt:
            self.view.stopped()
            return
        if reply.was_sent:
            self.view.reply(reply)
        else:
            self.view.preview(plan, key=self.dispatcher.settings.llm.api_key_env or "ANTHROPIC_API_KEY")

    def undo(self) -> Turn:
        """Takes the last turn back. Raises UsageError if there is none."""
        turn = self.session.undo()
        if turn is None:
            raise UsageError("there is no turn to take back", hint="without a key nothing is sent, and no turn is kept")
        self.decision, self._last_attachments = None, ()
        return turn

    def retry(self, agent: str | None = None) -> None:
        """Takes the last turn back and asks again, the agent that is named if one is. Raises UsageError."""
        if agent is not None:
            agent = self.dispatcher.registry.find(agent).name
        attachments = self._last_attachments
        turn = self.undo()
        if agent is None and turn.how in _NAMED:
            agent = turn.agent
        self.attachments = [*attachments, *self.attachments]
        if not attachments and _has_files(turn):
            self.view.console.notice("the files of that turn are not sent again; name them with /file and /retry")
        self.ask(turn.task, agent=agent)

    def begin(self) -> None:
        """Leaves the session as it is, for a new one."""
        self.session = self.dispatcher.session(busy="refuse")
        self.decision, self._last_attachments = None, ()

    def _planned(self, task: str, agent: str | None) -> Plan | None:
        """What is going to be done; None where nobody is sure enough and the user picks nobody."""
        run_options: RunOptions = {
            "agent": agent or (None if task.startswith("@") else self.agent),
            "model": self._model,
            "attachments": self.attachments,
        }
        plan = self.session.plan(task, **run_options)
        if plan.request is not None:
            return plan
        chosen = choose(plan.decision, self.view.console, advice="Name one with @NAME, or say more of the task.")
        if chosen is None:
            return None
        run_options["decision"] = chosen
        return self.session.plan(task, **run_options)

    def _answered(self, plan: Plan) -> Reply:
        answer = self.view.answer(plan)
        approve = partial(self._approval, asking=answer.set_aside)
        with closing(self.session.stream(plan, approve=approve)) as events, answer:
            for event in events:
                if isinstance(event, Stopped):
                    return event.reply
                if isinstance(event, TextDelta):
                    answer.add(event.text)
                else:
                    self.view.event(event, answer)
        raise RuntimeError("a turn's last event is its reply")


def _has_files(turn: Turn) -> bool:
    """Whether its task went with more than its words."""
    return bool(turn.messages) and not isinstance(turn.messages[0].content, str)
