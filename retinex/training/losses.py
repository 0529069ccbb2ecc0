"""The losses of RetinexNet as pure functions (Wei et al., BMVC 2018, section 3).

Symbols as in the paper: S a photo, R its reflectance, I its illumination, Î the enhanced
illumination; `low` and `high` name the dark and the normally lit photo of a pair. Photos and
reflectances are (b, 3, h, w), illuminations (b, 1, h, w), all in [0, 1] but for Î, which isn't
bounded. Every loss returns a scalar. ‖·‖₁ is the mean absolute value.
"""

from torch import Tensor
from torch.nn import functional

from retinex.photo import LUMA
from retinex.training.networks import Decomposition

MUTUAL_RECONSTRUCTION_WEIGHT = 0.001
"""λ_ij for i ≠ j in the paper's equation 2."""
INVARIABLE_REFLECTANCE_WEIGHT = 0.01
"""λ_ir in the paper's equation 1."""
DECOM_SMOOTHNESS_WEIGHT = 0.1
"""λ_is in the paper's equation 1."""
ENHANCE_SMOOTHNESS_WEIGHT = 3.0
"""Weight of the smoothness of Î in the paper's code (lowlight_enhance)."""
STRUCTURE_AWARENESS = 10.0
"""λ_g in the paper's equation 4: how strongly edges of R allow edges of I."""


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
    """Structure-aware smoothness L_is(I, R) = ‖∇I · exp(−λ_g ∇R)‖₁, summed over x and y (eq. 4).

    Needs a height and a width of at least 2.
    """
    structure = gray(reflectance)
    loss_x = gradient_x(illumination) * structure_weight(gradient_x(structure))
    loss_y = gradient_y(illumination) * structure_weight(gradient_y(structure))
    return loss_x.mean() + loss_y.mean()


def reconstruction_loss(decomposition: Decomposition, photo: Tensor) -> Tensor:
    """‖R · I − S‖₁: one term of L_recon (eq. 2)."""
    return functional.l1_loss(decomposition.reflectance * decomposition.illumination, photo)


def decom_loss(
    low: Decomposition, high: Decomposition, photo_low: Tensor, photo_high: Tensor
) -> Tensor:
    """L_decom = L_recon + λ_ir · L_ir + λ_is · L_is (eq. 1).

    L_recon holds both photos' own reconstructions and, weighted by 0.001, the mutual ones
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
        + MUTUAL_RECONSTRUCTION_WEIGHT * mutual
        + INVARIABLE_REFLECTANCE_WEIGHT * invariable_reflectance
        + DECOM_SMOOTHNESS_WEIGHT * smoothness
    )


def enhance_loss(reflectance: Tensor, enhanced_illumination: Tensor, photo_high: Tensor) -> Tensor:
    """L_enhance = ‖R_low · Î − S_high‖₁ + 3 · L_is(Î, R_low) (section 3.2)."""
    reconstruction = functional.l1_loss(reflectance * enhanced_illumination, photo_high)
    smoothness = smoothness_loss(enhanced_illumination, reflectance)
    return reconstruction + ENHANCE_SMOOTHNESS_WEIGHT * smoothness
