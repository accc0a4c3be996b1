"""The measurements of Figure 3: on limit kernels, on networks at t = 0, during training, and of learning rates."""

import math
from collections.abc import Callable, Iterator
from functools import lru_cache

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from ...costs import LeastSquares
from ...kernels import PrincipalComponents, inner, norm, power_iteration, principal_components
from ...limit import theta_inf
from ...mnist import Digits
from ...network import Network
from ...study.settings import NetworkConfig
from ...tangent import Tangent
from ...training import DivergenceError, GradientDescent, State
from .settings import Batch, TrainingConfig

TIMES = 161
"""Number of times in the grid."""
COMPONENTS = 3
"""Number of principal components, as in the paper."""
BRACKET = (0.5, 2.0)
"""The largest learning rate is sought in this range, in units of the bound 2/max_t λ₁(t)."""


@lru_cache(maxsize=2)  # for the whole batch and for its part on which learning rates are measured
def limit_components(batch: Batch, draw: int, depth: int, nonlinearity: str, beta: float) -> PrincipalComponents:
    """The first principal components of a batch with respect to Θ_∞⁽ᴸ⁾, by diagonalization."""
    kernel = theta_inf(batch.digits(draw).images, depth=depth, nonlinearity=nonlinearity, beta=beta)
    return principal_components(kernel, count=COMPONENTS)


def limit_of(digits: Digits, components: PrincipalComponents) -> xr.Dataset:
    """The digits of a batch, and the limit with which networks are compared.

    limit_functions (component, digit) and eigenvalues_inf (component): f⁽ⁱ⁾ and λ_i of Θ_∞⁽ᴸ⁾; indices and labels
    (digit): the digits, for the figure.
    """
    return xr.Dataset(
        {
            "limit_functions": (("component", "digit"), components.functions[..., 0].numpy().astype(np.float32)),
            "eigenvalues_inf": ("component", components.eigenvalues.numpy()),
            "indices": ("digit", digits.indices.numpy().astype(np.int32)),
            "labels": ("digit", digits.labels.numpy().astype(np.int8)),
        }
    )


def spectrum(x: Tensor, network: NetworkConfig, beta: float) -> xr.Dataset:
    """Eigenvalues of the limit kernels of a batch, for the paper's statements on its principal components.

    limit_eigenvalues (component): λ_i of Θ_∞/N; limit_eigenvalues_beta: the same with another β;
    limit_eigenvalues_centred: the same for the kernel centred on the data, (I − 1/N) Θ_∞ (I − 1/N); limit_constant
    (component): |⟨f⁽ⁱ⁾, 1⟩_{p^in}|, which is 1 for a constant function.
    """

    def components(kernel: Tensor) -> PrincipalComponents:
        return principal_components(kernel, count=COMPONENTS)

    kernel, other = (
        theta_inf(x, depth=network.depth, nonlinearity=network.nonlinearity, beta=each) for each in (network.beta, beta)
    )
    centred = kernel - kernel.mean(dim=0) - kernel.mean(dim=1, keepdim=True) + kernel.mean()
    own = components(kernel)
    constant = own.coefficients(torch.ones(len(x), 1, dtype=torch.float64)).abs()
    return xr.Dataset(
        {
            "limit_eigenvalues": ("component", own.eigenvalues.numpy()),
            "limit_eigenvalues_beta": ("component", components(other).eigenvalues.numpy()),
            "limit_eigenvalues_centred": ("component", components(centred).eigenvalues.numpy()),
            "limit_constant": ("component", constant.numpy()),
        }
    )


def initial(kernel: Tensor, reference: PrincipalComponents, stream: torch.Generator | None = None) -> xr.Dataset:
    """The principal components of one network's kernel on the batch, by power iteration, as in the paper.

    eigenvalues (component): λ_i; overlap (component): |⟨f⁽ⁱ⁾, f_∞⁽ⁱ⁾⟩| with the limit's f_∞⁽ⁱ⁾; functions (component,
    digit): f⁽ⁱ⁾, with the sign of f_∞⁽ⁱ⁾; rate_0: λ₂(0) = ‖f_∞⁽²⁾‖²_Θ. stream: draws the starts of power iteration.
    """
    kernel = kernel.cpu()
    direction = reference.functions[1]
    shape = (len(kernel), 1)
    power = power_iteration(lambda v: kernel @ v / len(kernel), shape, COMPONENTS, stream=stream)
    overlap = torch.stack([inner(f, g) for f, g in zip(power.functions, reference.functions, strict=True)])
    functions = power.functions[..., 0] * overlap.sign()[:, None]
    return xr.Dataset(
        {
            "eigenvalues": ("component", power.eigenvalues.numpy()),
            "overlap": ("component", overlap.abs().numpy()),
            "functions": (("component", "digit"), functions.numpy().astype(np.float32)),
            "rate_0": ((), float(inner(direction, kernel @ direction / len(kernel)))),
        }
    )


def train(
    network: Network,
    x: Tensor,
    reference: PrincipalComponents,
    training: TrainingConfig,
    progress: Callable[[float], None],
    stream: torch.Generator | None = None,
) -> xr.Dataset:
    """Train towards f* = f_θ(0) + goal·f⁽²⁾, with f⁽²⁾ of the limit, and record f_θ(t) − f* = g_t f⁽²⁾ + h_t.

    On a grid of times t: g: g_t; h: ‖h_t‖_{p^in}; rate: λ₂(t) = f⁽²⁾ᵀΘ_t f⁽²⁾/N²; cross: ⟨f⁽²⁾, h_t⟩_{Θ_t}; largest:
    λ₁(t). They obey ġ = −λ₂(t) g − ⟨f⁽²⁾, h⟩_{Θ_t}. Between the solver's steps f comes from its dense output; Θ_t f⁽²⁾
    and λ₁ are interpolated linearly. Also steps: the solver's steps, and the variables of ``initial`` at t = 0, with
    the same stream.
    """
    device = network.weights[0].device
    x, direction = x.to(device), reference.functions[1].to(device)
    target, states = _towards(direction, network, x, training)
    times = np.linspace(0, training.t, TIMES)
    curves: dict[str, list[float]] = {name: [] for name in ("g", "h", "rate", "cross", "largest")}
    start: xr.Dataset | None = None
    t_0, image_0, largest_0, top, steps = 0.0, direction, 0.0, reference.functions[:1].to(device), -1
    for state in states:
        steps += 1
        if len(curves["g"]) == TIMES or times[len(curves["g"])] > state.t * (1 + 1e-12):
            continue
        kernel = state.tangent.kernel
        image = kernel @ direction / len(x)
        largest, top = _largest(kernel, top)
        if start is None:
            start, image_0, largest_0 = initial(kernel, reference, stream), image, largest
        while len(curves["g"]) < TIMES and times[len(curves["g"])] <= state.t * (1 + 1e-12):
            t = min(float(times[len(curves["g"])]), state.t)
            part = (t - t_0) / (state.t - t_0) if state.t > t_0 else 1.0
            between = image_0 + part * (image - image_0)
            error = state.f_at(t) - target
            g = inner(direction, error)
            h = error - g * direction
            values = (
                g,
                norm(h),
                inner(direction, between),
                inner(h, between),
                largest_0 + part * (largest - largest_0),
            )
            for curve, value in zip(curves.values(), values, strict=True):
                curve.append(float(torch.as_tensor(value)))
        t_0, image_0, largest_0 = state.t, image, largest
        progress(state.t / training.t)
    followed = {name: ("t", np.array(values, np.float32)) for name, values in curves.items()}
    return xr.Dataset({**followed, "steps": ((), steps)}).merge(start if start is not None else {})


def largest_rate(
    draw: Callable[[], Network],
    x: Tensor,
    reference: PrincipalComponents,
    training: TrainingConfig,
    resolution: float,
) -> xr.Dataset:
    """By bisection, the largest learning rate at which the cost falls at every step up to the time training.t.

    bound: 2/max_t λ₁(t), along the gradient flow of the same network; bound_0: 2/λ₁(0); monotone: the largest rate
    tried at which the cost falls monotonically; broken: the smallest at which it does not. Both are multiples of the
    bound and differ by a factor of at most 1 + resolution; they are NaN if there is none in ``BRACKET``.
    """
    network = draw()
    device = network.weights[0].device
    x, direction = x.to(device), reference.functions[1].to(device)
    target = network(x).double() + training.goal * direction
    cost = LeastSquares(target)
    top, largest = reference.functions[:1].to(device), []
    for state in training.flow.states(network, x, cost):
        value, top = _largest(state.tangent.kernel, top)
        largest.append(value)
    bound = 2 / max(largest)

    def monotone(factor: float) -> bool:
        steps = math.ceil(training.t / (factor * bound))
        previous = math.inf
        try:
            for state in GradientDescent(factor * bound, steps).states(draw(), x, cost):
                if (value := state.cost_at(state.t)) > previous:
                    return False
                previous = value
        except DivergenceError:
            return False
        return True

    low, high = BRACKET
    factor = 1.0
    while high / low > 1 + resolution:
        if monotone(factor):
            low = factor
        else:
            high = factor
        factor = math.sqrt(low * high)
    return xr.Dataset(
        {
            "bound": ((), bound),
            "bound_0": ((), 2 / largest[0]),
            "monotone": ((), low if low > BRACKET[0] else math.nan),
            "broken": ((), high if high < BRACKET[1] else math.nan),
        }
    )


def _towards(
    direction: Tensor, network: Network, x: Tensor, training: TrainingConfig
) -> tuple[Tensor, Iterator[State]]:
    """The target f* = f_θ(0) + goal · direction, and the training towards it."""
    tangent = Tangent(network, x)
    target = tangent.output + training.goal * direction
    if training.solver == "gradient_flow":
        return target, training.flow.states(network, x, LeastSquares(target), tangent)
    return target, GradientDescent(training.learning_rate, training.steps).states(network, x, LeastSquares(target))


def _largest(kernel: Tensor, start: Tensor) -> tuple[float, Tensor]:
    """λ₁ of a kernel and its f⁽¹⁾, (1, N, 1), by power iteration from a nearby start."""
    v = start[0]
    value = 0.0
    for _ in range(200):
        image = kernel @ v / len(kernel)
        previous, value = value, float(norm(image))
        v = image / value
        if abs(value - previous) <= 1e-6 * value:
            break
    return value, v[None]
