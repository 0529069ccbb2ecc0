"""The losses as pure functions: RetinexNet's (Wei et al., BMVC 2018, section 3) and PlusNet's.

Symbols as in the paper: S a photo, R its reflectance, I its illumination, Î the enhanced
illumination; `low` and `high` name the dark and the normally lit photo of a pair. Photos and
reflectances are (b, 3, h, w), illuminations (b, 1, h, w), all in [0, 1] but for Î, which isn't
bounded. Every loss returns a scalar. ‖·‖₁ is the mean absolute value.
"""

from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional

from retinex.metrics import SSIM_WINDOW
from retinex.photo import LUMA
from retinex.training.networks import Decomposition, RetinexStages

ENHANCE_SMOOTHNESS_WEIGHT = 3.0
"""Weight of the smoothness of Î in the paper's code (lowlight_enhance)."""
STRUCTURE_AWARENESS = 10.0
"""λ_g in the paper: how strongly edges of R allow edges of I."""
PLUS_SSIM_WEIGHT = 1.5
PLUS_CORRECTED_WEIGHT = 0.5
"""Weight of the error that is left when the reference has told the exposure."""
DARKEST_OUTPUT = 0.02
PLUS_STAGE_WEIGHT = 0.1
"""Weight of R · I ≈ S, and of both illuminations' likeness to the brightest colour channel."""
PLUS_SMOOTHNESS_WEIGHT = 0.05
SSIM_STEP = 4
"""Distance of SSIM's windows, in pixels: all of them would cost much of PlusNet's training time."""


@dataclass(frozen=True)
class DecomWeights:
    """Weights of L_decom's terms; by default those of the paper's code.

    The paper's text has 0.001 for λ_ir.

    Attributes:
        mutual: of mutual reconstruction, the paper's λ_ij for i ≠ j.
        invariable: of equal reflectances, the paper's λ_ir.
        smoothness: of illuminations, the paper's λ_is.
    """

    mutual: float = 0.001
    invariable: float = 0.01
    smoothness: float = 0.1


PAPERS_CODE = DecomWeights()
SEPARATE = DecomWeights(mutual=0.1, invariable=0.1, smoothness=1.0)
"""What Decom-Net trained separately does better with; trained together with Enhance-Net, it did
worse (results/choices.md has the figures)."""


def gray(rgb: Tensor) -> Tensor:
    """Luma of an RGB image: (b, 3, h, w) → (b, 1, h, w)."""
    red, green, blue = rgb[:, 0:1], rgb[:, 1:2], rgb[:, 2:3]
    return LUMA[0] * red + LUMA[1] * green + LUMA[2] * blue


def gradient_x(image: Tensor) -> Tensor:
    """|∇ₓ|: absolute difference of horizontal neighbours, (b, c, h, w) → (b, c, h, w − 1)."""
    return (image[:, :, :, 1:] - image[:, :, :, :-1]).abs()


def gradient_y(image: Tensor) -> Tensor:
    """|∇ᵧ|: absolute difference of vertical neighbours, (b, c, h, w) → (b, c, h − 1, w)."""
    return (image[:, :, 1:, :] - image[:, :, :-1, :]).abs()


def structure_weight(gradient: Tensor) -> Tensor:
    """exp(−λ_g · avgpool₃(|∇R|)): 1 in flat areas of R, towards 0 at its edges.

    Same shape in and out. The mean over 3×3 counts only pixels inside the image.
    """
    mean = functional.avg_pool2d(
        gradient, kernel_size=3, stride=1, padding=1, count_include_pad=False
    )
    return (-STRUCTURE_AWARENESS * mean).exp()


def smoothness_loss(illumination: Tensor, reflectance: Tensor) -> Tensor:
    """Structure-aware smoothness L_is(I, R) = ‖∇I · exp(−λ_g ∇R)‖₁, summed over x and y.

    Needs a height and a width of at least 2.
    """
    structure = gray(reflectance)
    loss_x = gradient_x(illumination) * structure_weight(gradient_x(structure))
    loss_y = gradient_y(illumination) * structure_weight(gradient_y(structure))
    return loss_x.mean() + loss_y.mean()


def reconstruction_loss(decomposition: Decomposition, photo: Tensor) -> Tensor:
    """‖R · I − S‖₁: one term of L_recon."""
    return functional.l1_loss(decomposition.reflectance * decomposition.illumination, photo)


def decom_loss(
    low: Decomposition,
    high: Decomposition,
    photo_low: Tensor,
    photo_high: Tensor,
    weights: DecomWeights = PAPERS_CODE,
) -> Tensor:
    """L_decom = L_recon + λ_ir · L_ir + λ_is · L_is, the loss that the paper trains Decom-Net with.

    L_recon holds both photos' own reconstructions and, weighted by λ_ij, the mutual ones
    R_low · I_high ≈ S_high and R_high · I_low ≈ S_low; L_ir = ‖R_low − R_high‖₁.
    """
    reconstruction = reconstruction_loss(low, photo_low) + reconstruction_loss(high, photo_high)
    mutual = reconstruction_loss(
        Decomposition(low.reflectance, high.illumination), photo_high
    ) + reconstruction_loss(Decomposition(high.reflectance, low.illumination), photo_low)
    invariable_reflectance = functional.l1_loss(low.reflectance, high.reflectance)
    smoothness = smoothness_loss(low.illumination, low.reflectance) + smoothness_loss(
        high.illumination, high.reflectance
    )
    return (
        reconstruction
        + weights.mutual * mutual
        + weights.invariable * invariable_reflectance
        + weights.smoothness * smoothness
    )


def enhance_loss(reflectance: Tensor, enhanced_illumination: Tensor, photo_high: Tensor) -> Tensor:
    """L_enhance = ‖R_low · Î − S_high‖₁ + 3 · L_is(Î, R_low)."""
    reconstruction = functional.l1_loss(reflectance * enhanced_illumination, photo_high)
    smoothness = smoothness_loss(enhanced_illumination, reflectance)
    return reconstruction + ENHANCE_SMOOTHNESS_WEIGHT * smoothness


def ssim(image: Tensor, reference: Tensor) -> Tensor:
    """Structural similarity (Wang et al., IEEE TIP 2004), the mean over windows and channels.

    Uniform windows, K₁ = 0.01, K₂ = 0.03. Both (b, c, h, w), of at least 7×7 pixels.
    """

    def mean(values: Tensor) -> Tensor:
        return functional.avg_pool2d(values, SSIM_WINDOW, SSIM_STEP)

    mean_x, mean_y = mean(image), mean(reference)
    variance_x = mean(image**2) - mean_x**2
    variance_y = mean(reference**2) - mean_y**2
    covariance = mean(image * reference) - mean_x * mean_y
    luminance = (2 * mean_x * mean_y + 0.01**2) / (mean_x**2 + mean_y**2 + 0.01**2)
    structure = (2 * covariance + 0.03**2) / (variance_x + variance_y + 0.03**2)
    return (luminance * structure).mean()


def correct_mean(output: Tensor, reference: Tensor) -> Tensor:
    """Scale each image to its reference's mean; both (b, c, h, w). The scale has no gradient."""
    image = (1, 2, 3)
    mean = output.detach().mean(dim=image, keepdim=True).clamp(min=DARKEST_OUTPUT)
    return output * (reference.mean(dim=image, keepdim=True) / mean)


def plus_loss(
    stages: RetinexStages, photo_low: Tensor, photo_high: Tensor, mean_weight: float = 0.0
) -> Tensor:
    """PlusNet's loss, on its output and, with little weight, on what its stages mean.

    ‖R · Î − S_high‖₁ + 1.5 · (1 − SSIM) + 0.5 · ‖c · R · Î − S_high‖₁ + λ_mean · (m − m_high)²,
    where c is the ratio of both means: how bright a scene was to become can't be known from a dark
    photo, and not knowing shouldn't outweigh colours and details. m and m_high are the means and
    λ_mean is `mean_weight`: absolute differences alone prefer too dark where it can't be known.

    The stages' terms are 0.1 times ‖R · I − S_low‖₁, ‖I − max S_low‖₁ and ‖Î − max S_high‖₁, where
    max is a pixel's brightest colour channel, and 0.05 times the smoothness of I and Î.
    """
    reflectance, illumination, enhanced_illumination, output = stages
    image = (1, 2, 3)
    restoration = (
        functional.l1_loss(output, photo_high)
        + PLUS_SSIM_WEIGHT * (1 - ssim(output, photo_high))
        + PLUS_CORRECTED_WEIGHT * functional.l1_loss(correct_mean(output, photo_high), photo_high)
        + mean_weight * functional.mse_loss(output.mean(image), photo_high.mean(image))
    )
    meaning = (
        reconstruction_loss(Decomposition(reflectance, illumination), photo_low)
        + functional.l1_loss(illumination, photo_low.amax(dim=1, keepdim=True))
        + functional.l1_loss(enhanced_illumination, photo_high.amax(dim=1, keepdim=True))
    )
    smoothness = smoothness_loss(illumination, reflectance) + smoothness_loss(
        enhanced_illumination, reflectance
    )
    return restoration + PLUS_STAGE_WEIGHT * meaning + PLUS_SMOOTHNESS_WEIGHT * smoothness
