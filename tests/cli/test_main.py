"""The command line from anywhere, whatever the pack's folder is called."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]


def load_main() -> ModuleType:
    spec = importlib.util.spec_from_file_location("ccm_main", ROOT / "__main__.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run(cwd: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *arguments], cwd=cwd, capture_output=True, text=True, timeout=120)


@pytest.fixture
def odd_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "My CCM-pack"
    folder.symlink_to(ROOT, target_is_directory=True)
    return folder


def test_a_folder_name_with_space_and_hyphen_works_from_outside(odd_folder: Path) -> None:
    done = run(odd_folder.parent, odd_folder.name, "weights")
    assert (done.returncode, done.stderr) == (0, "")


def test_a_dot_works_inside_the_folder(odd_folder: Path) -> None:
    done = run(odd_folder, ".", "weights")
    assert (done.returncode, done.stderr) == (0, "")


def test_our_nodes_never_hide_the_hosts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [str(ROOT), ".", *sys.path])
    monkeypatch.setattr(sys, "argv", ["x", "weights"])
    monkeypatch.chdir(ROOT)
    assert load_main().main() == 0
    found = importlib.util.find_spec("nodes")
    assert found is None or Path(str(found.origin)).parent != ROOT / "nodes"


def test_a_python_that_is_too_old_is_told_which_one_to_use() -> None:
    with pytest.raises(SystemExit, match=r"Python 3\.9 is too old\. Fix: use 3\.10 or newer"):
        load_main().check_python((3, 9, 18))


def test_an_unknown_command_lists_the_known_ones() -> None:
    done = run(ROOT, ".", "nonsense")
    assert done.returncode == 2
    assert "demo" in run(ROOT, ".", "--help").stdout


def test_a_misspelt_command_is_answered_with_the_one_that_it_resembles() -> None:
    done = run(ROOT, ".", "mesure", "folder")
    assert done.returncode == 2 and "there is no command mesure; did you mean measure?" in done.stderr


def test_the_command_line_needs_the_standard_library_only() -> None:
    done = run(ROOT, "-I", "-S", ".", "weights")
    assert (done.returncode, done.stderr) == (0, "")


def test_importing_the_command_line_loads_no_package_from_outside() -> None:
    code = (
        "import runpy, sys\nsys.argv = ['x', 'weights']\n"
        "try:\n    runpy.run_path('.', run_name='__main__')\nexcept SystemExit: pass\n"
        "print([m for m in ('numpy', 'torch', 'aiohttp', 'PIL') if m in sys.modules])"
    )
    assert run(ROOT, "-c", code).stdout.strip().endswith("[]")


@pytest.mark.parametrize("arguments", [["demo"], ["dataset", "check", "folder"]])
def test_a_wrong_option_shows_the_usage_of_its_command(arguments: list[str]) -> None:
    done = run(ROOT, ".", *arguments, "--wrong")
    assert done.returncode == 2
    assert done.stderr.startswith(f"usage: python . {arguments[0]} [-h]")
    assert done.stderr.endswith(f"python . {arguments[0]}: error: unrecognized arguments: --wrong\n")
