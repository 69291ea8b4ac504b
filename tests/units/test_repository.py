"""Rules of the source tree itself, and that importing dataferry stays light."""

from __future__ import annotations

import ast
import configparser
import os
import re
import shutil
import socket
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

import dataferry
from dataferry import errors

LARGEST = 1_000_000
GRAB_BAGS = {"common", "helpers", "misc", "util", "utils"}


@pytest.fixture(scope="session")
def tracked(repository: Path) -> list[Path]:
    """The files that git tracks, or in an unpacked sdist the files that came with it."""
    if (repository / ".git").exists() and shutil.which("git"):
        # a checkout that belongs to somebody else is still only read
        command = ["git", "-c", f"safe.directory={repository}", "ls-files", "-z"]
        listed = subprocess.run(command, cwd=repository, capture_output=True, check=True).stdout.decode()
        names = [name for name in listed.split("\0") if name]
    else:
        sources = next(repository.glob("*.egg-info/SOURCES.txt"), None)
        if sources is None:
            pytest.skip("neither a git checkout nor an unpacked sdist")
        names = [name for name in sources.read_text().splitlines() if ".egg-info/" not in name]
    return [repository / name for name in names if (repository / name).is_file()]


@pytest.fixture(scope="session")
def texts(tracked: list[Path]) -> dict[Path, str]:
    found = {}
    for path in tracked:
        content = path.read_bytes()
        if b"\0" not in content:
            found[path] = content.decode("utf-8")
    return found


def lines_that_match(texts: dict[Path, str], pattern: re.Pattern[str]) -> list[str]:
    return [
        f"{path}:{number}: {line.strip()}"
        for path, text in texts.items()
        if pattern.search(text)
        for number, line in enumerate(text.splitlines(), 1)
        if pattern.search(line)
    ]


def readme_commands(repository: Path) -> list[str]:
    readme = (repository / "README.rst").read_text(encoding="utf-8")
    return [line.strip() for line in readme.splitlines() if "python3 -m venv" in line and "``" not in line]


def test_setup_cfg_holds_only_what_pyproject_cannot(repository: Path) -> None:
    text = (repository / "setup.cfg").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 10
    parser = configparser.ConfigParser()
    parser.read_string(text)
    shadows = [
        s for s in parser.sections() if re.match(r"metadata|options|tool:pytest|coverage|egg_info|mypy|flake8", s)
    ]
    assert not shadows, f"{shadows} belong into pyproject.toml"


def test_oldest_versions_are_tested(repository: Path) -> None:
    project = tomllib.loads((repository / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    wanted = [*project["dependencies"], *extras["test"], *extras["maps"]]
    minimum = {name: version for name, _, version in (line.partition(";")[0].partition(">=") for line in wanted)}
    pins = re.findall(r"oldestdeps: (\S+?)==(\S+)", (repository / "tox.ini").read_text(encoding="utf-8"))
    assert {name: version.removesuffix(".*") for name, version in pins} == minimum


def test_the_conda_recipe_has_the_requirements_of_the_project(repository: Path) -> None:
    project = tomllib.loads((repository / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    recipe = yaml.safe_load((repository / ".ci" / "conda" / "recipe.yaml").read_text(encoding="utf-8"))
    # conda-forge calls the part of astropy that has no optional dependencies astropy-base
    run = {line.replace(" ", "").replace("astropy-base", "astropy") for line in recipe["requirements"]["run"]}
    assert run == {*project["dependencies"], "python" + project["requires-python"]}


def test_the_tests_with_the_oldest_versions_are_there(repository: Path) -> None:
    (names,) = re.findall(r'^OLDEST="([^"]*)"', (repository / ".ci" / "run").read_text(encoding="utf-8"), re.MULTILINE)
    assert [n for n in names.split() if not (repository / "tests" / "promises" / f"test_{n}.py").is_file()] == []


def test_no_host_of_a_package_registry_is_named(texts: dict[Path, str]) -> None:
    # put together here, so that this file does not hold them either
    hosts = ["pypi" + ".org", "pythonhosted" + ".org", "npmjs" + ".", "deb.debian" + ".org", "debian" + ".net"]
    assert lines_that_match(texts, re.compile("|".join(map(re.escape, hosts)))) == []


def test_no_path_of_a_machine_is_named(texts: dict[Path, str]) -> None:
    starts = ["/ro" + "ot/", "/wo" + "rk/", "/fa" + "rm/", "/opt/" + "df", "/tm" + r"p/[a-z]"]
    found = lines_that_match(texts, re.compile(rf"(?<![\w./}}~-])({'|'.join(starts)})"))
    assert found == []


def imports(path: Path, package: str) -> set[str]:
    """The modules of dataferry that a file imports, by their absolute names."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            base = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            module = ".".join([*base, *filter(None, [node.module])])
            found |= {module, *(f"{module}.{name.name}" for name in node.names)}
        elif isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
    return found


def test_a_host_imports_no_other_host(repository: Path) -> None:
    points = tomllib.loads((repository / "pyproject.toml").read_text(encoding="utf-8"))["project"]["entry-points"]
    modules = {".".join(point.partition(":")[0].split(".")[:3]) for point in points["dataferry.hosts"].values()}
    folder, wrong = repository / "dataferry" / "hosts", []
    for path in folder.rglob("*.py"):
        parts = ["dataferry", "hosts", *path.relative_to(folder).with_suffix("").parts]
        own = ".".join(parts[:3])
        others = {f"{module}." for module in modules - {own}} if own in modules else set()
        wrong += [
            f"{path}: {name}" for name in imports(path, ".".join(parts[:-1])) if f"{name}.".startswith(tuple(others))
        ]
    assert wrong == []


def test_no_private_name_of_a_library_is_used(repository: Path) -> None:
    """Every private attribute that the package uses is defined in it; no private module of a library is imported."""
    trees = {path: ast.parse(path.read_text("utf-8")) for path in (repository / "dataferry").rglob("*.py")}
    nodes = [(path, node) for path, tree in trees.items() for node in ast.walk(tree)]
    public = {"_replace", "_asdict", "_fields", "_make", "_exit"}  # of named tuples and of os
    ours = public | {node.name for _, node in nodes if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    ours |= {node.id for _, node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    stored = [node for _, node in nodes if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store)]
    ours |= {node.attr for node in stored if getattr(node.value, "id", "") in {"self", "cls"}}

    def names(node: ast.AST) -> list[str]:
        if isinstance(node, ast.Attribute):
            return [node.attr]
        if isinstance(node, ast.keyword):
            return [node.arg or ""]
        if isinstance(node, ast.ImportFrom) and not node.level:
            return [*(node.module or "").split("."), *(alias.name for alias in node.names)]
        if isinstance(node, ast.Import):
            return [part for alias in node.names for part in alias.name.split(".")]
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") in {"getattr", "hasattr", "setattr"}:
            return [getattr(node.args[1], "value", "")]
        return []

    private = re.compile(r"_(?!_)|__(?!.*__$)")
    found = [(path, name) for path, node in nodes for name in names(node) if private.match(str(name))]
    assert [f"{path}: {name}" for path, name in found if name not in ours] == []


def test_no_file_is_a_grab_bag(tracked: list[Path]) -> None:
    assert [path for path in tracked if path.suffix == ".py" and path.stem in GRAB_BAGS] == []


def test_no_file_is_large(tracked: list[Path]) -> None:
    assert [path for path in tracked if path.stat().st_size > LARGEST] == []


def test_readme_has_two_commands_of_one_line(repository: Path) -> None:
    commands = readme_commands(repository)
    assert len(commands) == 2
    demo, tests = commands
    assert demo.endswith("dataferry demo")
    assert "pytest" in tests
    assert not any(command.endswith("\\") for command in commands)


def test_changes_of_users_interest_are_fragments(repository: Path) -> None:
    config = tomllib.loads((repository / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["towncrier"]
    kinds = {kind["directory"] for kind in config["type"]}
    folder = repository / config["directory"]
    odd = [p.name for p in folder.iterdir() if p.name != "README.rst" and p.name.split(".")[-2:-1][0] not in kinds]
    assert odd == [], f"name them <name>.<kind>.rst with a kind of {sorted(kinds)}"


def test_public_names_are_documented(repository: Path) -> None:
    page = (repository / "docs" / "api.rst").read_text(encoding="utf-8")
    documented = {*re.findall(r"auto(?:class|function):: (\w+)", page), *errors.__all__}
    assert set(dataferry.__all__) - documented == {"__version__"}


def test_import_is_light(home: Path) -> None:
    heavy = ["astropy", "numpy", "urllib3", "requests", "http.client", "ssl", "click", "tqdm", "tomlkit", "filelock"]
    script = f"import sys, dataferry; print([name for name in {heavy!r} if name in sys.modules])"
    run = subprocess.run([sys.executable, "-c", script], cwd=home, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_tests_reach_loopback_only() -> None:
    with socket.socket() as listener, socket.socket() as client, socket.socket() as stranger:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        client.connect(listener.getsockname())
        with pytest.raises(OSError, match="remote_data"):
            stranger.connect(("192.0.2.1", 80))


def test_tests_have_a_home_of_their_own(home: Path) -> None:
    assert Path.home() == home
    assert not [name for name in os.environ if name.startswith(("DATAFERRY_", "ASTROPY_"))]


def test_every_key_and_variable_is_described(repository: Path) -> None:
    from dataferry.config.settings import _KEYS, _PACKAGE_KEYS, DATA_VARIABLE, OFFLINE_VARIABLE
    from dataferry.config.sites import _NAMING
    from dataferry.download.origin import ROOT_VARIABLES
    from dataferry.registry import registry

    page = (repository / "docs" / "toml.rst").read_text()
    words = {DATA_VARIABLE, OFFLINE_VARIABLE, *_NAMING, *ROOT_VARIABLES} | registry._KEYS | _KEYS | _PACKAGE_KEYS
    assert {word for word in words if not re.search(rf"\b{word}\b", page)} == set()
