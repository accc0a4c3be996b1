"""The network against the paper's equations written out, automatic differentiation, and the limit's covariance."""

import math

import pytest
import torch

from replication.limit import sigma_inf
from replication.network import Network
from replication.nonlinearities import nonlinearity
from replication.randomness import generator
from replication.weights import DenseWeight

F64 = torch.float64
# Sums of tens of products in float64, in another order.
EXACT = {"rtol": 1e-12, "atol": 1e-12}
NAMES = ("relu", "tanh", "erf", "gelu", "softplus", "sin", "quadratic")
WIDTHS = ([3, 2], [3, 5, 1], [3, 5, 7, 3], [3, 5, 7, 4, 2])


def network(widths, *key, name="tanh", beta=0.3, scale=1.0, dtype=F64, seeds=None):
    stream = generator("test", *key) if seeds is None else [generator("test", s) for s in range(seeds)]
    return Network.init(widths, generator=stream, nonlinearity=name, beta=beta, output_scale=scale, dtype=dtype)


def inputs(n, n_0, *key):
    return torch.randn(n, n_0, generator=generator("inputs", *key), dtype=F64)


@pytest.mark.parametrize("widths", WIDTHS, ids=str)
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("beta", "scale"), [(0.0, 1.0), (0.3, 0.25)])
def test_output_is_the_papers(widths, name, beta, scale, oracle):
    net, x = network(widths, name=name, beta=beta, scale=scale), inputs(6, 3)
    expected = oracle(net).f(oracle(net).theta, x)
    torch.testing.assert_close(net(x), expected, **EXACT)
    torch.testing.assert_close(net.forward(x).output, expected, **EXACT)


def test_one_output_by_hand():
    """f = W⁽¹⁾ relu(W⁽⁰⁾x/√2 + βb⁽⁰⁾)/√3 + βb⁽¹⁾ with numbers: preactivations 5.25, −0.75 and 2.5."""
    w_0 = torch.tensor([[1.0, 2.0], [-1.0, 0.0], [0.5, 0.5]], dtype=F64)
    w_1 = torch.tensor([[2.0, 5.0, -1.0]], dtype=F64)
    b_0, b_1 = torch.tensor([[0.5, 0.5, 1.0]], dtype=F64), torch.tensor([[3.0]], dtype=F64)
    net = Network([DenseWeight(w_0), DenseWeight(w_1)], [b_0, b_1], nonlinearity("relu"), beta=0.5)
    x = math.sqrt(2) * torch.tensor([[1.0, 2.0]], dtype=F64)
    assert net(x).item() == pytest.approx((2 * 5.25 - 1 * 2.0) / math.sqrt(3) + 1.5, rel=1e-14)


def test_forward_keeps_the_activations_and_slopes():
    """α⁽⁰⁾ = x, α⁽ˡ⁾ = σ(α̃⁽ˡ⁾) and σ̇(α̃⁽ˡ⁾), with α̃⁽ˡ⁾ from the layer before."""
    net, x = network([3, 5, 7, 2]), inputs(4, 3)
    forward = net.forward(x)
    assert torch.equal(forward.activations[0], x)
    assert [a.shape for a in forward.activations] == [(4, 3), (4, 5), (4, 7)]
    assert [s.shape for s in forward.slopes] == [(4, 5), (4, 7)]
    for l in range(2):
        alpha = forward.activations[l]
        pre = alpha @ net.weights[l].values.T / alpha.shape[1] ** 0.5 + net.beta * net.biases[l]
        torch.testing.assert_close(forward.activations[l + 1], pre.tanh(), **EXACT)
        torch.testing.assert_close(forward.slopes[l], 1 - pre.tanh() ** 2, **EXACT)


def test_passes_change_neither_the_parameters_nor_the_inputs(oracle):
    net, x = network([3, 5, 2], name="relu"), inputs(4, 3)
    theta, before = oracle(net).theta, x.clone()
    net(x)
    forward = net.forward(x)
    activations = [a.clone() for a in forward.activations]
    net.backward(forward)
    net.backward(forward, torch.ones(4, 2, dtype=F64))
    assert torch.equal(oracle(net).theta, theta)
    assert torch.equal(x, before)
    assert all(torch.equal(a, b) for a, b in zip(forward.activations, activations, strict=True))


@pytest.mark.parametrize("widths", WIDTHS, ids=str)
@pytest.mark.parametrize("name", NAMES)
def test_derivatives_of_every_output_are_autograds(widths, name, oracle):
    """∂f_k/∂b⁽ˡ⁾ = β ∂f_k/∂α̃⁽ˡ⁺¹⁾, so the biases' columns of the Jacobian are the δ's."""
    net, x = network(widths, name=name, scale=0.5), inputs(4, 3)
    jacobian = oracle(net).jacobian(x).split([p.numel() for p in oracle(net).parameters()], dim=1)
    for delta, expected in zip(net.backward(net.forward(x)), jacobian[1::2], strict=True):
        torch.testing.assert_close(net.beta * delta, expected, **EXACT)


@pytest.mark.parametrize("widths", WIDTHS, ids=str)
def test_a_cotangent_contracts_the_outputs(widths):
    net, x = network(widths, scale=0.5), inputs(4, 3)
    cotangent = inputs(4, widths[-1], "cotangent")
    every = net.backward(net.forward(x))
    for delta, apart in zip(net.backward(net.forward(x), cotangent), every, strict=True):
        expected = torch.einsum("xk,xkn->xn", cotangent, apart.reshape(4, widths[-1], -1))
        torch.testing.assert_close(delta, expected, **EXACT)


@pytest.mark.parametrize("widths", WIDTHS, ids=str)
@pytest.mark.parametrize("beta", [0.0, 0.3])
def test_update_moves_every_parameter_along_the_jacobian(widths, beta, oracle):
    net, x = network(widths, beta=beta), inputs(4, 3)
    cotangent = inputs(4, widths[-1], "cotangent")
    expected = oracle(net).theta + 0.7 * oracle(net).jacobian(x).T @ cotangent.flatten()
    forward = net.forward(x)
    net.update(forward, net.backward(forward, cotangent), 0.7)
    torch.testing.assert_close(oracle(net).theta, expected, **EXACT)


@pytest.mark.parametrize("widths", WIDTHS, ids=str)
def test_number_of_parameters(widths, oracle):
    net = network(widths)
    assert net.num_parameters == oracle(net).theta.numel()
    assert net.widths == tuple(widths)
    assert net.depth == len(widths) - 1
    assert network(widths, seeds=3).num_parameters == net.num_parameters


def test_number_of_parameters_by_hand():
    assert network([2, 10, 20, 1]).num_parameters == 3 * 10 + 11 * 20 + 21 * 1


@pytest.mark.parametrize("dtype", [torch.float32, F64])
def test_the_key_fixes_the_numbers(dtype, oracle):
    theta = oracle(network([3, 50, 1], "key", 1, dtype=dtype)).theta
    assert torch.equal(theta, oracle(network([3, 50, 1], "key", 1, dtype=dtype)).theta)
    other = oracle(network([3, 50, 1], "key", 2, dtype=dtype)).theta
    # Independent: the correlation of P = 251 pairs has standard error P^{−1/2}.
    assert abs(torch.corrcoef(torch.stack([theta, other]))[0, 1]) < 4 / len(theta) ** 0.5


def test_layers_and_biases_are_independent_draws():
    net = network([40, 40, 40, 40])
    draws = torch.stack([weight.values.flatten() for weight in net.weights])
    assert (torch.corrcoef(draws) - torch.eye(3)).abs().max() < 4 / draws.shape[1] ** 0.5
    assert len({round(v, 12) for bias in net.biases for v in bias.flatten().tolist()}) == 120


def test_all_parameters_are_standard_normal(oracle):
    """Kolmogorov–Smirnov at 1e-4 for the weights and for the biases, of all layers together."""
    from scipy.stats import kstest

    net = network([30, 80, 90, 300, 5])
    parameters = oracle(net).parameters()
    for part in (parameters[::2], parameters[1::2]):
        assert kstest(torch.cat([p.flatten() for p in part]).numpy(), "norm").pvalue > 1e-4


class TestEnsemble:
    @pytest.mark.parametrize("dtype", [torch.float32, F64])
    def test_draw_is_that_of_each_network(self, dtype, members, oracle):
        for s, member in enumerate(members(network([3, 5, 4, 2], dtype=dtype, seeds=3))):
            assert torch.equal(oracle(member).theta, oracle(network([3, 5, 4, 2], s, dtype=dtype)).theta)

    @pytest.mark.parametrize("widths", WIDTHS, ids=str)
    def test_passes_and_update_are_those_of_each_network(self, widths, members):
        net, x = network(widths, seeds=3), inputs(4, 3)
        single = members(net)
        cotangent = torch.stack([inputs(4, widths[-1], s) for s in range(3)])
        forward = net.forward(x)
        assert forward.output.shape == (3, 4, widths[-1])
        torch.testing.assert_close(net(x), forward.output, **EXACT)
        every = net.backward(forward)
        net.update(forward, net.backward(forward, cotangent), 0.7)
        for s, member in enumerate(single):
            alone = member.forward(x)
            torch.testing.assert_close(forward.output[s], alone.output, **EXACT)
            for together, apart in zip(every, member.backward(alone), strict=True):
                torch.testing.assert_close(together.expand(3, *together.shape[-2:])[s], apart, **EXACT)
            member.update(alone, member.backward(alone, cotangent[s]), 0.7)
            torch.testing.assert_close(net(x)[s], member(x), **EXACT)


@pytest.mark.parametrize("depth", [2, 4])
def test_output_variance_is_the_limits(depth):
    """E f² = Σ⁽ᴸ⁾(x, x), exactly at any width for ReLU: over 1000 networks, within 4 standard errors, each < 2 %."""
    x = torch.tensor([[1.0, 0.0], [0.6, -2.0]], dtype=F64)
    widths = [2, *[64] * (depth - 1), 100]
    net = Network.init(
        widths, generator=[generator("variance", s) for s in range(1000)], nonlinearity="relu", beta=0.5, dtype=F64
    )
    squares = net(x).square().mean(dim=-1)  # of the 100 outputs of a network, which are uncorrelated but dependent
    error = squares.std(dim=0) / len(squares) ** 0.5
    expected = sigma_inf(x, depth=depth, nonlinearity="relu", beta=0.5).diagonal()
    assert (error / expected).max() < 0.02
    assert ((squares.mean(dim=0) - expected).abs() / error).max() < 4


def test_output_covariance_of_wide_networks_tends_to_the_limits():
    """E f(x)f(x') against Σ⁽³⁾(x, x') at n = 512, tanh: within 4 standard errors, each < 2 %, and a bias of Σ⁽³⁾/n."""
    x = torch.tensor([[1.0, 0.0], [0.6, -2.0]], dtype=F64)
    n, count = 512, 60
    products = []
    for s in range(count):
        f = network([2, n, n, 400], "covariance", s)(x)
        products.append(f @ f.T / 400)
    expected = sigma_inf(x, depth=3, nonlinearity="tanh", beta=0.3)
    error = torch.stack(products).std(dim=0) / count**0.5
    scale = expected.diagonal().max()
    assert error.max() < 0.02 * scale
    assert ((torch.stack(products).mean(dim=0) - expected).abs() <= 4 * error + scale / n).all()


def test_inputs_are_converted_to_the_networks_dtype():
    net, x = network([3, 5, 2], dtype=torch.float32), inputs(4, 3)
    assert net(x).dtype == torch.float32
    assert torch.equal(net(x), net(x.float()))


def test_normalize_hidden_weights_leaves_the_last_and_the_biases():
    net = network([3, 5, 7, 2])
    last, biases = net.weights[-1].values.clone(), [bias.clone() for bias in net.biases]
    net.normalize_hidden_weights()
    for weight in net.weights[:-1]:
        rms = weight.values.square().mean(dim=0).sqrt()
        torch.testing.assert_close(rms, torch.ones_like(rms), **EXACT)
    assert torch.equal(net.weights[-1].values, last)
    assert all(torch.equal(a, b) for a, b in zip(net.biases, biases, strict=True))


@pytest.mark.parametrize("widths", [[], [3], [3, 0, 1], [0, 1]])
def test_refuses_widths(widths):
    with pytest.raises(ValueError, match="widths"):
        network(widths)


def test_refuses_layers_that_do_not_chain():
    w, b = DenseWeight(torch.zeros(4, 3)), torch.zeros(1, 4)
    with pytest.raises(ValueError, match="chain"):
        Network([w, w], [b, b], nonlinearity("relu"), 0.1)
    with pytest.raises(ValueError, match="chain"):
        Network([w], [torch.zeros(1, 3)], nonlinearity("relu"), 0.1)
    with pytest.raises(ValueError, match="as many biases"):
        Network([w], [], nonlinearity("relu"), 0.1)
    with pytest.raises(ValueError, match="L ≥ 1"):
        Network([], [], nonlinearity("relu"), 0.1)


def test_refuses_a_negative_beta():
    with pytest.raises(ValueError, match="beta"):
        network([3, 2], beta=-0.1)


@pytest.mark.parametrize("shape", [(3,), (4, 2), (0, 3)])
def test_refuses_inputs_of_a_wrong_shape(shape):
    net = network([3, 2])
    for act in (net, net.forward):
        with pytest.raises(ValueError, match="inputs must be"):
            act(torch.zeros(shape))
