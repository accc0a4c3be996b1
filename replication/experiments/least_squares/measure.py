"""The measurements: on networks, trained on the circle or on a few points as one ensemble, and on samples of inputs."""

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from ...costs import LeastSquares
from ...datasets import circle, gaussian, random_angles
from ...kernels import principal_components
from ...limit import theta_inf
from ...network import Network
from ...random_functions import rbf
from ...regression import LeastSquaresFlow
from ...study.experiment import Progress
from ...training import DivergenceError, GradientDescent, GradientFlow, follow
from .limit import REFERENCES, Regression
from .settings import OnCircle, OnFew, Sample, TrainingConfig

FAMILIES = ("rbf, interval", "rbf, circle", "NTK, circle", "modulated")
"""Kernels whose eigenfunctions are examined for their frequencies; the last one is a control."""
RESOLVED = 1e-10
"""Where λ_i/λ_1 is smaller, rounding dominates the eigenfunction."""


def times_of(training: TrainingConfig) -> np.ndarray:
    """The times at which networks on the circle are recorded, t = 0 first: (times + 1,)."""
    return np.concatenate([[0.0], np.geomspace(training.first, training.t, training.times)])


def noisy_labels(regression: Regression, noise: float, streams: Sequence[torch.Generator]) -> Tensor:
    """f* on the data plus white noise of standard deviation ``noise``, drawn from each stream: (S, N, 1)."""
    white = [torch.randn(regression.n, 1, generator=stream, dtype=torch.float64) for stream in streams]
    return regression.target[: regression.n] + noise * torch.stack(white)


def trajectory(
    network: Network, points: Tensor, labels: Tensor, times: Sequence[float], tolerance: float, progress: Progress
) -> Tensor:
    """f_t at all points, data first, at each time: (times, S, N + M, 1).

    Between two times the solver takes one step if its tolerance allows it. Raises DivergenceError.
    """
    n, cost = labels.shape[-2], LeastSquares(labels)
    functions = [network(points).double()]
    for i, (start, end) in enumerate(pairwise(times)):
        try:
            for _ in GradientFlow(end - start, tolerance, end - start).states(network, points[:n], cost):
                pass
        except DivergenceError as error:
            raise DivergenceError(f"from t = {start:g} on: {error}", start + error.t) from error
        functions.append(network(points).double())
        progress((i + 1) / (len(times) - 1))
    return torch.stack(functions).cpu()


def train_on_circle(
    setting: OnCircle, network: Network, noise: Sequence[torch.Generator], progress: Progress
) -> xr.Dataset:
    """Train networks on the circle, each with label noise from its own stream: see ``on_circle``."""
    regression = Regression.on_circle(setting.circle, setting.network)
    labels, times = noisy_labels(regression, setting.circle.noise, noise), times_of(setting.training).tolist()
    device = network.biases[0].device
    points, own = regression.x.to(device), labels.to(device)
    if setting.learning_rate is None:
        f = trajectory(network, points, own, times, setting.training.tolerance, progress)
    else:
        # Whole steps: the times differ from those of the grid by less than a step.
        steps = math.ceil(setting.training.t / setting.learning_rate)
        descent = GradientDescent(setting.learning_rate, steps)
        f = follow(descent.states(network, points[: regression.n], LeastSquares(own)), times).cpu()
        f = torch.cat([f, torch.full((*f.shape[:2], setting.circle.n_test, 1), math.nan, dtype=f.dtype)], dim=2)
    return on_circle(setting, f, labels)


def on_circle(setting: OnCircle, f: Tensor, labels: Tensor) -> xr.Dataset:
    """The measurements on the circle, from f (times, S, N + M, 1), data first, and labels (S, N, 1).

    With e_t = f_t − labels on the data: error (network, t): the mean of (f_t − f*)² off the data; component (network,
    t, mode): ⟨P_k e_0, e_t⟩_{p^in}, where P_k projects onto the eigenspace of frequency k; norm (network, t):
    ‖e_t‖_{p^in}; rest (network, t): the norm of the part of e_t in frequencies k ≥ 2; deviation (network, reference):
    sup_t ‖f_t − closed form from the same f_0‖_{p^in} ÷ ‖e_0‖_{p^in}.
    """
    regression, times = Regression.on_circle(setting.circle, setting.network), times_of(setting.training)
    n = regression.n
    errors = (f[:, :, :n] - labels)[..., 0]
    coefficients = torch.einsum("tsn,kin->tski", errors, regression.modes(setting.circle.modes)) / n
    low = torch.einsum("tsn,kin->tski", errors, regression.modes(2)) / n
    norm = errors.square().mean(dim=2).sqrt()
    rest = (norm.square() - low.square().sum(dim=(2, 3))).clamp(min=0).sqrt()
    deviations = [_deviations(regression, reference, errors, times) for reference in REFERENCES]
    variables = {
        "error": (("t", "network"), (f - regression.target)[:, :, n:].square().mean(dim=(2, 3))),
        "component": (("t", "network", "mode"), (coefficients[:1] * coefficients).sum(dim=3)),
        "norm": (("t", "network"), norm),
        "rest": (("t", "network"), rest),
        "deviation": (("reference", "network"), torch.stack(deviations)),
    }
    dataset = xr.Dataset(
        {name: (dims, values.numpy().astype(np.float32)) for name, (dims, values) in variables.items()},
        coords={"t": times, "reference": list(REFERENCES)},
    )
    return dataset.transpose("network", ...)


def _deviations(regression: Regression, reference: str, errors: Tensor, times: np.ndarray) -> Tensor:
    """sup_t ‖f_t − closed form‖_{p^in}/‖f_0 − labels‖_{p^in} for each network.

    In the closed form the errors, (times, S, N), follow the flow with target 0.
    """
    n, start = regression.n, errors[0][..., None]
    flow = LeastSquaresFlow(regression.kernel(reference)[:n, :n], torch.zeros(n, 1, dtype=torch.float64))
    gaps = [(errors[i] - flow.f(t, start)[..., 0]).square().mean(dim=1) for i, t in enumerate(times)]
    return (torch.stack(gaps).amax(dim=0) / errors[0].square().mean(dim=1)).sqrt()


def train_on_few(setting: OnFew, network: Network, progress: Progress) -> xr.Dataset:
    """Train networks on the few points, without label noise: see ``on_few``."""
    regression = Regression.on_few(setting.few, setting.concentration, setting.network)
    device, size = network.biases[0].device, len(network.biases[0])
    labels = regression.target[: regression.n].expand(size, -1, -1).to(device)
    f = trajectory(network, regression.x.to(device), labels, setting.few.times, setting.tolerance, progress)
    return on_few(setting, f)


def on_few(setting: OnFew, f: Tensor) -> xr.Dataset:
    """The measurements on the few points and the probes, from f (times, S, N + M, 1).

    f (member, time, point): f_t; captured (member, direction): ⟨f⁽ⁱ⁾, f_0⟩²_{p^in} for the components f⁽ⁱ⁾ of Σ.
    """
    regression = Regression.on_few(setting.few, setting.concentration, setting.network)
    captured = regression.flow("sigma").components.coefficients(f[0, :, : regression.n]).square()
    return xr.Dataset(
        {
            "f": (("member", "time", "point"), f[..., 0].transpose(0, 1).numpy().astype(np.float32)),
            "captured": (("member", "direction"), captured.numpy().astype(np.float32)),
        },
        coords={"time": setting.few.times},
    )


def sample_components(setting: Sample, stream: torch.Generator) -> dict[str, np.ndarray]:
    """Components of Θ_∞ on inputs x ∼ N(0, I_2): rates λ_i and energies ⟨f⁽ⁱ⁾, ·⟩²_{p^in}, (N,) each.

    signal: the energy of f* = x_1x_2; noise: N times the energy of white noise of unit variance, averaged over the
    draws; white: N times the energy of another draw of white noise, as a target without structure.
    """
    network = setting.network
    x = gaussian(setting.n_samples, 2, stream)
    kernel = theta_inf(x, depth=network.depth, nonlinearity=network.nonlinearity, beta=network.beta)
    components = principal_components(kernel)
    noise = torch.randn(setting.draws + 1, setting.n_samples, 1, generator=stream, dtype=torch.float64)
    energies = setting.n_samples * components.coefficients(noise).square()
    return {
        "rate": components.eigenvalues.numpy(),
        "signal": components.coefficients(x[:, :1] * x[:, 1:]).square().numpy(),
        "noise": energies[:-1].mean(dim=0).numpy(),
        "white": energies[-1].numpy(),
    }


def sample_frequencies(setting: Sample, stream: torch.Generator) -> dict[str, np.ndarray]:
    """λ_i/λ_1 and the number of sign changes of f⁽ⁱ⁾ along the points, for each of ``FAMILIES``: (families, N) each.

    The points are uniform on [−π, π], either as numbers or as angles on the circle; on the circle the last point is
    next to the first. Both results are NaN where λ_i is not resolved.
    """
    network = setting.network
    points = random_angles(setting.n_samples, stream)
    line, x, radial = points[:, None], circle(points), rbf(setting.length)
    kernels = {
        "rbf, interval": radial(line),
        "rbf, circle": radial(x),
        "NTK, circle": theta_inf(x, depth=network.depth, nonlinearity=network.nonlinearity, beta=network.beta),
        "modulated": radial(line) * torch.cos(setting.wave_number * (line - line.mT)),
    }
    rates, changes = [], []
    for name in FAMILIES:
        components = principal_components(kernels[name], tolerance=RESOLVED)
        functions = components.functions[..., 0]
        following = torch.cat([functions[:, 1:], functions[:, :1]], dim=1)
        signs = functions * following < 0
        count = (signs if "circle" in name else signs[:, :-1]).sum(dim=1).double()
        resolved = components.eigenvalues > 0
        rates.append(torch.where(resolved, components.eigenvalues / components.eigenvalues[0], math.nan).numpy())
        changes.append(torch.where(resolved, count, math.nan).numpy())
    return {"family_rate": np.stack(rates), "sign_changes": np.stack(changes)}
