"""How the report names modes, statuses and places."""

from __future__ import annotations

from ..schemas.records import Finding


def mode_name(mode: str) -> str:
    """A failure mode in words."""
    words = mode.replace("_", " ")
    head, _, tail = words.partition(" ")
    return f"{head}-{tail}" if head in ("over", "under") else words


def status_name(finding: Finding) -> str:
    """A status in words; a found alternative says that it is not added."""
    if not finding.counted:
        return "alternative, not added"
    return finding.status.replace("_", " ")


def place_name(finding: Finding) -> str:
    """Layer, slice and move of a finding."""
    if finding.action is None:
        return f"{finding.layer} · {finding.decision_point}"
    return f"{slice_name(finding)} · {source(finding)} → {target(finding)}"


def slice_name(finding: Finding) -> str:
    """Layer and slice of a finding, where the move stands beside it."""
    if finding.action is None:
        return place_name(finding)
    return f"{finding.layer} · {finding.segment if finding.segment != 'all' else 'all decisions'}"


def source(finding: Finding) -> str:
    """The arm that was taken."""
    return str(finding.action if finding.direction == "over" else finding.baseline)


def target(finding: Finding) -> str:
    """The arm to take instead."""
    return str(finding.baseline if finding.direction == "over" else finding.action)
