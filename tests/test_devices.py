"""The library computes where its inputs are: the same numbers, on the same device, and nothing from another one.

On a machine with a GPU the device is that; everywhere it is also ``Elsewhere``, which computes on the CPU but, like a
GPU, refuses to mix its tensors with those of the CPU.
"""

from collections.abc import Iterator
from functools import partial

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

from replication import (
    CrossEntropy,
    GradientDescent,
    GradientFlow,
    KernelOnData,
    LeastSquares,
    LeastSquaresFlow,
    LinearModel,
    Network,
    Tangent,
    follow,
    from_function,
    generator,
    nonlinearity,
    power_iteration,
    principal_components,
    revealing,
    sigma_inf,
    tangent_kernel,
    theta_inf,
)
from replication.costs import Cost
from replication.datasets import circle
from replication.kernels import inner, tensor_identity
from replication.limit import limit
from replication.random_functions import fourier_functions, gaussian_functions, rbf, tabulated
from replication.weights import DeferredWeight

F64 = torch.float64
NAMED = "meta"  # what ``Elsewhere`` calls itself: the one device that needs no hardware


class Elsewhere(torch.Tensor):
    """A tensor on a device of its own, which keeps its numbers in ``inner``, on the CPU."""

    inner: torch.Tensor

    @staticmethod
    def __new__(cls, inner):
        made = torch.Tensor._make_wrapper_subclass(
            cls, inner.size(), inner.stride(), inner.storage_offset(), dtype=inner.dtype, device=NAMED
        )
        made.inner = inner
        return made

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        return compute(func, args, kwargs or {})


# What a GPU too takes from the CPU: copies, and indices.
TRANSFERS = ("aten::_to_copy", "aten::copy_", "aten::index.", "aten::index_put", "aten::lift_fresh")


def compute(func, args, kwargs):
    tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)]
    here = [tensor for tensor in tensors if not isinstance(tensor, Elsewhere) and tensor.ndim > 0]
    elsewhere = [tensor for tensor in tensors if isinstance(tensor, Elsewhere)]
    name = str(func._schema.name) + "." + str(func._schema.overload_name)
    if here and elsewhere and not name.startswith(TRANSFERS):
        raise RuntimeError(f"{name}: expected all tensors to be on the same device, but found two")
    target = torch.device(kwargs["device"]) if kwargs.get("device") is not None else None
    if target is not None:
        kwargs = {**kwargs, "device": torch.device("cpu")}
    away = bool(elsewhere) if target is None else target.type == NAMED
    if name.startswith("aten::copy_"):
        away = isinstance(args[0], Elsewhere)
    known = {id(tensor.inner): tensor for tensor in elsewhere}
    args, kwargs = tree_map_only(Elsewhere, lambda tensor: tensor.inner, (args, kwargs))
    results = func(*args, **kwargs)
    if not away:
        return results
    return tree_map_only(
        torch.Tensor, lambda tensor: known[id(tensor)] if id(tensor) in known else Elsewhere(tensor), results
    )


class Transport(TorchDispatchMode):
    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        return compute(func, args, kwargs or {})


GPU = pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU"))


@pytest.fixture(params=["elsewhere", GPU])
def device(request: pytest.FixtureRequest) -> Iterator[str]:
    if request.param == "cuda":
        yield "cuda"
    else:
        with Transport():
            yield NAMED


def back(value):
    """On the CPU, as it is."""
    if isinstance(value, Elsewhere):
        return value.inner
    return value.cpu() if isinstance(value, torch.Tensor) else value


N, M = 6, 4
X = torch.randn(N, 3, generator=generator("devices", "x"), dtype=F64)
Y = torch.randn(M, 3, generator=generator("devices", "y"), dtype=F64)
F = torch.randn(N, 2, generator=generator("devices", "f"), dtype=F64)
LABELS = torch.arange(N) % 2
KERNEL = partial(theta_inf, depth=2, nonlinearity="relu", beta=0.3)
COUPLING = torch.tensor([[1.0, 0.3], [0.3, 0.5]], dtype=F64)


class Quartic(Cost):
    """A cost without a closed form: its flow goes through SciPy."""

    def value(self, f):
        return f.pow(4).sum(dim=-1).mean(dim=-1) / 4

    def direction(self, f):
        return f.pow(3)


def network(device, sigma="tanh", weight=None, members=None, width=20):
    streams = generator("devices", "n") if members is None else [generator("devices", s) for s in range(members)]
    options = {} if weight is None else {"weight": weight}
    return Network.init(
        [3, width, width, 2], generator=streams, nonlinearity=sigma, dtype=F64, device=device, **options
    )


def trained(device, solver, cost, **options):
    net, x = network(device, **options), X.to(device)
    states = list(solver.states(net, x, cost(device)))
    return [net(x), states[-1].f, states[-1].tangent.kernel, *net.biases], states[-1].cost_at(states[-1].t)


def limits(sigma, device, depth=3, points=N):
    """Few points where each pair is integrated in two dimensions, by thousands of small operations."""
    x, settings = X[:points].to(device), {"depth": depth, "nonlinearity": sigma, "beta": 0.1}
    actual = limit(x, Y[:points].to(device), **settings)
    return [actual.sigma, actual.sigma_dot, actual.theta, sigma_inf(x, **settings)]


def descent(device, space):
    model = LinearModel(fourier_functions(3, 1.0, 2), 30, "devices", block=7)
    x, theta = X.to(device), model.initial()
    cost = LeastSquares(F.to(space))
    return [f for _, f in model.gradient_descent(theta, x, cost, 0.1, 3)] + [
        model.output(theta.to(device), x),
        model.tangent_kernel(x),
        model.tangent_kernel(x, Y.to(device)),
    ]


def coupled(x, x2=None):
    """A kernel for two outputs whose eigenvalues are simple: K ⊗ Id's are double, and any basis of a pair is right."""
    return torch.kron(KERNEL(x, x2), COUPLING.to(x.device))


def functions_of_kernels(device):
    x, y, f = (value.to(device) for value in (X, Y, F))
    space = KernelOnData(coupled, x)
    components = principal_components(space.matrix, 2, 3)
    values = [inner(f, f), space.inner(f, f), space.phi(f), space.phi(f, y), space.gradient(LeastSquares(F), f)]
    values += [space.gradient(CrossEntropy(LABELS, 2), f, y), space.spectrum, components.coefficients(f)]
    values += [components.eigenvalues, space.extend(components, y)]
    values += [tensor_identity(KERNEL, 2)(x, y)]
    assert space.is_positive_definite()
    scalar = KernelOnData(KERNEL, x)
    power = power_iteration(scalar.pi, (N, 1), 3, device=device)
    return [*values, power.eigenvalues, power.functions]


def regression(device, space):
    x = torch.cat([X, Y]).to(device)
    flow = LeastSquaresFlow(KERNEL(x, x[:N]), F[:, :1].to(space))
    f_0 = torch.cat([F, F])[: N + M, :1].to(space)
    law = flow.law(2.0, KERNEL(torch.cat([X, Y])).to(space))
    values = [flow.f(2.0, f_0), flow.f(0.0, f_0), flow.coefficients(1.0, f_0), law.mean, law.covariance, law.sd]
    return [*values, law.percentile(90.0), flow.propagator(1.0), flow.ridge(0.1)]


def functions_of_points(device):
    x, numbers = X.to(device), torch.arange(N, device=device)
    matrix = KERNEL(x)
    drawn = gaussian_functions(matrix)(5, generator("devices", "g"))(numbers)
    far = fourier_functions(3, 1.0)(5, generator("devices", "g"))(x)
    return [tabulated(matrix)(numbers, numbers[:3]), drawn, far, rbf(1.0)(x), rbf(1.0)(x, x[:2]), circle(x[:, 0])]


FLOW = GradientFlow(5.0, 1e-3)
CASES = {
    **{f"limit, {name}": partial(limits, name) for name in ("relu", "erf", "gelu", "sin", "tanh", "quadratic")},
    "limit, kinks": partial(limits, from_function("mine", torch.relu, kinks=(0.0,)), depth=2, points=1),
    "limit, growing": partial(limits, from_function("mine", torch.exp), depth=2, points=2),
    "network": lambda d: [network(d)(X.to(d)), tangent_kernel(network(d), X.to(d), Y.to(d), block=4)],
    "network, inputs elsewhere": lambda d: [network(d)(X), tangent_kernel(network(d), X, block=4)],
    "from_function": lambda d: [tangent_kernel(network(d, from_function("mine", torch.sin)), X.to(d))],
    "descent": lambda d: trained(d, GradientDescent(0.1, 5), lambda to: LeastSquares(F.to(to))),
    "descent, normalized": lambda d: trained(d, GradientDescent(0.1, 5, True), lambda to: LeastSquares(F.to(to))),
    "descent, cross-entropy": lambda d: trained(d, GradientDescent(0.1, 5), lambda to: CrossEntropy(LABELS.to(to), 2)),
    "flow": lambda d: trained(d, FLOW, lambda to: LeastSquares(F.to(to))),
    "flow, target elsewhere": lambda d: trained(d, FLOW, lambda to: LeastSquares(F)),
    "flow, order 2": lambda d: trained(d, GradientFlow(5.0, 1e-3, order=2), lambda to: LeastSquares(F.to(to))),
    "flow, cross-entropy": lambda d: trained(d, FLOW, lambda to: CrossEntropy(LABELS.to(to), 2)),
    "flow, labels elsewhere": lambda d: trained(d, FLOW, lambda to: CrossEntropy(LABELS, 2)),
    "flow, quartic": lambda d: trained(d, FLOW, lambda to: Quartic()),
    "flow, ensemble": lambda d: trained(d, FLOW, lambda to: LeastSquares(F.to(to)), members=2),
    "flow, deferred": lambda d: trained(
        d, GradientFlow(5.0, 1e-3, order=2), lambda to: LeastSquares(F.to(to)), weight=DeferredWeight.draw
    ),
    "flow, revealed": lambda d: trained(d, FLOW, lambda to: LeastSquares(F.to(to)), weight=revealing(1e-6), width=300),
    "follow": lambda d: [follow(FLOW.states(network(d), X.to(d), LeastSquares(F.to(d))), [0.0, 0.3, 5.0])],
    "completed": lambda d: [
        weight.completed(generator("devices", "c"))
        for net in [network(d, weight=revealing(), width=300)]
        for weight in [net.weights[1]]
        if net(X.to(d)) is not None
    ],
    "kernels": functions_of_kernels,
    "regression": lambda d: regression(d, d),
    "regression, target elsewhere": lambda d: regression(d, "cpu"),
    "random functions": lambda d: descent(d, d),
    "random functions, target elsewhere": lambda d: descent(d, "cpu"),
    "points": functions_of_points,
    "usual": lambda d: [Tangent(network(d), X.to(d)).kernel],
}


SLOW = pytest.param("limit, kinks", marks=pytest.mark.slow)


@pytest.mark.parametrize("case", [SLOW if case == "limit, kinks" else case for case in CASES])
def test_the_same_numbers_on_the_device_of_the_inputs(case: str, device: str) -> None:
    actual, expected = tree_leaves(CASES[case](device)), tree_leaves(CASES[case]("cpu"))
    assert len(actual) == len(expected)
    for value, other in zip(actual, expected, strict=True):
        if isinstance(value, torch.Tensor):
            assert value.device.type == device
            torch.testing.assert_close(back(value), other, rtol=1e-8, atol=1e-8)
        else:
            assert value == pytest.approx(other, rel=1e-8)


def test_a_network_is_drawn_alike_on_every_device(device: str) -> None:
    for weight in (None, DeferredWeight.draw):
        for there, here in zip(
            network(device, weight=weight).biases, network("cpu", weight=weight).biases, strict=True
        ):
            assert there.device.type == device
            assert torch.equal(back(there), here)


def test_a_network_of_parameters_on_two_devices_is_refused(device: str) -> None:
    here, there = network("cpu"), network(device)
    with pytest.raises(ValueError, match=f"W of layer 1 is on {device}.*W of layer 0 on cpu"):
        Network([here.weights[0], *there.weights[1:]], here.biases, nonlinearity("tanh"), 0.1)
    with pytest.raises(ValueError, match=f"b of layer 0 is on {device}"):
        Network(here.weights, there.biases, nonlinearity("tanh"), 0.1)
    with pytest.raises(ValueError, match=r"b of layer 0 is .*float32"):
        Network(here.weights, [bias.float() for bias in here.biases], nonlinearity("tanh"), 0.1)


def test_the_device_of_these_tests_is_strict() -> None:
    """Else they would assert nothing."""
    with Transport():
        x = X.to(NAMED)
        assert isinstance(x, Elsewhere)
        assert isinstance(torch.zeros(3, device=NAMED), Elsewhere)
        assert not isinstance(torch.zeros(3), Elsewhere)
        for mix in (lambda: x + X, lambda: X @ x.mT, lambda: torch.cat([x, X]), lambda: X.addmm_(x, x.mT @ x)):
            with pytest.raises(RuntimeError, match="same device"):
                mix()
        assert float((x * 2).sum()) == pytest.approx(float(2 * X.sum()))
        assert np.array_equal(x.cpu().numpy(), X.numpy())
        with pytest.raises((RuntimeError, TypeError)):
            x.numpy()
        x[0] += 1
        assert torch.equal(x.inner[0], X[0] + 1) or torch.equal(x.cpu()[0], X[0] + 1)
