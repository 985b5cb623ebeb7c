"""Frames and masks read from files: full scale, grey, footers, and what is refused by name."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from ccm_pack.ccm.errors import ImageError
from ccm_pack.ccm.frames.reading import frame_size, has_footer, read_frame, read_mask
from PIL import Image

GREY = np.array([[0, 51, 255]], np.uint8)  # 0, 0.2 and 1 of full scale
SIXTEEN = np.array([[0, 13107, 65535]], np.uint16)


def save(path: Path, pixels: np.ndarray, **options: object) -> Path:
    Image.fromarray(pixels).save(path, **options)
    return path


@pytest.mark.parametrize("name", ["x.png", "x.tif", "x.tiff", "x.bmp"])
def test_8_bits_are_read_over_their_full_scale(tmp_path: Path, name: str) -> None:
    assert read_frame(save(tmp_path / name, GREY)) == pytest.approx(np.array([[0, 0.2, 1]]), abs=1e-6)


@pytest.mark.parametrize("name", ["x.png", "x.tif"])
def test_16_bits_are_read_over_their_full_scale(tmp_path: Path, name: str) -> None:
    frame = read_frame(save(tmp_path / name, SIXTEEN))
    assert frame.dtype == np.float32
    assert frame == pytest.approx(np.array([[0, 0.2, 1]]), abs=1e-6)


def test_a_float_tiff_is_taken_as_it_is(tmp_path: Path) -> None:
    values = np.array([[0, 0.25, 1]], np.float32)
    assert read_frame(save(tmp_path / "x.tif", values)) == pytest.approx(values)
    with pytest.raises(ImageError, match=r"x\.tif holds values 0 to 200; expected 0 to 1"):
        read_frame(save(tmp_path / "x.tif", np.array([[0, 200]], np.float32)))
    with pytest.raises(ImageError, match=r"x\.tif holds NaN"):
        read_frame(save(tmp_path / "x.tif", np.array([[0, np.nan]], np.float32)))


def test_a_jpeg_is_read_within_its_compression(tmp_path: Path) -> None:
    frame = read_frame(save(tmp_path / "x.jpg", np.full((16, 16), 128, np.uint8)))
    assert frame == pytest.approx(np.full((16, 16), 128 / 255), abs=0.01)


@pytest.mark.parametrize(
    "pixel, grey",
    [((255, 0, 0), 0.299), ((0, 255, 0), 0.587), ((0, 0, 255), 0.114), ((255, 255, 255, 0), 1.0)],
)
def test_colour_is_weighted_and_alpha_ignored(tmp_path: Path, pixel: tuple[int, ...], grey: float) -> None:
    path = save(tmp_path / "x.png", np.array([[pixel]], np.uint8))
    assert read_frame(path)[0, 0] == pytest.approx(grey, abs=1e-5)


@pytest.mark.parametrize("mode", ["1", "P", "LA", "CMYK"])
def test_any_other_mode_keeps_black_and_white(tmp_path: Path, mode: str) -> None:
    path = tmp_path / "x.tif"
    Image.fromarray(np.array([[0, 255]], np.uint8)).convert(mode).save(path)
    assert read_frame(path) == pytest.approx(np.array([[0, 1]]), abs=1e-5)


def test_of_an_hrt_export_the_field_remains(tmp_path: Path) -> None:
    export = np.zeros((484, 384), np.uint8)
    export[384:] = 255
    path = save(tmp_path / "x.tif", export)
    assert has_footer(path)
    assert frame_size(path) == (384, 384)
    assert read_frame(path).shape == (384, 384)
    assert read_frame(path).max() == 0


def test_a_frame_of_any_other_size_is_kept_whole(tmp_path: Path) -> None:
    path = save(tmp_path / "x.png", np.zeros((484, 400), np.uint8))
    assert (has_footer(path), frame_size(path), read_frame(path).shape) == (False, (400, 484), (484, 400))


def test_a_mask_of_0_and_1_is_as_good_as_one_of_0_and_255(tmp_path: Path) -> None:
    for value in (1, 255):
        mask = read_mask(save(tmp_path / "x.png", np.array([[0, value]], np.uint8)))
        assert mask.tolist() == [[0, 1]]
    assert read_mask(save(tmp_path / "x.png", np.zeros((2, 2), np.uint8))).max() == 0


def test_a_file_that_is_no_picture_is_named(tmp_path: Path) -> None:
    with pytest.raises(
        ImageError, match=r"none\.png cannot be opened: there is no such file\. Fix: check the path"
    ):
        read_frame(tmp_path / "none.png")
    (tmp_path / "empty.png").touch()
    with pytest.raises(ImageError, match=r"empty\.png is empty \(0 bytes\)"):
        frame_size(tmp_path / "empty.png")
    (tmp_path / "text.png").write_text("text")
    with pytest.raises(ImageError, match=r"text\.png cannot be opened"):
        read_frame(tmp_path / "text.png")


@pytest.mark.parametrize("name", ["x.png", "x.jpg", "x.tif"])
def test_a_file_that_is_cut_short_is_named(tmp_path: Path, name: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64), np.uint8)
    path = save(tmp_path / name, noise)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(ImageError, match="cannot be opened"):
        read_frame(path)


def test_a_file_of_several_pictures_is_refused(tmp_path: Path) -> None:
    page = Image.fromarray(GREY)
    page.save(tmp_path / "x.tif", save_all=True, append_images=[page])
    with pytest.raises(ImageError, match=r"x\.tif holds 2 pictures"):
        read_frame(tmp_path / "x.tif")


def save_dicom(path: Path, pixels: np.ndarray, photometric: str, bits: int) -> Path:
    """Save grey pixels as a DICOM file that names a patient."""
    pydicom = pytest.importorskip("pydicom", reason="DICOM files need pydicom")
    from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage, generate_uid

    data = pydicom.Dataset()
    data.file_meta = pydicom.dataset.FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID = SecondaryCaptureImageStorage
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID = generate_uid()
    data.PatientName, data.PatientID = "Doe^Jane", "4711"
    data.Rows, data.Columns = pixels.shape
    data.SamplesPerPixel, data.PixelRepresentation, data.PhotometricInterpretation = 1, 0, photometric
    data.BitsAllocated, data.BitsStored, data.HighBit = pixels.itemsize * 8, bits, bits - 1
    data.PixelData = pixels.tobytes()
    data.save_as(path, enforce_file_format=True)
    return path


def test_dicom_is_read_over_its_stored_bits_and_inverted_where_it_says_so(tmp_path: Path) -> None:
    twelve = np.array([[0, 819], [4095, 4095]], np.uint16)  # 0, 0.2 and 1 of 12 bits
    plain = read_frame(save_dicom(tmp_path / "a.dcm", twelve, "MONOCHROME2", 12))
    assert plain == pytest.approx(np.array([[0, 0.2], [1, 1]]), abs=1e-6)
    inverted = read_frame(save_dicom(tmp_path / "b.dcm", twelve, "MONOCHROME1", 12))
    assert inverted == pytest.approx(np.array([[1, 0.8], [0, 0]]), abs=1e-6)
    assert frame_size(tmp_path / "a.dcm") == (2, 2)


def test_a_damaged_dicom_file_is_named_and_its_patient_is_not(tmp_path: Path) -> None:
    path = save_dicom(tmp_path / "a.dcm", np.zeros((64, 64), np.uint8), "MONOCHROME2", 8)
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(ImageError, match=r"a\.dcm cannot be opened") as raised:
        read_frame(path)
    assert "Doe" not in str(raised.value) and "4711" not in str(raised.value)
    (tmp_path / "text.dcm").write_text("text")
    with pytest.raises(ImageError, match=r"text\.dcm cannot be opened"):
        frame_size(tmp_path / "text.dcm")


def test_without_pydicom_a_dicom_file_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pydicom", None)
    with pytest.raises(ImageError, match=r"a\.dcm is a DICOM file.*install pydicom"):
        read_frame(tmp_path / "a.dcm")
