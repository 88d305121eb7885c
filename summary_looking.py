"""The answers of the verbs that look at finished runs: text for a terminal, the same facts for --json."""

from __future__ import annotations

from . import rundir
from .reports.explain import Explanation
from .reports.explain_text import explanation_text
from .terminal import Answer


def of_explanation(found: Explanation, meta: rundir.Meta) -> Answer:
    """One decision, or those of one request, with the terms of what they were worth."""
    return Answer(data=found.to_dict(), text=explanation_text(found), run_id=meta.run_id)
