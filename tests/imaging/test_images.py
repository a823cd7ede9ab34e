import contextlib
import warnings

import numpy as np
import pytest
from PIL import Image

from latentcli.config import ModelConfig
from latentcli.errors import ConfigError, ImageError
from latentcli.imaging import images
from latentcli.imaging.box import Box
from latentcli.photo.photo import Photo
from latentcli.presets import model_config
from tests.conftest import TINY, TINY_ALPHA, draw, draw_cut_out, draw_folder, write_bytes

GRAY = model_config("digits", 16, 16, 1)
GRAY_ALPHA = model_config("photo", 16, 16, 2)


def saved(tmp_path, picture, name="x.png", **options):
    picture.save(tmp_path / name, **options)
    return tmp_path / name


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA"])
def test_png_of_any_mode_is_read(tmp_path, mode):
    path = saved(tmp_path, draw((20, 20), 1).convert(mode))
    assert images.read_image(path, TINY).shape == (16, 16, 3)
    assert images.read_image(path, GRAY).shape == (16, 16, 1)


@pytest.mark.parametrize(("mode", "name"), [("CMYK", "x.jpg"), ("YCbCr", "x.jpg"), ("F", "x.tiff"), ("LAB", "x.tiff")])
def test_rare_modes_are_read(tmp_path, mode, name):
    picture = draw((20, 20), 1)
    if mode == "LAB":
        picture = Image.frombytes("LAB", (20, 20), picture.tobytes())
    path = saved(tmp_path, picture.convert("L").convert(mode) if mode == "F" else picture.convert(mode), name)
    assert images.read_image(path, TINY).std() > 0


def test_sixteen_bit_gray_keeps_its_levels(tmp_path):
    levels = np.linspace(0, 65535, 256).astype(np.uint16).reshape(16, 16)
    path = saved(tmp_path, Image.fromarray(levels))
    read = images.read_image(path, GRAY)[:, :, 0]
    np.testing.assert_allclose(read, levels / 257, atol=0.51)


def test_transparency_lies_on_white(tmp_path):
    path = saved(tmp_path, Image.new("RGBA", (16, 16), (255, 0, 0, 0)))
    assert (images.read_image(path, TINY) == 255).all()


def test_transparency_lies_on_the_model_s_background(tmp_path):
    config = ModelConfig.from_json(TINY.to_json() | {"background": "#204060"})
    path = saved(tmp_path, Image.new("LA", (16, 16), (255, 0)))
    assert images.read_image(path, config)[0, 0].tolist() == [0x20, 0x40, 0x60]


def test_colours_are_read_by_name_or_number():
    assert images.parse_colour("rebeccapurple") == "#663399"
    with pytest.raises(ConfigError, match="no colour"):
        images.parse_colour("blueish")


@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_without_a_crop_the_whole_picture_is_squeezed(tmp_path, suffix):
    picture = Image.new("RGB", (600, 200), "black")
    picture.paste("white", (0, 0, 150, 200))
    config = ModelConfig.from_json(TINY.to_json() | {"crop": "none"})
    read = images.read_image(saved(tmp_path, picture, f"x.{suffix}"), config)
    assert images.model_box(600, 200, config) == Box(0, 0, 600, 200)
    assert read[:, :3].min() > 230
    assert read[:, 5:].max() < 25


def test_exif_rotation_is_applied(tmp_path):
    picture = Image.new("RGB", (32, 16), "black")
    picture.paste("white", (0, 0, 16, 16))
    exif = Image.Exif()
    exif[0x0112] = 6  # turn right to see it upright
    path = saved(tmp_path, picture, "x.png", exif=exif.tobytes())
    upright = np.asarray(Photo.read(path).picture)
    assert upright.shape[:2] == (32, 16)
    assert upright[4].mean() > 200
    assert upright[-4].mean() < 50


def test_a_picture_of_the_right_size_is_not_resampled(tmp_path):
    picture = draw((16, 16), 3)
    np.testing.assert_array_equal(images.read_image(saved(tmp_path, picture), TINY), np.asarray(picture))


def test_the_crop_is_centred(tmp_path):
    assert images.model_box(40, 20, TINY) == Box(10, 0, 20, 20)
    wide = model_config("photo", 96, 64, 3)
    assert images.model_box(100, 100, wide) == Box(0, 16, 100, 67)


def test_a_large_jpeg_reads_much_as_if_decoded_whole(tmp_path):
    path = saved(tmp_path, draw((512, 400), 4), "x.jpg", quality=95)
    whole = images.to_model_size(Photo.read(path).picture, TINY)
    np.testing.assert_allclose(images.read_image(path, TINY).astype(int), whole.astype(int), atol=8)


BAD = {
    "text.png": b"this is a text",
    "empty.png": b"",
    "eps.png": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\nshowpage\n",
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_image_is_an_image_error(tmp_path, name):
    with pytest.raises(ImageError, match=name):
        images.read_image(write_bytes(tmp_path / name, BAD[name]), TINY)


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "gif", "bmp", "tiff"])
def test_damaged_images_are_image_errors_or_pictures_never_crashes(tmp_path, suffix):
    good = saved(tmp_path, draw((64, 64), 2), f"good.{suffix}").read_bytes()
    rng = np.random.default_rng(1)
    path = tmp_path / f"bad.{suffix}"
    for attempt in range(60):
        data = bytearray(good[: rng.integers(1, len(good))] if attempt % 2 else good)
        for position in rng.integers(0, len(data), 8):
            data[position] = rng.integers(0, 256)
        path.write_bytes(bytes(data))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns of odd metadata
            with contextlib.suppress(ImageError):
                assert images.read_image(path, TINY).shape == (16, 16, 3)


def test_a_truncated_jpeg_is_refused(tmp_path):
    path = saved(tmp_path, Image.effect_noise((200, 200), 90), "x.jpg")
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(ImageError, match=r"x\.jpg is not a readable image"):
        images.read_image(path, TINY)


def test_too_many_pixels_are_refused_before_decoding(tmp_path):
    path = saved(tmp_path, draw((200, 200), 2))
    path.write_bytes(path.read_bytes()[:60])  # the header is all that is looked at
    with pytest.raises(ImageError, match="megapixels"), images.open_picture(path, megapixels=0.01):
        pass


def test_walking_names_the_unreadable_and_goes_on(tmp_path):
    folder = draw_folder(tmp_path / "d", 3)
    (folder / "001.png").write_bytes(b"broken")
    found = list(images.read_all(sorted(folder.iterdir()), lambda path: images.read_image(path, TINY)))
    assert [isinstance(result, ImageError) for _, result in found] == [False, True, False]


def test_bytes_to_floats_and_back(tmp_path):
    levels = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1)
    floats = images.as_float(levels)
    assert floats.shape == (1, 1, 16, 16)
    assert float(floats.max()) == 1
    np.testing.assert_array_equal(images.as_uint8(floats), levels)


def test_colour_is_seen_and_gray_in_rgb_is_not():
    assert images.has_colour(Image.new("RGB", (50, 50), (200, 100, 50)))
    assert not images.has_colour(draw((50, 50), 1, "L").convert("RGB"))


def test_unknown_output_types_are_refused():
    with pytest.raises(ImageError, match=r"cannot write picture\.xyz"):
        images.encode_picture(draw((8, 8), 0), ".xyz")


# transparency


def test_a_transparent_picture_comes_out_as_it_went_in(tmp_path):
    picture = draw_cut_out((16, 16), 1)
    pixels = images.read_image(saved(tmp_path, picture), TINY_ALPHA)
    (again,) = images.to_pictures(images.as_float(pixels[None]))
    visible = np.asarray(picture)[:, :, 3] > 0
    np.testing.assert_array_equal(np.asarray(again)[visible], np.asarray(picture)[visible])
    assert not np.asarray(again)[~visible].any()


@pytest.mark.parametrize("place", [Box(0, 0, 40, 40), Box(5, 5, 30, 30, 20), Box(-8, -8, 56, 56)])
def test_no_hidden_colour_shows_after_resizing(place):
    picture = Image.new("RGBA", (40, 40), (0, 255, 0, 0))
    picture.paste((255, 0, 0, 255), (0, 0, 20, 40))
    pixels = images.to_model_size(picture, TINY_ALPHA, place)
    assert not pixels[:, :, 1].any()
    np.testing.assert_allclose(pixels[:, :, 0].astype(int), pixels[:, :, 3], atol=1)


def test_no_colour_is_above_its_alpha():
    rng = np.random.default_rng(0)
    picture = Image.fromarray(rng.integers(0, 2, (64, 64, 4), dtype=np.uint8) * 255)
    for config in (TINY_ALPHA, GRAY_ALPHA):
        pixels = images.to_model_size(picture, config)
        assert (pixels[:, :, :-1] <= pixels[:, :, -1:]).all()


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "CMYK", "I;16", "F"])
def test_a_picture_without_transparency_is_opaque(tmp_path, mode):
    gray = mode in ("I;16", "F")
    picture = draw((20, 20), 1, "L" if gray else "RGB").convert(mode)
    path = saved(tmp_path, picture, "x.jpg" if mode == "CMYK" else "x.tiff")
    pixels = images.read_image(path, TINY_ALPHA)
    assert (pixels[:, :, 3] == 255).all()
    plain = images.read_image(path, TINY).astype(int)
    np.testing.assert_allclose(pixels[:, :, :3].astype(int), plain, atol=1)


def test_a_transparent_colour_of_a_palette_is_transparent(tmp_path):
    picture = Image.new("P", (16, 16), 0)
    picture.putpalette([255, 0, 0, 0, 0, 255])
    picture.paste(1, (8, 0, 16, 16))
    pixels = images.read_image(saved(tmp_path, picture, transparency=0), TINY_ALPHA)
    assert pixels[0, 0].tolist() == [0, 0, 0, 0]
    assert pixels[0, 15].tolist() == [0, 0, 255, 255]


def test_a_gray_model_with_transparency_draws_gray_pictures_with_alpha(tmp_path):
    pixels = images.read_image(saved(tmp_path, draw_cut_out((16, 16), 1)), GRAY_ALPHA)
    (again,) = images.to_pictures(images.as_float(pixels[None]))
    assert again.mode == "LA"
    assert again.getpixel((0, 0)) == (0, 0)
    assert again.getchannel("A").getpixel((8, 8)) == 255


def test_decoded_colours_above_their_alpha_are_full_and_invisible_ones_are_black():
    decoded = np.zeros((1, 4, 1, 2), dtype=np.float32)
    decoded[0, :, 0, 0] = 0.5, 0.25, 0.9, 0.5
    decoded[0, :, 0, 1] = 0.001, 0.001, 0.001, 0.001
    (picture,) = images.to_pictures(decoded)
    assert picture.getpixel((0, 0)) == (255, 128, 255, 128)
    assert picture.getpixel((1, 0)) == (0, 0, 0, 0)


def test_a_full_alpha_channel_is_no_transparency(tmp_path):
    assert images.has_transparency(draw_cut_out((20, 20), 1))
    assert not images.has_transparency(draw((20, 20), 1, "RGBA"))
    almost = draw((20, 20), 1, "RGBA")
    almost.putalpha(250)
    assert not images.has_transparency(almost)


def test_a_jpeg_of_a_transparent_picture_lies_on_white(tmp_path):
    images.write_picture(Image.new("RGBA", (16, 16), (255, 0, 0, 0)), tmp_path / "x.jpg")
    assert np.asarray(Image.open(tmp_path / "x.jpg")).min() > 250
