"""Laws that every distance between clouds obeys: symmetry, triangle inequality, scaling, batches, gradients."""

import pytest
import torch
from hypothesis import given
from torch.autograd import gradcheck

from tests.transport.helpers import (
    both_dtypes,
    covariance,
    few,
    masses,
    normal,
    orders,
    seeds,
    shuffled,
    sizes,
    tracked,
)
from wgan_cli.transport import (
    exact_wasserstein,
    gaussian_w2,
    sinkhorn,
    sinkhorn_divergence,
    sliced_wasserstein,
    wasserstein_1d,
    wasserstein_1d_normal,
)

DISTANCES = {
    "1d": lambda x, y, p: wasserstein_1d(x[..., 0], y[..., 0], p),
    "exact": exact_wasserstein,
    "sliced": lambda x, y, p: sliced_wasserstein(x, y, 16, p, torch.Generator().manual_seed(0)),
}
every_distance = pytest.mark.parametrize("distance", DISTANCES.values(), ids=DISTANCES)


@every_distance
@few
@given(seed=seeds, n=sizes, m=sizes, p=orders)
def test_symmetry_permutation_translation_and_scaling(distance, seed, n, m, p):
    x, y = normal(seed, n, 3), normal(seed + 1, m, 3) + 1
    between = distance(x, y, p)
    close = {"rtol": 1e-9, "atol": 1e-12}
    torch.testing.assert_close(distance(y, x, p), between, **close)
    torch.testing.assert_close(distance(shuffled(seed, x, 0), shuffled(seed + 1, y, 0), p), between, **close)
    torch.testing.assert_close(distance(x + 5, y + 5, p), between, **close)
    torch.testing.assert_close(distance(-3 * x, -3 * y, p), 3 * between, **close)


@every_distance
@few
@given(seed=seeds, n=sizes, m=sizes, k=sizes, p=orders)
def test_triangle_inequality(distance, seed, n, m, k, p):
    x, y, z = normal(seed, n, 3), normal(seed + 1, m, 3) + 1, normal(seed + 2, k, 3) * 2
    assert distance(x, z, p) <= distance(x, y, p) + distance(y, z, p) + 1e-9


@every_distance
@few
@given(seed=seeds, n=sizes, p=orders)
def test_distance_grows_with_p_and_is_zero_between_equal_clouds(distance, seed, n, p):
    x, y = normal(seed, n, 3), normal(seed + 1, n, 3)
    assert distance(x, shuffled(seed, x, 0), p) == pytest.approx(0, abs=1e-12)
    assert distance(x, y, p) <= distance(x, y, p + 1) + 1e-12


@every_distance
@pytest.mark.parametrize("p", [1, 2, 3.5])
def test_batch_equals_one_call_per_pair(distance, p):
    x, y = normal(0, 2, 3, 6, 2), normal(1, 3, 4, 2)
    each = torch.stack([torch.stack([distance(x[i, j], y[j], p) for j in range(3)]) for i in range(2)])
    torch.testing.assert_close(distance(x, y, p), each)


def test_batch_of_weights_equals_one_call_per_row():
    x, y, b = normal(0, 5, 2), normal(1, 4, 2), masses(1, 3, 4)
    distances = [
        lambda b: wasserstein_1d(x[:, 0], y[:, 0], 2, None, b),
        lambda b: exact_wasserstein(x, y, 2, None, b),
        lambda b: sliced_wasserstein(x, y, 4, 2, torch.Generator().manual_seed(0), None, b),
        lambda b: sinkhorn(x, y, 0.5, 2, None, b, tolerance=1e-12).cost,
        lambda b: sinkhorn_divergence(x, y, 0.5, 2, None, b, tolerance=1e-12),
        lambda b: wasserstein_1d_normal(y[:, 0], 0, 1, 1, b),
    ]
    for distance in distances:
        torch.testing.assert_close(distance(b), torch.stack([distance(row) for row in b]))


@every_distance
@pytest.mark.parametrize("p", [1, 1.5, 2, 3])
@pytest.mark.parametrize("m", [4, 6])
def test_gradient_matches_finite_differences(distance, p, m):
    assert gradcheck(lambda x, y: distance(x, y, p), tracked(normal(0, 2, 4, 2), normal(1, 2, m, 2) + 1))


@every_distance
@both_dtypes
@pytest.mark.parametrize("p", [1, 1.5, 2, 3])
def test_gradient_is_zero_at_distance_zero(distance, dtype, p):
    (x,) = tracked(normal(0, 5, 2).to(dtype))
    distance(x, x.detach(), p).backward()
    assert torch.equal(x.grad, torch.zeros_like(x))


@every_distance
@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_tiny_and_huge_distances_do_not_underflow_or_overflow_in_float32(distance, scale):
    x, y = normal(0, 5, 2), normal(1, 5, 2)
    for p in (1, 2, 5):
        single = distance((x * scale).float(), (y * scale).float(), p).item()
        assert single / scale == pytest.approx(distance(x, y, p).item(), rel=1e-5)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@both_dtypes
def test_gpu_and_cpu_agree(dtype):
    x, y, a, b = (tensor.to(dtype) for tensor in (normal(0, 2, 6, 3), normal(1, 2, 8, 3), masses(0, 6), masses(1, 8)))
    cov = covariance(0, 3).to(dtype)

    def everything(x, y, a, b, cov):
        return [
            wasserstein_1d(x[..., 0], y[..., 0], 2, a, b),
            wasserstein_1d(x[..., 0], y[..., 0]),
            wasserstein_1d_normal(x[..., 0], 0, 1, 1, a),
            sliced_wasserstein(x, y, 8, 2, torch.Generator().manual_seed(0), a, b),
            gaussian_w2(x[:, 0], cov, y[:, 0], 2 * cov),
            exact_wasserstein(x, y, 1, a, b),
            sinkhorn(x, y, 0.1, 2, a, b).cost,
            sinkhorn_divergence(x, y, 0.1, 2, a, b),
        ]

    (on_cpu,) = tracked(x)
    on_gpu = x.cuda().requires_grad_()
    expected = everything(on_cpu, y, a, b, cov)
    actual = everything(on_gpu, y.cuda(), a.cuda(), b.cuda(), cov.cuda())
    for gpu_value, cpu_value in zip(actual, expected, strict=True):
        assert gpu_value.is_cuda
        torch.testing.assert_close(gpu_value.cpu(), cpu_value, rtol=1e-4, atol=1e-4)
    torch.stack([value.sum() for value in expected]).sum().backward()
    torch.stack([value.sum() for value in actual]).sum().backward()
    torch.testing.assert_close(on_gpu.grad.cpu(), on_cpu.grad, rtol=1e-2, atol=1e-3)
