"""Two solvers: gradient descent, the paper's procedure, and gradient flow, the equation of its theory.

Both train a network in place and iterate over the states on the way; time is t = learning rate × steps.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise, repeat
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from .costs import Cost, FrozenFlow
from .network import Network
from .shapes import require_shape
from .tangent import Tangent

# An extrapolated kernel is not used if f would grow under it by more than this part in a step.
_GROWTH = 0.1


class DivergenceError(RuntimeError):
    """Training gave numbers that are not finite, or cannot reach its tolerance. ``t``: the time at which it stopped."""

    def __init__(self, message: str, t: float):
        super().__init__(message)
        self.t = t


class DenseOutput(Protocol):
    """Dense output: f on the data at any time between two states."""

    def __call__(self, t: float) -> Tensor: ...


@dataclass(frozen=True)
class State:
    """The network at time t. Training is in place, so that a state is valid only until the next one.

    t: time; tangent: the linearization on the present training data; objective: the cost C of the training; between: f
    on the data at any time since the previous state (None at the start, and if each step has a batch of its own);
    defect: the linearization defect of the last step (gradient flow).
    """

    t: float
    tangent: Tangent
    objective: Cost
    between: DenseOutput | None = None
    defect: float = 0.0

    @property
    def f(self) -> Tensor:
        """f_t on the data, (N, n_L), float64."""
        return self.tangent.output

    def f_at(self, t: float) -> Tensor:
        """f on the data at a time since the previous state, by the solver's dense output."""
        return self.f if t == self.t or self.between is None else self.between(t)

    def cost_at(self, t: float) -> float:
        """C(f) at a time since the previous state; for an ensemble, the mean."""
        return self.objective.value(self.f_at(t)).mean().item()


class Solver(Protocol):
    """Trains a network in place on a full batch, and yields the states from t = 0 to the end."""

    def states(self, network: Network, x: Tensor, cost: Cost) -> Iterator[State]: ...


@dataclass(frozen=True)
class GradientDescent:
    """θ ← θ − η ∂_θ(C∘F), the paper's procedure, to time t = η · steps, without a gradient buffer.

    ``normalize_hidden`` rescales all weight matrices but the last to unit root mean square per input unit after every
    step, as the authors' precursor scripts do. Raises ValueError for learning_rate ≤ 0 or steps < 1.
    """

    learning_rate: float
    steps: int
    normalize_hidden: bool = False

    def __post_init__(self) -> None:
        if not (self.learning_rate > 0 and self.steps >= 1):
            raise ValueError(f"learning_rate must be > 0 and steps ≥ 1, not {self.learning_rate} and {self.steps}")

    def states(self, network: Network, x: Tensor, cost: Cost) -> Iterator[State]:
        """Full-batch descent on C at the inputs x, (N, n_0). Yields steps + 1 states."""
        previous = None
        for state in self.states_on(network, repeat((x, cost))):
            between = None if previous is None else _linear(previous, state)
            yield replace(state, between=between)
            previous = (state.t, state.f)

    def states_on(self, network: Network, batches: Iterable[tuple[Tensor, Cost]]) -> Iterator[State]:
        """Descent with a batch of its own at each step; the final state is evaluated on one more batch.

        Raises DivergenceError if the cost is no longer finite; the message gives the rate, λ_max and 2/λ_max. Raises
        ValueError if there are fewer than steps + 1 batches.
        """
        source = iter(batches)
        largest = 0.0
        for step in range(self.steps + 1):
            try:
                x, cost = next(source)
            except StopIteration:
                raise ValueError(f"{self.steps} steps need {self.steps + 1} batches, not {step}") from None
            tangent = Tangent(network, x)
            if step == 0:
                _finite(tangent.output, 0.0)
                largest = _largest_eigenvalue(tangent)
            if not torch.isfinite(tangent.output).all():
                curvature = cost.curvature()
                bound = "2/λ_max" if curvature == 1 else f"2/({curvature:g} λ_max)"
                raise DivergenceError(
                    f"gradient descent diverged at step {step} (t = {step * self.learning_rate:g}): learning rate "
                    f"{self.learning_rate:g}, λ_max = {largest:.4g} at the start, so rates must stay below "
                    f"{bound} = {2 / max(curvature * largest, 1e-300):.4g}",
                    step * self.learning_rate,
                )
            yield State(step * self.learning_rate, tangent, cost)
            if step < self.steps:
                direction = cost.direction(tangent.output)
                require_shape("d|_f of the cost", direction.shape, "f", tangent.output.shape)
                coefficients = (-self.learning_rate / x.shape[-2]) * direction
                network.update(tangent.forward, network.backward(tangent.forward, coefficients), 1.0)
                if self.normalize_hidden:
                    network.normalize_hidden_weights()


@dataclass(frozen=True)
class GradientFlow:
    """∂_tθ = −∂_θ(C∘F) to time t, by an exponential integrator in function space; full batch.

    Over a step Δt the NTK on the data is frozen at K = JJᵀ. The cost's own flow under K gives w = (1/N)∫ d dt; for
    least
    squares it has a closed form: f − f* decays as e^{−ΔtK/N} (paper §5). The parameters move by −Jᵀw, a gradient step
    with a filtered residual. The next forward pass gives the linearization defect ‖f(θ_{k+1}) − (f(θ_k) − K w)‖_{p^in},
    which has the order of the local error, O(Δt²). The step length keeps the defect below ``tolerance``, in the units
    of f, for every network of an ensemble. Wider networks take longer steps, because their kernels change less.

    order: 1, or 2, in which J is extrapolated linearly from the previous state instead of frozen, and K belongs to the
    middle of the step (an exponential Adams–Bashforth method). The defect is then O(Δt³). If the extrapolated K has a
    negative eigenvalue, along which f would grow without bound, the step is taken at order 1. A step of order 2 costs a
    second update of the weights, and the previous derivatives are kept. It pays if Θ changes smoothly in time.
    first_step: length of the first step, by default 2/λ_max(K/N), twice the fastest relaxation time.
    Raises ValueError for t ≤ 0, tolerance ≤ 0, first_step ≤ 0 or another order.
    """

    t: float
    tolerance: float
    first_step: float | None = None
    order: int = 1

    # A step aims at a defect of 0.9^(order + 1) times the tolerance; the defect grows as Δt^(order + 1). A rejected
    # step costs two thirds of an accepted one, so that the bound on growth is loose.
    _aim = 0.9
    _growth = 8.0
    _shrink = 0.2

    def __post_init__(self) -> None:
        if not (self.t > 0 and self.tolerance > 0):
            raise ValueError(f"t and tolerance must be > 0, not {self.t} and {self.tolerance}")
        if self.first_step is not None and not self.first_step > 0:
            raise ValueError(f"first_step must be > 0, not {self.first_step}")
        if self.order not in (1, 2):
            raise ValueError(f"the order must be 1 or 2, not {self.order}")

    def states(self, network: Network, x: Tensor, cost: Cost, tangent: Tangent | None = None) -> Iterator[State]:
        """Flow of C at the inputs x, (N, n_0), from t = 0 to self.t. tangent: the linearization at t = 0, if known.

        Raises DivergenceError if f is no longer finite, or if rounding in the network's dtype keeps the defect above
        the tolerance for every step length. Raises ValueError if the shapes of x, the cost and the tangent do not
        agree.
        """
        t = 0.0
        tangent = tangent or Tangent(network, x)
        require_shape("x", x.shape, "the inputs of the tangent", tangent.forward.activations[0].shape)
        _finite(tangent.output, t)
        yield State(t, tangent, cost)
        step, before = self.first_step, None
        while t < self.t:
            f = tangent.output
            if step is None:
                step = 2 / max(_largest_eigenvalue(tangent) * cost.curvature(), 2 / self.t)
            step = self.t - t if step > 0.99 * (self.t - t) else min(step, (self.t - t) / 2)
            kernel, w = tangent.kernel, None
            while True:
                if before is not None:
                    growth = step / f.shape[-2] * cost.curvature()
                    extrapolated = _kernel_within(step, tangent, before, growth)
                    if extrapolated is None:
                        before, extrapolated = None, tangent.kernel
                    kernel, w = extrapolated, None
                if w is None:  # with J frozen, w of the first trial serves every shorter step
                    w = cost.frozen_flow(kernel, f, step)
                predicted = f - _act(kernel, w(step))
                network.begin()
                for linearization, coefficients in _moves(step, w, tangent, before):
                    linearization.move(coefficients)
                moved = Tangent(network, x)
                defect = _rms(moved.output - predicted)  # not finite if the step was far too long
                if defect <= self.tolerance:
                    network.commit()
                    break
                network.rollback()
                shrink = self._change(defect) if math.isfinite(defect) else 0.0
                step *= max(self._shrink, shrink)
                if step < 1e-9 * self.t:
                    _finite(moved.output, t)
                    raise DivergenceError(
                        f"gradient flow cannot keep its defect below {self.tolerance:g} at t = {t:g} "
                        f"in {network.weights[0].dtype}: raise the tolerance, or use float64",
                        t,
                    )
            power = 2 if before is None else 3
            between = _frozen(t, step, f, kernel, w, moved.output - predicted, power)
            before = _PreviousStep(tangent, step) if self.order == 2 else None
            t = self.t if step == self.t - t else t + step
            tangent = moved
            yield State(t, tangent, cost, between, defect)
            step *= min(self._growth, self._change(max(defect, 1e-300)))

    def _change(self, defect: float) -> float:
        """The factor on the step length that brings the defect to its aim."""
        return self._aim * math.pow(self.tolerance / defect, 1 / (self.order + 1))


def follow(states: Iterable[State], times: Sequence[float]) -> Tensor:
    """f_t on the data at the given increasing times, by the solver's dense output: (len(times), …, N, n_L), float64.

    Runs the states to their end. Raises ValueError for times outside the run.
    """
    if any(after < before for before, after in pairwise([0.0, *times])):
        raise ValueError(f"times must increase from 0, not {list(times)}")
    outputs: list[Tensor] = []
    last = 0.0
    for state in states:
        last = state.t
        while len(outputs) < len(times) and times[len(outputs)] <= state.t * (1 + 1e-12):
            t = min(times[len(outputs)], state.t)
            if state.between is None and t < state.t:
                raise ValueError(f"f at t = {t:g} is not known: with fresh batches there is no f between two steps")
            outputs.append(state.f_at(t))
    if len(outputs) < len(times):
        raise ValueError(f"the run ends at t = {last:g}, before the time {times[-1]:g}")
    return torch.stack(outputs)


def _linear(previous: tuple[float, Tensor], state: State) -> DenseOutput:
    (t_0, f_0), t_1, f_1 = previous, state.t, state.f
    return lambda t: f_0 + (t - t_0) / (t_1 - t_0) * (f_1 - f_0)


class _PreviousStep(NamedTuple):
    """The previous state, and the step from it."""

    tangent: Tangent
    step: float


def _kernel_within(step: float, tangent: Tangent, before: _PreviousStep, growth: float) -> Tensor | None:
    """Θ on the data in the middle of a step, extrapolated linearly from the previous state; None if it is not usable.

    Negative eigenvalues are set to 0 if f would grow along them by at most a factor 1 + ``_GROWTH`` over the step;
    otherwise the result is None. growth: the length of the step times the cost's curvature, over N.
    """
    kernel = tangent.kernel + step / 2 / before.step * (tangent.kernel - before.tangent.kernel)
    # A Cholesky factorization tests positivity at a tenth of the cost of the eigenvalues.
    if not torch.linalg.cholesky_ex(kernel).info.any():
        return kernel
    eigenvalues, eigenvectors = torch.linalg.eigh(kernel)
    if float(eigenvalues.min()) * growth < -_GROWTH:
        return None
    positive: Tensor = (eigenvectors * eigenvalues.clamp(min=0)[..., None, :]) @ eigenvectors.mT
    return positive


def _moves(step: float, w: FrozenFlow, tangent: Tangent, before: _PreviousStep | None) -> list[tuple[Tangent, Tensor]]:
    """−(1/N) ∫ J(s)ᵀ d ds over a step, as coefficients of Jᵀ and, for J(s) = J + (s/h)(J − J_before), of J_beforeᵀ.

    J_before comes first: a ``DeferredWeight`` still holds its factors then, and adds to them.
    """
    if before is None:
        return [(tangent, -w(step))]
    extrapolated = w(step, 1) / before.step
    return [(before.tangent, extrapolated), (tangent, -w(step) - extrapolated)]


def _frozen(
    t_0: float, step: float, f_0: Tensor, kernel: Tensor, w: FrozenFlow, defect: Tensor, power: int
) -> DenseOutput:
    """The flow at a fixed kernel plus the defect, growing as Δt^power: it is continuous at both ends of the step."""
    return lambda t: f_0 - _act(kernel, w(t - t_0)) + ((t - t_0) / step) ** power * defect


def _act(kernel: Tensor, w: Tensor) -> Tensor:
    return (kernel @ w.reshape(*w.shape[:-2], -1, 1)).reshape(w.shape)


def _largest_eigenvalue(tangent: Tangent) -> float:
    """λ_max of Θ/N; for an ensemble, the largest one."""
    n = tangent.output.shape[-2]
    return float(torch.linalg.eigvalsh(tangent.kernel)[..., -1].max()) / n


def _rms(values: Tensor) -> float:
    """Root mean square over the data; for an ensemble, the largest one."""
    return float(values.square().sum(dim=-1).mean(dim=-1).sqrt().max())


def _finite(value: Tensor, t: float) -> Tensor:
    if not torch.isfinite(value).all():
        raise DivergenceError(f"the network's output is no longer finite at t = {t:g}", t)
    return value
