"""The Neural Tangent Kernel (Jacot, Gabriel, Hongler 2018, arXiv 1806.07572), replicated: the library.

On your own data, of shape (N, n_0), it computes the kernel of a finite network and its infinite-width limit:

>>> import torch
>>> from replication import Network, generator, tangent_kernel, theta_inf
>>> x = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.5]])
>>> network = Network.init([2, 4000, 4000, 1], generator=generator("my network"), beta=0.1)
>>> limit = theta_inf(x, depth=3, nonlinearity="relu", beta=0.1)
>>> bool((tangent_kernel(network, x) - limit).abs().max() < 0.1 * limit.max())
True

Symbols of the paper, their names here, and their shapes (batches are rows):

======================  ================================  ==========================================================
L                       depth                             number of affine maps: L = 4 has three hidden layers
n_0 … n_L               widths                            neurons of each layer
P                       num_parameters                    Σ_{l<L} (n_l + 1) n_{l+1}
W⁽ˡ⁾, b⁽ˡ⁾              weights[l], biases[l]             (n_{l+1}, n_l), (1, n_{l+1}); i.i.d. N(0, 1) at t = 0
β                       beta                              scale of the biases, 0.1 in the paper's experiments
σ, σ̇                    nonlinearity, its derivative      elementwise
α̃⁽ˡ⁾, α⁽ˡ⁾              preactivation, activations[l]     (N, n_l)
δ⁽ˡ⁾                    derivatives[l − 1]                (N n_L, n_l), ∂f/∂α̃⁽ˡ⁾
f_θ, f*                 output, target                    (N, n_L)
J                       Tangent                           (N n_L, P), never formed
Θ⁽ᴸ⁾                    tangent_kernel                    (N n_L, N' n_L), row i n_L + k for output k at x_i
Σ⁽ᴸ⁾, Θ_∞⁽ᴸ⁾            sigma_inf, theta_inf              (N, N'), the limits; Θ → Θ_∞ ⊗ Id
C, d                    Cost, direction                   a number, (N, n_L)
λ_i                     eigenvalues of Θ/N                rates of decay, 1/time
γ, x(γ)                 angles, circle                    (M,), (M, 2)
t                       t                                 time = learning rate × steps
======================  ================================  ==========================================================

Suffixes: _0 at t = 0, _t at time t, _inf in the limit.
"""

from .costs import Cost, CrossEntropy, LeastSquares
from .drift import Drift, picard_flow, predicted_drift
from .kernels import KernelOnData, power_iteration, principal_components
from .limit import sigma_inf, theta_inf
from .network import Network
from .nonlinearities import from_function, nonlinearity
from .random_functions import LinearModel
from .randomness import generator
from .regression import LeastSquaresFlow
from .revealed import RevealedWeight, revealing
from .sigma import Nonlinearity
from .tangent import Tangent, tangent_kernel
from .training import DivergenceError, GradientDescent, GradientFlow, follow

__all__ = [
    "Cost",
    "CrossEntropy",
    "DivergenceError",
    "Drift",
    "GradientDescent",
    "GradientFlow",
    "KernelOnData",
    "LeastSquares",
    "LeastSquaresFlow",
    "LinearModel",
    "Network",
    "Nonlinearity",
    "RevealedWeight",
    "Tangent",
    "follow",
    "from_function",
    "generator",
    "nonlinearity",
    "picard_flow",
    "power_iteration",
    "predicted_drift",
    "principal_components",
    "revealing",
    "sigma_inf",
    "tangent_kernel",
    "theta_inf",
]
