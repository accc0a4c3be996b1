"""A trajectory at given times is the solver's dense output."""

from itertools import repeat

import pytest
import torch
from training_fixtures import EXACT, N, X, network, problem

from replication.training import GradientDescent, GradientFlow, follow


class TestFollow:
    def states(self, t=1.0):
        return GradientFlow(t, 1e-4).states(network([2, 8, 2]), X, problem("½", 2)[0])

    def test_is_the_dense_output_at_the_times(self):
        times = [0.0, 0.0, 0.123, 0.5, 1.0]
        followed = follow(self.states(), times)
        assert followed.shape == (5, N, 2)
        torch.testing.assert_close(followed[0], network([2, 8, 2])(X), **EXACT)
        states = list(self.states())
        torch.testing.assert_close(followed[-1], states[-1].f, **EXACT)
        for t, f in zip(times, followed, strict=True):
            state = next(state for state in states if t <= state.t)
            torch.testing.assert_close(f, state.f_at(t), **EXACT)

    def test_an_ensemble_keeps_its_dimension(self):
        net = network([2, 8, 2], seeds=3)
        assert follow(GradientFlow(1.0, 1e-3).states(net, X, problem("½", 2)[0]), [0.3, 0.7]).shape == (2, 3, N, 2)

    def test_runs_to_the_end(self):
        net = network([2, 8, 2])
        follow(GradientFlow(1.0, 1e-4).states(net, X, problem("½", 2)[0]), [0.01])
        final = list(self.states())[-1].f
        torch.testing.assert_close(net(X), final, **EXACT)

    def test_refuses_times_beyond_the_end(self):
        with pytest.raises(ValueError, match=r"ends at t = 1, before the time 1\.1"):
            follow(self.states(), [0.5, 1.1])

    def test_refuses_times_before_the_start(self):
        with pytest.raises(ValueError, match="times"):
            follow(self.states(), [-0.5, 0.5])

    def test_refuses_times_that_do_not_increase(self):
        with pytest.raises(ValueError, match="times"):
            follow(self.states(), [0.9, 0.1])

    def test_refuses_states_without_dense_output(self):
        """With a batch for each step there is no f between the steps."""
        batches = repeat((X, problem("½", 2)[0]))
        with pytest.raises(ValueError, match="between"):
            follow(GradientDescent(0.5, 2).states_on(network([2, 8, 2]), batches), [0.3])

    def test_the_end_of_gradient_descent_is_within_the_run(self):
        """100 × 0.29 is 28.999999999999996 in floating point."""
        states = GradientDescent(0.29, 100).states(network([2, 8, 2]), X, problem("½", 2)[0])
        assert follow(states, [29.0]).shape == (1, N, 2)
