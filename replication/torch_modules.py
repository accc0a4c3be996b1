"""Networks from PyTorch modules, and back: the same function and the same parameters, hence the same tangent kernel.

PyTorch's layers have the usual parametrization, α̃⁽ˡ⁺¹⁾ = Ŵ⁽ˡ⁾α⁽ˡ⁾ + b̂⁽ˡ⁾; ``NTKLinear`` has the paper's (Remark 1).
"""

from collections.abc import Iterator, Sequence
from copy import deepcopy
from math import sqrt

import torch
from torch import Tensor, nn

from .network import Network, Parametrization
from .nonlinearities import PiecewiseLinear, Quadrature, from_function, leaky_relu, nonlinearity
from .sigma import Nonlinearity
from .weights import DeferredWeight, DenseWeight, Weight


class NTKLinear(nn.Linear):
    """A layer in the paper's parametrization (§2): x ↦ s·(W x/√n_in + βb); parameters W (n_out, n_in) and b (n_out,).

    beta: β; scale: s, which is the network's ``output_scale`` in the last layer and 1 elsewhere. Parameters start
    i.i.d. N(0, 1).
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        *,
        beta: float = 0.1,
        scale: float = 1.0,
    ):
        super().__init__(in_features, out_features, bias, device, dtype)
        self.beta = beta if bias else 0.0
        self.scale = scale

    def reset_parameters(self) -> None:
        for parameter in self.parameters():
            nn.init.normal_(parameter)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = nn.functional.linear(x, self.weight) * self.in_features**-0.5
        out = out if self.bias is None else out + self.beta * self.bias
        return out if self.scale == 1 else self.scale * out

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, beta={self.beta}, scale={self.scale}"


class Elementwise(nn.Module):
    """A module for a ``Nonlinearity`` that PyTorch does not have."""

    def __init__(self, sigma: Nonlinearity):
        super().__init__()
        self.sigma = sigma

    def forward(self, x: Tensor) -> Tensor:
        return self.sigma(x)

    def extra_repr(self) -> str:
        return self.sigma.name


# The points at which σ or σ̇ of a module is not smooth, for the quadrature of the limit.
_KINKS: dict[type[nn.Module], tuple[float, ...]] = {
    nn.CELU: (0.0,),
    nn.ELU: (0.0,),
    nn.SELU: (0.0,),
    nn.Softsign: (0.0,),
    nn.ReLU6: (0.0, 6.0),
    nn.Hardtanh: (-1.0, 1.0),
    nn.Hardsigmoid: (-3.0, 3.0),
    nn.Hardswish: (-3.0, 3.0),
    nn.GELU: (),
    nn.LogSigmoid: (),
    nn.Mish: (),
    nn.Sigmoid: (),
    nn.SiLU: (),
    nn.Softplus: (),
    nn.Tanhshrink: (),
}


def network_of(
    module: nn.Module, parametrization: Parametrization | None = None, beta: float | None = None
) -> tuple[list[Weight], list[Tensor], Nonlinearity, float, float, Parametrization]:
    """The arguments of ``Network``, for `Network.from_torch`."""
    layers, sigma = _layers(module)
    if len({(layer.weight.dtype, layer.weight.device) for layer in layers}) > 1:
        raise ValueError("the layers have parameters of several dtypes or on several devices; they need one of each")
    if not layers[0].weight.is_floating_point():
        raise ValueError(f"the parameters are {layers[0].weight.dtype}; they have to be real floating-point numbers")
    paper = isinstance(layers[0], NTKLinear)
    if any(isinstance(layer, NTKLinear) != paper for layer in layers):
        raise ValueError("Linear and NTKLinear layers cannot be mixed: a network has one parametrization")
    parametrization = parametrization or ("ntk" if paper else "standard")
    if parametrization not in ("ntk", "standard"):
        raise ValueError(f"the parametrization is {parametrization!r}; it has to be ntk or standard")
    scales = [layer.scale if isinstance(layer, NTKLinear) else 1.0 for layer in layers]
    own = {(layer.beta if isinstance(layer, NTKLinear) else 1.0) if layer.bias is not None else 0.0 for layer in layers}
    if any(scale != 1 for scale in scales[:-1]) or len(own) > 1:
        raise ValueError(
            f"the biases of the layers have the factors {', '.join(map(str, sorted(own)))} (0: no bias), their outputs "
            f"{', '.join(map(str, scales))}: a network has one β, in all layers or in none, and scales its output only"
        )
    (own_beta,) = own
    if beta is None:
        beta = own_beta if own_beta == 0 or paper or parametrization == "standard" else 0.1
    weights: list[Weight] = []
    biases = []
    for layer in layers:
        weight = layer.weight.detach().clone()
        if parametrization == "ntk" and not paper:
            weight *= sqrt(layer.in_features)
        elif parametrization == "standard" and paper:
            weight *= layer.in_features**-0.5
        bias = weight.new_zeros(layer.out_features) if layer.bias is None else layer.bias.detach().clone()
        if beta != own_beta:
            if beta == 0 and own_beta * bias.any():
                raise ValueError("beta = 0 is impossible: the module has biases")
            bias *= own_beta / beta if beta else 0.0
        weights.append(DenseWeight(weight))
        biases.append(bias.unsqueeze(0))
    return weights, biases, sigma, beta, scales[-1], parametrization


def module_of(network: Network, parametrization: Parametrization | None = None) -> nn.Sequential:
    """The module that `Network.to_torch` returns."""
    parametrization = parametrization or network.parametrization
    if parametrization not in ("ntk", "standard"):
        raise ValueError(f"the parametrization is {parametrization!r}; it has to be ntk or standard")
    modules: list[nn.Module] = []
    for l, (weight, bias) in enumerate(zip(network.weights, network.biases, strict=True)):
        matrix, vector = _matrix(weight), bias.detach()[0]
        n_in, scale = network.widths[l], network.output_scale if l == network.depth - 1 else 1.0
        layer: nn.Linear
        if parametrization == "ntk":
            layer = NTKLinear(n_in, len(matrix), network.beta != 0, "meta", beta=network.beta, scale=scale)
            factors = (sqrt(n_in) if network.parametrization == "standard" else 1.0, 1.0)
        else:
            layer = nn.Linear(n_in, len(matrix), network.beta != 0, "meta")
            factors = (scale * network.fans[l] ** -0.5, scale * network.beta)
        layer.weight = nn.Parameter(factors[0] * matrix)
        if layer.bias is not None:
            layer.bias = nn.Parameter(factors[1] * vector)
        modules += [_module(network.nonlinearity), layer] if l else [layer]
    return nn.Sequential(*modules)


def _layers(module: nn.Module) -> tuple[list[nn.Linear], Nonlinearity]:
    """The affine layers of a module, and the nonlinearity between them."""
    layers: list[nn.Linear] = []
    between: list[list[nn.Module]] = []  # after each affine layer
    for part in _parts(module):
        if isinstance(part, nn.Linear):
            layers.append(part)
            between.append([])
        elif layers:
            between[-1].append(part)
        elif not isinstance(part, nn.Flatten):
            raise ValueError(f"the module starts with {part}; it has to start with a Linear layer")
    if not layers:
        raise ValueError(f"the module has no Linear layer: {type(module).__name__}")
    if between[-1]:
        raise ValueError(f"{between[-1][0]} follows the last layer; a network ends with an affine one")
    parameters = [parameter for layer in layers for parameter in layer.parameters()]
    if len({id(parameter) for parameter in parameters}) < len(parameters):
        raise ValueError("two layers share parameters; a network has its own in each")
    sigmas = dict(_nonlinearity(modules) for modules in between[:-1])
    if len(sigmas) > 1:
        raise ValueError(f"a network has one nonlinearity, not {' and '.join(sigmas)}")
    return layers, next(iter(sigmas.values()), nonlinearity("identity"))


def _parts(module: nn.Module) -> Iterator[nn.Module]:
    """The modules of nested ``Sequential`` modules, without those that do nothing."""
    if isinstance(module, nn.Linear) and isinstance(module.weight, nn.UninitializedParameter):
        raise ValueError(f"{type(module).__name__} has no parameters yet: call the module once")
    if module._forward_hooks or module._forward_pre_hooks or nn.utils.parametrize.is_parametrized(module):
        raise ValueError(f"{type(module).__name__} has hooks or parametrized weights, which may change its function")
    if isinstance(module, nn.Sequential) and type(module).forward is nn.Sequential.forward:
        for part in module:  # children() would list a module once even if it occurs twice
            yield from _parts(part)
    elif module._modules:
        raise ValueError(f"{type(module).__name__} holds modules but is no Sequential: its function is not known")
    elif isinstance(module, nn.Dropout):
        if module.training and module.p > 0:
            raise ValueError("Dropout is active: call eval() on the module first")
    elif isinstance(module, nn.Linear):
        if type(module).forward not in (nn.Linear.forward, NTKLinear.forward):
            raise ValueError(f"{type(module).__name__} does not compute what a Linear layer computes")
        yield module
    else:
        yield module


def _nonlinearity(modules: Sequence[nn.Module]) -> tuple[str, Nonlinearity]:
    """The nonlinearity of the modules between two layers, and its description."""
    modules = [deepcopy(module) for module in modules if not isinstance(module, nn.Identity)]
    for module in modules:
        if hasattr(module, "inplace"):
            module.inplace = False  # type: ignore[assignment]
    if len(modules) > 1:
        raise ValueError(f"{' and '.join(map(str, modules))} follow one another; a network needs one nonlinearity")
    return (str(modules[0]), _sigma(modules[0])) if modules else ("Identity()", nonlinearity("identity"))


def _sigma(module: nn.Module) -> Nonlinearity:
    if isinstance(module, Elementwise):
        return module.sigma
    if type(module) in (nn.ReLU, nn.Tanh):
        return nonlinearity(type(module).__name__.lower())
    if isinstance(module, nn.LeakyReLU):
        return leaky_relu(module.negative_slope)
    if isinstance(module, nn.GELU) and module.approximate == "none":
        return nonlinearity("gelu")
    if type(module) not in _KINKS:
        known = sorted(kind.__name__ for kind in (nn.ReLU, nn.Tanh, nn.LeakyReLU, nn.Identity, Elementwise, *_KINKS))
        raise ValueError(f"{module} is not one of the elementwise modules {', '.join(known)}")
    kinks = (module.min_val, module.max_val) if type(module) is nn.Hardtanh else _KINKS[type(module)]
    return from_function(type(module).__name__.lower(), module, kinks=kinks)


def _module(sigma: Nonlinearity) -> nn.Module:
    if isinstance(sigma, PiecewiseLinear):
        slope = sigma.negative_slope
        return nn.ReLU() if slope == 0 else nn.Identity() if slope == 1 else nn.LeakyReLU(slope)
    if isinstance(sigma, Quadrature) and isinstance(sigma.function, nn.Module):
        return deepcopy(sigma.function)
    known: dict[str, nn.Module] = {"tanh": nn.Tanh(), "gelu": nn.GELU()}
    named = sigma.name in known and sigma == nonlinearity(sigma.name)
    return known[sigma.name] if named else Elementwise(sigma)


def _matrix(weight: Weight) -> Tensor:
    if isinstance(weight, DeferredWeight):
        matrix = weight.matrix.values.clone()
        for left, right in weight.factors:
            matrix += left.mT @ right
        return matrix
    if not isinstance(weight, DenseWeight):
        raise TypeError(f"{type(weight).__name__} holds no matrix; its method `completed` draws one that agrees")
    if weight.values.ndim > 2:
        raise ValueError(f"an ensemble of {len(weight.values)} networks is not one module: take them one by one")
    return weight.values.detach()
