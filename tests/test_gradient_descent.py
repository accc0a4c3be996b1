"""Gradient descent: each step is autograd's, on one batch or on a batch of its own."""

import math
from itertools import repeat

import pytest
import torch
from training_fixtures import EXACT, N, X, network, normal, problem, run

from replication.training import GradientDescent


class TestGradientStep:
    @pytest.mark.parametrize("kind", ["½", "1", "cross-entropy"])
    @pytest.mark.parametrize("widths", [[2, 3], [2, 5, 4, 3], [2, 5, 4, 2], [2, 7, 1]], ids=str)
    @pytest.mark.parametrize("name", ["relu", "gelu"])
    @pytest.mark.parametrize("beta", [0.0, 0.3])
    def test_is_theta_minus_the_rate_times_autograds_gradient(self, kind, widths, name, beta, oracle):
        """For every parameter, over two steps."""
        if kind == "cross-entropy" and widths[-1] == 1:
            widths = [2, 7, 4]
        cost, loss = problem(kind, widths[-1])
        net = network(widths, name=name, beta=beta)
        expected = oracle(net).theta
        for _ in range(2):
            expected = expected - 0.3 * oracle(net).gradient(loss, X, expected)
        run(GradientDescent(0.3, 2), net, cost)
        torch.testing.assert_close(oracle(net).theta, expected, **EXACT)

    def test_states_are_before_each_step_and_at_the_end(self, oracle):
        cost, _ = problem("½", 1)
        net = network([2, 5, 1])
        seen = []
        for state in GradientDescent(0.5, 3).states(net, X, cost):
            seen.append((state.t, state.f, oracle(net).f(oracle(net).theta, X)))
        assert [t for t, _, _ in seen] == [0.0, 0.5, 1.0, 1.5]
        for _, f, expected in seen:
            torch.testing.assert_close(f, expected, **EXACT)

    def test_makes_one_low_rank_update_of_each_weight(self, monkeypatch):
        """No gradient-sized buffer: each weight is only told the N rows of the two factors."""
        cost, _ = problem("½", 3)
        net = network([2, 50, 40, 3])
        calls = []
        for l, weight in enumerate(net.weights):
            original = weight.update

            def record(left, right, scale, l=l, original=original):
                calls.append((l, left.shape, right.shape))
                original(left, right, scale)

            monkeypatch.setattr(weight, "update", record)
        run(GradientDescent(0.1, 1), net, cost)
        assert sorted(calls) == [(0, (N, 50), (N, 2)), (1, (N, 40), (N, 50)), (2, (N, 3), (N, 40))]

    @pytest.mark.parametrize("kind", ["½", "cross-entropy"])
    def test_ensemble_is_each_network_alone(self, kind, members, oracle):
        cost, _ = problem(kind, 3)
        net = network([2, 5, 4, 3], seeds=3)
        single = members(net)
        run(GradientDescent(0.3, 4), net, cost)
        for member, trained in zip(single, members(net), strict=True):
            run(GradientDescent(0.3, 4), member, cost)
            torch.testing.assert_close(oracle(trained).theta, oracle(member).theta, **EXACT)

    @pytest.mark.parametrize("seeds", [None, 2])
    def test_normalize_hidden_follows_each_step_on_all_but_the_last_weight(self, seeds):
        cost, _ = problem("½", 1)
        net = network([2, 6, 5, 1], seeds=seeds)
        for state in GradientDescent(0.3, 3, normalize_hidden=True).states(net, X, cost):
            for l, weight in enumerate(net.weights):
                rms = weight.values.square().mean(dim=-2).sqrt()
                normalized = (rms - 1).abs().max() < 1e-12
                assert normalized == (state.t > 0 and l < 2)

    def test_dense_output_is_the_straight_line_between_steps(self):
        cost, _ = problem("½", 1)
        previous = None
        for state in GradientDescent(0.5, 3).states(network([2, 5, 1]), X, cost):
            if previous is not None:
                for part in (0.0, 0.25, 1.0):
                    t = previous[0] + part * 0.5
                    torch.testing.assert_close(state.f_at(t), (1 - part) * previous[1] + part * state.f, **EXACT)
            previous = state.t, state.f


class TestFreshBatches:
    def batches(self, count):
        return [(normal(N, 2, key=f"batch {i}"), problem("½", 1)[0]) for i in range(count)]

    def test_each_step_is_on_its_own_batch(self, oracle):
        _, loss = problem("½", 1)
        net = network([2, 5, 4, 1])
        batches = self.batches(4)
        expected = oracle(net).theta
        for x, _ in batches[:3]:
            expected = expected - 0.2 * oracle(net).gradient(loss, x, expected)
        states = GradientDescent(0.2, 3).states_on(net, iter(batches))
        seen = [(state.t, state.f, state.between) for state in states]
        torch.testing.assert_close(oracle(net).theta, expected, **EXACT)
        assert [t for t, _, _ in seen] == pytest.approx([0, 0.2, 0.4, 0.6])
        assert all(between is None for _, _, between in seen)
        torch.testing.assert_close(seen[-1][1], oracle(net).f(expected, batches[3][0]), **EXACT)

    def test_steps_plus_one_batches_are_taken_and_no_more(self):
        source = iter(self.batches(6))
        states = list(GradientDescent(0.2, 3).states_on(network([2, 5, 1]), source))
        assert len(states) == 4
        assert len(list(source)) == 2

    @pytest.mark.parametrize("count", [0, 1, 3])
    def test_too_few_batches_are_an_error_that_says_how_many(self, count):
        states = GradientDescent(0.2, 3).states_on(network([2, 5, 1]), self.batches(count))
        with pytest.raises(ValueError, match=f"3 steps need 4 batches, not {count}"):
            list(states)

    def test_the_same_batch_again_and_again_is_full_batch_descent(self, oracle):
        cost, _ = problem("½", 1)
        one, other = network([2, 5, 1]), network([2, 5, 1])
        list(GradientDescent(0.2, 3).states_on(one, repeat((X, cost))))
        run(GradientDescent(0.2, 3), other, cost)
        assert torch.equal(oracle(one).theta, oracle(other).theta)


@pytest.mark.parametrize("arguments", [(0.0, 1), (-1.0, 1), (math.nan, 1), (0.1, 0), (0.1, -3)])
def test_gradient_descent_refuses(arguments):
    with pytest.raises(ValueError, match="must be > 0"):
        GradientDescent(*arguments)
