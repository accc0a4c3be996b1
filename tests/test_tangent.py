"""The tangent kernel against the contraction of autograd's Jacobians, and against its limit."""

import math
import weakref

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from replication import tangent
from replication.limit import theta_inf
from replication.network import Network
from replication.randomness import generator
from replication.tangent import Tangent, tangent_kernel

F64 = torch.float64
NAMES = ("relu", "tanh", "erf", "gelu", "softplus", "sin", "quadratic")
WIDTHS = ([3], [3, 5], [3, 5, 7], [3, 5, 7, 4])


def network(widths, *key, name="tanh", beta=0.3, scale=1.0, dtype=F64, seeds=None):
    stream = generator("test", *key) if seeds is None else [generator("test", s) for s in range(seeds)]
    return Network.init(widths, generator=stream, nonlinearity=name, beta=beta, output_scale=scale, dtype=dtype)


def inputs(n, n_0=3, *key):
    return torch.randn(n, n_0, generator=generator("inputs", *key), dtype=F64)


def assert_kernels_agree(actual, expected, tolerance=1e-10):
    """Every entry within the tolerance, relative to the largest one."""
    assert actual.dtype == F64
    assert actual.shape == expected.shape
    assert (actual - expected).abs().max() <= tolerance * expected.abs().max()


@pytest.mark.parametrize("hidden", WIDTHS, ids=str)
@pytest.mark.parametrize("n_outputs", [1, 3])
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("beta", "scale"), [(0.0, 1.0), (0.3, 1.0), (0.3, 0.25)])
def test_kernel_is_the_contraction_of_the_jacobians(hidden, n_outputs, name, beta, scale, oracle):
    net = network([*hidden, n_outputs], name=name, beta=beta, scale=scale)
    x, x2 = inputs(4), inputs(3, 3, "others")
    assert_kernels_agree(tangent_kernel(net, x), oracle(net).kernel(x))
    assert_kernels_agree(tangent_kernel(net, x, x2), oracle(net).kernel(x, x2))


@pytest.mark.parametrize("n_outputs", [1, 3])
@pytest.mark.parametrize("block", [1, 2, 3, 5, 7, 100])
def test_blocks_do_not_change_the_kernel(n_outputs, block, oracle):
    net = network([3, 5, 7, n_outputs], name="gelu")
    x, x2 = inputs(7), inputs(5, 3, "others")
    assert_kernels_agree(tangent_kernel(net, x, block=block), oracle(net).kernel(x))
    assert_kernels_agree(tangent_kernel(net, x, x2, block=block), oracle(net).kernel(x, x2))
    assert_kernels_agree(tangent_kernel(net, x2, x, block=block), oracle(net).kernel(x2, x))


def averaged(kernel, n_outputs):
    """(1/n_L) Σ_k Θ_kk of a kernel matrix with rows i n_L + k."""
    blocks = kernel.unflatten(-1, (-1, n_outputs)).unflatten(-3, (-1, n_outputs))
    return blocks.diagonal(dim1=-3, dim2=-1).mean(dim=-1)


@pytest.mark.parametrize("n_outputs", [1, 3])
@pytest.mark.parametrize("block", [2, 100])
@pytest.mark.parametrize("seeds", [None, 2])
def test_average_over_outputs_is_that_of_the_kernel(n_outputs, block, seeds):
    net, x, x2 = network([3, 5, 7, n_outputs], seeds=seeds), inputs(5), inputs(3, 3, "others")
    for arguments in ((x,), (x, x2)):
        expected = averaged(tangent_kernel(net, *arguments), n_outputs)
        assert_kernels_agree(tangent_kernel(net, *arguments, average=True, block=block), expected, 1e-13)


def test_average_over_outputs_forms_no_kernel_of_all_outputs():
    """40 inputs and 10 outputs: nothing near (40 · 10)² = 160 000 entries."""
    net, x = network([3, 8, 8, 10]), inputs(40)
    with LargestAllocation(net) as largest:
        tangent_kernel(net, x, average=True, block=20)
    assert largest.elements <= 40 * 40 * 10


@pytest.mark.parametrize("block", [2, 100])
def test_kernel_of_a_set_with_itself_is_symmetric_and_positive(block):
    kernel = tangent_kernel(network([3, 6, 2]), inputs(5), block=block)
    assert torch.equal(kernel, kernel.T) or (kernel - kernel.T).abs().max() <= 1e-15 * kernel.abs().max()
    assert torch.linalg.eigvalsh(kernel).min() > -1e-14 * kernel.abs().max()


def test_row_i_n_l_plus_k_is_output_k_at_input_i(oracle):
    net, x, x2 = network([3, 5, 3]), inputs(4), inputs(2, 3, "others")
    kernel = tangent_kernel(net, x, x2)
    for i, k, j, m in ((0, 0, 0, 1), (2, 1, 1, 2), (3, 2, 0, 0)):
        expected = oracle(net).jacobian(x[i : i + 1])[k] @ oracle(net).jacobian(x2[j : j + 1])[m]
        assert kernel[3 * i + k, 3 * j + m].item() == pytest.approx(expected.item(), rel=1e-10)


@pytest.mark.parametrize("hidden", [[3, 5], [3, 5, 7, 4]], ids=str)
@pytest.mark.parametrize("n_outputs", [1, 3])
@pytest.mark.parametrize("block", [3, 100])
def test_ensemble_is_each_network_alone(hidden, n_outputs, block, members):
    net, x, x2 = network([*hidden, n_outputs], seeds=3), inputs(4), inputs(5, 3, "others")
    together, across = tangent_kernel(net, x, block=block), tangent_kernel(net, x, x2, block=block)
    for s, member in enumerate(members(net)):
        assert_kernels_agree(together[s], tangent_kernel(member, x))
        assert_kernels_agree(across[s], tangent_kernel(member, x, x2))


def test_ensemble_of_linear_networks_has_a_kernel_each(members):
    net, x = network([3, 2], seeds=3), inputs(4)
    kernels = tangent_kernel(net, x)
    assert kernels.shape == (3, 8, 8)
    for s, member in enumerate(members(net)):
        assert_kernels_agree(kernels[s], tangent_kernel(member, x))


def test_ensemble_with_inputs_of_their_own(members):
    net = network([3, 5, 2], seeds=3)
    x = torch.stack([inputs(4, 3, s) for s in range(3)])
    kernels = tangent_kernel(net, x, block=3)
    for s, member in enumerate(members(net)):
        assert_kernels_agree(kernels[s], tangent_kernel(member, x[s]))


@pytest.mark.parametrize("name", ["relu", "tanh"])
def test_single_precision_is_that_of_the_same_parameters(name, oracle):
    """float32 passes, float64 sums: a few times 2⁻²⁴ per layer, whatever the width."""
    net = network([3, 300, 300, 1], name=name, dtype=torch.float32)
    double = network([3, 300, 300, 1], name=name)
    for kind in ("weights", "biases"):
        for l in range(3):
            if kind == "weights":
                double.weights[l].values.copy_(net.weights[l].values)
            else:
                double.biases[l].copy_(net.biases[l])
    x = inputs(6).float().double()
    assert_kernels_agree(tangent_kernel(net, x), tangent_kernel(double, x), tolerance=16 * 2**-24)


def test_sums_over_units_are_in_double_precision():
    """L = 1 and float32: x·x'/n_0 + β² of the rounded inputs to the rounding of float64."""
    net, x = network([5000, 1], dtype=torch.float32), inputs(4, 5000)
    rounded = x.float().double()
    assert_kernels_agree(tangent_kernel(net, x), rounded @ rounded.T / 5000 + 0.3**2, tolerance=1e-13)


class LargestAllocation(TorchDispatchMode):
    """Elements of the largest tensor that is written to, but for the parameters themselves."""

    def __init__(self, net):
        super().__init__()
        tensors = [weight.values for weight in net.weights] + net.biases
        self.known = {t.untyped_storage().data_ptr() for t in tensors}
        self.elements = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        for t in result if isinstance(result, tuple | list) else [result]:
            if isinstance(t, torch.Tensor) and t.untyped_storage().data_ptr() not in self.known:
                self.elements = max(self.elements, t.numel())
        return result


@pytest.mark.parametrize("n_outputs", [1, 2])
def test_working_memory_is_bounded_by_the_block(n_outputs, monkeypatch):
    """No tensor beyond block × n but the kernel, and never more than three linearizations at once."""
    n, block, count = 400, 3, 20
    net, x, x2 = network([3, n, n, n_outputs], dtype=torch.float32), inputs(count), inputs(count, 3, "others")
    alive: weakref.WeakSet[Tangent] = weakref.WeakSet()
    most = 0

    class Counted(Tangent):
        def __init__(self, *args):
            nonlocal most
            super().__init__(*args)
            alive.add(self)
            most = max(most, len(alive))

    monkeypatch.setattr(tangent, "Tangent", Counted)
    for arguments in ((x,), (x, x2)):
        with LargestAllocation(net) as largest:
            tangent_kernel(net, *arguments, block=block)
        assert largest.elements <= max(block * n_outputs * n, (count * n_outputs) ** 2)
    assert 0 < most <= 3


class TestTangent:
    @pytest.mark.parametrize("hidden", WIDTHS, ids=str)
    @pytest.mark.parametrize("n_outputs", [1, 3])
    @pytest.mark.parametrize(("beta", "scale"), [(0.0, 1.0), (0.3, 0.25)])
    def test_move_adds_the_transposed_jacobian(self, hidden, n_outputs, beta, scale, oracle):
        net, x = network([*hidden, n_outputs], beta=beta, scale=scale), inputs(4)
        c = inputs(4, n_outputs, "coefficients")
        expected = oracle(net).theta + oracle(net).jacobian(x).T @ c.flatten()
        Tangent(net, x).move(c)
        torch.testing.assert_close(oracle(net).theta, expected, rtol=1e-12, atol=1e-12)

    @pytest.mark.parametrize("n_outputs", [1, 3])
    def test_the_kernel_is_how_outputs_respond_to_a_move(self, n_outputs):
        """f(θ + εJᵀc) − f(θ) = εKc + O(ε²), by central differences, also off the data."""
        net, x, x2 = network([3, 6, 5, n_outputs]), inputs(4), inputs(3, 3, "others")
        c = inputs(4, n_outputs, "coefficients")
        base = Tangent(net, x)
        expected = (tangent_kernel(net, x2, x) @ c.flatten()).reshape(3, n_outputs)
        epsilon = 1e-5
        base.move(epsilon * c)
        above = net(x2)
        base.move(-2 * epsilon * c)
        # Error O(ε²) = 1e-10 times the third derivative, rounding 1e-16/ε = 1e-11.
        torch.testing.assert_close((above - net(x2)) / (2 * epsilon), expected, rtol=1e-7, atol=1e-7)

    @pytest.mark.parametrize("n_outputs", [1, 2])
    def test_ensembles_move_each_with_its_own_coefficients(self, n_outputs, members, oracle):
        net, x = network([3, 5, 4, n_outputs], seeds=3), inputs(4)
        single = members(net)
        c = torch.stack([inputs(4, n_outputs, s) for s in range(3)])
        Tangent(net, x).move(c)
        for s, (member, moved) in enumerate(zip(single, members(net), strict=True)):
            Tangent(member, x).move(c[s])
            torch.testing.assert_close(oracle(moved).theta, oracle(member).theta, rtol=1e-12, atol=1e-12)

    def test_output_and_kernel_are_in_double_precision(self):
        linearized = Tangent(network([3, 5, 1], dtype=torch.float32), inputs(4))
        assert linearized.output.dtype == F64
        assert linearized.kernel.dtype == F64

    def test_a_move_allocates_no_gradient(self):
        """With N n_L = 8 inputs and n = 100 units nothing as large as one n × n matrix is made."""
        net, x = network([3, 100, 100, 2]), inputs(4)
        with LargestAllocation(net) as largest:
            Tangent(net, x).move(inputs(4, 2, "coefficients"))
        assert largest.elements <= 8 * 100


@pytest.mark.parametrize("name", ["relu", "tanh"])
def test_kernel_of_a_wide_network_is_near_its_limit(name):
    """Theorem 1 at n = 2000: the relative spread is about 3/√n per entry (measured for ReLU), so 5 × that."""
    angles = torch.linspace(-math.pi, math.pi, 9, dtype=F64)[:-1]
    x = torch.stack([angles.cos(), angles.sin()], dim=1)
    net = network([2, 2000, 2000, 2], name=name, beta=0.1, dtype=torch.float32)
    kernel = tangent_kernel(net, x).reshape(8, 2, 8, 2)
    limit = theta_inf(x, depth=3, nonlinearity=name, beta=0.1)
    for k in range(2):
        assert_kernels_agree(kernel[:, k, :, k], limit, tolerance=15 / math.sqrt(2000))
    assert kernel[:, 0, :, 1].abs().max() <= 15 / math.sqrt(2000) * limit.max()


@pytest.mark.parametrize("shape", [(3,), (4, 2), (0, 3)])
def test_refuses_inputs_of_a_wrong_shape(shape):
    net = network([3, 5, 1])
    with pytest.raises(ValueError, match="inputs must be"):
        tangent_kernel(net, torch.zeros(shape))
    with pytest.raises(ValueError, match="inputs must be"):
        tangent_kernel(net, inputs(4), torch.zeros(shape))


def test_derivatives_are_refused_once_the_network_has_moved():
    net, x = network([3, 6, 2]), inputs(4)
    before, used = Tangent(net, x), Tangent(net, x)
    kernel = used.kernel
    used.move(torch.ones(4, 2, dtype=F64))
    with pytest.raises(RuntimeError, match="has moved"):
        _ = before.kernel
    assert used.kernel is kernel  # what was computed in time stays
    assert not torch.equal(Tangent(net, x).kernel, kernel)
    net.normalize_hidden_weights()
    moved = Tangent(net, x)
    net.normalize_hidden_weights()
    with pytest.raises(RuntimeError, match="has moved"):
        _ = moved.derivatives


def test_a_linearization_is_good_again_when_the_network_is_back():
    net, x = network([3, 6, 2]), inputs(4)
    expected, tangent = Tangent(net, x).kernel, Tangent(net, x)
    net.begin()
    Tangent(net, x).move(torch.ones(4, 2, dtype=F64))
    net.rollback()
    assert torch.equal(tangent.kernel, expected)
    with pytest.raises(RuntimeError, match="begin"):
        net.rollback()
