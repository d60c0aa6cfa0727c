"""Routing: agents and a task → a Decision. Needs no LLM and no registry.

text         words, stems, pairs, pieces of words
passages     what of an agent is read, by field
scorers      which field is compared how; postings, regression, index: the comparing
judged       what tells whether a judge's pick is right
weights      what each scorer counts: learned, and read from a file
confidence   how sure a ranking is
rules        keyword rules of config
explanation  what each field, word and line gave
router       all of it together
decision     what comes out
"""

from dispatcher.routing.decision import Candidate, Decision, Evidence, Explanation, How, Judgement, Outcome
from dispatcher.routing.router import Router

__all__ = ["Candidate", "Decision", "Evidence", "Explanation", "How", "Judgement", "Outcome", "Router"]
