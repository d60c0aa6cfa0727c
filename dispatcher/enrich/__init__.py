"""Enriching: a model writes example tasks for each agent once, and routing, which stays offline, learns from them.

languages   in which language a text is written
planning    which agents need examples, who their neighbours are, and where the lines go
prompting   what the model is asked
answers     what of its answer is used, and what is refused
lines       the lines of enriched.jsonl: made, recognised, put in place
estimating  what it will take, in calls, tokens and dollars
journal     what came of an unfinished run, safe on disk; one run at a time
enriching   one run: everything above together
asking      its calls, several at a time
batching    its calls as one batch of the Message Batches API, at half the price
effect      the agents as they would be with what came

Joins routing and llm; knows nothing of evaluation or the command line.
"""

from dispatcher.enrich.answers import Refused
from dispatcher.enrich.asking import ask
from dispatcher.enrich.batching import collect, submit
from dispatcher.enrich.effect import agents_with
from dispatcher.enrich.enriching import AskOptions, Enriching, Failure, estimate_jobs
from dispatcher.enrich.estimating import Estimate
from dispatcher.enrich.journal import BatchRecord, Journal, JournalContent, Journals, read_journals, read_text
from dispatcher.enrich.lines import WrittenLine, merged
from dispatcher.enrich.planning import Job, Plan, Reason, enriched_paths, make_plan
from dispatcher.enrich.prompting import request_for

__all__ = [
    "AskOptions",
    "BatchRecord",
    "Enriching",
    "Estimate",
    "Failure",
    "Job",
    "Journal",
    "JournalContent",
    "Journals",
    "Plan",
    "Reason",
    "Refused",
    "WrittenLine",
    "agents_with",
    "ask",
    "collect",
    "enriched_paths",
    "estimate_jobs",
    "make_plan",
    "merged",
    "read_journals",
    "read_text",
    "request_for",
    "submit",
]
