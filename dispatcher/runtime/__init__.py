"""One run: a decision, a prompt, a request, an answer. The Dispatcher facade is the way in.

attachments   files given with a task
loading       what a dispatcher works with, read and put together
prompt        an agent and a task → what is sent
reply         what comes out: events and the reply
dispatcher    all of it together
"""

from dispatcher.runtime.attachments import Attachment, load_attachment
from dispatcher.runtime.dispatcher import Dispatcher, RunOptions
from dispatcher.runtime.reply import ABSTAINED, DecisionMade, Event, Plan, Reply, Stopped

__all__ = [
    "ABSTAINED",
    "Attachment",
    "DecisionMade",
    "Dispatcher",
    "Event",
    "Plan",
    "Reply",
    "RunOptions",
    "Stopped",
    "load_attachment",
]
