"""Weights against the matrix they stand for.

``WeightContract`` is what ``Network`` needs of any weight; a new kind of weight inherits it and says how it is made
and which matrix it is.
"""

from abc import ABC, abstractmethod

import pytest
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from replication import weights
from replication.randomness import generator
from replication.revealed import RevealedWeight
from replication.weights import DeferredWeight, DenseWeight, Weight

F64 = torch.float64
# Sums of at most a few thousand products in float64, compared with the same sums in another order.
EXACT = {"rtol": 1e-11, "atol": 1e-11}


def rows(n: int, width: int, *key: int | str, dtype: torch.dtype = F64) -> Tensor:
    return torch.randn(n, width, generator=generator("rows", n, width, *key), dtype=dtype)


class WeightContract(ABC):
    """Every promise of ``Weight``, in float64. Vectors are asked for before they are used in an update, as in training.

    ``to_dense`` is only called after the products that it has to agree with, so that a matrix which is drawn while it
    is used can be completed then. It must be repeatable: the same matrix as long as the weight does not change.
    """

    shapes = ((1, 1), (5, 3), (3, 5), (40, 30))
    tolerance = EXACT

    @abstractmethod
    def make_weight(self, n_out: int, n_in: int, seed: int = 0, dtype: torch.dtype = F64) -> Weight:
        """A fresh weight; other seeds give independent ones."""

    @abstractmethod
    def to_dense(self, weight: Weight) -> Tensor:
        """The matrix (n_out, n_in) that the weight is."""

    def close(self, actual: Tensor, expected: Tensor) -> None:
        torch.testing.assert_close(actual, expected, **self.tolerance)

    @pytest.fixture(params=shapes, ids=str)
    def weight(self, request: pytest.FixtureRequest) -> Weight:
        return self.make_weight(*request.param)

    @pytest.fixture
    def right(self, weight: Weight) -> Tensor:
        return rows(4, weight.shape[1], "right")

    @pytest.fixture
    def left(self, weight: Weight) -> Tensor:
        return rows(4, weight.shape[0], "left")

    def test_shape_dtype_and_device(self, weight, left, right):
        assert weight.shape == (left.shape[1], right.shape[1])
        assert weight.dtype == F64
        assert weight.device == torch.device("cpu")

    def test_apply_is_the_product_with_the_transpose(self, weight, right):
        product = weight.apply(right)
        self.close(product, torch.einsum("oi,xi->xo", self.to_dense(weight), right))

    def test_apply_transpose_is_the_product(self, weight, left):
        product = weight.apply_transpose(left)
        self.close(product, torch.einsum("oi,xo->xi", self.to_dense(weight), left))

    def test_the_two_products_are_of_one_matrix(self, weight, left, right):
        self.close(left @ weight.apply(right).T, weight.apply_transpose(left) @ right.T)
        matrix = self.to_dense(weight)
        self.close(weight.apply(right), right @ matrix.T)
        self.close(weight.apply_transpose(left), left @ matrix)

    def test_products_do_not_change_the_weight_or_their_arguments(self, weight, left, right):
        left_before, right_before = left.clone(), right.clone()
        first = weight.apply(right), weight.apply_transpose(left)
        self.close(weight.apply(right), first[0])
        self.close(weight.apply_transpose(left), first[1])
        assert torch.equal(left, left_before)
        assert torch.equal(right, right_before)

    def test_repeated_dependent_and_zero_rows(self, weight, right):
        first = weight.apply(right)
        dependent = torch.stack([right[0], right[0], right[0] - 2 * right[1], torch.zeros_like(right[0])])
        expected = torch.stack([first[0], first[0], first[0] - 2 * first[1], torch.zeros_like(first[0])])
        self.close(weight.apply(dependent), expected)

    @pytest.mark.parametrize("scale", [1.0, -0.3, 0.0])
    def test_update_adds_the_low_rank_term(self, weight, left, right, scale):
        forward, backward = weight.apply(right), weight.apply_transpose(left)
        weight.update(left, right, scale)
        self.close(weight.apply(right), forward + scale * right @ right.T @ left)
        self.close(weight.apply_transpose(left), backward + scale * left @ left.T @ right)

    def test_updates_add_up(self, weight, left, right):
        forward = weight.apply(right)
        weight.apply_transpose(left)
        weight.update(left, right, 0.7)
        weight.update(left.flip(0), right, -1.1)
        self.close(weight.apply(right), forward + right @ right.T @ (0.7 * left - 1.1 * left.flip(0)))
        matrix = self.to_dense(weight)
        self.close(weight.apply(right), right @ matrix.T)
        self.close(weight.apply_transpose(left), left @ matrix)

    def test_an_update_and_its_reverse_cancel(self, weight, left, right):
        forward, backward = weight.apply(right), weight.apply_transpose(left)
        weight.update(left, right, 0.5)
        weight.update(left, right, -0.5)
        self.close(weight.apply(right), forward)
        self.close(weight.apply_transpose(left), backward)

    @pytest.mark.parametrize("size", [1.0, 1e30])
    @pytest.mark.parametrize("dtype", [torch.float32, F64])
    def test_rollback_brings_back_the_same_bits(self, size, dtype):
        """However large the updates were, in whatever precision; earlier updates stay."""
        weight = self.make_weight(40, 30, dtype=dtype)
        left, right = rows(4, 40, "left", dtype=dtype), rows(4, 30, "right", dtype=dtype)
        weight.apply(right), weight.apply_transpose(left)
        weight.update(left, right, 0.3)
        before = weight.apply(right), weight.apply_transpose(left), self.to_dense(weight)
        for _ in range(2):
            weight.begin()
            weight.update(left, right, size)
            weight.update(left.flip(0), right.flip(0), -size)
            weight.rollback()
            after = weight.apply(right), weight.apply_transpose(left), self.to_dense(weight)
            assert all(torch.equal(a, b) for a, b in zip(after, before, strict=True))

    def test_what_is_committed_stays(self, weight, left, right):
        forward = weight.apply(right)
        weight.begin()
        weight.update(left, right, 0.7)
        weight.commit()
        self.close(weight.apply(right), forward + 0.7 * right @ right.T @ left)
        with pytest.raises(RuntimeError, match="begin"):
            weight.rollback()

    def test_entries_are_standard_normal_and_independent(self):
        """Moments over 20 matrices of 60 × 50, used in products first: each within 4 standard errors."""
        n_out, n_in, count = 60, 50, 20
        matrices = []
        for seed in range(count):
            weight = self.make_weight(n_out, n_in, seed)
            weight.apply_transpose(weight.apply(rows(5, n_in, "law")))
            matrices.append(self.to_dense(weight))
        w = torch.stack(matrices)
        entries = w.numel()
        assert abs(w.mean()) < 4 / entries**0.5
        assert abs(w.square().mean() - 1) < 4 * (2 / entries) ** 0.5
        assert abs(w.pow(4).mean() - 3) < 4 * (96 / entries) ** 0.5
        # Σ_{i≠j}(row_i · row_j)², its mean n_in per pair, pairs uncorrelated: Var((a·b)²) = 2 n_in² + 6 n_in.
        pairs = count * n_out * (n_out - 1) / 2
        overlaps = (w @ w.mT).square().triu(diagonal=1).sum() / pairs
        assert abs(overlaps - n_in) < 4 * ((2 * n_in**2 + 6 * n_in) / pairs) ** 0.5
        # The matrices are independent of one another: the products of entries at the same place.
        assert abs((w[:-1] * w[1:]).mean()) < 4 / (entries * (count - 1) / count) ** 0.5


class TestDenseWeight(WeightContract):
    def make_weight(self, n_out, n_in, seed=0, dtype=F64):
        return DenseWeight.draw(n_out, n_in, generator("weight", n_out, n_in, seed), dtype)

    def to_dense(self, weight):
        return weight.values.clone()


class TestDenseWeightInBlocks(TestDenseWeight):
    """The path of wide matrices, with blocks that do not divide the width."""

    @pytest.fixture(autouse=True)
    def _narrow_blocks(self, monkeypatch):
        monkeypatch.setattr(weights, "BLOCK", 7)


class TestDeferredWeight(WeightContract):
    def make_weight(self, n_out, n_in, seed=0, dtype=F64):
        return DeferredWeight.draw(n_out, n_in, generator("weight", n_out, n_in, seed), dtype)

    def to_dense(self, weight):
        return sum((left.T @ right for left, right in weight.factors), start=weight.matrix.values.clone())

    def test_draws_the_same_matrix_as_the_dense_weight(self):
        dense = TestDenseWeight().make_weight(7, 5)
        assert torch.equal(self.make_weight(7, 5).matrix.values, dense.values)

    def test_keeps_a_third_of_the_rank_apart_and_adds_the_oldest_to_the_matrix(self):
        """Rank 30 of the smaller side: two updates of rank 4 are kept, and both the third and the fourth fold one."""
        weight = self.make_weight(40, 30)
        before, updates = weight.matrix.values.clone(), []
        for i in range(4):
            updates.append((rows(4, 40, "left", i), rows(4, 30, "right", i)))
            weight.update(*updates[-1], 0.5)
        assert all(right is kept for (_, right), (_, kept) in zip(updates[2:], weight.factors, strict=True))
        expected = before + 0.5 * sum(left.T @ right for left, right in updates[:2])
        torch.testing.assert_close(weight.matrix.values, expected, **EXACT)

    def test_updates_with_the_same_right_side_are_one(self):
        weight = self.make_weight(40, 30)
        left, right = rows(4, 40, "left"), rows(4, 30, "right")
        for scale in (0.3, -0.1):
            weight.update(left, right, scale)
        ((sum_of_left, kept),) = weight.factors
        assert kept is right
        torch.testing.assert_close(sum_of_left, 0.2 * left, **EXACT)

    def test_nothing_is_added_to_the_matrix_before_the_commit(self):
        weight = self.make_weight(40, 30)
        matrix = weight.matrix.values.clone()
        weight.begin()
        for i in range(4):
            weight.update(rows(4, 40, "left", i), rows(4, 30, "right", i), 0.5)
        assert torch.equal(weight.matrix.values, matrix)
        before = self.to_dense(weight)
        weight.commit()
        assert len(weight.factors) == 2
        torch.testing.assert_close(self.to_dense(weight), before, **EXACT)

    def test_refuses_an_ensemble(self):
        with pytest.raises(ValueError, match=r"single matrix.*\(2, 5, 4\)"):
            DeferredWeight.draw(5, 4, [generator("ensemble", s) for s in range(2)], F64)

    def test_the_left_side_may_change_afterwards(self):
        weight = self.make_weight(40, 30)
        left = rows(4, 40, "left")
        weight.update(left, rows(4, 30, "right"), 1.0)
        before = self.to_dense(weight)
        left.zero_()
        assert torch.equal(self.to_dense(weight), before)


class TestRevealedWeight(WeightContract):
    """``to_dense`` completes the matrix from what is revealed, by a stream of each weight's own."""

    def make_weight(self, n_out, n_in, seed=0, dtype=F64):
        weight = RevealedWeight(n_out, n_in, generator("weight", n_out, n_in, seed), dtype)
        weight.seed_of_the_rest = seed
        return weight

    def to_dense(self, weight):
        return weight.completed(generator("rest", weight.seed_of_the_rest))


@pytest.mark.parametrize(("n_out", "n_in"), [(2 * weights.BLOCK + 1, 3), (3, 2 * weights.BLOCK + 1)])
def test_products_above_the_block_size(n_out, n_in):
    weight = DenseWeight.draw(n_out, n_in, generator("wide"), F64)
    v, u = rows(2, n_in), rows(2, n_out)
    torch.testing.assert_close(weight.apply(v), v @ weight.values.T, **EXACT)
    torch.testing.assert_close(weight.apply_transpose(u), u @ weight.values, **EXACT)


def test_wide_products_are_taken_in_blocks(monkeypatch):
    """No product is with more than BLOCK rows of the matrix."""
    monkeypatch.setattr(weights, "BLOCK", 10)
    seen = []

    class Record(TorchFunctionMode):
        def __torch_function__(self, function, types, args=(), kwargs=None):
            if function.__name__ in ("mm", "matmul", "__matmul__"):
                seen.append(tuple(args[0].shape))
            return function(*args, **(kwargs or {}))

    weight = DenseWeight(rows(25, 4))
    with Record():
        weight.apply(rows(2, 4))
    assert seen == [(10, 4), (10, 4), (5, 4)]


class TestEnsemble:
    """An ensemble (S, n_out, n_in) does to each matrix what one matrix does alone."""

    @pytest.fixture
    def streams(self):
        return [generator("ensemble", s) for s in range(3)]

    @pytest.fixture
    def ensemble(self, streams):
        return DenseWeight.draw(5, 4, streams, F64)

    def alone(self, ensemble):
        return [DenseWeight(matrix.clone()) for matrix in ensemble.values]

    def test_shape_is_that_of_one_matrix(self, ensemble):
        assert ensemble.shape == (5, 4)
        assert ensemble.values.shape == (3, 5, 4)

    @pytest.mark.parametrize("dtype", [torch.float32, F64])
    def test_draw_is_that_of_each_generator(self, streams, dtype):
        ensemble = DenseWeight.draw(5, 4, streams, dtype)
        for s, matrix in enumerate(ensemble.values):
            assert torch.equal(matrix, DenseWeight.draw(5, 4, generator("ensemble", s), dtype).values)

    @pytest.mark.parametrize("shared", [True, False])
    def test_products_and_update(self, ensemble, shared):
        right = rows(2, 4) if shared else torch.stack([rows(2, 4, s) for s in range(3)])
        left = rows(2, 5) if shared else torch.stack([rows(2, 5, s) for s in range(3)])
        single = self.alone(ensemble)
        forward, backward = ensemble.apply(right), ensemble.apply_transpose(left)
        ensemble.update(left, right, -0.4)
        for s, weight in enumerate(single):
            r, l = (right, left) if shared else (right[s], left[s])
            torch.testing.assert_close(forward[s], weight.apply(r), **EXACT)
            torch.testing.assert_close(backward[s], weight.apply_transpose(l), **EXACT)
            weight.update(l, r, -0.4)
            torch.testing.assert_close(ensemble.values[s], weight.values, **EXACT)

    def test_normalize_columns(self, ensemble):
        single = self.alone(ensemble)
        ensemble.normalize_columns()
        for s, weight in enumerate(single):
            weight.normalize_columns()
            torch.testing.assert_close(ensemble.values[s], weight.values, **EXACT)


def test_normalize_columns_gives_unit_rms_and_keeps_directions():
    weight = DenseWeight.draw(6, 4, generator("columns"), F64)
    before = weight.values.clone()
    weight.normalize_columns()
    torch.testing.assert_close(weight.values.square().mean(dim=0), torch.ones(4, dtype=F64), **EXACT)
    cosine = torch.nn.functional.cosine_similarity(weight.values, before, dim=0)
    torch.testing.assert_close(cosine, torch.ones(4, dtype=F64), **EXACT)


@pytest.mark.parametrize("shape", [(3,), (2, 2, 2, 2)])
def test_refuses_what_is_not_a_matrix_or_an_ensemble(shape):
    with pytest.raises(ValueError, match="shape"):
        DenseWeight(torch.zeros(shape))
