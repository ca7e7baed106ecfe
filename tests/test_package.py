"""What is installed is what stands in the tree, and importing it is quick."""

import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from itertools import chain
from pathlib import Path

import pytest

import physsim
from physsim import assets

ROOT = Path(__file__).parent.parent
HEAVY = ("torch", "open3d", "trimesh", "pybullet")


@pytest.fixture(scope="module")
def project():
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def files_of_the_tree(project):
    """Path of each file of the tree as the wheel should hold it."""
    folders = project["tool"]["setuptools"]["package-dir"]
    for name, folder in folders.items():
        for path in (ROOT / folder).rglob("*"):
            if path.is_file() and path.suffix != ".pyc" and not any(part.startswith((".", "__pycache__")) for part in path.parts):
                yield f"{name.replace('.', '/')}/{path.relative_to(ROOT / folder).as_posix()}"


def run_python(*arguments, **options):
    environment = {**os.environ, **options.pop("env", {})}
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, timeout=240, env=environment, **options)


def test_every_package_of_the_tree_is_listed(project):
    packages = {str(Path(file).parent).replace("/", ".") for file in files_of_the_tree(project) if file.endswith(".py")}
    assert packages == set(project["tool"]["setuptools"]["packages"])


def test_kernels_import_nothing_but_warp_and_each_other():
    for path in (ROOT / "kernels").rglob("*.py"):
        imported = re.findall(r"^(?:import|from) (\S+)", path.read_text(encoding="utf-8"), re.MULTILINE)
        assert all(name == "warp" or name.startswith("physsim.kernels") or name in sys.stdlib_module_names for name in imported), path


def test_the_wheel_holds_the_tree(project, tmp_path):
    source = tmp_path / "source"
    ignored = shutil.ignore_patterns("__pycache__", "*.egg-info", ".*")
    for folder in project["tool"]["setuptools"]["package-dir"].values():
        shutil.copytree(ROOT / folder, source / folder, ignore=ignored)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source / name)
    done = run_python("-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path), str(source), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}
        licences = {name for name in archive.namelist() if "/licenses/" in name}
    assert held == set(files_of_the_tree(project))
    shipped = {f"assets/{name}/LICENSE" for name in ("cube_toss", "plush", "silicone_beam", "starfish", "twin_capture")}
    assert {name.rsplit("/licenses/", 1)[1] for name in licences} == {"LICENSE", *shipped}


def test_importing_is_quick_and_loads_nothing_heavy():
    timed = "import time; t = time.perf_counter(); import physsim; t = time.perf_counter() - t"
    done = run_python("-c", f"{timed}; import sys, json; print(json.dumps([t, [*sys.modules]]))")
    assert done.returncode == 0, done.stderr
    seconds, modules = json.loads(done.stdout)
    assert seconds < 2.0
    assert not set(HEAVY) & set(modules)


@pytest.mark.parametrize("name", [name for name in physsim.__all__ if name != "__version__"])
def test_a_public_name_is_found_where_it_is_said_to_be(name):
    assert getattr(physsim, name) is getattr(__import__(physsim._HOMES[name], fromlist=[name]), name)
    assert name in dir(physsim)


def test_a_name_that_does_not_exist_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'SolverMagic'"):
        _ = physsim.SolverMagic


def test_the_version_is_the_same_everywhere(project):
    assert physsim.__version__ == project["project"]["version"] == importlib.metadata.version("physsim")
    assert f"## {physsim.__version__}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert run_python("-m", "physsim", "--version").stdout == f"physsim {physsim.__version__}\n"


def test_every_dependency_is_pinned(project):
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    assert all(re.fullmatch(r"[a-z0-9-]+==[0-9][0-9a-z.]*", pin) for pin in pins), "each line must be name==version"
    pinned = {pin.split("==")[0] for pin in pins}
    asked = [*project["project"]["dependencies"], *chain(*project["project"]["optional-dependencies"].values())]
    assert {re.match(r"[a-z0-9-]+", need)[0] for need in asked} <= pinned
    assert {"torch==2.13.0", "warp-lang==1.19.0"} <= set(pins)


def test_the_readme_says_the_two_commands():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert "    pip install -c constraints.txt -e '.[robots]' && physsim demo\n" in readme
    assert "    pip install -c constraints.txt -e '.[test]' && pytest\n" in readme


def test_what_ships_comes_with_its_licence_and_its_facts():
    assert assets.names() == ["cube_toss", "plush", "silicone_beam", "starfish", "twin_capture"]
    beam = assets.folder("silicone_beam")
    facts = json.loads((beam / "experiment.json").read_text(encoding="utf-8"))
    assert all((beam / recording["file"]).is_file() for recording in facts["recordings"].values())
    assert "MIT License" in (beam / "LICENSE").read_text(encoding="utf-8")
    with pytest.raises(physsim.InputError, match="choose one of cube_toss, plush, silicone_beam, starfish, twin_capture"):
        assets.folder("teapot")
