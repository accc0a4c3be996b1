"""The config of the experiment on Proposition 1, and its checks."""

from dataclasses import dataclass

from ...study.settings import BaseConfig, SeedsAtWidths, WideNetworkConfig, require, require_distinct, require_seeds

DENSE = 256
"""Networks up to this width are computed together, as one ensemble."""
JOINT = 1000
"""Networks at least this wide are compared with the limit's joint law. At this width the kurtosis is 3 % too large."""


@dataclass(kw_only=True)
class Config(BaseConfig):
    """Networks of each depth and width; ``seeds`` has the number of networks at each width.

    outputs: narrow networks, whose two outputs are compared; shared: the negative control, in which all neurons of the
    last hidden layer share one weight.
    """

    network: WideNetworkConfig
    n_samples: int
    depths: list[int]
    widths: list[int]
    seeds: list[int]
    outputs: SeedsAtWidths
    shared: SeedsAtWidths

    def __post_init__(self) -> None:
        super().__post_init__()
        require(
            self.network.beta > 0, "network.beta", self.network.beta, "must be > 0, for the shared weight is a bias"
        )
        require(self.n_samples >= 2, "n_samples", self.n_samples, "must be ≥ 2")
        require_distinct("depths", self.depths, 2)
        require_seeds("", self.widths, self.seeds)
        for key in ("outputs", "shared"):
            ensemble = getattr(self, key)
            require_distinct(f"{key}.widths", ensemble.widths, 1)
            require(max(ensemble.widths) <= DENSE, f"{key}.widths", ensemble.widths, f"must be ≤ {DENSE}")
            require(ensemble.seeds >= 1, f"{key}.seeds", ensemble.seeds, "must be ≥ 1")
        require(len(self.outputs.widths) == 1, "outputs.widths", self.outputs.widths, "must be one width")
