import io

import numpy as np
import pytest
from PIL import Image

from latentcli.concepts.edit import EditRequest
from latentcli.config import ModelConfig
from latentcli.errors import ImageError
from latentcli.imaging.box import Box
from latentcli.imaging.images import as_float, to_model_size
from latentcli.photo.photo import Photo, side_by_side
from tests.conftest import TINY, TINY_ALPHA, draw, draw_cut_out

BOX = Box(10, 5, 30, 30)
GRAY, WHITE = np.full((3, 16, 16), 0.4, dtype=np.float32), np.full((3, 16, 16), 0.9, dtype=np.float32)
PLAIN = EditRequest(merge="residual", detail=1)


def spot(channels: int = 3, level: float = 0.5) -> tuple[np.ndarray, np.ndarray]:
    """A decoding with a spot in its middle, and the same without."""
    before = np.full((channels, 16, 16), 0.4, dtype=np.float32)
    after = before.copy()
    after[:, 4:12, 4:12] += level
    return before, after


def of(mode="RGB", alpha=None, wide=None):
    return Photo(draw((60, 40), 1, mode), alpha, wide)


def written(photo, suffix, done=None):
    return Image.open(io.BytesIO(photo.bytes(suffix, done)))


def test_no_change_leaves_every_pixel():
    merged = of().merged(GRAY, GRAY, BOX, EditRequest())
    np.testing.assert_array_equal(np.asarray(merged.picture), np.asarray(of().picture))


def test_a_change_stays_inside_the_box():
    before, after = np.asarray(of().picture), np.asarray(of().merged(*spot(), BOX, EditRequest()).picture)
    changed = (before != after).any(axis=2)
    assert changed[5:35, 10:40].any()
    changed[5:35, 10:40] = False
    assert not changed.any()


def test_a_change_stays_inside_a_tilted_box():
    place = Box(20, 10, 20, 20, roll=45)
    photo = Photo(Image.new("RGB", (60, 40), (90, 90, 90)))
    after = np.asarray(photo.merged(GRAY, WHITE, place, EditRequest(merge="decode")).picture)[:, :, 0]
    assert after[20, 30] == pytest.approx(230, abs=2)
    assert after[8, 30] > 90  # the corner that points up
    assert (after[11, 21], after[11, 39]) == (90, 90)  # corners of the upright box


def test_the_middle_of_the_spot_changes_by_what_was_asked():
    photo = Photo(Image.new("RGB", (60, 40), (100, 100, 100)))
    middle = np.asarray(photo.merged(*spot(level=0.2), BOX, PLAIN).picture)[20, 25]
    assert np.abs(middle.astype(int) - 151).max() <= 4


def test_a_gray_model_changes_all_channels_alike_and_a_gray_photo_stays_gray():
    colour = Photo(Image.new("RGB", (60, 40), (100, 120, 140)))
    after = np.asarray(colour.merged(*spot(channels=1, level=0.2), BOX, EditRequest()).picture)
    change = after.astype(int)[20, 25] - [100, 120, 140]
    assert len(set(change)) == 1
    assert change[0] > 40
    assert of("L").merged(*spot(), BOX, EditRequest()).picture.mode == "L"


def test_a_gray_photo_stored_as_colour_gets_no_tint():
    photo = Photo(draw((60, 40), 1, "L").convert("RGB"))
    before, after = spot()
    after[0] += 0.05 * (after[0] > 0.5)
    levels = np.asarray(photo.merged(before, after, BOX, EditRequest()).picture)
    assert (levels != np.asarray(photo.picture)).any()
    np.testing.assert_array_equal(levels[:, :, 0], levels[:, :, 1])
    np.testing.assert_array_equal(levels[:, :, 0], levels[:, :, 2])


def test_transparency_survives():
    merged = of(alpha=Image.new("L", (60, 40), 77)).merged(*spot(), BOX, EditRequest())
    again = written(merged, ".png")
    assert again.mode == "RGBA"
    np.testing.assert_array_equal(np.asarray(again.getchannel("A")), 77)


@pytest.mark.parametrize("shape", [(40, 60), (40, 60, 3), (40, 60, 4)])
def test_sixteen_bits_survive_where_nothing_changes_and_change_elsewhere(tmp_path, shape):
    wide = np.random.default_rng(0).integers(0, 65536, shape).astype(np.uint16)
    photo = of("L" if len(shape) == 2 else "RGB", wide=wide)
    path = tmp_path / "wide.png"
    path.write_bytes(photo.bytes(".png"))
    again = Photo.read(path)
    np.testing.assert_array_equal(again.wide, wide)
    merged = again.merged(*spot(), BOX, EditRequest()).wide
    assert merged is not None
    assert merged.dtype == np.uint16
    assert (merged[15:25, 20:30] != wide[15:25, 20:30]).any()
    np.testing.assert_array_equal(merged[:, :10], wide[:, :10])
    if len(shape) == 3 and shape[2] == 4:
        np.testing.assert_array_equal(merged[:, :, 3], wide[:, :, 3])


def test_sixteen_bit_gray_tiff_survives(tmp_path):
    wide = np.random.default_rng(0).integers(0, 65536, (40, 60)).astype(np.uint16)
    path = tmp_path / "wide.tiff"
    path.write_bytes(of("L", wide=wide).bytes(".tiff"))
    np.testing.assert_array_equal(Photo.read(path).wide, wide)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_sixteen_bits_are_turned_as_eight_are(tmp_path, orientation):
    wide = (np.arange(12, dtype=np.uint16) * 5000).reshape(3, 4)
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(wide).save(tmp_path / "turned.png", exif=exif)
    photo = Photo.read(tmp_path / "turned.png")
    assert photo.wide is not None
    np.testing.assert_allclose(photo.wide / 257, np.asarray(photo.picture), atol=1)


def test_levels_that_a_type_cannot_hold_are_told():
    photo = of("RGB", wide=np.zeros((40, 60, 3), np.uint16))
    assert photo.lost(".png") == []
    assert photo.lost(".jpg") == ["levels beyond 8 bits"]
    assert photo.lost(".png", in_sheet=True) == ["levels beyond 8 bits"]


def test_transparency_that_a_type_cannot_hold_is_told_and_lies_on_white():
    photo = Photo(Image.new("RGB", (60, 40), "red"), Image.new("L", (60, 40), 0))
    assert photo.lost(".jpg") == ["its transparency"]
    assert np.asarray(written(photo, ".jpg")).min() > 250


def test_sixteen_bits_with_a_transparent_colour_are_read_as_eight_and_told(tmp_path):
    wide = np.full((20, 20), 30000, np.uint16)
    Image.fromarray(wide).save(tmp_path / "clear.png", transparency=5)
    photo = Photo.read(tmp_path / "clear.png")
    assert np.asarray(photo.picture)[0, 0] == 117
    assert set(photo.lost(".png")) == {"levels beyond 8 bits", "its transparency"}


def test_larger_photos_than_allowed_are_refused_by_their_header(photo):
    with pytest.raises(ImageError, match=r"scale it below 0\.001 megapixels"):
        Photo.read(photo, megapixels=0.001)


def test_the_crop_has_the_models_size():
    for box in (BOX, Box(10, 5, 20, 20, 30)):
        assert to_model_size(of().picture, TINY, box).shape == (16, 16, 3)


def test_versions_lie_side_by_side():
    assert side_by_side([of(), of(), of()], 3).picture.size == (184, 40)


# transparency of the model


WHOLE = Box(0, 0, 64, 64)


def cut_out(mode="RGBA", seed=1):
    picture = draw_cut_out((64, 64), seed, mode)
    return Photo(picture.convert(mode.removesuffix("A")), picture.getchannel("A"))


def decoded(photo, channels=4):
    """What a perfect model of 16 pixels decodes."""
    config = ModelConfig.from_json(TINY_ALPHA.to_json() | {"channels": channels})
    return as_float(to_model_size(photo.visible(), config, WHOLE)[None])[0]


def fading(photo, share=0.5):
    """The same with less and less of it to the right."""
    return decoded(photo) * np.linspace(1, share, 16, dtype=np.float32)


def alpha_of(photo):
    return np.asarray(photo.alpha).astype(int)


def test_the_decoded_transparency_replaces_that_of_the_photo():
    photo, other = cut_out(), Photo(Image.new("RGB", (64, 64), "red"), Image.new("L", (64, 64), 100))
    merged = photo.merged(decoded(photo), decoded(other), WHOLE, EditRequest(merge="decode"))
    assert merged.visible().getpixel((32, 32)) == (255, 0, 0, 100)


def test_an_edit_that_fades_a_part_fades_it_in_the_photo():
    photo = cut_out()
    merged = photo.merged(decoded(photo), fading(photo), WHOLE, EditRequest())
    assert alpha_of(photo)[32, 44] == 255
    assert alpha_of(merged)[32, 44] == pytest.approx(255 * 0.65, abs=12)
    assert merged.picture.getpixel((44, 32)) == pytest.approx(photo.picture.getpixel((44, 32)), abs=12)


def test_an_edit_of_colours_leaves_the_outline():
    photo = cut_out()
    before = decoded(photo)
    after = before.copy()
    after[0] += 0.3 * before[3] * (1 - before[0])
    merged = photo.merged(before, after, WHOLE, EditRequest())
    assert (np.asarray(merged.picture) != np.asarray(photo.picture)).any()
    np.testing.assert_array_equal(alpha_of(merged), alpha_of(photo))


def test_hidden_colours_stay_where_nothing_changes():
    photo = cut_out()
    merged = photo.merged(decoded(photo), fading(photo), WHOLE, EditRequest())
    np.testing.assert_array_equal(np.asarray(merged.visible())[:2], np.asarray(photo.visible())[:2])
    assert np.asarray(merged.picture)[0, 0].any()


@pytest.mark.parametrize("merge", ["residual", "decode", "ratio"])
def test_an_opaque_photo_stays_opaque(merge):
    opaque = Photo(draw((64, 64), 1))
    merged = opaque.merged(decoded(opaque), fading(opaque), WHOLE, EditRequest(merge=merge))
    assert merged.alpha is None
    assert (np.asarray(merged.picture) != np.asarray(opaque.picture)).any()


def test_a_ratio_changes_brightness_and_leaves_the_outline():
    photo = cut_out()
    merged = photo.merged(decoded(photo), fading(photo), WHOLE, EditRequest(merge="ratio"))
    assert merged.alpha is photo.alpha
    assert (np.asarray(merged.picture) != np.asarray(photo.picture)).any()


def test_a_gray_model_with_transparency_changes_all_colours_alike():
    photo = Photo(Image.new("RGB", (64, 64), (100, 120, 140)), Image.new("L", (64, 64), 255))
    before = decoded(photo, channels=2)
    after = before.copy()
    after[0, 4:12, 4:12] += 0.2
    change = np.asarray(photo.merged(before, after, WHOLE, PLAIN).picture).astype(int)[32, 32] - [100, 120, 140]
    assert len(set(change)) == 1
    assert change[0] > 40


def test_a_gray_photo_with_transparency_stays_gray():
    photo = cut_out("LA")
    merged = photo.merged(decoded(photo), fading(photo), WHOLE, EditRequest())
    assert merged.visible().mode == "LA"
    assert alpha_of(merged)[32, 44] < 200


def test_transparency_of_sixteen_bits_is_edited(tmp_path):
    straight = np.asarray(cut_out().visible())
    photo = Photo(cut_out().picture, cut_out().alpha, straight.astype(np.uint16) * 257)
    merged = photo.merged(decoded(photo), fading(photo), WHOLE, EditRequest())
    assert merged.wide is not None
    assert merged.wide[32, 44, 3] == pytest.approx(65535 * 0.65, abs=12 * 257)
    np.testing.assert_allclose(merged.wide[:, :, 3] / 257, alpha_of(merged), atol=1)


def test_versions_with_transparency_lie_on_a_checkerboard():
    sheet = side_by_side([cut_out(), cut_out()], 2)
    assert (sheet.alpha, sheet.picture.mode) == (None, "RGB")
    assert len({sheet.picture.getpixel((x, 0)) for x in range(64)}) == 2
