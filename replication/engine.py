"""The version of the engine: of all modules that a number of a cell depends on, besides the experiment's own."""

ENGINE = 2
"""Part of every cell's key. Bump it when a change of network, weights, revealed, tangent, training, costs, limit,
nonlinearities, kernels, regression, drift or datasets changes a number by more than rounding; the golden test tells
when."""
