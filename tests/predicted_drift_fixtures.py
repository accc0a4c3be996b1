"""Cells of the experiment drift."""

from replication.experiments.drift import EXPERIMENT

CLAIM = {claim.id: claim for claim in EXPERIMENT.claims}
