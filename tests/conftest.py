"""What many tests share: the oracle of the numerical ones, stores, and one thread.

The oracle is the paper's equations in plain torch, differentiated automatically. The library differentiates by hand and
uses no autograd; the two share nothing but the parameters.
"""

import fcntl
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import matplotlib
import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from scipy.integrate import solve_ivp
from scripts_fixtures import TINY, call, computed
from threadpoolctl import threadpool_limits
from torch import Tensor
from torch.nn import functional as F

from replication.network import Network
from replication.study.store import Store
from replication.weights import DenseWeight

SIGMA: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": torch.relu,
    "tanh": torch.tanh,
    "erf": torch.erf,
    "gelu": F.gelu,
    "softplus": lambda x: torch.logaddexp(x, torch.zeros_like(x)),
    "sin": torch.sin,
    "quadratic": torch.square,
}


matplotlib.get_cachedir()  # without a home to write to it warns, once: not in the middle of a test
threadpool_limits(1, user_api="blas")  # the tests themselves are shared among processes
torch.set_num_threads(1)  # now, for the fixtures of whole modules too


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    yield
    torch.set_num_threads(1)


class Oracle:
    """f_θ of one dense network as a function of the flat θ = (W⁽⁰⁾, b⁽⁰⁾, W⁽¹⁾, …), in float64."""

    def __init__(self, network: Network):
        self.network = network
        self.sigma = SIGMA[network.nonlinearity.name]

    @property
    def theta(self) -> Tensor:
        """A copy of the network's present parameters, (P,)."""
        return torch.cat([p.double().flatten() for p in self.parameters()])

    def parameters(self) -> list[Tensor]:
        pairs = zip(self.network.weights, self.network.biases, strict=True)
        return [p for weight, bias in pairs for p in (weight.values, bias)]

    def f(self, theta: Tensor, x: Tensor) -> Tensor:
        """α̃⁽ˡ⁺¹⁾ = W⁽ˡ⁾α⁽ˡ⁾/√n_l + βb⁽ˡ⁾, written out: (N, n_0) → (N, n_L)."""
        parts = theta.split([p.numel() for p in self.parameters()])
        alpha = x.double()
        for l in range(len(parts) // 2):
            n_out, n_in = self.network.widths[l + 1], self.network.widths[l]
            w, b = parts[2 * l].reshape(n_out, n_in), parts[2 * l + 1]
            if l:
                alpha = self.sigma(alpha)
            alpha = torch.einsum("oi,xi->xo", w, alpha) / n_in**0.5 + self.network.beta * b
        return self.network.output_scale * alpha

    def jacobian(self, x: Tensor, theta: Tensor | None = None) -> Tensor:
        """∂f_k(x_i)/∂θ_p, (N n_L, P), row i n_L + k."""
        theta = self.theta if theta is None else theta
        return torch.func.jacrev(self.f)(theta, x).reshape(-1, len(theta))

    def kernel(self, x: Tensor, x2: Tensor | None = None, theta: Tensor | None = None) -> Tensor:
        """Σ_p ∂_{θ_p}f ⊗ ∂_{θ_p}f, contracted from the Jacobians."""
        j = self.jacobian(x, theta)
        return j @ (j if x2 is None else self.jacobian(x2, theta)).T

    def gradient(self, loss: Callable[[Tensor], Tensor], x: Tensor, theta: Tensor | None = None) -> Tensor:
        """∂_θ loss(f_θ(x)), (P,)."""
        theta = self.theta if theta is None else theta
        return torch.func.grad(lambda p: loss(self.f(p, x)))(theta)

    def flow(self, loss: Callable[[Tensor], Tensor], x: Tensor, times: np.ndarray) -> Tensor:
        """θ(t) along ∂_tθ = −∂_θ loss(f_θ(x)) from the present parameters: (len(times), P), to about 1e-9."""

        def rate(_: float, p: np.ndarray) -> np.ndarray:
            return -self.gradient(loss, x, torch.from_numpy(p)).numpy()

        start = self.theta.numpy()
        solution = solve_ivp(rate, (0, times[-1]), start, "DOP853", t_eval=times, rtol=1e-10, atol=1e-11)
        assert solution.success
        return torch.from_numpy(solution.y.T.copy())


@pytest.fixture(scope="session")
def oracle() -> type[Oracle]:
    return Oracle


@pytest.fixture
def members() -> Callable[[Network], list[Network]]:
    """The networks of an ensemble, each on its own."""

    def split(network: Network) -> list[Network]:
        return [
            Network(
                [DenseWeight(weight.values[s].clone()) for weight in network.weights],
                [bias[s].clone() for bias in network.biases],
                network.nonlinearity,
                network.beta,
                network.output_scale,
            )
            for s in range(len(network.biases[0]))
        ]

    return split


@pytest.fixture
def copy() -> Callable[[Network], Network]:
    """A network with the same parameters in other memory."""

    def clone(network: Network) -> Network:
        weights = [DenseWeight(weight.values.clone()) for weight in network.weights]
        biases = [bias.clone() for bias in network.biases]
        return Network(weights, biases, network.nonlinearity, network.beta, network.output_scale)

    return clone


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A store with nothing in it."""
    return Store(tmp_path / "results")


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results folder of the tiny config, to be read only; the first process of the tests that asks computes it."""
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent
    results = folder / "tiny"
    with (folder / "tiny.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not results.exists():
            now, cells = computed(call(*TINY, f"results={folder / 'tiny.part'}"))
            assert now == cells
            (folder / "tiny.part").rename(results)
    return results


@pytest.fixture
def plain_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Empty figures in the place of Figure 1's, for tests of what is done with figures, whatever they show."""
    names = ("fig1", "fig1_widths", "fig1_choices")
    monkeypatch.setattr("replication.plots.fig1.figures", lambda dataset: {name: Figure((1, 1)) for name in names})
