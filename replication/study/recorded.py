"""What claims.json says of a draw, as the outcomes that ``decide`` gives: to show it without deciding it again."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .claims import Claim, Outcome
from .record import Decision, Entry, Preset, environments
from .statistics import Statistic, Verdict

Numbers = Sequence[Sequence[float | None]]
_NOT_REJECTED = "negative control NOT rejected: "


@dataclass(frozen=True)
class Recorded(Outcome):
    """An outcome with the record's numbers, of four digits. What followed from more digits is taken from the record."""

    decision: Decision = field(kw_only=True)

    @property
    def verdict(self) -> Verdict:
        """As it was decided."""
        return self.decision["verdict"]  # type: ignore[return-value]

    @property
    def objections(self) -> list[str]:
        """As it was decided."""
        return self.decision["objections"]

    @property
    def controls(self) -> dict[str, Verdict]:
        """ "fails" for each that was rejected, "undecided" for each other."""
        passed = {text.removeprefix(_NOT_REJECTED) for text in self.objections if text.startswith(_NOT_REJECTED)}
        return {text: "undecided" if text in passed else "fails" for text in self.on_controls}


def outcomes(preset: Preset, claims: Sequence[Claim], draw: int = 0) -> list[Recorded]:
    """The outcomes of claims in a draw of a preset in the record. Raises KeyError for a claim that is not there."""
    return [_outcome(preset, claim, str(draw)) for claim in claims]


def is_of(preset: Preset, claims: Sequence[Claim], attrs: Mapping[str, Any]) -> bool:
    """Whether a preset in the record has just these claims and controls, decided on the data with these attributes."""
    made_by, draw, computed = (attrs["version"], attrs["engine"]), str(attrs["draw"]), environments(attrs["provenance"])
    if (preset["version"], preset["engine"]) != made_by or {claim.id for claim in claims} != set(preset["claims"]):
        return False
    for claim in claims:
        decision = preset["claims"][claim.id]["draws"].get(draw)
        controls = [control.text for control in claim.controls]
        if decision is None or decision["computed"] != computed or list(decision["controls"]) != controls:
            return False
    return True


def _outcome(preset: Preset, claim: Claim, draw: str) -> Recorded:
    entry = preset["claims"][claim.id]
    decision = entry["draws"][draw]

    return Recorded(
        claim,
        statistics(entry, decision["statistics"], entry.get("solver")),
        {text: statistics(entry, numbers) for text, numbers in decision["controls"].items()},
        decision=decision,
    )


def statistics(entry: Entry, numbers: Numbers, errors: Sequence[float | None] | None = None) -> list[Statistic]:
    """The statistics of a claim in the record, with these numbers: [estimate, low, high] each.

    errors: the solver's error of each, which is in the intervals already; None: no error.
    """
    return [
        Statistic(
            name,
            _number(estimate, math.nan),
            _number(low, -math.inf),
            _number(high, math.inf),
            (_number(minimum, -math.inf), _number(maximum, math.inf)),
            solver=_number(error, math.nan),
        )
        for (name, minimum, maximum), (estimate, low, high), error in zip(
            entry["criterion"], numbers, errors or [0.0] * len(numbers), strict=True
        )
    ]


def _number(value: float | None, otherwise: float) -> float:
    return otherwise if value is None else value
