"""Two arrays that have to agree and do not are refused with both shapes, never broadcast."""

from functools import partial

import pytest
import torch

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
    generator,
    tangent_kernel,
    theta_inf,
)
from replication.costs import Cost
from replication.datasets import circle
from replication.experiments.multi_output import Coupled
from replication.gaussian import Directions, GaussianPairs
from replication.kernels import inner
from replication.random_functions import fourier_functions, rbf, tabulated
from replication.regression import Law
from replication.study.statistics import fall, geometric, rate, simultaneous_band
from replication.usual import descent_kernel
from replication.weights import DenseWeight

F64 = torch.float64
N, OUTPUTS = 4, 3
WRONG = [(N, 1), (1, OUTPUTS), (1, 1), (OUTPUTS,), (N,), (OUTPUTS, N), (N + 1, OUTPUTS)]


def ones(*shape):
    return torch.ones(*shape, dtype=F64)


def network(widths=(2, 5, OUTPUTS), members=None):
    one = partial(generator, "shapes")
    return Network.init(widths, generator=one() if members is None else [one(s) for s in range(members)], dtype=F64)


class Zero(Cost):
    """A cost whose direction has a shape of its own."""

    def __init__(self, *shape):
        self.shape = shape

    def value(self, f):
        return f.sum() * 0

    def direction(self, f):
        return ones(*self.shape)


def both(one, other):
    return pytest.raises(ValueError, match=rf"\({', '.join(map(str, one))},?\).*\({', '.join(map(str, other))},?\)")


COSTS = {
    "least squares": lambda: LeastSquares(ones(N, OUTPUTS)),
    "coupled outputs": lambda: Coupled(ones(N, OUTPUTS)),
    "cross-entropy": lambda: CrossEntropy(torch.arange(N) % 3, 3),
}


@pytest.mark.parametrize("shape", WRONG)
@pytest.mark.parametrize("name", COSTS)
def test_a_cost_refuses_outputs_of_another_shape_than_its_target(name, shape):
    cost = COSTS[name]()
    for compute in (
        cost.value,
        cost.direction,
        lambda f: cost.frozen_flow(torch.eye(f.numel(), dtype=F64), f, 1.0) if f.ndim > 1 else cost.value(f),
    ):
        with both(shape, (N, OUTPUTS)):
            compute(ones(*shape))
    cost.value(ones(7, N, OUTPUTS))  # an ensemble


@pytest.mark.parametrize("shape", [shape for shape in WRONG if len(shape) > 1])
def test_a_solver_refuses_a_target_of_another_shape_than_the_outputs(shape):
    x = torch.randn(N, 2, dtype=F64, generator=generator("shapes", "x"))
    for solver in (GradientDescent(0.1, 2), GradientFlow(1.0, 1e-3)):
        net = network()
        for cost in (LeastSquares(ones(*shape)), Zero(*shape)):
            with both((N, OUTPUTS), shape) if isinstance(cost, LeastSquares) else both(shape, (N, OUTPUTS)):
                list(solver.states(net, x, cost))
        assert net.version == 0


def test_a_target_for_each_network_goes_with_an_ensemble_of_as_many():
    cost = LeastSquares(ones(2, N, OUTPUTS))
    x = ones(N, 2)
    list(GradientDescent(0.1, 1).states(network(members=2), x, cost))
    for members, shape in ((3, (3, N, OUTPUTS)), (None, (N, OUTPUTS))):
        with both(shape, (2, N, OUTPUTS)):
            list(GradientDescent(0.1, 1).states(network(members=members), x, cost))


@pytest.mark.parametrize("shape", [(N, 1), (1, N), ()])
def test_labels_are_a_row_of_integers(shape):
    with pytest.raises(ValueError, match=r"integers \(N,\)"):
        CrossEntropy(torch.zeros(shape, dtype=torch.int64), 3)
    with pytest.raises(ValueError, match="integers"):
        CrossEntropy(torch.tensor([0.0, 1.5]), 3)
    with pytest.raises(ValueError, match="N ≥ 1"):
        CrossEntropy(torch.zeros(0, dtype=torch.int64), 3)


@pytest.mark.parametrize("size", [1, N, OUTPUTS, N * OUTPUTS + 1])
def test_a_kernel_of_another_size_than_the_outputs_is_refused(size):
    for cost in (LeastSquares(ones(N, OUTPUTS)), Zero(N, OUTPUTS)):
        with both((size, size), (N, OUTPUTS)):
            cost.frozen_flow(torch.eye(size, dtype=F64), ones(N, OUTPUTS), 1.0)
    with both((size, size), (N, OUTPUTS)):
        Law(ones(N, OUTPUTS), torch.eye(size, dtype=F64))


@pytest.mark.parametrize("shape", WRONG)
def test_coefficients_of_another_shape_than_the_outputs_are_refused(shape):
    net = network()
    tangent = Tangent(net, ones(N, 2))
    before = [weight.values.clone() for weight in net.weights]
    with both(shape, (N, OUTPUTS)):
        tangent.move(ones(*shape))
    with both(shape, (N, OUTPUTS)):
        net.backward(tangent.forward, ones(*shape))
    with pytest.raises(ValueError, match="agree"):
        net.update(tangent.forward, net.backward(tangent.forward), 1.0)  # of each output apart: N n_L rows
    assert all(torch.equal(weight.values, values) for weight, values in zip(net.weights, before, strict=True))


def test_coefficients_for_an_ensemble_are_refused_by_one_network():
    for network_, shape in ((network(), (2, N, OUTPUTS)), (network(members=3), (2, N, OUTPUTS))):
        forward = network_.forward(ones(N, 2))
        with pytest.raises(ValueError, match="agree"):
            network_.backward(forward, ones(*shape))
        with pytest.raises(ValueError, match="agree"):
            network_.update(forward, [ones(2, N, 5), ones(2, N, OUTPUTS)], 1.0)


def test_parameters_of_different_ensembles_are_refused():
    def layer(n_out, n_in, *members):
        return DenseWeight(ones(*members, n_out, n_in)), ones(*members, 1, n_out)

    relu = network().nonlinearity
    for first, second in (((2,), (3,)), ((), (2,)), ((2,), ())):
        (w, b), (w2, b2) = layer(5, 2, *first), layer(1, 5, *second)
        with pytest.raises(ValueError, match="agree"):
            Network([w, w2], [b, b2], relu, 0.1)
    w, b = layer(5, 2)
    for bias in (ones(5), ones(3, 5), ones(2, 1, 5), ones(1, 1, 5)):
        with pytest.raises(ValueError, match=r"chain|agree"):
            Network([w], [bias], relu, 0.1)


def test_tangents_of_networks_of_different_widths_have_no_kernel():
    one = Tangent(network((2, 5, 1)), ones(1, 2))
    for widths in ((2, 5, OUTPUTS), (2, 6, 1), (3, 5, 1), (2, 5, 5, 1)):
        other = Tangent(network(widths), ones(1, widths[0]))
        with both((2, 5, 1), widths):
            one.kernel_with(other)


def test_a_tangent_of_other_inputs_is_refused():
    net = network()
    with both((N, 2), (N + 1, 2)):
        next(
            GradientFlow(1.0, 1e-3).states(
                net, ones(N, 2), LeastSquares(ones(N, OUTPUTS)), Tangent(net, ones(N + 1, 2))
            )
        )


MODEL = LinearModel(fourier_functions(2, 1.0), 5, "shapes")
PAIRS = {
    "inner": (lambda f, g: inner(f, g), (N, OUTPUTS), (N, 1)),
    "theta_inf": (lambda x, y: theta_inf(x, y, depth=2, nonlinearity="relu", beta=0.1), (N, 2), (N, 3)),
    "tangent_kernel": (lambda x, y: tangent_kernel(network(), x, y), (N, 2), (N, 3)),
    "GaussianPairs": (
        lambda x, y: GaussianPairs.from_inputs(Directions.of(x, 0.1), Directions.of(y, 0.1)),
        (N, 2),
        (N, 1),
    ),
    "rbf": (lambda x, y: rbf(1.0)(x, y), (N, 1), (N, 2)),
    "LinearModel": (lambda x, y: MODEL.tangent_kernel(x, y), (N, 2), (N, 1)),
    "phi": (lambda x, d: KernelOnData(rbf(1.0), x).phi(d), (N, 2), (N, OUTPUTS)),
    "LeastSquaresFlow": (lambda k, f: LeastSquaresFlow(k, f), (N, N), (N, OUTPUTS)),
    "simultaneous_band": (lambda f, g: simultaneous_band(f.numpy(), g.numpy()), (N, OUTPUTS), (N, 1)),
    "descent_kernel": (lambda w, b: descent_kernel([w], [b], [(0.1, 0.1)]), (N, N), (1, N)),
}


@pytest.mark.parametrize("name", PAIRS)
def test_two_arrays_that_must_agree(name):
    compute, one, other = PAIRS[name]
    with pytest.raises(ValueError, match=r"agree|has to be|must be"):
        compute(ones(*one), ones(*other))


def test_points_have_the_dimension_of_the_functions():
    for shape in ((N,), (N, 1), (N, 3)):
        with pytest.raises(ValueError, match=r"has to be \(M, 2\)"):
            MODEL.output(ones(5), ones(*shape))
    with pytest.raises(ValueError, match=r"\(N,\)"):
        tabulated(torch.eye(N, dtype=F64))(torch.arange(N)[:, None])
    with pytest.raises(ValueError, match=r"angles must be \(M,\)"):
        circle(ones(N, 1))


@pytest.mark.parametrize("statistic", [fall, rate])
def test_there_are_as_many_groups_as_widths(statistic):
    with pytest.raises(ValueError, match="2 groups of networks for 3 widths"):
        statistic("x", geometric, [10, 100, 1000], [ones(5).numpy()] * 2, (0.0, 1.0))
