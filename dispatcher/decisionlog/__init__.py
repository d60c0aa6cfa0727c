"""A log of what was asked, who took it and why, how it ended and what it cost. For the user alone;
off unless asked for.

entry       one line of the log
redaction   what the user does not want to be kept
log         the files: one for each day, rotated, and deleted when their time is over
feedback    an entry and the user's verdict on it → a labelled task
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dispatcher.on_demand import on_demand

if TYPE_CHECKING:
    from dispatcher.decisionlog.entry import EntryOutcome, LogEntry, new_entry_id
    from dispatcher.decisionlog.feedback import add_feedback, feedback_path, labelled
    from dispatcher.decisionlog.log import DecisionLog, LogFilter, log_folder
    from dispatcher.decisionlog.redaction import Redaction

__all__ = [
    "DecisionLog",
    "EntryOutcome",
    "LogEntry",
    "LogFilter",
    "Redaction",
    "add_feedback",
    "feedback_path",
    "labelled",
    "log_folder",
    "new_entry_id",
]

__getattr__ = on_demand(
    __name__,
    {
        "dispatcher.decisionlog.entry": ("EntryOutcome", "LogEntry", "new_entry_id"),
        "dispatcher.decisionlog.feedback": ("add_feedback", "feedback_path", "labelled"),
        "dispatcher.decisionlog.log": ("DecisionLog", "LogFilter", "log_folder"),
        "dispatcher.decisionlog.redaction": ("Redaction",),
    },
)
