"""Routing: agents and a task → a Decision. Needs no LLM and no registry.

text       words, stems, pairs
passages   what of an agent is read, by field
index      the fields as TF-IDF vectors
rules      keyword rules
router     all of it together
decision   what comes out
"""

from dispatcher.routing.decision import Candidate, Decision, Evidence, How, Outcome
from dispatcher.routing.router import Router

__all__ = ["Candidate", "Decision", "Evidence", "How", "Outcome", "Router"]
