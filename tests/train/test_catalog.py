import hashlib
import os
import re
import shutil
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from partsight.runtime.core.errors import CatalogError
from partsight.runtime.images.image_file import read_image
from partsight.runtime.images.preprocessing import Region
from partsight.train.catalog import read_catalog

needs_case = pytest.mark.skipif(sys.platform != "linux", reason="the file system may not tell cases apart")


def picture(seed: int, *channels: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (40, 50, *(channels or (3,))), dtype=np.uint8)


def grey(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (40, 50), dtype=np.uint8)


def save(path: Path, pixels: np.ndarray, mode: str | None = None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(pixels)
    (image.convert(mode) if mode else image).save(path)


def faults(root: Path, region: Region | None = None) -> list[str]:
    """The lines of the error, without the first; the first must count them."""
    with pytest.raises(CatalogError) as caught:
        read_catalog(root, region)
    first, *lines = str(caught.value).split("\n  ")
    assert first.startswith(f"{root}: {len(lines)} ")
    return lines


@pytest.fixture
def catalog_copy(small_catalog: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(small_catalog, tmp_path / "golden"))


def test_the_size_of_the_images(tmp_path: Path) -> None:
    for seed in range(3):
        save(tmp_path / f"{seed}.png", picture(seed))
    region = Region(x=0, y=0, width=32, height=40)
    assert read_catalog(tmp_path).golden_hw == read_catalog(tmp_path, region).golden_hw == (40, 50)
    save(tmp_path / "odd.png", np.concatenate([picture(3), picture(4)]))
    assert read_catalog(tmp_path).golden_hw is None
    (fault,) = faults(tmp_path, region)  # it would cut another spot
    assert re.search("2 .*50×40 px, odd .*50×80 px", fault)


def test_a_folder_for_each_part(small_catalog: Path) -> None:
    catalog = read_catalog(str(small_catalog))
    assert catalog.root == small_catalog
    assert catalog.labels == tuple(sorted(path.name for path in small_catalog.iterdir()))
    assert len(catalog.labels) == 12
    assert catalog.color == "bgr"
    assert catalog.twins == ()
    for golden, image in zip(catalog.goldens, catalog.images, strict=True):
        assert golden.path == small_catalog / golden.label / "golden.jpg"
        assert golden.sha256 == hashlib.sha256(golden.path.read_bytes()).hexdigest()
        np.testing.assert_array_equal(image, read_image(golden.path))


def test_a_file_for_each_part(small_catalog: Path, tmp_path: Path) -> None:
    for folder in small_catalog.iterdir():
        shutil.copy(folder / "golden.jpg", tmp_path / f"{folder.name}.jpg")
    files, folders = read_catalog(tmp_path), read_catalog(small_catalog)
    assert files.labels == folders.labels
    assert files.sha256 == folders.sha256
    assert files.goldens[3].path == tmp_path / f"{files.labels[3]}.jpg"


def test_labels_are_sorted_by_code_point(tmp_path: Path) -> None:
    for seed, label in enumerate(["part 2", "part 10", "Z", "ä", "a", "a.b"]):
        save(tmp_path / f"{label}.png", picture(seed))
    assert read_catalog(tmp_path).labels == ("Z", "a", "a.b", "part 10", "part 2", "ä")


def test_grey_images(tmp_path: Path) -> None:
    for seed in range(3):
        save(tmp_path / f"{seed}.png", grey(seed))
    catalog = read_catalog(tmp_path)
    assert catalog.color == "mono"
    assert catalog.images[1].shape == (40, 50)


def test_one_part_is_a_catalogue(tmp_path: Path) -> None:
    save(tmp_path / "only" / "1.png", picture(0))
    assert read_catalog(tmp_path).labels == ("only",)


def test_hidden_files_inside_a_part_do_not_count(catalog_copy: Path) -> None:
    part = min(path for path in catalog_copy.iterdir() if path.is_dir())
    (part / "._golden.jpg").write_bytes(b"what macOS leaves")
    assert part.name in read_catalog(catalog_copy).labels


def test_other_files_and_hidden_ones_do_not_count(catalog_copy: Path) -> None:
    before = read_catalog(catalog_copy)
    (catalog_copy / "notes.txt").write_text("by hand")
    (catalog_copy / ".git").mkdir()
    (catalog_copy / before.labels[0] / "notes.txt").write_text("by hand")
    (catalog_copy / before.labels[0] / "older.png").mkdir()
    assert read_catalog(catalog_copy) == before


def test_hash_stays_when_nothing_changes(small_catalog: Path, catalog_copy: Path) -> None:
    assert read_catalog(small_catalog).sha256 == read_catalog(catalog_copy).sha256


def test_hash_changes_with_any_label(catalog_copy: Path) -> None:
    before = read_catalog(catalog_copy)
    last = before.goldens[-1].path.parent
    last.rename(last.with_name(f"{last.name}x"))  # the order stays
    assert read_catalog(catalog_copy).sha256 != before.sha256


@pytest.mark.parametrize("index", [0, 5, 11])
def test_hash_changes_with_any_image(catalog_copy: Path, index: int) -> None:
    before = read_catalog(catalog_copy)
    golden = before.goldens[index]
    cv2.imwrite(str(golden.path), 255 - read_image(golden.path))
    after = read_catalog(catalog_copy)
    assert after.sha256 != before.sha256
    assert [one == two for one, two in zip(before.goldens, after.goldens, strict=True)].count(False) == 1


def test_hash_changes_when_two_images_are_exchanged(catalog_copy: Path) -> None:
    before = read_catalog(catalog_copy)
    first, second = before.goldens[0].path, before.goldens[1].path
    first.rename(catalog_copy / "aside")
    second.rename(first)
    (catalog_copy / "aside").rename(second)
    assert read_catalog(catalog_copy).sha256 != before.sha256


def test_twins_are_listed_but_no_fault(catalog_copy: Path) -> None:
    labels = read_catalog(catalog_copy).labels
    image = read_image(catalog_copy / labels[4] / "golden.jpg")
    image[100:104, 100:104] ^= 1
    save(catalog_copy / "a twin" / "1.png", image[:, :, ::-1])
    assert read_catalog(catalog_copy).twins == (tuple(sorted(("a twin", labels[4]))),)


def test_what_a_camera_sees_is_no_twin(catalog_copy: Path) -> None:
    image = read_image(catalog_copy / read_catalog(catalog_copy).labels[4] / "golden.jpg")
    brighter = np.clip(image.astype(int) + 3, 0, 255).astype(np.uint8)
    save(catalog_copy / "brighter" / "1.png", brighter[:, :, ::-1])
    assert read_catalog(catalog_copy).twins == ()


def test_twins_are_found_across_blocks(tmp_path: Path) -> None:
    image = np.zeros((32, 32), np.uint8)
    for index in range(258):
        cv2.putText(image, str(index), (1, 20), cv2.FONT_HERSHEY_PLAIN, 1, int(55 + index % 200))
        save(tmp_path / f"{index:03}.png", image)
        image[:] = 0
    almost = read_image(tmp_path / "000.png")
    almost[0, 0] = 1
    save(tmp_path / "257.png", almost)
    assert ("000", "257") in read_catalog(tmp_path).twins


def test_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path / "nowhere", tmp_path / "file"):
        with pytest.raises(CatalogError, match=re.escape(str(path))):
            read_catalog(path)


def test_empty(tmp_path: Path) -> None:
    assert len(faults(tmp_path)) == 1
    (tmp_path / "notes.txt").write_text("no image")
    assert len(faults(tmp_path)) == 1


def test_folders_and_images_mixed(tmp_path: Path) -> None:
    save(tmp_path / "bolt" / "1.png", picture(0))
    save(tmp_path / "nut.png", picture(1))
    (fault,) = faults(tmp_path)
    assert "(bolt, …)" in fault
    assert "(nut.png, …)" in fault


def test_files_that_are_not_read(tmp_path: Path) -> None:
    """Passed over, their parts would be missing without a word."""
    save(tmp_path / "bolt.png", picture(0))
    for name in ("nut.HEIC", "pin.gif", "bolt.psd", ".hidden.gif", "notes.txt"):
        (tmp_path / name).write_bytes(b"content")
    assert [fault.split(": ")[0] for fault in faults(tmp_path)] == [".hidden.gif", "nut.HEIC", "pin.gif"]
    (tmp_path / "bolt.png").unlink()
    assert len(faults(tmp_path)) == 4


@pytest.mark.parametrize("visible", [["bolt", "nut"], []])
def test_a_hidden_folder_that_holds_what_a_part_holds(tmp_path: Path, visible: list[str]) -> None:
    for seed, label in enumerate(visible):
        save(tmp_path / label / "1.png", picture(seed))
    save(tmp_path / ".5 mm screw" / "1.png", picture(9))
    save(tmp_path / ".git" / "objects" / "1.png", picture(8))
    save(tmp_path / ".trash" / "._1.png", picture(7))
    (fault,) = faults(tmp_path)
    assert fault.startswith(".5 mm screw: ")


def test_part_without_image(tmp_path: Path) -> None:
    save(tmp_path / "bolt" / "1.png", picture(0))
    (tmp_path / "nut").mkdir()
    (fault,) = faults(tmp_path)
    assert fault.startswith("nut: ")


def files_of(root: Path, region: Region | None = None) -> dict[str, list[str]]:
    """The names of the image files of each part: its golden image, then its further references."""
    catalog = read_catalog(root, region)
    files = {golden.label: [golden.path.name] for golden in catalog.goldens}
    for label, group in catalog.further.items():
        assert {image.label for image in group} == {label}
        files[label] += [image.path.name for image in group]
    assert [image.path.name for image in catalog.references] == [name for names in files.values() for name in names]
    labels = list(files)
    assert [labels[index] for index in catalog.class_of] == [image.label for image in catalog.references]
    return files


@pytest.mark.parametrize("golden", ["golden.png", "Golden.JPG", "golden.tiff"])
def test_of_several_images_the_one_called_golden_is_the_golden_image(tmp_path: Path, golden: str) -> None:
    for seed, name in enumerate(["10.png", "2.png", golden, "a.png", "golden 2.png"]):
        save(tmp_path / "bolt" / name, picture(seed))
    save(tmp_path / "nut" / "1.png", picture(9))
    assert files_of(tmp_path) == {"bolt": [golden, "2.png", "10.png", "a.png", "golden 2.png"], "nut": ["1.png"]}


def test_of_several_images_the_first_by_name_is_the_golden_image(tmp_path: Path) -> None:
    for seed, name in enumerate(["frame 10.png", "frame 9.jpg", "Frame 100.png"]):
        save(tmp_path / "bolt" / name, picture(seed))
    assert files_of(tmp_path) == {"bolt": ["frame 9.jpg", "frame 10.png", "Frame 100.png"]}


def test_pixels_of_further_references(tmp_path: Path) -> None:
    for seed, label in enumerate(["bolt", "nut", "pin"]):
        save(tmp_path / label / "1.png", picture(seed))
        if label != "bolt":
            save(tmp_path / label / "2.png", picture(seed + 10))
    found = read_catalog(tmp_path).further_images()
    assert sorted(found) == [1, 2]
    for index, images in found.items():
        np.testing.assert_array_equal(images[0], picture(index + 10)[:, :, ::-1])


def test_the_hash_covers_further_references(tmp_path: Path) -> None:
    for seed, label in enumerate(["bolt", "nut"]):
        save(tmp_path / label / "1.png", picture(seed))
    single = read_catalog(tmp_path)
    lines = "".join(f"{golden.label}\0{golden.sha256}\n" for golden in single.goldens)
    assert single.sha256 == hashlib.sha256(lines.encode()).hexdigest()  # as before parts had further references
    found = {single.sha256}
    for seed in (7, 8):
        save(tmp_path / "nut" / "2.png", picture(seed))
        found.add(read_catalog(tmp_path).sha256)
    (tmp_path / "nut" / "2.png").rename(tmp_path / "bolt" / "2.png")
    found.add(read_catalog(tmp_path).sha256)
    assert len(found) == 4
    assert read_catalog(tmp_path).goldens == single.goldens


def test_two_images_called_golden(tmp_path: Path) -> None:
    for seed, name in enumerate(["golden.png", "Golden.jpg", "3.png"]):
        save(tmp_path / "bolt" / name, picture(seed))
    (fault,) = faults(tmp_path)
    assert re.match(r"bolt: .*Golden\.jpg and golden\.png", fault)


def test_the_same_image_among_further_references(tmp_path: Path) -> None:
    for label, seeds in {"bolt": (0, 1), "nut": (2, 1), "pin": (3, 4, 3), "rivet": (5, 0)}.items():
        for number, seed in enumerate(seeds):
            save(tmp_path / label / f"{number}.png", picture(seed))
    found = [fault.split(": ")[0] for fault in faults(tmp_path)]
    assert sorted(found) == ["bolt and rivet/1.png", "bolt/1.png and nut/1.png", "pin and pin/2.png"]


@pytest.mark.parametrize("name", ["golden copy.jpg", "golden - Kopie.jpg", "Copy of golden.jpg", "golden (1).jpg"])
def test_a_further_reference_that_is_a_copy_saved_again(catalog_copy: Path, name: str) -> None:
    part = min(catalog_copy.iterdir())
    Image.open(part / "golden.jpg").save(part / name, quality=80)
    (fault,) = faults(catalog_copy)
    assert fault.startswith(f"{part.name}/{name}: ")
    save(part / name, picture(0))
    assert files_of(catalog_copy)[part.name] == ["golden.jpg", name]


def test_further_references_that_are_unusable(tmp_path: Path) -> None:
    for label in ("bolt", "nut", "pin"):
        save(tmp_path / label / "1.png", picture(len(label)) + (label == "pin"))
    save(tmp_path / "bolt" / "2.png", grey(1))
    (tmp_path / "nut" / "2.png").write_bytes(b"no image")
    (tmp_path / "pin" / "2.heic").write_bytes(b"no image")
    found = faults(tmp_path)
    for beginning in ("1 images are grey (bolt/2.png)", "nut: ", "pin/2.heic: "):
        assert len([fault for fault in found if fault.startswith(beginning)]) == 1, beginning
    assert str(tmp_path / "nut" / "2.png") in "".join(found)
    assert len(found) == 3


def test_further_references_and_the_region(tmp_path: Path) -> None:
    save(tmp_path / "bolt" / "1.png", picture(0))
    save(tmp_path / "bolt" / "2.png", np.concatenate([picture(1), picture(2)]))
    region = Region(0, 0, 50, 40)
    assert read_catalog(tmp_path).golden_hw is None
    (fault,) = faults(tmp_path, region)
    assert re.search("2 .*bolt has 50×40 px, bolt/2.png has 50×80 px", fault)
    save(tmp_path / "bolt" / "2.png", picture(1)[:35])
    assert [fault.split(": ")[0] for fault in faults(tmp_path, region)] == ["bolt/2.png"]
    save(tmp_path / "bolt" / "2.png", picture(1))
    assert files_of(tmp_path, region) == {"bolt": ["1.png", "2.png"]}


def test_twins_by_a_further_reference(tmp_path: Path) -> None:
    for seed, label in enumerate(["bolt", "nut", "pin"]):
        save(tmp_path / label / "1.png", picture(seed))
    for label, changes in {"bolt": (1,), "nut": (1, 2, 3)}.items():
        for change in changes:
            image = picture(8)
            image[0, 0] ^= change + 8 * len(label)
            save(tmp_path / label / f"{change + 1}.png", image)
    assert read_catalog(tmp_path).twins == (("bolt", "nut"),)


def test_part_with_two_files(tmp_path: Path) -> None:
    save(tmp_path / "bolt.png", picture(0))
    save(tmp_path / "bolt.tiff", picture(1))
    (fault,) = faults(tmp_path)
    assert re.match(r"bolt: .*bolt\.png.*bolt\.tiff", fault)


@pytest.mark.parametrize("suffix", ["png", "bmp"])
def test_same_image_twice(tmp_path: Path, suffix: str) -> None:
    """The pixels count: another file format does not make it another picture."""
    for label in ("bolt", "nut", "screw"):
        save(tmp_path / label / f"1.{suffix if label == 'nut' else 'png'}", picture(0))
    save(tmp_path / "washer" / "1.png", picture(1))
    (fault,) = faults(tmp_path)
    assert fault.startswith("bolt and nut and screw: the same image")


def test_parts_that_are_equal_inside_the_region(tmp_path: Path) -> None:
    for label, change in {"bolt": 0, "nut": 0, "pin": 1, "screw": 255}.items():
        image = picture(0)
        image[0, 0] = picture(len(label))[0, 0]  # outside
        image[10, 10] ^= change
        save(tmp_path / label / "1.png", image)
    (fault,) = faults(tmp_path, Region(1, 1, 40, 30))
    assert fault.startswith("bolt and nut: the same image inside the region; take the right picture")
    shutil.rmtree(tmp_path / "nut")
    assert read_catalog(tmp_path, Region(1, 1, 40, 30)).twins == (("bolt", "pin"),)


def test_images_that_the_region_does_not_fit(tmp_path: Path) -> None:
    for seed, label in enumerate(["bolt", "nut", "pin"]):
        save(tmp_path / f"{label}.png", np.tile(picture(seed), (1 if label == "nut" else 2, 2, 1)))
    (fault,) = faults(tmp_path, Region(10, 0, 90, 80))
    assert fault.startswith("nut: 100×40 px, the region reaches to (100, 80); expected a region inside every golden")
    assert len(faults(tmp_path, Region(11, 0, 90, 80))) == 3


def test_same_bytes_in_another_shape_are_another_image(tmp_path: Path) -> None:
    save(tmp_path / "wide.png", picture(0))
    save(tmp_path / "high.png", picture(0).reshape(50, 40, 3))
    assert read_catalog(tmp_path).labels == ("high", "wide")


@needs_case
@pytest.mark.parametrize("name", ["{}/1.png", "{}.png"])
def test_names_that_differ_only_in_case(tmp_path: Path, name: str) -> None:
    for seed, label in enumerate(["Bolt", "bolt", "Müller", "MÜLLER", "nut"]):
        save(tmp_path / name.format(label), picture(seed))
    found = faults(tmp_path)
    assert len(found) == 2
    assert "Bolt and bolt: names that differ only in case" in found[0] + found[1]
    assert "MÜLLER and Müller: names that differ only in case" in found[0] + found[1]


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere no name can be made of other bytes")
def test_a_name_that_is_not_utf_8(catalog_copy: Path) -> None:
    part = next(catalog_copy.iterdir())
    part.rename(os.fsdecode(os.fsencode(part) + b"\xff"))
    with pytest.raises(CatalogError, match="udcff") as caught:
        read_catalog(catalog_copy)
    str(caught.value).encode()  # the message itself can be written


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere not every name can be a file's")
@pytest.mark.parametrize("label", ["nut\n", "a\tb", "del\x7f", "M5 \u202egnp", " nut", "nut ", "no\u00a0break"])
@pytest.mark.parametrize("name", ["{}/1.png", "{}.png"])
def test_a_name_that_enrolment_would_refuse(tmp_path: Path, label: str, name: str) -> None:
    save(tmp_path / name.format("Müller 2"), picture(0))
    save(tmp_path / name.format(label), picture(1))
    assert faults(tmp_path) == [
        f"{label!r}: is no name for a part; expected printable characters, no space at either end: rename it"
    ]


@needs_case
def test_names_that_differ_only_in_how_accents_are_encoded(tmp_path: Path) -> None:
    for seed, label in enumerate(["M\u00fcller", "Mu\u0308ller", "MU\u0308LLER", "Muller"]):
        save(tmp_path / label / "1.png", picture(seed))
    (fault,) = faults(tmp_path)
    assert fault.startswith("MU\u0308LLER and Mu\u0308ller and M\u00fcller: names that differ only in case, or in how")


def test_grey_among_colour(tmp_path: Path) -> None:
    for seed in range(5):
        save(tmp_path / f"{seed}.png", grey(seed) if seed in (1, 3) else picture(seed))
    (fault,) = faults(tmp_path)
    assert fault.startswith("2 images are grey (1, 3) and 3 in colour")


def write_bad_images(root: Path) -> dict[str, str]:
    """Write one unusable image of each kind; return a datum of its error, by label."""
    root.mkdir(exist_ok=True)
    Image.new("RGB", (1, 1)).save(root / "one pixel.png")
    assert cv2.imwrite(str(root / "deep.png"), picture(11).astype(np.uint16) * 256)
    save(root / "transparent.png", picture(12), "RGBA")
    save(root / "printed.jpg", picture(13), "CMYK")
    save(root / "truncated.jpg", picture(14))
    data = (root / "truncated.jpg").read_bytes()
    (root / "truncated.jpg").write_bytes(data[: len(data) // 2])
    Image.new("1", (10_000, 10_000)).save(root / "huge.png")
    (root / "text.jpg").write_text("not an image")
    return {
        "one pixel": "1×1 px",
        "deep": "16 bits",
        "transparent": "RGBA",
        "printed": "CMYK",
        "truncated": "damaged",
        "huge": "80 megapixels",
        "text": "not an image",
    }


def test_bad_images_are_all_named(tmp_path: Path) -> None:
    data = write_bad_images(tmp_path)
    save(tmp_path / "good.png", picture(0))
    found = faults(tmp_path)
    assert len(found) == len(data)
    for label, datum in data.items():
        (fault,) = [line for line in found if line.startswith(f"{label}: ")]
        assert datum in fault
        assert f"{tmp_path / label}." in fault  # the file, to find it by


def test_nothing_but_bad_images(tmp_path: Path) -> None:
    assert len(faults(tmp_path)) == 1
    assert len(faults(tmp_path)) == len(write_bad_images(tmp_path / "x")) - 6
    shutil.rmtree(tmp_path / "x")
    assert len(write_bad_images(tmp_path)) == len(faults(tmp_path)) == 7


@needs_case
def test_all_faults_are_named_at_once(tmp_path: Path) -> None:
    bad = tmp_path / "bad"
    said = write_bad_images(bad)
    root = tmp_path / "golden"
    for path in bad.iterdir():
        (root / path.stem).mkdir(parents=True)
        path.rename(root / path.stem / path.name)
    (root / "empty").mkdir()
    for seed, suffix in ((1, "png"), (2, "bmp")):
        save(root / "several" / f"golden.{suffix}", picture(seed))
    for label, seed in {"Bolt": 3, "bolt": 4, "same": 5, "again": 5}.items():
        save(root / label / "golden.png", picture(seed))
    save(root / "grey" / "golden.png", grey(6))
    found = faults(root)
    beginnings = [*said, "empty", "several", "Bolt and bolt", "again and same", "1 images are grey"]
    assert len(found) == len(beginnings)
    for beginning in beginnings:
        assert [line for line in found if line.startswith(beginning)] != [], beginning


def test_of_many_faults_the_first_are_shown(tmp_path: Path) -> None:
    for index in range(30):
        (tmp_path / f"{index:02}").mkdir()
    with pytest.raises(CatalogError) as caught:
        read_catalog(tmp_path)
    lines = str(caught.value).split("\n  ")
    assert lines[0].endswith("30 things to fix in the catalogue")
    assert [line[:2] for line in lines[1:21]] == [f"{index:02}" for index in range(20)]
    assert lines[21:] == ["and 10 more"]


def link(path: Path, target: Path) -> None:
    try:
        path.symlink_to(target)
    except OSError:
        pytest.skip("this user may not make links")


@pytest.fixture
def two_parts(tmp_path: Path) -> Path:
    for seed, label in enumerate(["bolt", "nut"]):
        save(tmp_path / "golden" / f"{label}.png", picture(seed))
    return tmp_path / "golden"


@pytest.mark.parametrize(
    ("name", "form", "label"),
    [
        ("pin.jfif", "JPEG", "pin"),
        ("pin.JPE", "JPEG", "pin"),
        ("pin", "PNG", "pin"),
        ("M2.5", "PNG", "M2.5"),
        ("M2.5.png", "PNG", "M2.5"),
        ("pin.heic", "JPEG", "pin"),  # phones call pictures so that they converted
        ("pin.dat", "TIFF", "pin.dat"),
    ],
)
def test_a_picture_of_any_name_is_a_part(two_parts: Path, name: str, form: str, label: str) -> None:
    Image.fromarray(picture(2)).save(two_parts / name, form)
    assert label in read_catalog(two_parts).labels


@pytest.mark.parametrize(
    "name",
    [".250-20 UNC.png", ".pin", "pin.png.bak", "pin.png~", "pin.txt", "pin.png.1", "pin.png.part", "pin.crdownload"],
)
def test_a_picture_that_may_be_a_part_or_not(two_parts: Path, name: str) -> None:
    Image.fromarray(picture(2)).save(two_parts / name, "PNG")
    (fault,) = faults(two_parts)
    assert fault.startswith(f"{name}: ")


@pytest.mark.parametrize("inside", [False, True])
def test_links_that_lead_nowhere(two_parts: Path, inside: bool) -> None:
    if inside:
        for label in ("bolt", "nut"):
            (two_parts / "x").mkdir()
            (two_parts / f"{label}.png").rename(two_parts / "x" / "1.png")
            (two_parts / "x").rename(two_parts / label)
        (two_parts / "pin").mkdir()
    link(two_parts / ("pin/1.png" if inside else "pin.png"), two_parts / "missing.png")
    (two_parts / "self").symlink_to(two_parts / "self")
    names = [fault.split(": ")[0] for fault in faults(two_parts)]
    assert sorted(names) == sorted(["pin/1.png" if inside else "pin.png", "self"])


def test_parts_behind_links(two_parts: Path, tmp_path: Path) -> None:
    save(tmp_path / "share" / "pin.png", picture(2))
    link(two_parts / "pin.png", tmp_path / "share" / "pin.png")
    link(tmp_path / "line 3", two_parts)
    assert read_catalog(tmp_path / "line 3").labels == ("bolt", "nut", "pin")


def test_a_folder_inside_a_part(two_parts: Path) -> None:
    save(two_parts / "screws" / "M8" / "1.png", picture(2))
    save(two_parts / "pin" / "1.png", picture(3))
    save(two_parts / "pin" / "old" / "1.png", picture(4))
    for path in two_parts.glob("*.png"):
        path.unlink()
    assert [fault.split(": ")[0] for fault in faults(two_parts)] == ["pin", "screws"]


def test_parts_that_cannot_be_listed(small_catalog: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    unreadable, real = sorted(small_catalog.iterdir())[3], os.scandir

    def scan(folder: Path) -> object:
        if Path(folder) == unreadable:
            raise PermissionError(13, "Permission denied")
        return real(folder)

    monkeypatch.setattr(os, "scandir", scan)
    (fault,) = faults(small_catalog)
    assert fault.startswith(f"{unreadable.name}: cannot be read (Permission denied)")


@pytest.mark.parametrize("name", ["{} copy.jpg", "{} - Kopie.jpg", "Copy of {}.jpg", "{} (1).jpg"])
def test_a_copy_that_was_saved_again(catalog_copy: Path, tmp_path: Path, name: str) -> None:
    root = tmp_path / "files"
    for folder in sorted(catalog_copy.iterdir())[:3]:
        save(root / f"{folder.name}.png", read_image(folder / "golden.jpg")[:, :, ::-1])
    origin = min(root.iterdir())
    Image.open(origin).save(root / name.format(origin.stem), quality=80)
    (fault,) = faults(root)
    assert fault.startswith(name.removesuffix(".jpg").format(origin.stem))


def test_another_image_may_be_called_a_copy(two_parts: Path) -> None:
    save(two_parts / "bolt - Kopie.png", picture(2))
    mark = read_image(two_parts / "nut.png")[:, :, ::-1].copy()
    mark[10:12, 20:22] ^= 127
    save(two_parts / "nut (2).png", mark)
    assert read_catalog(two_parts).labels == ("bolt", "bolt - Kopie", "nut", "nut (2)")
