"""The documentation: links lead somewhere, its commands parse, the site builds."""

from __future__ import annotations

import importlib
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from absl import flags
from PIL import Image

from sg3tf.cli.main import COMMANDS, GROUPS

ROOT = Path(__file__).parents[1]
PAGES = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/**/*.md"), *ROOT.glob("tests/**/*.md")]
LINK = re.compile(r"\]\((?!https?:|mailto:|#)([^)\s]+)\)")


def headings(page: Path) -> set[str]:
    """Anchors of a page, as Markdown renderers make them of its headings."""
    lines = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL).splitlines()
    titles = (line.lstrip("#").strip().lower() for line in lines if line.startswith("#"))
    return {re.sub(r"[^\w\- ]", "", title).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    for link in LINK.findall(text):
        path, _, anchor = link.partition("#")
        target = (page.parent / path) if path else page
        assert target.exists(), f"{link}: no such file"
        if anchor:
            assert anchor in headings(target), f"{link}: no such heading"


@pytest.mark.parametrize("page", [page for page in PAGES if "adr" not in page.parts], ids=lambda page: page.name)
def test_commands_have_one_name(page: Path) -> None:
    """`sg3tf export`, not the module that it runs; except in an environment where sg3tf is not installed."""
    assert not re.findall(
        r"^.*(?<!beam/bin/)python -m (?:trainer\.main|serving|sg3tf).*$", page.read_text(), re.MULTILINE
    )


def command_lines(text: str) -> Iterator[list[str]]:
    """Words of each `sg3tf ...` in code blocks and comments; for those within sentences, "..." comes first."""
    text = re.sub(r"^# +", "", text, flags=re.MULTILINE)
    text = re.sub(r"\\\n\s*", " ", text)
    inline = re.findall(r"(?<!`)`([^`\n]*sg3tf [^`\n]*)`(?!`)", text)
    lines = [line for line in text.splitlines() if "sg3tf " in line and "`" not in line]
    for line in [*lines, *(f"... {code}" for code in inline)]:
        for part in re.split(r"\s(?:[|;]|&&|then|do)\s", line):
            found = re.search(r"(?:^|.*[\s/])sg3tf ([a-z].*)", part)
            if not found:
                continue
            try:
                words = shlex.split(found[1], comments=True)
            except ValueError:  # an apostrophe: a sentence
                continue
            name = " ".join(words[: 2 if words[0] in GROUPS else 1])
            if name in COMMANDS:
                yield [*(["..."] if line.startswith("... ") else []), *words]


def flags_of(name: str) -> flags.FlagValues:
    command, values = COMMANDS[name], flags.FlagValues()
    module = f"{command.module}.__main__" if name == "serve" else command.module
    importlib.import_module(module).define_flags(values)
    return values


def fault(words: list[str]) -> str:
    """Fault in the words of a command; "" for none. Those with "..." or "$" may lack flags."""
    partial = any(word == "..." or word.startswith("$") for word in words)
    words = [word for word in words if word != "..."]
    length = 2 if words[0] in GROUPS else 1
    name, arguments = " ".join(words[:length]), words[length:]
    values = flags_of(name)
    arguments = values.read_flags_from_files(arguments, force_gnu=False)
    given = {word[2:].partition("=")[0] for word in arguments if word.startswith("--")} - {"help"}
    if unknown := [flag for flag in given if flag not in values and flag.removeprefix("no") not in values]:
        return f"sg3tf {name} has no {unknown}"
    if partial:
        return ""
    try:
        rest = values(["sg3tf", *arguments])[1:]
    except flags.Error as error:
        return f"sg3tf {name}: {error}"
    if rest and not COMMANDS[name].positional and name != "compare-runs":
        return f"sg3tf {name}: {rest} is no flag"
    resumes = name == "train" and values.resume not in (None, "latest")
    lacks = {"data", "batch"} - given if name == "train" and not resumes else set()
    return f"sg3tf {name} lacks {sorted(lacks)}" if lacks else ""


@pytest.mark.parametrize("page", ["README.md", "Dockerfile", "docs"])
def test_commands_parse(page: str) -> None:
    files = sorted((ROOT / page).glob("*.md")) if (ROOT / page).is_dir() else [ROOT / page]
    found = [(file.name, words) for file in files for words in command_lines(file.read_text())]
    assert len(found) >= {"README.md": 10, "Dockerfile": 2, "docs": 100}[page]
    faults = [f"{file}: {problem}" for file, words in found if (problem := fault(words))]
    assert not faults, "\n".join(faults)


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("sg3tf train --data=a \\\n    --batch=32 --gamma=2  # comment", ""),
        ("sg3tf train --data=a --gamma=2", "lacks ['batch']"),
        ("x && sg3tf train --data=a --batch=32 --gama=2", "has no ['gama']"),
        ("sg3tf train --resume=run --mirror 1", "['1'] is no flag"),
        ("sg3tf generate grid --seeds=0-3 --out=a.png", "network"),
        ("By `sg3tf generate grid --network=a`, and `sg3tf train --cfg=b` too.", ""),
        ("By `sg3tf train --resumee=b`.", "has no ['resumee']"),
    ],
)
def test_wrong_commands_are_found(line: str, problem: str) -> None:
    found = [fault(words) for words in command_lines(line)]
    assert found
    assert all(problem in text if problem else text == "" for text in found)


def test_the_kubernetes_job_follows_the_rules_of_its_fields() -> None:
    """Those that the API server checks: https://kubernetes.io/docs/concepts/workloads/controllers/job."""
    yaml = pytest.importorskip("yaml")
    (text,) = re.findall(r"```yaml\n(.*?)```", (ROOT / "docs/distribution.md").read_text(), flags=re.DOTALL)
    service, job = yaml.safe_load_all(text)
    spec, pod = job["spec"], job["spec"]["template"]["spec"]
    assert spec["completions"] == spec["parallelism"] == pod["containers"][0]["args"][0].count(".sg3tf:12345")
    assert service["spec"]["selector"] == {"job-name": job["metadata"]["name"]}
    assert (pod["restartPolicy"], spec["podReplacementPolicy"]) == ("Never", "Failed")  # as podFailurePolicy requires
    conditions, codes = spec["podFailurePolicy"]["rules"]
    assert conditions == {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}
    assert codes == {"action": "Ignore", "onExitCodes": {"operator": "In", "values": [130]}}


def test_site_builds(tmp_path: Path) -> None:
    site = tmp_path / "site"
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", f"--site-dir={site}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "StyleGAN3Generator" in (site / "reference" / "models.html").read_text()
    addresses = re.findall(r'(?:src|href)="(https?://[^"]+)"', (site / "index.html").read_text())
    assert not [a for a in addresses if a.endswith((".js", ".css", ".woff2"))], "the site needs a network"


def test_pictures_name_no_folder_of_a_machine() -> None:
    """PNG files of `sg3tf generate` name their network as it was given."""
    pictures = sorted((ROOT / "docs" / "images").glob("*.png"))
    assert len(pictures) > 20
    assert not [picture.name for picture in pictures if re.search(rb"/(?:work|home|root|tmp)/", picture.read_bytes())]


def test_the_gallery_says_how_its_pictures_were_made() -> None:
    """A command of the page has all flags of which PNG files of `sg3tf generate` keep the values."""
    page = ROOT / "docs" / "gallery.md"
    commands = [set(words) for words in command_lines(page.read_text())]
    pictures = re.findall(r"\]\((images/\S+\.png)\)", page.read_text())
    assert len(pictures) > 10
    for picture in pictures:
        with Image.open(page.parent / picture) as image:
            values = {name: value for name, value in image.info.items() if isinstance(value, str)}
        assert values.pop("Software").startswith("sg3tf "), picture
        made_by = {f"--{name}={value}" for name, value in values.items()}
        assert any(made_by <= words for words in commands), f"{picture}: no command with {sorted(made_by)}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_examples_say_the_size_of_their_network(page: Path) -> None:
    for block in re.findall(r"```python\n(.*?)```", page.read_text(), flags=re.DOTALL):
        sides = set(re.findall(r'"portraits-(\d+)', block))
        shapes = re.findall(r"# float32 \[\w+, (\d+), (\d+), 3\]", block)
        assert len(sides) != 1 or {side for shape in shapes for side in shape} <= sides
