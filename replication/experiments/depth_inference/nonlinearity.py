"""The shifted ReLU of the first author's precursor scripts, with its Gaussian expectations."""

import math

from torch import Tensor

from ...gaussian import GaussianPairs
from ...nonlinearities import leaky_relu, nonlinearity
from ...sigma import Nonlinearity


class ShiftedRelu(Nonlinearity):
    """σ(x) = 1.4 (max(x, 0) − 0.3 + 0.01 x) = a s(x) + c; s is leaky ReLU with slope 0.01/1.01, a = 1.414, c = −0.42.

    E[σσ] = a² E[s s] + a c (E[s(u)] + E[s(v)]) + c², E[s(u)] = (1 − slope) √(k11/2π), E[σ̇σ̇] = a² E[ṡ ṡ].
    """

    name = "shifted_relu"
    _leaky = leaky_relu(0.01 / 1.01)
    _scale = 1.4 * 1.01
    _shift = -1.4 * 0.3

    def __call__(self, x: Tensor) -> Tensor:
        return self._leaky(x).mul_(self._scale).add_(self._shift)

    def derivative(self, x: Tensor) -> Tensor:
        return self._leaky.derivative(x).mul_(self._scale)

    def expectations(self, pairs: GaussianPairs) -> tuple[Tensor, Tensor]:
        value, slope = self._leaky.expectations(pairs)
        mean = (1 - self._leaky.negative_slope) / math.sqrt(2 * math.pi)
        means = (pairs.k11.sqrt() + pairs.k22.sqrt()) * (self._scale * self._shift * mean)
        return self._scale**2 * value + means + self._shift**2, self._scale**2 * slope


NONLINEARITIES = {"relu": nonlinearity("relu"), "shifted_relu": ShiftedRelu()}
"""The two nonlinearities: that of the paper, and that of the precursor scripts."""
