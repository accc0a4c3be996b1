"""The fully connected network in the NTK parametrization: forward pass, backward pass, parameter update (paper §2)."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count, pairwise
from typing import Literal, Self

import torch
from torch import Tensor, nn

from .nonlinearities import nonlinearity
from .shapes import require_shape
from .sigma import Nonlinearity
from .weights import NOTHING_SAVED, DenseWeight, Weight, WeightDraw

Parametrization = Literal["ntk", "standard"]
_ROWS = 16


@dataclass(frozen=True)
class Forward:
    """Tensors of one forward pass that the backward pass, the NTK and the update need.

    activations: α⁽⁰⁾ … α⁽ᴸ⁻¹⁾, each (N, n_l); slopes: σ̇(α̃⁽¹⁾) … σ̇(α̃⁽ᴸ⁻¹⁾); output: f_θ(x), (N, n_L).
    """

    activations: list[Tensor]
    slopes: list[Tensor]
    output: Tensor


class Network:
    """f_θ of the paper: α̃⁽ˡ⁺¹⁾ = W⁽ˡ⁾α⁽ˡ⁾/√n_l + βb⁽ˡ⁾, α⁽ˡ⁾ = σ(α̃⁽ˡ⁾), f_θ = s·α̃⁽ᴸ⁾.

    Paper §2. The output scale s is 1 there; s = n^{−1/2}, with time × n, is the mean-field scaling. In the
    parametrization "standard", PyTorch's, W⁽ˡ⁾α⁽ˡ⁾ is not divided by √n_l (``fans`` are 1 instead of n_l).
    ``weights[l]`` is W⁽ˡ⁾ of shape (n_{l+1}, n_l), ``biases[l]`` is b⁽ˡ⁾ as a row, (1, n_{l+1}); batches are rows. The
    weights and biases of an ensemble of S networks have a leading dimension S, and so have its outputs. ``version`` is
    a number for the present parameters: every change gives a new one, and ``rollback`` brings the old one back.

    Parameters are changed in place, and no autograd graph is built: tensors that require grad are detached.
    Raises ValueError for no layer, shapes that do not chain, several devices or dtypes, β < 0 or an unknown
    parametrization.
    """

    def __init__(
        self,
        weights: Sequence[Weight],
        biases: Sequence[Tensor],
        nonlinearity: Nonlinearity,
        beta: float,
        output_scale: float = 1.0,
        parametrization: Parametrization = "ntk",
    ):
        if not weights or len(weights) != len(biases):
            raise ValueError(f"a network has L ≥ 1 weights and as many biases, not {len(weights)} and {len(biases)}")
        if not (math.isfinite(beta) and beta >= 0):
            raise ValueError(f"beta must be finite and ≥ 0, not {beta}")
        if parametrization not in ("ntk", "standard"):
            raise ValueError(f"the parametrization is {parametrization!r}; it has to be ntk or standard")
        for l, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
            if tuple(bias.shape[-2:]) != (1, weight.shape[0]) or (l and weight.shape[1] != weights[l - 1].shape[0]):
                raise ValueError(f"layer {l} does not chain: W {weight.shape}, b {tuple(bias.shape)}")
            ensembles = [w.values.shape[:-2] if isinstance(w, DenseWeight) else () for w in (weights[0], weight)]
            if not ensembles[0] == ensembles[1] == bias.shape[:-2]:
                numbers = ", ".join(str(tuple(shape)) for shape in (*ensembles, bias.shape[:-2]))
                raise ValueError(f"W of layer 0, W and b of layer {l} are ensembles of {numbers}: they have to agree")
            for name, place in (("W", (weight.device, weight.dtype)), ("b", (bias.device, bias.dtype))):
                if place != (weights[0].device, weights[0].dtype):
                    raise ValueError(
                        f"{name} of layer {l} is on {place[0]} in {place[1]}, W of layer 0 on {weights[0].device} in "
                        f"{weights[0].dtype}: they have to agree"
                    )
        self.weights = list(weights)
        self.biases = [bias.detach() for bias in biases]
        self.nonlinearity = nonlinearity
        self.beta = beta
        self.output_scale = output_scale
        self.parametrization = parametrization
        self.version = 0
        self._saved: tuple[int, list[Tensor]] | None = None
        self._versions = count(1)

    @classmethod
    def init(
        cls,
        widths: Sequence[int],
        *,
        generator: torch.Generator | Sequence[torch.Generator],
        nonlinearity: str | Nonlinearity = "relu",
        beta: float = 0.1,
        output_scale: float = 1.0,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
        weight: WeightDraw = DenseWeight.draw,
    ) -> Self:
        """Network of widths n_0 … n_L with all parameters i.i.d. N(0, 1); a sequence of generators makes an ensemble.

        weight: what draws each W⁽ˡ⁾: ``DenseWeight.draw``, a tensor, or ``revealed.revealing()``, a matrix that is
        never formed. Raises ValueError for fewer than two widths or a width < 1.
        """
        if len(widths) < 2 or min(widths) < 1:
            raise ValueError(f"widths n_0 … n_L must be at least two positive integers, not {list(widths)}")
        weights: list[Weight] = []
        biases = []
        for n_in, n_out in pairwise(widths):
            weights.append(weight(n_out, n_in, generator, dtype, device))
            biases.append(DenseWeight.draw(1, n_out, generator, dtype, device).values)
        return cls(weights, biases, _resolve(nonlinearity), beta, output_scale)

    @property
    def widths(self) -> tuple[int, ...]:
        """n_0, …, n_L."""
        return self.weights[0].shape[1], *(weight.shape[0] for weight in self.weights)

    @classmethod
    def from_torch(
        cls, module: nn.Module, *, parametrization: Parametrization | None = None, beta: float | None = None
    ) -> Self:
        """The network of a ``torch.nn.Sequential`` of Linear layers with one elementwise nonlinearity between them.

        It computes the same function as the module, to rounding, from a detached copy of the parameters. By default its
        tangent kernel is the one of the module's own parameters, in the parametrization "standard" ("ntk" for layers
        ``NTKLinear``). With parametrization="ntk", W⁽ˡ⁾ = √n_l Ŵ⁽ˡ⁾ and b⁽ˡ⁾ = b̂⁽ˡ⁾/β (paper, Remark 1).
        beta: by default the module's, which is 0 without biases; 0.1 for standard layers that are converted to "ntk".
        Raises ValueError for any other module; the message names the part that does not fit.
        """
        from .torch_modules import network_of

        return cls(*network_of(module, parametrization, beta))

    def to_torch(self, parametrization: Parametrization | None = None) -> nn.Sequential:
        """The module that computes f_θ, with a copy of the parameters, in this or another parametrization.

        "standard": ``torch.nn.Linear`` with Ŵ⁽ˡ⁾ = W⁽ˡ⁾/√n_l and b̂⁽ˡ⁾ = βb⁽ˡ⁾ (paper, Remark 1); "ntk": ``NTKLinear``
        with W⁽ˡ⁾ and b⁽ˡ⁾. Raises ValueError for an ensemble, TypeError for revealed weights.
        """
        from .torch_modules import module_of

        return module_of(self, parametrization)

    @property
    def fans(self) -> tuple[int, ...]:
        """n_l for l = 0 … L − 1, or 1 in the parametrization "standard": W⁽ˡ⁾ is divided by the root of it."""
        return self.widths[:-1] if self.parametrization == "ntk" else (1,) * self.depth

    @property
    def depth(self) -> int:
        """L, the number of affine maps."""
        return len(self.weights)

    @property
    def num_parameters(self) -> int:
        """P = Σ_{l<L} (n_l + 1) n_{l+1}, of one network."""
        return sum((n_in + 1) * n_out for n_out, n_in in (weight.shape for weight in self.weights))

    def _affine(self, l: int, activation: Tensor) -> Tensor:
        """α̃⁽ˡ⁺¹⁾ from α⁽ˡ⁾."""
        out = self.weights[l].apply(activation)
        return out.mul_(self.fans[l] ** -0.5).add_(self.biases[l], alpha=self.beta)

    def _input(self, x: Tensor) -> Tensor:
        if x.ndim < 2 or x.shape[-1] != self.widths[0] or x.shape[-2] == 0:
            raise ValueError(f"inputs must be (N, {self.widths[0]}) with N ≥ 1, not {tuple(x.shape)}")
        weight = self.weights[0]
        return x.detach().to(device=weight.device, dtype=weight.dtype)

    @torch.no_grad()
    def __call__(self, x: Tensor) -> Tensor:
        """f_θ(x), (N, n_0) → (N, n_L). No activation is kept."""
        activation = self._input(x)
        for l in range(self.depth - 1):
            activation = self.nonlinearity(self._affine(l, activation))
        return self.output_scale * self._affine(self.depth - 1, activation)

    @torch.no_grad()
    def forward(self, x: Tensor) -> Forward:
        """f_θ(x) with everything that the backward pass needs. Raises ValueError for a wrong shape."""
        *layers, (output, _) = self.propagate(x, self.nonlinearity.derivative)
        slopes = [slope for _, slope in layers if slope is not None]
        return Forward([activation for activation, _ in layers], slopes, output)

    @torch.no_grad()
    def propagate(self, x: Tensor, derivative: Callable[[Tensor], Tensor]) -> Iterator[tuple[Tensor, Tensor | None]]:
        """(α⁽⁰⁾, None), (α⁽¹⁾, σ̇(α̃⁽¹⁾)), …, (f, None), one after the other, so that a caller need not keep them all.

        derivative: the function that computes σ̇. Raises ValueError for a wrong shape.
        """
        activation = self._input(x)
        yield activation, None
        for l in range(self.depth - 1):
            preactivation = self._affine(l, activation)
            activation = self.nonlinearity(preactivation)
            slope = derivative(preactivation)
            del preactivation
            yield activation, slope
            del slope
        yield self.output_scale * self._affine(self.depth - 1, activation), None

    @torch.no_grad()
    def backward(self, forward: Forward, cotangent: Tensor | None = None) -> list[Tensor]:
        """δ⁽¹⁾ … δ⁽ᴸ⁾ with δ⁽ˡ⁾(x_i) = Σ_k c_ik ∂f_k(x_i)/∂α̃⁽ˡ⁾ for the cotangent c, (N, n_L): each (N, n_l).

        δ⁽ᴸ⁾ = s·c, δ⁽ˡ⁾ = σ̇(α̃⁽ˡ⁾) ⊙ W⁽ˡ⁾ᵀδ⁽ˡ⁺¹⁾/√n_l. Without a cotangent each output is differentiated separately:
        δ⁽ˡ⁾ is (N n_L, n_l), and row i n_L + k is ∂f_k(x_i)/∂α̃⁽ˡ⁾.
        Raises ValueError if c does not have the shape of f.
        """
        return list(self.backpropagate(forward.output, list(forward.slopes), cotangent))[::-1]

    @torch.no_grad()
    def backpropagate(self, output: Tensor, slopes: list[Tensor], cotangent: Tensor | None = None) -> Iterator[Tensor]:
        """δ⁽ᴸ⁾, …, δ⁽¹⁾ as in ``backward``, one after the other.

        slopes: σ̇ of the hidden layers, first layer first, as numbers or booleans. Each is removed from the list after
        its use.
        """
        n_outputs = output.shape[-1]
        copies = 1
        if cotangent is None:
            copies = n_outputs
            identity = torch.eye(n_outputs, dtype=output.dtype, device=output.device)
            cotangent = identity.repeat(output.shape[-2], 1).expand(*output.shape[:-2], -1, -1)
        elif cotangent.shape != output.shape:  # all networks of an ensemble may share one
            require_shape("the cotangent", cotangent.shape, "the output", output.shape[-2:])
            require_shape("the output", output.shape, "the cotangent", cotangent.shape)
        delta = self.output_scale * cotangent.to(output.dtype)
        yield delta
        for l in range(self.depth - 1, 0, -1):
            delta = self.weights[l].apply_transpose(delta)
            slope = slopes.pop()
            if copies > 1:
                slope = slope.repeat_interleave(copies, dim=-2)
            if slope.dtype == torch.bool:  # converted to numbers for a few rows at a time
                for rows, factors in zip(*(torch.split(part, _ROWS, dim=-2) for part in (delta, slope)), strict=True):
                    rows.mul_(factors.to(rows.dtype))
            else:
                delta.mul_(slope)
            delta.mul_(self.fans[l] ** -0.5)
            del slope
            yield delta

    @torch.no_grad()
    def update(self, forward: Forward, derivatives: Sequence[Tensor], scale: float) -> None:
        """θ ← θ + scale · Jᵀc in place, without a gradient buffer. derivatives: ``backward`` with the cotangent c.

        W⁽ˡ⁾ += scale/√n_l Σ_i δ⁽ˡ⁺¹⁾(x_i) α⁽ˡ⁾(x_i)ᵀ and b⁽ˡ⁾ += scale·β Σ_i δ⁽ˡ⁺¹⁾(x_i). Raises ValueError if the
        shapes of derivatives and activations do not agree; then nothing has changed.
        """
        if len(derivatives) != self.depth:
            raise ValueError(f"{len(derivatives)} derivatives for {self.depth} layers: they have to agree")
        for l, delta in enumerate(derivatives):
            rows = forward.activations[l].shape[-2]
            require_shape(f"δ of layer {l}", delta.shape, "(N, n_l) is", (rows, self.weights[l].shape[0]))
            require_shape("the biases", self.biases[l].shape, "δ, summed,", (*delta.shape[:-2], 1, delta.shape[-1]))
        for l, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            delta = derivatives[l]
            weight.update(delta, forward.activations[l], scale * self.fans[l] ** -0.5)
            bias.add_(delta.sum(dim=-2, keepdim=True), alpha=scale * self.beta)
        self.version = next(self._versions)

    def begin(self) -> None:
        """Remember all parameters, so that later changes can be kept (``commit``) or undone (``rollback``)."""
        for weight in self.weights:
            weight.begin()
        self._saved = self.version, [bias.clone() for bias in self.biases]

    def commit(self) -> None:
        """Keep the changes since ``begin``."""
        for weight in self.weights:
            weight.commit()
        self._saved = None

    def rollback(self) -> None:
        """Restore all parameters exactly as they were at ``begin``. Raises RuntimeError without a ``begin``."""
        if self._saved is None:
            raise RuntimeError(NOTHING_SAVED)
        for weight in self.weights:
            weight.rollback()
        self.version, biases = self._saved
        for bias, saved in zip(self.biases, biases, strict=True):
            bias.copy_(saved)
        self._saved = None

    def normalize_hidden_weights(self) -> None:
        """Rescale every dense weight matrix but the last to unit root mean square per input unit.

        The authors' precursor scripts do this after every step of gradient descent; the paper does not mention it.
        Raises ValueError in the parametrization "standard", whose weights do not have unit size.
        """
        if self.parametrization != "ntk":
            raise ValueError("weights are rescaled to unit size in the NTK parametrization only")
        for weight in self.weights[:-1]:
            if not isinstance(weight, DenseWeight):
                raise TypeError(f"{type(weight).__name__} cannot be rescaled column by column")
            weight.normalize_columns()
        self.version = next(self._versions)


def _resolve(choice: str | Nonlinearity) -> Nonlinearity:
    return nonlinearity(choice) if isinstance(choice, str) else choice
