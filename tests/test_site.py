"""The documentation site: all that is public has its place, generated parts are current, links lead on."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
import shadowprice as sp
from paths import REPOSITORY
from shadowprice import reader
from shadowprice.ingest.readers.registry import READERS
from shadowprice.reports.exports.export import TARGETS

SITE = REPOSITORY / "docs"
PAGES = sorted(p for p in SITE.rglob("*.md") if not {"_build", "notebooks"} & set(p.relative_to(SITE).parts))
METHODS = sorted(p for p in (SITE / "methods").glob("*.md") if p.name != "index.md")
PARTS = ("**Answers**", "**Refused when**", "**Where**", "**Source**")
CURE = "run python docs/generate.py"


@pytest.fixture(scope="module")
def generate() -> ModuleType:
    """The script that writes the parts which are read off the code."""
    spec = importlib.util.spec_from_file_location("docs_generate", SITE / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def text_of(name: str) -> str:
    return (SITE / name).read_text(encoding="utf-8")


def test_generated_parts_are_what_the_code_says(generate: ModuleType) -> None:
    """Kills: an option, a column or a docstring that changed, and a page that still says the old one."""
    stale = [
        path.name for path, text in generate.pages().items() if text_of(f"generated/{path.name}") != text
    ]
    assert stale == [], CURE
    assert {path.name for path in generate.pages()} == {p.name for p in (SITE / "generated").iterdir()}


def test_every_public_name_has_an_entry() -> None:
    """Kills: a public name that the site does not describe."""
    entries = set(re.findall(r"\{py:(?:function|class)\} shadowprice\.(\w+)", text_of("generated/api.md")))
    assert entries == set(sp.__all__) - {"__version__"}


def test_every_command_and_each_of_its_options_has_an_entry(generate: ModuleType) -> None:
    """Kills: a verb or an option that the site does not describe."""
    text = text_of("generated/cli.md")
    for verb, command in generate.commands().items():
        section = text.partition(f"## shadowprice {verb}\n")[2].partition("\n## ")[0]
        assert section, verb
        assert [
            opt for param in command.params for opt in param.opts if opt[:2] == "--" and opt not in section
        ] == []


def test_every_reader_every_target_and_every_tool_has_an_entry(generate: ModuleType) -> None:
    """Kills: a format, a target or a helper for readers that the site does not name."""
    formats, targets = text_of("generated/formats.md"), text_of("generated/targets.md")
    assert [r.NAME for r in READERS if f"### {r.NAME}\n" not in formats] == []
    assert [name for name in TARGETS if f"### {name}\n" not in targets] == []
    tools = set(re.findall(r"shadowprice\.reader\.(\w+)", text_of("generated/reader_api.md")))
    assert set(reader.__all__) - tools <= {"Config", "Item"}


@pytest.mark.parametrize("one", READERS, ids=lambda one: one.NAME)
def test_every_reader_says_what_its_format_lacks(one: ModuleType) -> None:
    """Kills: a reader whose users learn from empty columns what their log can never fill."""
    assert re.search(r"\b(?:never|no|not|neither|only|nothing)\b", one.__doc__ or "", re.IGNORECASE)


@pytest.mark.parametrize("path", METHODS, ids=lambda path: path.stem)
def test_every_method_says_what_it_answers_when_it_refuses_and_where_it_is(path: Path) -> None:
    """Kills: a page that hides when there is no answer, or names a module that was moved."""
    text = path.read_text(encoding="utf-8")
    assert [part for part in PARTS if part not in text] == []
    assert "$$" in text or path.stem in ("congestion", "detectors")
    where = next(line for line in text.splitlines() if line.startswith("**Where**"))
    named = [span for span in re.findall(r"`([\w./*]+)`", where) if "/" in span or span.endswith(".py")]
    rooms = (REPOSITORY, REPOSITORY / "estimators", REPOSITORY / "estimators" / "prices")
    assert [span for span in named if not any(list(room.glob(span.rstrip("/"))) for room in rooms)] == []


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.relative_to(SITE).as_posix())
def test_links_and_includes_lead_to_files(path: Path) -> None:
    """Kills: a link to a page that was renamed."""
    text = path.read_text(encoding="utf-8")
    links = [t.partition("#")[0] for t in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in t]
    included = re.findall(r"\{(?:include|literalinclude)\} (\S+)", text)
    assert [t for t in (*links, *included) if t and not (path.parent / t).exists()] == []
    assert not re.search(r"(?<![\w.])/(?:home|root|work|tmp|Users)/", text)


def test_every_command_on_the_site_exists(generate: ModuleType) -> None:
    """Kills: a page or a notebook that names a verb or an option which is gone."""
    known = generate.commands()
    pages = [page.read_text(encoding="utf-8") for page in PAGES]
    pages += [path.read_text(encoding="utf-8") for path in (REPOSITORY / "notebooks").glob("*.ipynb")]
    lines = [
        line for text in pages for line in re.findall(r"(?:\$ |`|\"!)(shadowprice [a-z][^`\n\\#\"]*)", text)
    ]
    assert lines
    for line in lines:
        words = line.split()[1:]
        verb = next((v for v in (" ".join(words[:2]), words[0]) if v in known), None)
        assert verb is not None, line
        options = {opt for param in known[verb].params for opt in param.opts} | {"--help"}
        assert {word for word in words if word.startswith("--")} <= options, line


def test_the_numbers_on_the_page_of_limits_are_those_that_were_measured() -> None:
    """Kills: a number that a later release moved, on the page that is believed most."""
    measured = (REPOSITORY / "benchmarks" / "README.md").read_text(encoding="utf-8").replace(",", "")
    table = text_of("limits.md").partition("| what | measured | goal |")[2].partition("\n\n")[0]
    rows = [line.split("|")[2].replace(",", "") for line in table.splitlines()[2:]]
    numbers = [number for row in rows for number in re.findall(r"\d*\.?\d+", row) if len(number) > 1]
    assert len(numbers) > 40
    assert [number for number in numbers if number not in measured] == []


def test_every_page_is_in_a_table_of_contents() -> None:
    """Kills: a page that nobody can reach."""
    trees = [
        (page.parent / entry.strip()).resolve()
        for page in PAGES
        for tree in re.findall(r"\{toctree\}\n(.*?)```", page.read_text(encoding="utf-8"), flags=re.DOTALL)
        for entry in tree.splitlines()
        if entry.strip() and not entry.startswith(":")
    ]
    whole = {page.with_suffix("").resolve() for page in PAGES if page.parent.name != "generated"}
    assert whole - set(trees) == {(SITE / "index").resolve()}


def test_the_readme_leads_to_the_site() -> None:
    """Kills: a site that only its authors know."""
    readme = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    assert "docs/index.md" in readme
    assert "make docs" in readme


@pytest.mark.slow
def test_the_site_builds_without_a_warning_and_needs_no_other_host(tmp_path: Path) -> None:
    """Kills: broken markup, an equation that cannot be set, and a page that fetches scripts or fonts."""
    if not all(map(importlib.util.find_spec, ("sphinx", "furo", "myst_parser", "latex2mathml"))):
        pytest.skip("building the site needs the extra 'docs'")
    copied = tmp_path / "docs"  # building writes the notebooks' pages beside the others
    shutil.copytree(SITE, copied, ignore=shutil.ignore_patterns("_build", "notebooks", "__pycache__"))
    for name in ("notebooks", "examples", "pyproject.toml"):
        (tmp_path / name).symlink_to(REPOSITORY / name)
    command = [
        sys.executable,
        "-m",
        "sphinx",
        "-W",
        "--keep-going",
        "-q",
        str(copied),
        str(tmp_path / "html"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    pages = list((tmp_path / "html").rglob("*.html"))
    assert len(pages) > len(METHODS)
    fetched = re.compile(r"<(?:script|link|img|iframe)\b[^>]*\b(?:src|href)=\"(?:https?:)?//", re.IGNORECASE)
    assert [page.name for page in pages if fetched.search(page.read_text(encoding="utf-8"))] == []
    assert "<math" in (tmp_path / "html" / "methods" / "scores.html").read_text(encoding="utf-8")
