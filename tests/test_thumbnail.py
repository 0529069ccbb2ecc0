import numpy as np
import pytest

from retinex.thumbnail import THUMBNAIL_SIZE, _average_parts, make_thumbnail


@pytest.mark.parametrize("size", [1, 7, 63, 64, 65, 200, 6000])
def test_every_pixel_counts_alike(size: int) -> None:
    weights = _average_parts(np.eye(size))

    assert weights.shape == (THUMBNAIL_SIZE, size)
    np.testing.assert_allclose(weights.sum(axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(weights.sum(axis=0), THUMBNAIL_SIZE / size, rtol=1e-4)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (5, 300), (128, 192), (700, 64)])
def test_the_mean_is_kept(height: int, width: int) -> None:
    photo = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)

    thumbnail = make_thumbnail(photo)

    assert thumbnail.shape == (THUMBNAIL_SIZE, THUMBNAIL_SIZE, 3)
    np.testing.assert_allclose(thumbnail.mean(axis=(0, 1)), photo.mean(axis=(0, 1)), atol=0.5)


def test_pixels_are_means_of_blocks() -> None:
    photo = np.random.default_rng(0).integers(0, 256, (128, 320, 3), dtype=np.uint8)

    blocks = photo.reshape(64, 2, 64, 5, 3).mean(axis=(1, 3))

    np.testing.assert_allclose(make_thumbnail(photo), blocks, atol=0.51)
