"""The version of the engine: of all modules outside an experiment that its numbers depend on."""

ENGINE = 2
"""Part of every cell's key. Bump it when a change of network, weights, revealed, tangent, training, costs, limit,
nonlinearities, kernels, regression, drift or datasets changes a number by more than rounding. The golden test notices
such a change."""
