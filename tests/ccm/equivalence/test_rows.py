"""Measurements and labels to rows."""

from __future__ import annotations

import json

import pytest
from ccm_pack.ccm.cohorts import Cohort
from ccm_pack.ccm.equivalence.rows import check_one_tool, read_rows
from ccm_pack.ccm.errors import CohortError, DataError


def test_a_label_line_belongs_to_the_frame_of_its_place(measured) -> None:
    found = read_rows("real", measured([14.0, None]), "patient;cohort;eye\np1;T1DPN;OD\np2; control ;OS\n")
    first, second = found.rows
    assert (first.cohort, first.patient, first.values["cnfl_mm_per_mm2"]) == (Cohort.T1DPN, "p1", 14.0)
    assert (second.cohort, second.patient, second.values) == (Cohort.CONTROL, "p2", {})
    assert found.patients_known


def test_one_line_holds_for_all_frames(measured) -> None:
    found = read_rows("generated", measured([1.0, 2.0, 3.0]), "cohort\nT1DPN")
    assert [row.cohort for row in found.rows] == [Cohort.T1DPN] * 3
    assert not found.patients_known


def test_frames_may_carry_their_own_labels(measured) -> None:
    document = json.loads(measured([1.0]))
    document["frames"][0] |= {"cohort": "Control", "patient": "p9"}
    assert read_rows("real", json.dumps(document), "").rows[0].patient == "p9"


def test_the_records_of_load_frames_are_labels(measured) -> None:
    frames = [
        {"frame": "a.png", "patient": "p1", "eye": "OD", "cohort": "T1DPN"},
        {"frame": "b.png", "patient": "p2", "eye": None, "cohort": None},
    ]
    with pytest.raises(CohortError, match=r"no cohort: b\.png"):
        read_rows("real", measured([1.0, 2.0]), json.dumps({"frames": frames}))
    frames[1]["cohort"] = "Control"
    found = read_rows("real", measured([1.0, 2.0]), json.dumps({"frames": frames}))
    assert [row.patient for row in found.rows] == ["p1", "p2"]


def test_frames_without_a_cohort_are_refused_by_name(measured) -> None:
    with pytest.raises(CohortError, match=r"These real frames have no cohort: 2, 3\. Fix"):
        read_rows("real", measured([1.0] * 3), "cohort,patient\nControl,a\n,b\n,c")
    with pytest.raises(CohortError, match="no cohort: 1, 2, 3, 4, 5, 6, 7, 8, 9, 10 and 2 more"):
        read_rows("real", measured([1.0] * 12), "")


@pytest.mark.parametrize(
    ("document", "labels", "said"),
    [
        ("hello", "", "no JSON"),
        ("[]", "", "no list of frames"),
        ('{"frames": 3}', "", "no list of frames"),
        ('{"frames": []}', "", "holds no frames"),
        ('{"frames": [{"cnfl_mm_per_mm2": "x"}]}', "cohort\nControl", "real frame 1 is 'x'"),
        ('{"frames": [{"cnfl_mm_per_mm2": NaN}]}', "cohort\nControl", "frame 1 is nan"),
        ('{"frames": [{}, {}, {}]}', "cohort\nControl\nControl", "2 lines for 3 frames"),
        ('{"frames": [{}]}', "Control", "no column 'cohort'"),
        ('{"frames": [{}, {}]}', "cohort,patient\nControl,p\nControl,", "no patient, others do: 2"),
    ],
)
def test_what_is_no_measurement_is_refused(document: str, labels: str, said: str) -> None:
    with pytest.raises(DataError, match=said):
        read_rows("real", document, labels)


def test_an_unknown_cohort_is_named(measured) -> None:
    with pytest.raises(CohortError, match="'T2'"):
        read_rows("real", measured([1.0]), "cohort\nT2")


def test_two_versions_of_the_tool_are_refused(measured) -> None:
    real, other = (read_rows("x", measured([1.0], version), "cohort\nControl") for version in "12")
    with pytest.raises(DataError, match="measured differently"):
        check_one_tool(real, other)
