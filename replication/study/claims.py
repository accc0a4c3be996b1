"""What a claim is: statistics with intervals, a criterion fixed beforehand, negative controls, a verdict.

A claim holds if all of its statistics do, and only while every negative control, a variant of the data for which the
same check has to fail, does fail.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import xarray as xr

from .statistics import Statistic, Verdict, resampling


@dataclass(frozen=True)
class Control:
    """A negative control: what is changed, and the data with that change, which the claim's check must reject."""

    text: str
    data: Callable[[xr.Dataset], xr.Dataset]


@dataclass(frozen=True)
class Claim:
    """A statement of the paper that can fail.

    place: where in the paper; statement: our wording; paper: the paper's value; criterion: when it holds, in words;
    figure: the figure that shows it; check: the statistics on an experiment's data; controls: at least one.
    """

    id: str
    place: str
    statement: str
    paper: str
    criterion: str
    figure: str
    check: Callable[[xr.Dataset], Sequence[Statistic]]
    controls: Sequence[Control]
    note: str = ""

    def __post_init__(self) -> None:
        if not self.controls:
            raise ValueError(f"{self.id}: a claim without a negative control cannot be trusted to fail")


@dataclass(frozen=True)
class Outcome:
    """A claim decided on data. ``controls`` holds the verdict of the same check on each control's data."""

    claim: Claim
    statistics: Sequence[Statistic]
    controls: Mapping[str, Verdict] = field(default_factory=dict)

    @property
    def verdict(self) -> Verdict:
        """The worst verdict of the statistics; undecided if a negative control was not rejected."""
        verdict = _worst(self.statistics)
        rejected = all(control == "fails" for control in self.controls.values())
        return "undecided" if verdict == "holds" and not rejected else verdict

    def row(self) -> dict[str, str]:
        """The outcome as one row of a table: everything in words."""
        return {
            "id": self.claim.id,
            "place": self.claim.place,
            "statement": self.claim.statement,
            "paper": self.claim.paper,
            "ours": "; ".join(map(str, self.statistics)),
            "criterion": self.claim.criterion,
            "verdict": self.verdict,
            "controls": "; ".join(
                f"{text}: {'rejected' if verdict == 'fails' else f'NOT rejected ({verdict})'}"
                for text, verdict in self.controls.items()
            ),
            "figure": self.claim.figure,
            "note": self.claim.note,
        }


def decide(claims: Sequence[Claim], dataset: xr.Dataset) -> list[Outcome]:
    """Every claim, and every negative control of it, on an experiment's data."""
    with resampling(dataset.attrs.get("draw", 0)):
        return [
            Outcome(
                claim,
                claim.check(dataset),
                {control.text: _worst(claim.check(control.data(dataset))) for control in claim.controls},
            )
            for claim in claims
        ]


def _worst(statistics: Sequence[Statistic]) -> Verdict:
    verdicts = {statistic.verdict for statistic in statistics}
    if "fails" in verdicts:
        return "fails"
    return "holds" if verdicts == {"holds"} else "undecided"
