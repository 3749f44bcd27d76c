"""The built package: complete, nothing else in it, importable on its own, quick to import."""

import os
import shutil
import subprocess
import sys
import textwrap
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE_FOLDERS = ("agents", "baselines", "envs", "models")
DATA_SUFFIXES = {".csv", ".json", ".safetensors", ".html"}
#: Costly to import, so left to the functions that need them.
HEAVY = ("matplotlib", "ortools", "pandas", "sb3_contrib", "scipy", "stable_baselines3", "torch")


def package_files() -> list[Path]:
    """Every module and data file that the wheel should hold, relative to the root."""
    files = [*ROOT.glob("*.py"), ROOT / "py.typed"]
    for folder in PACKAGE_FOLDERS:
        files += [
            path
            for path in (ROOT / folder).rglob("*")
            if path.suffix in {".py", *DATA_SUFFIXES} or "_LICENSE" in path.name
        ]
    return sorted(path.relative_to(ROOT) for path in files)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel built from a copy of the tree, so that nothing is written beside the sources."""
    source = tmp_path_factory.mktemp("source")
    for path in [*package_files(), *map(Path, ("pyproject.toml", "README.md", "LICENSE"))]:
        (source / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / path, source / path)
    for bystander in ("tests/test_it.py", "benchmarks/speed.py", "runs/policy.json", "notes.csv"):
        (source / bystander).parent.mkdir(exist_ok=True)
        (source / bystander).write_text("")
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", str(source)]
    subprocess.run(build, check=True, capture_output=True)
    (built,) = (source / "dist").glob("*.whl")
    return built


def test_the_list_of_packages_is_the_tree() -> None:
    configuration = tomllib.loads((ROOT / "pyproject.toml").read_text())
    folders = {path.parent for path in package_files() if path.name == "__init__.py"}
    expected = sorted(".".join(("makespan", *folder.parts)) for folder in folders)
    assert configuration["tool"]["setuptools"]["packages"] == expected


def test_the_root_holds_no_module_by_accident() -> None:
    # Every one of them becomes a module of the package.
    modules = {path.name for path in ROOT.glob("*.py")}
    assert modules <= {"__init__.py", "train.py", "evaluate.py"}


def test_every_folder_of_modules_or_data_is_a_package() -> None:
    folders = {path.parent for path in package_files()}
    assert [str(f) for f in sorted(folders) if not (ROOT / f / "__init__.py").exists()] == []


def test_the_wheel_holds_all_modules_and_data_and_nothing_else(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    found = sorted(Path(name) for name in names if ".dist-info/" not in name)
    assert found == sorted(Path("makespan") / path for path in package_files())


def test_every_module_of_the_wheel_imports_by_itself(wheel: Path, tmp_path: Path) -> None:
    zipfile.ZipFile(wheel).extractall(tmp_path)
    code = """
        import pkgutil, sys, makespan
        for module in pkgutil.walk_packages(makespan.__path__, "makespan."):
            __import__(module.name)
        print(*[m.__file__ for name, m in sys.modules.items() if name.startswith("makespan")])
    """
    files = [Path(name) for name in run_python(code, tmp_path).split()]
    modules = [path for path in package_files() if path.suffix == ".py"]
    assert sorted(files) == sorted(tmp_path / "makespan" / path for path in modules)


def test_importing_makespan_leaves_heavy_libraries_out(tmp_path: Path) -> None:
    code = f"import sys, makespan; print(*[name for name in {HEAVY} if name in sys.modules])"
    assert run_python(code, tmp_path) == ""


def run_python(code: str, folder: Path) -> str:
    """What a fresh interpreter prints that finds packages in ``folder`` first."""
    process = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder)},
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    return process.stdout.strip()
