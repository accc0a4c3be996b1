"""The statistics that Figure 1's claims decide on and its figures show."""

import math

import numpy as np
import xarray as xr

from ...study.experiment import select


def initial_kernels(dataset: xr.Dataset, width: int) -> np.ndarray:
    """Θ at t = 0 along the circle and its quarter turns, one law by symmetry: (seeds, turns, angles).

    Of the ensemble measured at t = 0 only, where there is one of this width, else of the trained networks.
    """
    networks = select(dataset, variant="initial", width=width)
    if networks.sizes["network"] == 0:
        networks = select(dataset, variant="main", width=width)
    kernels: np.ndarray = networks.theta_rotated.values.astype(float)
    return kernels


def spread(kernels: np.ndarray) -> float:
    """sd over seeds, rms over γ and the turns; NaN for one seed."""
    if len(kernels) < 2:
        return math.nan
    return math.sqrt(kernels.var(axis=0, ddof=1).mean())


def roughness(kernels: np.ndarray, limit: np.ndarray, angles: np.ndarray) -> float:
    """rms over seeds, turns and γ of ∂_γ(Θ − Θ_∞), by differences between neighbouring angles."""
    return math.sqrt(np.square(np.diff(kernels - limit, axis=-1) / np.diff(angles)).mean())


def change(dataset: xr.Dataset, width: int, variant: str = "main") -> np.ndarray:
    """sup_γ|Θ_t − Θ_0| / sup_γ|Θ_0| of each network, (seeds,)."""
    theta = select(dataset, variant=variant, width=width).theta.values.astype(float)
    before, after = theta[:, 0], theta[:, -1]
    relative: np.ndarray = np.abs(after - before).max(axis=1) / np.abs(before).max(axis=1)
    return relative
