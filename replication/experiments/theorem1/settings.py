"""The config of the experiment on Theorem 1, and its checks."""

from dataclasses import dataclass

from ...nonlinearities import NONLINEARITIES
from ...study.settings import BaseConfig, SeedsAtWidths, WideNetworkConfig, require, require_distinct

DENSE = 256
"""Networks up to this width are computed together, as one ensemble. The config says how wider ones hold weights."""
GROUP = 200
"""Number of narrow networks whose mean is stored."""


@dataclass(kw_only=True)
class SeedsPerWidth:
    """Networks of several widths, with a number of seeds for each width."""

    widths: list[int]
    seeds: list[int]


@dataclass(kw_only=True)
class Config(BaseConfig):
    """Networks on n_samples points of the circle. ``main`` varies the width only; the other keys vary more.

    others: the widths of networks with other ``nonlinearities``, and of networks with 3 outputs; depths: tried at one
    width (``deep``), with β = 0 and with the network's β; unequal: lists of hidden widths, with ``unequal_seeds``
    networks each; narrow: many networks of small widths, for the bias.
    """

    network: WideNetworkConfig
    n_samples: int
    main: SeedsPerWidth
    nonlinearities: list[str]
    others: SeedsAtWidths
    depths: list[int]
    deep: SeedsAtWidths
    unequal: list[list[int]]
    unequal_seeds: int
    narrow: SeedsAtWidths

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.n_samples >= 2, "n_samples", self.n_samples, "must be ≥ 2")
        require_distinct("main.widths", self.main.widths, 1)
        valid = len(self.main.seeds) == len(self.main.widths) and min(self.main.seeds, default=0) >= 1
        require(valid, "main.seeds", list(self.main.seeds), f"must be {len(self.main.widths)} integers ≥ 1")
        others = set(self.nonlinearities) & set(NONLINEARITIES) - {self.network.nonlinearity}
        known = len(others) == len(self.nonlinearities)
        allowed = f"must be distinct, among {', '.join(NONLINEARITIES)}, without network.nonlinearity"
        require(known, "nonlinearities", list(self.nonlinearities), allowed)
        require_distinct("depths", self.depths, 2)
        for key in ("others", "deep", "narrow"):
            require_distinct(f"{key}.widths", getattr(self, key).widths, 1)
            require(getattr(self, key).seeds >= 1, f"{key}.seeds", getattr(self, key).seeds, "must be ≥ 1")
        require(len(self.deep.widths) == 1, "deep.widths", self.deep.widths, "must be one width")
        hidden = self.network.depth - 1
        valid = all(len(widths) == hidden and min(widths) >= 1 for widths in self.unequal)
        require(valid, "unequal", [list(widths) for widths in self.unequal], f"must be lists of {hidden} widths ≥ 1")
        sums = {sum(1 / width for width in widths) for widths in self.unequal}
        require(len(sums) > 1, "unequal", [list(widths) for widths in self.unequal], "must have different Σ 1/n_l")
        require(max(self.narrow.widths) <= DENSE, "narrow.widths", self.narrow.widths, f"must be ≤ {DENSE}")
        require(self.narrow.seeds >= 2 * GROUP, "narrow.seeds", self.narrow.seeds, f"must be ≥ {2 * GROUP}")
        require(self.unequal_seeds >= 1, "unequal_seeds", self.unequal_seeds, "must be ≥ 1")
