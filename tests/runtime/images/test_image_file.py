import io
import itertools
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from partsight.runtime.core.errors import ImageError, PackageError
from partsight.runtime.images.file_fault import EXPECTED
from partsight.runtime.images.image_file import MAX_PIXELS, MIN_SIDE_PX, read_image
from partsight.runtime.package.gallery import decode_golden_image


def noise(height: int, width: int, *channels: int, dtype: type = np.uint8) -> np.ndarray:
    return np.random.default_rng(7).integers(0, np.iinfo(dtype).max, (height, width, *channels), dtype=dtype)


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims a size in its header and holds no pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


@pytest.mark.parametrize("suffix", ["bmp", "png", "tiff", "webp"])
def test_colour_files_come_as_bgr(tmp_path: Path, suffix: str) -> None:
    rgb = noise(40, 50, 3)
    path = tmp_path / f"part.{suffix}"
    Image.fromarray(rgb).save(path, lossless=True)
    pixels = read_image(path)
    np.testing.assert_array_equal(pixels, rgb[:, :, ::-1])
    assert pixels.dtype == np.uint8
    assert pixels.flags.c_contiguous


def test_real_golden_image_equals_opencv(example_parts: Path) -> None:
    path = min((example_parts / "golden").glob("*/golden.jpg"))
    np.testing.assert_array_equal(read_image(path), cv2.imread(str(path)))
    np.testing.assert_array_equal(read_image(str(path)), cv2.imread(str(path)))


def test_grey_file_has_two_axes(tmp_path: Path) -> None:
    grey = noise(40, 50)
    Image.fromarray(grey).save(tmp_path / "part.png")
    np.testing.assert_array_equal(read_image(tmp_path / "part.png"), grey)


@pytest.mark.parametrize("channels", [(), (3,)])
def test_pixels_can_be_written_to_like_a_cameras(tmp_path: Path, channels: tuple[int, ...]) -> None:
    Image.fromarray(noise(40, 50, *channels)).save(tmp_path / "part.png")
    cv2.rectangle(read_image(tmp_path / "part.png"), (1, 1), (9, 9), 255)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(tmp_path: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[274] = orientation
    path = tmp_path / "part.jpg"
    Image.fromarray(noise(40, 64, 3)).save(path, quality=95, exif=exif)
    pixels = read_image(path)
    assert pixels.shape == ((64, 40, 3) if orientation >= 5 else (40, 64, 3))
    np.testing.assert_array_equal(pixels, cv2.imread(str(path)))


@pytest.mark.parametrize(
    ("mode", "suffix"),
    [("RGBA", "png"), ("LA", "png"), ("CMYK", "jpg"), ("P", "png"), ("1", "png"), ("I;16", "png"), ("F", "tiff")],
)
def test_other_pixel_formats_are_refused(tmp_path: Path, mode: str, suffix: str) -> None:
    path = tmp_path / f"part.{suffix}"
    Image.new(mode, (50, 40)).save(path)
    with pytest.raises(ImageError, match=f" {mode}; {EXPECTED}"):
        read_image(path)


@pytest.mark.parametrize("suffix", ["png", "tiff"])
@pytest.mark.parametrize("channels", [(), (3,)])
def test_sixteen_bits_are_refused(tmp_path: Path, suffix: str, channels: tuple[int, ...]) -> None:
    path = tmp_path / f"part.{suffix}"
    assert cv2.imwrite(str(path), noise(40, 50, *channels, dtype=np.uint16))
    with pytest.raises(ImageError, match=f"16.*{EXPECTED}"):
        read_image(path)


@pytest.mark.parametrize("size", [(1, 1), (MIN_SIDE_PX - 1, 500), (500, MIN_SIDE_PX - 1)])
def test_too_small(tmp_path: Path, size: tuple[int, int]) -> None:
    Image.new("RGB", size).save(tmp_path / "part.png")
    with pytest.raises(ImageError, match=f"{size[0]}×{size[1]} px.* {MIN_SIDE_PX} px"):
        read_image(tmp_path / "part.png")


def test_smallest_size_is_read(tmp_path: Path) -> None:
    Image.new("RGB", (MIN_SIDE_PX, MIN_SIDE_PX)).save(tmp_path / "part.png")
    assert read_image(tmp_path / "part.png").shape == (32, 32, 3)


@pytest.mark.parametrize(
    ("width", "height"), [(MAX_PIXELS // 8000 + 1, 8000), (10_000, 10_000), (30_000, 30_000), (2**31 - 1, 2**31 - 1)]
)
def test_too_large_is_refused_by_its_header(tmp_path: Path, width: int, height: int) -> None:
    (tmp_path / "part.png").write_bytes(png_header(width, height))
    with pytest.raises(ImageError, match="80 megapixels"):
        read_image(tmp_path / "part.png")


@pytest.mark.parametrize("suffix", ["bmp", "jpg", "png", "tiff", "webp"])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.95])
def test_truncated_files_are_errors(tmp_path: Path, suffix: str, share: float) -> None:
    path = tmp_path / f"part.{suffix}"
    Image.fromarray(noise(40, 50, 3)).save(path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(ImageError, match=r"part\.\w+: "):
        read_image(path)


@pytest.mark.filterwarnings("ignore")  # Pillow warns about damaged data
@pytest.mark.parametrize("form", ["BMP", "JPEG", "PNG", "TIFF", "WEBP"])
def test_damaged_bytes_raise_nothing_else(tmp_path: Path, form: str) -> None:
    rng = np.random.default_rng(3)
    stream = io.BytesIO()
    Image.fromarray(noise(33, 34, 3)).save(stream, form)
    whole = np.frombuffer(stream.getvalue(), np.uint8)
    for _ in range(100):
        damaged = whole.copy()
        damaged[rng.integers(0, min(len(damaged), rng.choice([40, 200, 10_000])), 4)] = rng.integers(0, 256, 4)
        (tmp_path / "part").write_bytes(damaged.tobytes())
        try:
            read_image(tmp_path / "part")
        except ImageError:
            continue


def test_damaged_exif(tmp_path: Path) -> None:
    Image.new("RGB", (50, 40)).save(tmp_path / "part.webp", exif=b"MM0*\0\0\0\x08")
    with pytest.raises(ImageError, match=r"part\.webp: "):
        read_image(tmp_path / "part.webp")


@pytest.mark.filterwarnings("ignore")  # Pillow warns about damaged data
def test_tiff_tags_of_wrong_types(tmp_path: Path) -> None:
    stream = io.BytesIO()
    Image.new("RGB", (50, 40)).save(stream, "TIFF")
    whole = stream.getvalue()
    start, refused = struct.unpack_from("<I", whole, 4)[0], 0
    (tags,) = struct.unpack_from("<H", whole, start)
    for tag, kind, count in itertools.product(range(tags), range(17), (0, 1, 4)):
        damaged = bytearray(whole)
        struct.pack_into("<HI", damaged, start + 2 + 12 * tag + 2, kind, count)
        (tmp_path / "part.tif").write_bytes(damaged)
        try:
            read_image(tmp_path / "part.tif")
        except ImageError:
            refused += 1
    assert refused > 0


def test_text_file_named_jpg(tmp_path: Path) -> None:
    (tmp_path / "part.jpg").write_text("not a picture")
    with pytest.raises(ImageError, match=r"part\.jpg: .*BMP, JPEG, PNG"):
        read_image(tmp_path / "part.jpg")


def test_empty_file(tmp_path: Path) -> None:
    (tmp_path / "part.png").touch()
    with pytest.raises(ImageError, match=r"part\.png: "):
        read_image(tmp_path / "part.png")


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"part\.png: "):
        read_image(tmp_path / "part.png")


def test_a_file_of_another_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.new("RGB", (40, 40)).save(tmp_path / "part.png")

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(ImageError, match=r"part\.png: .*Permission denied"):
        read_image(tmp_path / "part.png")


@pytest.mark.parametrize("name", [".", "part\0.png", "x" * 300])
def test_what_is_no_file(tmp_path: Path, name: str) -> None:
    with pytest.raises(ImageError):
        read_image(tmp_path / name)


def test_other_formats_are_not_looked_for(tmp_path: Path) -> None:
    """PostScript is a program: Pillow would hand it to Ghostscript."""
    started = tmp_path / "started"
    for suffix in ("jpg", "png", "tif"):
        path = tmp_path / f"part.{suffix}"
        path.write_text(
            f"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 99 99\n({started}) (w) file closefile\nshowpage\n%%EOF\n"
        )
        with pytest.raises(ImageError, match=rf"part\.{suffix}: "):
            read_image(path)
        Image.fromarray(noise(40, 50, 3)).save(path, "GIF")
        with pytest.raises(ImageError, match=rf"part\.{suffix}: "):
            read_image(path)
    assert not started.exists()


def test_blocks_of_a_large_picture_join(tmp_path: Path) -> None:
    for axes in ((), (3,)):
        pixels = noise(1100, 2000, *axes)
        Image.fromarray(pixels).save(tmp_path / "part.png", compress_level=0)
        found = read_image(tmp_path / "part.png")
        np.testing.assert_array_equal(found, pixels[:, :, ::-1] if axes else pixels)


def many_scans(count: int) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(noise(48, 64, 3)).save(stream, "JPEG", progressive=True)
    data = stream.getvalue()
    scan = data.rfind(b"\xff\xda")
    return data[:scan] + data[scan:-2] * count + b"\xff\xd9"


def test_a_jpeg_of_scans_without_end_is_not_decoded(tmp_path: Path) -> None:
    """A file of 10 kB can keep a decoder busy for minutes."""
    path = tmp_path / "part.jpg"
    path.write_bytes(many_scans(20))
    assert read_image(path).shape == (48, 64, 3)
    path.write_bytes(many_scans(1000))
    with pytest.raises(ImageError, match=r"part\.jpg: .*100 scans"):
        read_image(path)
    with pytest.raises(PackageError, match=r"^here: "):
        decode_golden_image(many_scans(1000), "here")
