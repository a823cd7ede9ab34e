import io
import struct

import pytest
from PIL import Image, PngImagePlugin
from PIL.JpegImagePlugin import JpegImageFile

from latentcli.concepts.edit import EditRequest, Strength
from latentcli.errors import FileFormatError
from latentcli.imaging.box import Box
from latentcli.photo.metadata import earlier, read_request
from latentcli.photo.photo import Photo
from tests.conftest import draw

EXIF_IFD, GPS_IFD, USER_COMMENT = 0x8769, 0x8825, 0x9286
TYPES = (".jpg", ".png", ".webp", ".tiff", ".avif")
DONE = EditRequest(
    model="faces",
    model_id="0" * 12,
    vectors=(Strength("smile", "1" * 12, strength=1.5),),
    boxes=(Box(1, 2, 30, 30),),
    original="m\u00e9.jpg",
    original_sha256="2" * 64,
)


def exif(comment=b"ASCII\0\0\0at the sea"):
    """Of a photo by a camera, turned."""
    tags = Image.Exif()
    tags[0x010F] = "Camera"
    tags[0x0112] = 6
    tags.get_ifd(EXIF_IFD)[USER_COMMENT] = comment
    tags.get_ifd(GPS_IFD)[1] = "N"
    return tags.tobytes()


def photo(suffix, tmp_path, **options):
    path = tmp_path / f"photo{suffix}"
    draw((40, 30), 1).save(path, **options)
    return Photo.read(path)


def written(photo, suffix, done=None):
    return Image.open(io.BytesIO(photo.bytes(suffix, done)))


@pytest.mark.parametrize("suffix", TYPES)
def test_exif_survives_without_the_orientation(tmp_path, suffix):
    tags = written(photo(suffix, tmp_path, exif=exif()), suffix).getexif()
    assert tags[0x010F] == "Camera"
    assert 0x0112 not in tags
    assert tags.get_ifd(EXIF_IFD)[USER_COMMENT].endswith(b"at the sea")
    assert tags.get_ifd(GPS_IFD)[1].startswith("N")


@pytest.mark.parametrize("suffix", TYPES)
def test_icc_profile_survives(tmp_path, suffix):
    profile = b"\0" * 128 + b"a profile"
    assert written(photo(suffix, tmp_path, icc_profile=profile), suffix).info["icc_profile"] == profile


@pytest.mark.parametrize("suffix", TYPES)
def test_what_was_done_is_told_by_the_file(tmp_path, suffix):
    path = tmp_path / f"edited{suffix}"
    path.write_bytes(photo(suffix, tmp_path, exif=exif()).bytes(suffix, DONE.text()))
    assert read_request(path) == DONE
    with Image.open(path) as edited:
        comment = edited.getexif().get_ifd(EXIF_IFD)[USER_COMMENT]
    assert comment.startswith(b"ASCII\0\0\0at the sea")


def test_a_second_edit_remembers_the_first(tmp_path):
    path = tmp_path / "edited.jpg"
    path.write_bytes(photo(".jpg", tmp_path).bytes(".jpg", DONE.text()))
    again = Photo.read(path)
    first = earlier(again.traits.done_before)
    assert first
    assert first["original"] == "m\u00e9.jpg"
    comment = written(again, ".jpg", DONE.text()).getexif().get_ifd(EXIF_IFD)[USER_COMMENT]
    assert comment.count(b"latentcli edit:") == 1


def test_a_comment_in_another_alphabet_survives(tmp_path):
    comment = b"UNICODE\0" + "am Meer \u6d77".encode("utf-16")
    result = written(photo(".jpg", tmp_path, exif=exif(comment)), ".jpg", DONE.text())
    kept = result.getexif().get_ifd(EXIF_IFD)[USER_COMMENT]
    assert kept[8:].decode("utf-16").startswith("am Meer \u6d77\nlatentcli edit: {")


def test_a_comment_without_an_alphabet_survives(tmp_path):
    result = written(photo(".jpg", tmp_path, exif=exif(b"\0" * 8 + b"my old comment")), ".jpg", DONE.text())
    assert b"my old comment\nlatentcli edit: {" in result.getexif().get_ifd(EXIF_IFD)[USER_COMMENT]


def test_a_comment_that_is_a_number_does_no_harm(tmp_path):
    path = tmp_path / "edited.jpg"
    path.write_bytes(photo(".jpg", tmp_path, exif=exif(7)).bytes(".jpg", DONE.text()))
    assert read_request(path) == DONE


def test_exif_that_leaves_no_room_stays_and_what_was_done_is_left_out(tmp_path):
    large = photo(".jpg", tmp_path, exif=exif(b"ASCII\0\0\0" + b"x" * 64_700))
    assert written(large, ".jpg", DONE.text()).getexif().get_ifd(EXIF_IFD)[USER_COMMENT].endswith(b"xxx")


def test_a_profile_of_other_colours_is_not_kept(tmp_path):
    path = tmp_path / "ink.jpg"
    draw((40, 30), 1).convert("CMYK").save(path, icc_profile=b"\0" * 128)
    for suffix in (".jpg", ".png", ".tiff"):
        assert "icc_profile" not in written(Photo.read(path), suffix).info


def test_raw_profiles_of_png_are_not_written_twice(tmp_path):
    texts = PngImagePlugin.PngInfo()
    texts.add_text("Raw profile type exif", "whatever")
    assert "Raw profile type exif" not in written(photo(".png", tmp_path, pnginfo=texts), ".png").text


def test_png_texts_survive(tmp_path):
    texts = PngImagePlugin.PngInfo()
    texts.add_text("Author", "me")
    texts.add_itxt("Title", "\u6d77")
    result = written(photo(".png", tmp_path, pnginfo=texts), ".png").text
    assert (result["Author"], result["Title"]) == ("me", "\u6d77")


def test_a_progressive_jpeg_stays_one_of_the_same_quality(tmp_path):
    original = photo(".jpg", tmp_path, quality=61, subsampling=1, progressive=True)
    with Image.open(tmp_path / "photo.jpg") as before, written(original, ".jpg") as after:
        assert isinstance(before, JpegImageFile)
        assert isinstance(after, JpegImageFile)
        assert after.info.get("progressive")
        assert after.quantization == before.quantization
        assert after.layer == before.layer  # with the sampling factors


@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_adobe_deflate", "packbits"])
def test_tiff_keeps_its_compression_and_tells_what_was_done(tmp_path, compression):
    path = tmp_path / "edited.tiff"
    path.write_bytes(photo(".tiff", tmp_path, compression=compression).bytes(".tiff", DONE.text()))
    assert read_request(path) == DONE
    with Image.open(path) as edited:
        assert edited.info["compression"] == compression


def test_lossless_webp_stays_so_behind_a_profile(tmp_path):
    original = photo(".webp", tmp_path, lossless=True, icc_profile=b"\0" * 128, exif=exif())
    assert original.traits.lossless
    assert not photo(".webp", tmp_path, icc_profile=b"\0" * 128).traits.lossless


def test_xmp_survives(tmp_path):
    xmp = b"<x:xmpmeta xmlns:x='adobe:ns:meta/' tiff:Orientation=\"6\"/>"
    for suffix in (".jpg", ".webp"):
        kept = written(photo(suffix, tmp_path, xmp=xmp), suffix).info["xmp"]
        assert kept == xmp.replace(b"6", b"1")  # it is upright now


def test_sixteen_bits_of_a_tiff_in_colour_are_told(tmp_path):
    """Such a file is put together here, since Pillow writes none: a 2x2 picture, 16 bits a channel."""
    entries = [(256, 3, 1, 2), (257, 3, 1, 2), (258, 3, 3, 122), (259, 3, 1, 1), (262, 3, 1, 2), (273, 4, 1, 128)]
    entries += [(277, 3, 1, 3), (278, 3, 1, 2), (279, 4, 1, 24)]
    head = b"II*\0" + struct.pack("<IH", 8, len(entries))
    head += b"".join(struct.pack("<HHII", *entry) for entry in entries) + struct.pack("<I", 0)
    path = tmp_path / "deep.tiff"
    path.write_bytes(head.ljust(122, b"\0") + struct.pack("<3H", 16, 16, 16) + bytes(24))
    assert Photo.read(path).lost(".tiff") == ["levels beyond 8 bits"]


@pytest.mark.parametrize("mode", ["P", "CMYK", "I", "F"])
def test_what_cannot_be_kept_is_told(tmp_path, mode):
    path = tmp_path / "photo.tiff"
    draw((40, 30), 1).convert("L" if mode in "IF" else "RGB").convert(mode).save(path)
    assert len(Photo.read(path).lost(".tiff")) == 1


@pytest.mark.parametrize("text", ["", "{", "[]", "3", '{"latentcli": "1"}', '{"latentcli": 1, "model": 3}', "[" * 9999])
def test_what_cannot_be_read_of_an_edit_is_refused(tmp_path, text):
    path = tmp_path / "edited.png"
    path.write_bytes(photo(".png", tmp_path).bytes(".png", text))
    with pytest.raises(FileFormatError, match=r"edited\.png"):
        read_request(path)
    assert earlier(text) is None
