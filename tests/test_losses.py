"""Every loss against values worked out by hand on tiny images."""

from math import exp

import numpy as np
import pytest
import torch
from skimage.metrics import structural_similarity
from torch import Tensor

from retinex.training.losses import (
    PAPERS_CODE,
    DecomWeights,
    correct_mean,
    decom_loss,
    enhance_loss,
    gradient_x,
    gradient_y,
    gray,
    plus_loss,
    reconstruction_loss,
    smoothness_loss,
    ssim,
    structure_weight,
)
from retinex.training.networks import Decomposition, RetinexStages

STEP = [[0.0, 0.0, 1.0], [0.0, 0.0, 1.0]]
"""Two rows, three columns, an edge between the second and the third column."""


def one_channel(rows: list[list[float]]) -> Tensor:
    return torch.tensor(rows)[None, None]


def gray_photo(rows: list[list[float]]) -> Tensor:
    return one_channel(rows).expand(1, 3, -1, -1)


def flat(value: float, channels: int) -> Tensor:
    return torch.full((1, channels, 2, 2), value)


def test_gray_weighs_the_colours() -> None:
    red, green, blue = torch.eye(3)[:, :, None, None]
    mixed = 0.5 * red + 0.25 * green + 1.0 * blue

    luma = gray(torch.stack([red, green, blue, mixed]))

    # 0.5 · 0.299 + 0.25 · 0.587 + 0.114 = 0.1495 + 0.14675 + 0.114 = 0.41025
    assert luma.flatten().tolist() == pytest.approx([0.299, 0.587, 0.114, 0.41025])
    assert luma.shape == (4, 1, 1, 1)


def test_gradients_are_absolute_differences_of_neighbours() -> None:
    image = one_channel([[0.0, 0.5, 0.25], [1.0, 0.5, 0.5]])

    # Along rows: |0.5 − 0|, |0.25 − 0.5|; |0.5 − 1|, |0.5 − 0.5|. Down: |1 − 0|, 0, |0.5 − 0.25|.
    assert gradient_x(image).tolist() == [[[[0.5, 0.25], [0.5, 0.0]]]]
    assert gradient_y(image).tolist() == [[[[1.0, 0.0, 0.25]]]]


def test_structure_weight_averages_only_pixels_inside() -> None:
    gradient = one_channel([[0.0, 0.0, 0.3], [0.0, 0.0, 0.3]])

    weight = structure_weight(gradient)

    # Column 0 sees columns 0 and 1: mean 0. Column 1 sees all three: mean (2 · 0.3) / 6 = 0.1.
    # Column 2 sees columns 1 and 2: mean (2 · 0.3) / 4 = 0.15. λ_g = 10.
    row = [1.0, exp(-1.0), exp(-1.5)]
    assert weight[0, 0, 0].tolist() == pytest.approx(row)
    assert weight[0, 0, 1].tolist() == pytest.approx(row)


def test_smoothness_is_the_mean_gradient_where_reflectance_is_flat() -> None:
    illumination = one_channel([[0.0, 0.2, 0.4], [0.1, 0.1, 0.1]])

    loss = smoothness_loss(illumination, gray_photo([[0.5] * 3] * 2))

    # x: (0.2 + 0.2 + 0 + 0) / 4 = 0.1; y: (0.1 + 0.1 + 0.3) / 3 = 1/6. Every weight is exp(0) = 1.
    assert loss.item() == pytest.approx(0.1 + 1 / 6)


def test_smoothness_forgives_edges_that_reflectance_has_too() -> None:
    loss = smoothness_loss(one_channel(STEP), gray_photo(STEP))

    # ∇ₓR is 0, 1 in each row; the mean over a neighbourhood inside the image (all four values) is
    # 0.5, so every weight is exp(−10 · 0.5). ∇ₓI is 0, 1: mean 0.5. Nothing changes along y.
    assert loss.item() == pytest.approx(0.5 * exp(-5))


def test_smoothness_punishes_edges_where_reflectance_has_none() -> None:
    loss = smoothness_loss(
        one_channel([[0.0, 1.0, 1.0, 1.0]] * 2), gray_photo([[0, 0, 0, 1.0]] * 2)
    )

    # ∇ₓR is 0, 0, 1: around the first column it is flat, so the weight there is 1. ∇ₓI is 1, 0, 0.
    assert loss.item() == pytest.approx(1 / 3)


def test_smoothness_reads_edges_of_reflectance_in_gray() -> None:
    reflectance = torch.zeros(1, 3, 2, 2)
    reflectance[:, 0, :, 1] = 1.0  # a red edge: 0.299 in gray

    loss = smoothness_loss(one_channel([[0.0, 1.0]] * 2), reflectance)

    # ∇ₓI = 1 in both rows with weight exp(−10 · 0.299); ∇ᵧI = 0.
    assert loss.item() == pytest.approx(exp(-2.99))


def test_reconstruction_is_the_mean_absolute_error() -> None:
    decomposition = Decomposition(flat(0.5, 3), one_channel([[1.0, 0.0], [0.5, 0.5]]))

    loss = reconstruction_loss(decomposition, flat(0.4, 3))

    # R · I = 0.5, 0, 0.25, 0.25; minus 0.4: 0.1 + 0.4 + 0.15 + 0.15 = 0.8 over four pixels.
    assert loss.item() == pytest.approx(0.2)


@pytest.mark.parametrize("weights", [PAPERS_CODE, DecomWeights(0.2, 0.3, 0.4)])
def test_decom_loss_weighs_its_terms(weights: DecomWeights) -> None:
    low = Decomposition(flat(0.6, 3), one_channel([[0.1, 0.3]] * 2))
    high = Decomposition(flat(0.8, 3), flat(0.5, 1))

    loss = decom_loss(low, high, flat(0.1, 3), flat(0.9, 3), weights)

    # own:    R_low · I_low = 0.06, 0.18 against 0.1: (0.04 + 0.08) / 2 = 0.06;
    #         R_high · I_high = 0.4 against 0.9: 0.5
    # mutual: R_low · I_high = 0.3 against 0.9: 0.6;
    #         R_high · I_low = 0.08, 0.24 against 0.1: (0.02 + 0.14) / 2 = 0.08
    # reflectances differ by 0.2; ∇ₓI_low = 0.2 with weight 1, ∇I_high = 0
    mutual, invariable = weights.mutual, weights.invariable
    expected = (0.06 + 0.5) + mutual * (0.6 + 0.08) + invariable * 0.2 + weights.smoothness * 0.2
    assert loss.item() == pytest.approx(expected)


def test_decom_loss_is_zero_for_a_perfect_flat_decomposition() -> None:
    low, high = Decomposition(flat(0.5, 3), flat(0.25, 1)), Decomposition(flat(0.5, 3), flat(1, 1))

    # Even so the mutual terms vanish: R is the same. 0.5 · 0.25 = 0.125.
    assert decom_loss(low, high, flat(0.125, 3), flat(0.5, 3)).item() == 0.0


def test_enhance_loss_weighs_smoothness_by_three() -> None:
    enhanced = one_channel([[1.0, 2.0]] * 2)

    loss = enhance_loss(flat(0.5, 3), enhanced, flat(0.8, 3))

    # R · Î = 0.5, 1.0 against 0.8: (0.3 + 0.2) / 2 = 0.25; ∇ₓÎ = 1 with weight 1.
    assert loss.item() == pytest.approx(0.25 + 3 * 1.0)


def test_ssim_is_that_of_scikit_image() -> None:
    rng = np.random.default_rng(0)
    image, other = rng.random((2, 3, 7, 7), dtype=np.float32)

    ours = ssim(torch.from_numpy(image)[None], torch.from_numpy(other)[None])

    # One window: its 49 pixels are averaged over without Bessel's correction.
    expected = structural_similarity(
        image, other, data_range=1, channel_axis=0, use_sample_covariance=False
    )
    assert ours.item() == pytest.approx(expected, abs=1e-5)
    assert ssim(torch.from_numpy(image)[None], torch.from_numpy(image)[None]).item() == 1


def test_correct_mean_scales_each_image_to_its_reference() -> None:
    output = torch.stack([torch.full((3, 2, 2), 0.2), torch.full((3, 2, 2), 0.5)])
    reference = torch.stack([torch.full((3, 2, 2), 0.6), torch.full((3, 2, 2), 0.25)])

    torch.testing.assert_close(correct_mean(output, reference), reference)


def test_plus_loss_of_flat_stages() -> None:
    def plane(value: float, channels: int) -> Tensor:
        return torch.full((1, channels, 7, 7), value)

    stages = RetinexStages(plane(0.5, 3), plane(0.2, 1), plane(0.4, 1), plane(0.2, 3))
    reference = torch.cat([plane(0.6, 1), plane(0.8, 1), plane(1.0, 1)], dim=1)

    loss = plus_loss(stages, plane(0.15, 3), reference, mean_weight=10)

    # With variance 0, SSIM has its luminance term alone.
    luminance = [(2 * 0.2 * x + 1e-4) / (0.2**2 + x**2 + 1e-4) for x in (0.6, 0.8, 1.0)]
    restoration = 0.6 + 1.5 * (1 - sum(luminance) / 3)
    # Corrected, the output is 0.8: wrong by 0.2 in two of three channels. Its mean was 0.2.
    restoration += 0.5 * 0.4 / 3 + 10 * 0.36
    # R · I = 0.1 for 0.15, I = 0.2 for 0.15, Î = 0.4 for 1; flat illuminations are smooth.
    expected = restoration + 0.1 * (0.05 + 0.05 + 0.6)
    assert loss.item() == pytest.approx(expected, abs=1e-4)
