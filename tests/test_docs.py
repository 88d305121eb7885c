"""The documents: commands, options, names, links and output in them are real."""

from __future__ import annotations

import re
import shlex
import tomllib
from pathlib import Path

import pytest
import shadowprice as sp
import typer
from door import knock
from paths import REPOSITORY
from shadowprice import cli
from shadowprice.ingest.simulator import SimulatedRun
from shadowprice.schemas.config import parse_config

DOCUMENTS = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "examples/README.md")
README = (REPOSITORY / "README.md").read_text(encoding="utf-8")
ELLIPSIS = "..."
PROMPT = re.compile(r"\$ |    (?=shadowprice )")
"""What stands before a command line in a document."""

Capture = pytest.CaptureFixture[str]


def commands() -> dict[str, set[str]]:
    """Every verb of the command line with its options."""
    root = typer.main.get_command(cli.app)
    found: dict[str, set[str]] = {}
    for name, command in root.commands.items():  # pyright: ignore[reportAttributeAccessIssue]
        below = getattr(command, "commands", {})
        for verb, leaf in ({f"{name} {sub}": c for sub, c in below.items()} or {name: command}).items():
            found[verb] = {option for param in leaf.params for option in param.opts} | {"--help"}
    return found


def blocks(language: str, text: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", text, flags=re.DOTALL)


def mentioned() -> list[str]:
    """Every command line in the documents, in code blocks and in code spans, and in the help texts."""
    texts = [(REPOSITORY / name).read_text(encoding="utf-8") for name in DOCUMENTS]
    epilogs = [c.epilog or "" for c in (*cli.app.registered_commands, *cli.schema_app.registered_commands)]
    lines = [
        line[len(match[0]) :] for text in texts for line in text.splitlines() if (match := PROMPT.match(line))
    ]
    spans = [span for text in texts for span in re.findall(r"`(shadowprice [^`]+)`", text)]
    examples = [epilog.removeprefix("Example: ") for epilog in epilogs]
    stripped = [line.strip().partition(" #")[0] for line in (*lines, *spans, *examples)]
    return sorted({line for line in stripped if line.startswith("shadowprice ")})


@pytest.mark.parametrize("line", mentioned())
def test_every_command_in_the_documents_exists(line: str) -> None:
    """Kills: a document or an example that names a verb or an option which is gone."""
    known = commands()
    _, *words = shlex.split(line)
    verb = next((v for v in (" ".join(words[:2]), words[0]) if v in known), None)
    assert verb is not None, line
    options = {word.partition("=")[0] for word in words if word.startswith("--")}
    assert options <= known[verb]


def test_every_verb_is_in_the_readme() -> None:
    """Kills: a verb that nobody hears of."""
    assert [verb for verb in commands() if f"shadowprice {verb}" not in README] == []


def test_every_public_function_is_in_the_readme_or_has_its_class_there() -> None:
    """Kills: a public function without an example."""
    code = "\n".join(blocks("python", README))
    functions = {name for name in sp.__all__ if name.islower() and not name.startswith("_")}
    shown = {name for name in functions if f"sp.{name}(" in code}
    assert functions - shown <= {"demo", "load_config", "open_store"}


def test_the_python_in_the_readme_runs(
    world: SimulatedRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: Capture
) -> None:
    """Kills: an example that a reader copies and that fails."""
    (tmp_path / "logs.jsonl").write_bytes((world.logs / "litellm.jsonl").read_bytes())
    monkeypatch.chdir(tmp_path)
    for block in blocks("python", README):
        exec(compile(block, "README.md", "exec"), {})
    assert "router.model" in capfd.readouterr().out


def test_the_configuration_in_the_readme_is_valid() -> None:
    """Kills: a key or a unit in the README that the program refuses."""
    for block in blocks("toml", README):
        parse_config(tomllib.loads(block), where="README.md")


@pytest.mark.parametrize("name", DOCUMENTS)
def test_links_lead_to_files_that_exist(name: str) -> None:
    """Kills: a link to a file that was moved."""
    text = (REPOSITORY / name).read_text(encoding="utf-8")
    targets = [t for t in re.findall(r"\]\(([^)#]+)\)", text) if "://" not in t]
    assert [t for t in targets if not ((REPOSITORY / name).parent / t).exists()] == []


def test_paths_in_contributing_exist() -> None:
    """Kills: a map of a house that was rebuilt."""
    text = (REPOSITORY / "CONTRIBUTING.md").read_text(encoding="utf-8")
    spans = re.findall(r"`([\w./]+(?:\.py|\.toml|/))`", text)
    rooms = [REPOSITORY, REPOSITORY / "ingest", REPOSITORY / "reports"]
    assert [span for span in spans if not any((room / span).exists() for room in rooms)] == []


@pytest.mark.parametrize("name", DOCUMENTS)
def test_documents_name_no_place_of_one_machine(name: str) -> None:
    """Kills: a path that only its author has."""
    text = (REPOSITORY / name).read_text(encoding="utf-8")
    assert not re.search(r"(?<![\w.])/(?:home|root|work|tmp|Users)/", text)


NUMBER = re.compile(r"\d[\d,]*(?:\.\d+)?")
RUN_ID = re.compile(r"\brun [0-9a-f]{12}\b")
"""The run id holds the versions of libraries and price book, which move on without us."""
LIBRARY_NOISE = 0.03
"""Relative difference between releases of the numerical libraries that a README may show; measured .1 %."""


def alike(shown: str, printed: str) -> bool:
    """Whether two lines say the same: equal words in equal order, numbers equal up to LIBRARY_NOISE."""
    lines = [RUN_ID.sub("run", line) for line in (shown, printed)]
    words = [NUMBER.sub("#", line).split() for line in lines]
    if words[0] != words[1]:
        return False
    pairs = zip(*([float(n.replace(",", "")) for n in NUMBER.findall(line)] for line in lines), strict=True)
    return all(abs(a - b) <= LIBRARY_NOISE * max(a, b) for a, b in pairs)


def test_lines_are_alike_up_to_the_noise_of_libraries_and_no_further() -> None:
    """Kills: a README that may say anything."""
    line = "1  over-routing  $1,000 [$900, $1,100]  A  run 0123456789ab"
    assert alike(line, "1 over-routing $1,001 [$899, $1,100] A  run ba9876543210")
    assert not alike(line, line.replace("1,000", "1,050"))
    assert not alike(line, line.replace("over", "under"))
    assert not alike(line, line.replace("  A", "  B"))


@pytest.mark.slow
def test_the_session_in_the_readme_is_what_the_program_prints(
    tmp_path: Path, capfd: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kills: output in the README that was typed, or that an older version printed."""
    session = next(block for block in blocks("console", README) if "shadowprice audit examples" in block)
    command, *shown = session.splitlines()
    (tmp_path / "examples").symlink_to(REPOSITORY / "examples")
    monkeypatch.chdir(tmp_path)
    said = knock(capfd, *shlex.split(command)[2:])
    assert said.code == 0
    printed = iter(said.out.splitlines())
    missing = [line for line in shown if line != ELLIPSIS and not any(alike(line, p) for p in printed)]
    assert not missing, f"not printed, or not in this order:\n{missing}\nThe program prints:\n{said.out}"
    assert [line for line in shown if line != ELLIPSIS], "the README shows no output"
