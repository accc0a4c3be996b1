"""A network from a module of PyTorch is the module: its function, its tangent kernel and its training, and back."""

from itertools import pairwise

import pytest
import torch
from torch import nn

from replication import (
    GradientDescent,
    LeastSquares,
    Network,
    Tangent,
    from_function,
    generator,
    revealing,
    tangent_kernel,
)
from replication.nonlinearities import NONLINEARITIES
from replication.torch_modules import _KINKS, NTKLinear
from replication.usual import exact_rates
from replication.weights import DeferredWeight

F64 = torch.float64
EXACT = {"rtol": 1e-12, "atol": 1e-12}
SIGMAS = {
    "relu": lambda: nn.ReLU(inplace=True),
    "leaky relu": lambda: nn.LeakyReLU(0.2),
    "tanh": nn.Tanh,
    "gelu": nn.GELU,
    "gelu, tanh": lambda: nn.GELU("tanh"),
    "softplus": lambda: nn.Softplus(2.0),
    "silu": nn.SiLU,
    "hardtanh": lambda: nn.Hardtanh(-0.5, 0.7),
    "elu": lambda: nn.ELU(inplace=True),
    "identity": nn.Identity,
}
SHAPES = [(3, 2), (3, 7, 1), (3, 7, 5, 2)]


def module_of(widths=(3, 7, 5, 2), sigma=nn.Tanh, bias=True, layer=nn.Linear, dtype=F64):
    torch.manual_seed(3)
    parts = []
    for n_in, n_out in pairwise(widths):
        parts += [sigma(), layer(n_in, n_out, bias=bias, dtype=dtype)]
    return nn.Sequential(*parts[1:])


def inputs(n=5, n_0=3):
    return torch.randn(n, n_0, generator=generator("inputs"), dtype=F64)


def kernel_by_autograd(module, x):
    """Σ_p ∂_{θ_p}f ⊗ ∂_{θ_p}f over the module's own parameters."""
    parameters = {name: parameter.detach() for name, parameter in module.named_parameters()}
    jacobians = torch.func.jacrev(lambda p: torch.func.functional_call(module, p, (x,)))(parameters)
    rows = torch.cat([j.flatten(2).flatten(0, 1) for j in jacobians.values()], dim=1)
    return rows @ rows.T


@pytest.mark.parametrize("layer", [nn.Linear, NTKLinear])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("widths", SHAPES, ids=str)
@pytest.mark.parametrize("name", SIGMAS)
def test_function_and_kernel_are_the_modules(name, widths, bias, layer):
    module, x = module_of(widths, SIGMAS[name], bias, layer), inputs()
    net = Network.from_torch(module)
    assert net.widths == widths
    assert net.parametrization == ("ntk" if layer is NTKLinear else "standard")
    torch.testing.assert_close(net(x), module(x).detach(), **EXACT)
    torch.testing.assert_close(tangent_kernel(net, x), kernel_by_autograd(module, x), **EXACT)
    back = net.to_torch()
    assert [type(part) for part in back] == [type(part) for part in module]
    torch.testing.assert_close(back(x), module(x), **EXACT)
    for parameter, other in zip(module.parameters(), back.parameters(), strict=True):
        assert torch.equal(parameter, other)
        assert other.requires_grad
        assert parameter.data_ptr() != other.data_ptr()


@pytest.mark.parametrize("layer", [nn.Linear, NTKLinear])
@pytest.mark.parametrize("parametrization", ["ntk", "standard"])
@pytest.mark.parametrize("beta", [None, 0.4])
def test_either_parametrization_computes_the_same(layer, parametrization, beta):
    """f is the same; the kernel is that of the parameters asked for, by autograd in the module that holds them."""
    module, x = module_of(layer=layer), inputs()
    net = Network.from_torch(module, parametrization=parametrization, beta=beta)
    torch.testing.assert_close(net(x), module(x).detach(), **EXACT)
    expected_beta = beta or (0.1 if layer is NTKLinear or parametrization == "ntk" else 1.0)
    assert (net.parametrization, net.beta) == (parametrization, expected_beta)
    for other in ("ntk", "standard"):
        back = net.to_torch(other)
        assert all(type(part) is (NTKLinear if other == "ntk" else nn.Linear) for part in back[::2])
        torch.testing.assert_close(back(x), module(x), **EXACT)
        again = Network.from_torch(back)
        torch.testing.assert_close(tangent_kernel(again, x), kernel_by_autograd(back, x), **EXACT)
        if other == "ntk":
            torch.testing.assert_close(tangent_kernel(again, x), kernel_by_autograd(net.to_torch("ntk"), x), **EXACT)


def test_in_the_ntk_parametrization_of_a_usual_module_weights_count_by_their_fan_in():
    """Θ = Σ_l (∂f ⊗ ∂f in Ŵ⁽ˡ⁾)/n_l + β² (∂f ⊗ ∂f in b̂⁽ˡ⁾): Remark 1's factors, squared."""
    module, x = module_of(), inputs()
    rates = exact_rates(Network.from_torch(module, parametrization="ntk", beta=0.3), 1.0)
    parameters = {name: parameter.detach() for name, parameter in module.named_parameters()}
    jacobians = torch.func.jacrev(lambda p: torch.func.functional_call(module, p, (x,)))(parameters)
    expected = 0
    for j, rate in zip(jacobians.values(), [r for pair in rates for r in pair], strict=True):
        rows = j.flatten(2).flatten(0, 1)
        expected = expected + rate * rows @ rows.T
    net = Network.from_torch(module, parametrization="ntk", beta=0.3)
    torch.testing.assert_close(tangent_kernel(net, x), expected, **EXACT)


@pytest.mark.parametrize("layer", [nn.Linear, NTKLinear])
def test_descent_is_that_of_sgd(layer):
    module, x, target = module_of(layer=layer), inputs(), inputs(5, 2)
    net = Network.from_torch(module)
    for _ in GradientDescent(0.05, 20).states(net, x, LeastSquares(target)):
        pass
    optimizer = torch.optim.SGD(module.parameters(), lr=0.05)
    for _ in range(20):
        optimizer.zero_grad()
        (0.5 * (module(x) - target).square().sum(dim=1).mean()).backward()
        optimizer.step()
    for trained, expected in zip(net.to_torch().parameters(), module.parameters(), strict=True):
        torch.testing.assert_close(trained, expected, **EXACT)


@pytest.mark.parametrize("name", NONLINEARITIES)
@pytest.mark.parametrize("scale", [1.0, 0.25])
@pytest.mark.parametrize("beta", [0.0, 0.3])
def test_a_network_comes_back_from_its_module(name, scale, beta):
    net = Network.init(
        [3, 7, 5, 2], generator=generator("n"), nonlinearity=name, beta=beta, output_scale=scale, dtype=F64
    )
    x = inputs()
    module = net.to_torch()
    torch.testing.assert_close(module(x).detach(), net(x), **EXACT)
    torch.testing.assert_close(kernel_by_autograd(module, x), tangent_kernel(net, x), **EXACT)
    again = Network.from_torch(module)
    assert (again.beta, again.output_scale, again.parametrization) == (beta, scale, "ntk")
    torch.testing.assert_close(tangent_kernel(again, x), tangent_kernel(net, x), **EXACT)
    usual = net.to_torch("standard")
    assert all(type(part) is nn.Linear for part in usual[::2])
    torch.testing.assert_close(usual(x).detach(), net(x), **EXACT)


def test_a_nonlinearity_of_ones_own_survives():
    sigma = from_function("mine", lambda x: x.sin() * x)
    net = Network.init([3, 6, 2], generator=generator("n"), nonlinearity=sigma, dtype=F64)
    assert Network.from_torch(net.to_torch()).nonlinearity == sigma


def test_single_precision():
    module, x = module_of(dtype=torch.float32), inputs()
    for parametrization in ("ntk", "standard"):
        net = Network.from_torch(module, parametrization=parametrization)
        assert net(x).dtype == torch.float32
        torch.testing.assert_close(net(x), module(x.float()).detach(), rtol=1e-5, atol=1e-6)


def test_deferred_updates_are_part_of_the_weights():
    net = Network.init([3, 40, 40, 1], generator=generator("n"), dtype=F64, weight=DeferredWeight.draw)
    x = inputs(2)
    Tangent(net, x).move(torch.ones(2, 1, dtype=F64))
    assert any(weight.factors for weight in net.weights)
    torch.testing.assert_close(net.to_torch()(x).detach(), net(x), **EXACT)


def graphless(*tensors):
    return all(not tensor.requires_grad and tensor.grad_fn is None for tensor in tensors)


def test_no_graph_grows_from_parameters_that_require_grad():
    """From a module, from parameters of one's own, from inputs and targets, and from a σ with parameters."""
    module = module_of()
    before = [parameter.detach().clone() for parameter in module.parameters()]
    w, b = nn.Parameter(torch.ones(2, 3, dtype=F64)), nn.Parameter(torch.ones(1, 2, dtype=F64))
    a = nn.Parameter(torch.tensor(0.5, dtype=F64))
    sigma = from_function("mine", lambda x: torch.tanh(a * x))
    x, target = inputs().requires_grad_(), inputs(5, 2).requires_grad_()
    own = Network.init([3, 6, 2], generator=generator("n"), nonlinearity=sigma, dtype=F64)
    flat = Network([type(own.weights[0])(w)], [b], sigma, 0.1)
    for net in (Network.from_torch(module), own, flat):
        for state in GradientDescent(0.01, 3).states(net, x, LeastSquares(target)):
            assert graphless(state.f, state.tangent.kernel, *state.tangent.derivatives)
        assert graphless(net(x), *net.biases, *(weight.values for weight in net.weights))
    assert all(torch.equal(parameter, values) for parameter, values in zip(module.parameters(), before, strict=True))
    assert all(parameter.grad is None for parameter in (*module.parameters(), a))


LINEAR = lambda n_in=3, n_out=3, **options: nn.Linear(n_in, n_out, **options)  # noqa: E731


class Twice(nn.Linear):
    def forward(self, x):
        return 2 * super().forward(x)


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.Sequential(LINEAR(), nn.ReLU())

    def forward(self, x):
        return x + self.inner(x)


def shared():
    layer = LINEAR()
    return nn.Sequential(layer, nn.ReLU(), layer)


def hooked():
    layer = LINEAR()
    layer.register_forward_hook(lambda module, args, output: 2 * output)
    return nn.Sequential(layer)


REFUSED = {
    "one nonlinearity": lambda: nn.Sequential(LINEAR(), nn.ReLU(), LINEAR(), nn.Tanh(), LINEAR()),
    "follows the last layer": lambda: nn.Sequential(LINEAR(), nn.ReLU()),
    "has to start with": lambda: nn.Sequential(nn.ReLU(), LINEAR()),
    "follow one another": lambda: nn.Sequential(LINEAR(), nn.ReLU(), nn.Tanh(), LINEAR()),
    "PReLU.*not one of the elementwise": lambda: nn.Sequential(LINEAR(), nn.PReLU(), LINEAR()),
    "BatchNorm1d.*not one of the elementwise": lambda: nn.Sequential(LINEAR(), nn.BatchNorm1d(3), LINEAR()),
    "Softmax.*not one of the elementwise": lambda: nn.Sequential(LINEAR(), nn.Softmax(dim=-1), LINEAR()),
    "Dropout is active": lambda: nn.Sequential(LINEAR(), nn.Dropout(), LINEAR()),
    "no Linear layer": lambda: nn.Sequential(),
    "has to start with a Linear": lambda: nn.Bilinear(2, 2, 2),
    "no parameters yet": lambda: nn.Sequential(nn.LazyLinear(3)),
    "share parameters": shared,
    "hooks or parametrized": hooked,
    "does not compute what a Linear": lambda: nn.Sequential(Twice(3, 3)),
    "in all layers or in none": lambda: nn.Sequential(LINEAR(), nn.ReLU(), LINEAR(bias=False)),
    "cannot be mixed": lambda: nn.Sequential(LINEAR(), nn.ReLU(), NTKLinear(3, 3)),
    "scales its output only": lambda: nn.Sequential(NTKLinear(3, 3, scale=2.0), nn.ReLU(), NTKLinear(3, 3)),
    "several dtypes": lambda: nn.Sequential(LINEAR(), nn.ReLU(), LINEAR(dtype=F64)),
    "real floating-point": lambda: nn.Sequential(LINEAR(dtype=torch.complex64)),
    "does not chain": lambda: nn.Sequential(LINEAR(3, 4), nn.ReLU(), LINEAR(5, 1)),
}
REFUSED["Residual holds modules"] = Residual
REFUSED["is no Sequential"] = lambda: nn.Sequential(LINEAR(), Residual(), LINEAR())
REFUSED["parametrized weights"] = lambda: nn.Sequential(nn.utils.parametrizations.weight_norm(LINEAR()))


@pytest.mark.parametrize("message", REFUSED)
def test_what_is_no_such_network_is_refused_in_one_line(message):
    with pytest.raises(ValueError, match=message) as raised:
        Network.from_torch(REFUSED[message]())
    assert "\n" not in str(raised.value)


def test_conversions_that_cannot_be_are_refused():
    module = module_of()
    with pytest.raises(ValueError, match="beta = 0 is impossible"):
        Network.from_torch(module, parametrization="ntk", beta=0.0)
    with pytest.raises(ValueError, match="'mup'; it has to be ntk or standard"):
        Network.from_torch(module, parametrization="mup")
    net = Network.init([3, 4, 1], generator=generator("n"))
    with pytest.raises(ValueError, match="'mup'; it has to be ntk or standard"):
        net.to_torch("mup")
    with pytest.raises(ValueError, match="'mup'; it has to be ntk or standard"):
        Network(net.weights, net.biases, net.nonlinearity, 0.1, parametrization="mup")
    with pytest.raises(ValueError, match="ensemble of 2"):
        Network.init([3, 4, 1], generator=[generator(s) for s in range(2)]).to_torch()
    wide = Network.init([3, 500, 500, 1], generator=generator("n"), weight=revealing())
    with pytest.raises(TypeError, match="RevealedWeight holds no matrix"):
        wide.to_torch()
    one, other = (Tangent(Network.from_torch(module, parametrization=p), inputs()) for p in ("ntk", "standard"))
    with pytest.raises(ValueError, match="different parametrizations"):
        one.kernel_with(other)
    with pytest.raises(ValueError, match="NTK parametrization only"):
        Network.from_torch(module).normalize_hidden_weights()


def test_what_does_nothing_is_passed_over():
    """Nested modules, Flatten before the first layer, Identity, Dropout that is off; one layer alone."""
    first, last = LINEAR(4, 5), LINEAR(5, 2)
    module = nn.Sequential(nn.Flatten(), nn.Sequential(first, nn.ReLU(), nn.Dropout()), nn.Identity(), last).eval()
    net, x = Network.from_torch(module), torch.randn(3, 2, 2, generator=generator("x"))
    torch.testing.assert_close(net(x.flatten(1)), module(x).detach())
    assert net.nonlinearity.name == "relu"
    assert Network.from_torch(first).widths == (4, 5)
    relu, middle = nn.ReLU(), LINEAR(5, 5)
    twice = nn.Sequential(first, relu, middle, relu, last)  # one module in two places
    torch.testing.assert_close(Network.from_torch(twice)(x.flatten(1)), twice(x.flatten(1)).detach())
    zero = nn.Dropout(0.0)
    assert Network.from_torch(nn.Sequential(first, nn.ReLU(True), zero, LINEAR(5, 5), nn.ReLU(), last)).depth == 3


@pytest.mark.parametrize("kind", _KINKS)
def test_kinks_of_modules_are_where_their_slopes_jump(kind):
    """Half a unit away from its kinks, a module's second difference is of the second order."""
    module, h = kind(), 1e-4
    x = torch.arange(-8, 8, 0.01, dtype=F64) + 0.003
    second = (module(x + h) - 2 * module(x) + module(x - h)).abs() / h
    near = torch.stack([(x - kink).abs() for kink in (*_KINKS[kind], 1e3)]).amin(dim=0) < 0.02
    assert second[~near].max() < 1e-3


@pytest.mark.parametrize("kind", _KINKS)
def test_limits_of_modules_need_no_warning(kind):
    from replication import theta_inf

    sigma = Network.from_torch(module_of(sigma=kind)).nonlinearity
    theta = theta_inf(inputs(2), depth=2, nonlinearity=sigma, beta=0.1)
    assert torch.isfinite(theta).all()
