"""Claims: statistics with intervals, an allowed range for each, negative controls, and a verdict.

A claim holds if all of its statistics lie in their ranges and its negative controls work. A control is data of a wrong
theory. Controls work if the claim fails on each of them, and if each statistic leaves its range on at least one.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import xarray as xr

from .statistics import Statistic, Verdict, resampling, silent, undecided, words

Kind = Literal["measured", "predicted", "identity"]
"""measured: on networks or data, with intervals; predicted: numbers of the paper, or of the few widest networks, in a
prediction interval; identity: algebra, checked to rounding, without intervals."""


@dataclass(frozen=True)
class Control:
    """A negative control: a wrong theory in words, and data that follow it. The check of the claim must reject them."""

    text: str
    data: Callable[[xr.Dataset], xr.Dataset]


@dataclass(frozen=True)
class Claim:
    """A statement of the paper that can fail.

    place: where in the paper; statement: our wording; paper: the paper's value; measure: how the statistics are
    computed, in words, without their ranges; figure: the figure that shows them; check: computes the statistics from an
    experiment's data; controls: at least one; history: earlier forms of the claim and their outcomes, oldest first.
    """

    id: str
    place: str
    statement: str
    paper: str
    measure: str
    figure: str
    check: Callable[[xr.Dataset], Sequence[Statistic]]
    controls: Sequence[Control]
    note: str = ""
    kind: Kind = "measured"
    history: Sequence[str] = ()

    def __post_init__(self) -> None:
        if not self.controls:
            raise ValueError(f"{self.id}: a claim without a negative control cannot be trusted to fail")


@dataclass(frozen=True)
class Outcome:
    """A claim decided on data. on_controls: the same statistics, in the same order, on the data of each control."""

    claim: Claim
    statistics: Sequence[Statistic]
    on_controls: Mapping[str, Sequence[Statistic]] = field(default_factory=dict)

    @property
    def verdict(self) -> Verdict:
        """The worst verdict of the statistics; undecided if the negative controls do not work."""
        verdict = worst(self.statistics)
        return "undecided" if verdict == "holds" and self.objections else verdict

    @property
    def controls(self) -> dict[str, Verdict]:
        """The verdict of the claim on each control; "fails" means that the control is rejected."""
        return {text: worst(statistics) for text, statistics in self.on_controls.items()}

    @property
    def objections(self) -> list[str]:
        """Controls that are not rejected, and statistics that reject no control."""
        passed = [
            f"negative control NOT rejected: {text}" for text, verdict in self.controls.items() if verdict != "fails"
        ]
        return passed + [f"rejected by no negative control: {name}" for name in self.unrejected]

    @property
    def unrejected(self) -> list[str]:
        """The statistics that stay in their range on every control."""
        return [
            own.name
            for own, *others in zip(self.statistics, *self.on_controls.values(), strict=True)
            if others and all(other.verdict != "fails" for other in others)
        ]

    @property
    def criterion(self) -> str:
        """The criterion in words, generated from the allowed ranges of the statistics."""
        ranges: dict[str, list[str]] = {}
        for statistic in self.statistics:
            ranges.setdefault(words(statistic.allowed), []).append(statistic.title)
        return "; ".join(f"{', '.join(names)}: {allowed}" for allowed, names in ranges.items())

    def row(self) -> dict[str, str]:
        """The outcome as a row of a table, in words."""
        return {
            "id": self.claim.id,
            "place": self.claim.place,
            "kind": self.claim.kind,
            "statement": self.claim.statement,
            "paper": self.claim.paper,
            "measure": self.claim.measure,
            "ours": "; ".join(map(str, self.statistics)),
            "criterion": self.criterion,
            "verdict": self.verdict,
            "controls": "; ".join(
                [
                    *(f"{text}: rejected" for text, verdict in self.controls.items() if verdict == "fails"),
                    *self.objections,
                ]
            ),
            "figure": self.claim.figure,
            "note": self.claim.note,
        }


def decide(claims: Sequence[Claim], dataset: xr.Dataset) -> list[Outcome]:
    """Decide every claim, and each of its negative controls, on an experiment's data.

    If the dataset has the attribute ``solver``, {claim: error of each statistic}, intervals are widened by these
    errors. A claim whose statistics have no value on the data is undecided.
    """
    solver = dataset.attrs.get("solver") or {}

    def outcome(claim: Claim) -> Outcome:
        own = _statistics(claim, lambda: dataset)
        if own is None:
            return Outcome(claim, [undecided("no value on these data", (-math.inf, math.inf))])
        errors = solver.get(claim.id, [0.0] * len(own))
        on_controls = {
            control.text: _statistics(claim, lambda control=control: control.data(dataset))  # type: ignore[misc]
            or [undecided(statistic.name, statistic.allowed) for statistic in own]
            for control in claim.controls
        }
        widened = [statistic.widened(error) for statistic, error in zip(own, errors, strict=True)]
        return Outcome(claim, widened, on_controls)

    with resampling(dataset.attrs.get("draw", 0)):
        return [outcome(claim) for claim in claims]


def _statistics(claim: Claim, data: Callable[[], xr.Dataset]) -> Sequence[Statistic] | None:
    """The statistics of a claim; None on data too degenerate for them: nothing moved, all networks are alike."""
    try:
        with silent():
            return claim.check(data())
    except (ArithmeticError, ValueError, np.linalg.LinAlgError):
        return None


def worst(statistics: Sequence[Statistic]) -> Verdict:
    """The worst verdict, in the order "fails", "undecided", "holds"; "undecided" without statistics."""
    verdicts = {statistic.verdict for statistic in statistics}
    if "fails" in verdicts:
        return "fails"
    return "holds" if verdicts == {"holds"} else "undecided"
