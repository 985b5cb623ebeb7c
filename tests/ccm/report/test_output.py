"""The page, the JSON and the files of a report."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from ccm_pack.ccm.errors import DataError
from ccm_pack.ccm.report.figures import draw_figures
from ccm_pack.ccm.report.output import describe, to_json, write_report
from ccm_pack.ccm.report.page import to_html
from ccm_pack.ccm.report.utility import read_utility

from .conftest import frames


@pytest.fixture
def sets(make_set):
    return make_set("real", frames(12, 0), [f"p{i // 2}" for i in range(12)]), make_set(
        "generated", frames(9, 1)
    )


def test_the_page_needs_no_other_file_and_no_script(sets, compare) -> None:
    report = compare(*sets)
    page = to_html(report, draw_figures(report, *sets))
    assert page.startswith("<!doctype html>") and "<script" not in page
    assert not re.search(r'(?:src|href)="(?!data:)', page)
    assert page.count("data:image/png;base64,") == 7
    assert 'name="viewport"' in page and "@media print" in page


def test_the_page_answers_first_and_names_what_made_it(sets, compare) -> None:
    page = to_html(compare(*sets), [])
    headings = [
        "What was compared",
        "1  Visual fidelity",
        "2  Biomarkers",
        "Copies",
        "3  Usefulness",
        "Methods",
    ]
    order = ["Not for clinical use", "Do generated frames look like real ones?", "What cannot be concluded"]
    order += [f"<h2>{name}</h2>" for name in headings] + ["python . evaluate A B --out C"]
    found = [page.index(text) for text in order]
    assert found == sorted(found)


def test_text_from_outside_is_escaped(sets, compare) -> None:
    evil = "<script>alert(1)</script>"
    from dataclasses import replace

    real = replace(sets[0], source=evil)
    page = to_html(compare(real, sets[1]), [])
    assert evil not in page and "&lt;script&gt;" in page


def test_the_frechet_distance_never_stands_without_its_floor(make_set, compare) -> None:
    few = make_set("real", frames(3, 0), list("abc")), make_set("generated", frames(5, 1))
    page = to_html(compare(*few), [])
    assert "Fréchet distance, all frames" not in page and "No Fréchet distance is given" in page


def test_the_json_is_finite_and_holds_verdicts_numbers_and_units(sets, compare) -> None:
    document = json.loads(to_json(compare(*sets)))
    assert document["format"] == "ccm-evaluation-1" and len(document["verdicts"]) == 4
    assert document["visual"]["mmd"]["extractor"]["hash"] == "0" * 64
    assert document["real"]["patients"] == 6 and document["generated"]["patients"] is None
    assert document["settings"]["margins"]["cnfl_mm_per_mm2"]["Control"]["value"] == 1.5
    assert len(document["copies"]["found"]["nndr"]) == 9


def test_one_report_gives_the_same_files_twice(sets, compare, tmp_path: Path) -> None:
    for name in ("a", "b"):
        report = compare(*sets)
        write_report(report, draw_figures(report, *sets), tmp_path / name)
    for file in ("report.html", "report.json", "figures/forest.png"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()
    assert not list((tmp_path / "a").rglob("*.part"))


def test_the_text_says_that_frames_are_synthetic(sets, compare) -> None:
    text = describe(compare(*sets))
    assert text.startswith("9 generated frames against 12 real ones")
    assert text.endswith("Not for clinical use.")


def test_a_utility_file_is_read(tmp_path: Path) -> None:
    file = tmp_path / "utility.json"
    one = {"endpoint": "miou", "arm": "b", "against": "a", "difference": 0.1, "low": 0.05, "high": 0.2}
    document = {
        "arms": [{"arm": "a"}, {"arm": "b"}],
        "differences": [one | {"verdict": "shown"}],
        "endpoints": {"miou": "mean IoU"},
        "seeds": [0, 1, 2, 3, 4],
        "patients": {"train": 20, "test": 40},
        "try": False,
        "notes": ["A note."],
    }
    file.write_text(json.dumps(document))
    found = read_utility(file)
    assert (found.arms, found.seeds, found.patients) == (("a", "b"), 5, 40)
    assert (found.differences[0].endpoint, found.differences[0].low) == ("mean IoU", 0.05)


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"arms": [], "differences": [{}]}'])
def test_another_file_is_refused_by_name(tmp_path: Path, text: str) -> None:
    file = tmp_path / "other.json"
    file.write_text(text)
    with pytest.raises(DataError, match=r"other\.json .*python \. utility"):
        read_utility(file)
