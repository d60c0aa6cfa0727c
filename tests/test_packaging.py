"""The wheel works away from the checkout, and the README's commands and .ci/run are what they say."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BASH_BLOCKS = re.findall(r"^```bash\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
DISPATCH_LINES = re.findall(r"(?:^|/bin/)(dispatch .*)$", "".join(BASH_BLOCKS), re.MULTILINE)
EXAMPLES = re.findall(r"(?<!example: chat -->\n)^```python\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
SECONDS = 120.0

needs_checkout = pytest.mark.skipif(not (ROOT / ".git").exists(), reason="only a git checkout knows the tracked files")


def marked_commands(name: str) -> list[str]:
    """The README's commands below `<!-- command: name -->`."""
    return re.findall(rf"^<!-- command: {name} -->\n```bash\n(.*?)\n```$", README, re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of the files that git tracks, or would."""
    copy, built = tmp_path_factory.mktemp("checkout"), tmp_path_factory.mktemp("built")
    listing = ["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    tracked = subprocess.run(listing, capture_output=True, check=True).stdout.decode().split("\0")
    for name in (name for name in tracked if (ROOT / name).is_file()):
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, copy / name)
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(built), str(copy)]
    subprocess.run(build, capture_output=True, check=True, timeout=SECONDS)
    return next(built.glob("*.whl"))


@needs_checkout
def test_the_wheel_carries_agents_config_types_and_licence(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        entry_points = next(archive.read(name).decode() for name in names if name.endswith("entry_points.txt"))
    assert wheel.name.startswith("agent_dispatcher-")
    agents = {Path(name).name for name in names if name.startswith("dispatcher/bundled/agents/")}
    assert agents == {path.name for path in (ROOT / "agents").iterdir()}
    assert len(agents) >= 30
    assert {"dispatcher/bundled/config.yaml", "dispatcher/py.typed"} <= set(names)
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert not [name for name in names if name.startswith(("tests/", "agents/"))]
    assert "dispatch = dispatcher.cli.app:main" in entry_points


@needs_checkout
def test_the_installed_wheel_does_the_main_job_in_an_empty_folder(
    wheel: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "installed"
    install = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-index", "--target", str(target)]
    subprocess.run([*install, str(wheel)], capture_output=True, check=True, timeout=SECONDS)
    monkeypatch.setenv("PYTHONPATH", str(target))
    dispatch = [sys.executable, "-m", "dispatcher"]
    ended = subprocess.run(
        [*dispatch, "design a user API"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=True,
        timeout=SECONDS,
    )
    assert ended.stdout == ""
    assert "→ backend-engineer" in ended.stderr
    assert "Nothing was sent" in ended.stderr
    assert str(target / "dispatcher" / "bundled" / "agents" / "backend-engineer.md") in ended.stderr
    subprocess.run([*dispatch, "config", "init"], capture_output=True, check=True, timeout=SECONDS)
    assert Path("config.yaml").read_bytes() == (ROOT / "config.yaml").read_bytes()


def test_every_dependency_has_a_minimum_version() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    groups = [project["dependencies"], *project["optional-dependencies"].values()]
    dependencies = [each for group in groups for each in group]
    assert dependencies
    assert [each for each in dependencies if not re.match(r"^[a-z0-9-]+(\[[a-z,]+\])?>=\d", each)] == []


def test_the_readme_has_exactly_two_commands_to_paste() -> None:
    assert re.findall(r"<!-- command: (\w+) -->", README) == ["run", "test"]
    (run_command,), (test_command,) = marked_commands("run"), marked_commands("test")
    assert run_command.endswith('dispatch "design a user API"')
    assert test_command.endswith("-m pytest")
    for command in (run_command, test_command):
        assert "-m venv" in command
        assert "pip install" in command


def test_the_checks_run_the_readmes_test_command() -> None:
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    line = next(line for line in script.splitlines() if line.startswith("command="))
    found = subprocess.run(
        ["bash", "-c", f'{line}; printf %s "$command"'], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert [found.stdout] == marked_commands("test")
    assert 'bash -euo pipefail -c "$command"' in script


def test_the_readmes_calls_of_the_program_are_right() -> None:
    """In the order of the page, in one folder, since what one writes another reads."""
    shutil.copy(ROOT / "README.md", "README.md")
    for folder in ("agents", "eval"):
        shutil.copytree(ROOT / folder, folder)
    ended = {line: run_line(line) for line in DISPATCH_LINES}
    assert len(ended) >= 10
    assert {line: (one.returncode, one.stderr) for line, one in ended.items() if one.returncode != 0} == {}


def test_the_readmes_example_of_the_library_runs(capsys: pytest.CaptureFixture[str]) -> None:
    (first,) = (example for example in EXAMPLES if "dispatcher.route(" in example)
    exec(compile(first, "README.md", "exec"), {})
    printed = capsys.readouterr().out
    assert printed.startswith("backend-engineer ")
    assert "not_sent" in printed


@pytest.mark.parametrize("example", EXAMPLES)
def test_every_example_of_the_readme_runs(example: str, capsys: pytest.CaptureFixture[str]) -> None:
    exec(compile(example, "README.md", "exec"), {"__name__": "__main__"})
    assert capsys.readouterr().out


def test_the_readme_shows_what_the_first_command_prints() -> None:
    (shown,) = re.findall(r"<!-- output: run -->\n```text\n(.*?)```", README, re.DOTALL)
    said = run_line('dispatch "design a user API"').stderr
    without_places = [" ".join(re.sub(r"\S+/(?=agents/)", "", text).split()) for text in (shown, said)]
    assert without_places[0] == without_places[1]


def run_line(line: str) -> subprocess.CompletedProcess[str]:
    """Runs a line of the README in this folder, as a shell would."""
    script = f'dispatch() {{ "{sys.executable}" -m dispatcher "$@"; }}\n{line}\n'
    return subprocess.run(
        ["bash", "-c", script], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=SECONDS
    )
