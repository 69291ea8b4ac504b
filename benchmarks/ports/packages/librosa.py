"""librosa: a pooch registry as text, and one file that has no hash on purpose."""

from __future__ import annotations

from port import Files, Port
from tree import Tree

FILES = "util/files.py"
REGISTRY = "util/example_data/registry.txt"


def stand_in(tree: Tree, url: str) -> Files:
    tree.replace(FILES, "https://librosa.org/", f"{url}librosa/")
    index = {"version_index.msgpack": b"\x80"}  # no versions
    made = tree.register(REGISTRY, r"^(?P<name>\S+) (?P<sha256>[0-9a-f]{64})$", index)
    return {f"librosa/data/audio/{name}": content for name, content in made.items()}


def port(tree: Tree, url: str) -> None:
    tree.replace(FILES, "import pooch\n", "from dataferry import PackageData\n")
    tree.replace_lines(FILES, "# Instantiate the pooch", ")", '__DATA = PackageData("librosa")\n')
    registry = 'with _resource_file("librosa.util.example_data", "registry.txt")'
    tree.replace_lines(FILES, registry, "    __GOODBOY.registry", "")
    tree.replace(FILES, "str(__GOODBOY.fetch(", "__DATA.get(")
    tree.replace(FILES, "+ ext))", "+ ext)")
    tree.replace(FILES, "__GOODBOY.fetch", "__DATA.get", times=2)
    # the index changes without a release of librosa: not registered, so not verified
    tree.replace("data/dataferry.toml", "strict = true", 'strict = false\nenv = "LIBROSA_DATA_DIR"')


PORT = Port(
    title="librosa 0.11",
    requirement="librosa==0.11.*",
    package="librosa",
    tests=("tests/test_util.py",),
    imports="import librosa; example = librosa.example",
    first="example('trumpet')",
    stand_in=stand_in,
    commands=(
        ("add", "librosa", "--from", f"librosa/{REGISTRY}", "--dataurl", "{url}librosa/data/audio/"),
        ("remove", "librosa", "version_index.msgpack"),
    ),
    port=port,
    also=("pytest-mpl", "pytest-cov"),
    pytest_options=("-k", "example or cite"),
)
