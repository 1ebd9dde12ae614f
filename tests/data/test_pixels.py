import pytest
import torch

from wgan_cli.data.pixels import scale, to_pixels


def test_bytes_are_scaled_and_other_values_left_alone() -> None:
    scaled = scale(torch.tensor([0, 51, 255], dtype=torch.uint8))
    assert scaled.dtype == torch.float32
    assert scaled.tolist() == pytest.approx([-1, -0.6, 1])
    values = torch.tensor([-7.0, 300.0], dtype=torch.float64)
    assert scale(values) is values


def test_pixels_are_rounded_to_the_nearest() -> None:
    values = torch.arange(256, dtype=torch.float32).mul(2 / 255).sub(1)
    pixels = to_pixels(values.reshape(1, 1, 16, 16))
    assert pixels.shape == (1, 16, 16, 1)
    assert pixels.flatten().tolist() == list(range(256))
    assert to_pixels(torch.tensor([-9.0, 9.0]).reshape(1, 1, 1, 2)).flatten().tolist() == [0, 255]
