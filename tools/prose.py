#!/usr/bin/env python3
"""List awkward turns of phrase in docstrings, comments, help texts and docs.

usage: prose.py [ROOT]       exit status 1 if there are any

A docstring starts with a noun phrase or an imperative ("Return the ...", "Truncated style vectors."), not with a
relative clause. The other patterns are literal translations that English readers misread. Extend the tables when you
find another one.
"""

from __future__ import annotations

import ast
import io
import re
import sys
import tokenize
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

OPENINGS = (
    "What",
    "How",
    "Whether",
    "Of",
    "Where",
    "Which",
    "Who",
    "Whose",
    "Those",
    "As",
    "That",
    "With",
    "If",
    "One that",
    "Than",
)
PHRASES = {
    "as of": r"\bas of (?!\d|version|v\d|TensorFlow|Keras|Python|today|now|this writing)",
    "so many": r"\bso many\b",
    "goes on / go on": r"\b(goes|go|going|went|gone) on(?! the| a| an| to)\b|\bgoes on from\b",
    "whole or not at all": r"\bwhole or not at all\b",
    "one of both": r"\b(one|which|either) of both\b",
    "until before": r"\buntil before\b",
    "no power of two": r"\bno (power of two|number|numbers|known)\b",
    "of either kind": r"\bof either kind\b",
    "so far": r"\bso far (it|they|this|has|have)\b",
    "meanwhile": r"\bmeanwhile\b",
    "is told / tells what": r"\b(is|are) told\b|\btells (what|how|whether|which)\b",
    "looks at / looks with": r"\blooks? (with|at) (what|whatever)\b|\bthat metrics look with\b",
    "wants / wanted of": r"\bwanted of\b|\bwants (it|them|a|the)\b",
    "begun / beginning one": r"\bbeginning one\b|\bor begin\b",
    "nothing more and nothing less": r"\bno more and no less\b",
    "beside (meaning besides)": r"\bbeside (that|this|which),",
    "British spelling": r"\b(\w*colour\w*|\w*grey\w*|(?:un|re|a)?cent(?:re|red|res)|\w*neighbour\w*|\w*behaviour\w*"
    r"|artefacts?"
    r"|licen[c]e[sd]?|favour\w*|honour\w*|catalogue\w*|modelling|(?:un)?labell(?:ed|ing)|travell\w+"
    r"|(?-i:[Cc]ancell(?:ed|ing))"  # not gRPC's CANCELLED
    r"|\w*(?:normal|regular|initial|optim|general|special|standard|serial|visual|quant|util|equal|recogn|summar|random|"
    r"synchron|minim|maxim|author|organ|character|material|parametr|vector|token|global|penal|real|symbol|discret)"
    r"is(?:e|ed|es|ing|ation|ations|er|ers))\b",
}
SUFFIXES = {".py", ".md", ".cc", ".h", ".cu"}
#: Folders of the root that are not read.
SKIP = {
    "tests",
    "shared",
    ".git",
    ".venv",
    ".venv-beam",
    ".venv-clients",
    "build",
    "dist",
    "third_party",
    "egg-info",
    "site",
}
SELF = "prose.py"


def python_texts(path: Path) -> Iterator[tuple[int, str, str]]:
    """Yield (line, kind, text) of docstrings, comments and long strings."""
    source = path.read_text()
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            text = ast.get_docstring(node)
            if text:
                yield node.body[0].lineno, "docstring", text
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.count(" ") >= 3:
            yield node.lineno, "string", node.value
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], "comment", token.string.lstrip("# ")


def texts_of(path: Path) -> Iterator[tuple[int, str, str]]:
    """Yield (line, kind, text), each string once."""
    if path.suffix != ".py":
        yield from ((number, "text", line) for number, line in enumerate(path.read_text().splitlines(), 1))
        return
    seen = set()
    for line, kind, text in python_texts(path):
        if kind != "string" or text not in seen:
            yield line, kind, text
        seen.add(text)


def findings(path: Path) -> Iterator[tuple[int, str, str]]:
    """Yield (line, name of the pattern, text)."""
    for line, kind, text in texts_of(path):
        if kind == "docstring" and (opening := re.match(rf"({'|'.join(OPENINGS)})\b", text)):
            yield line, f"docstring opens with {opening[1]}", text.splitlines()[0]
        for name, pattern in PHRASES.items():
            for match in re.finditer(pattern, text, re.IGNORECASE):
                yield line, name, " ".join(text[max(0, match.start() - 40) : match.end() + 40].split())


def main() -> int:
    """Print every finding and their counts; return 1 if there are any."""
    root = Path(sys.argv[1] if len(sys.argv) > 1 else ".")
    folders = (path for path in root.iterdir() if path.name not in SKIP)
    paths = [path for folder in folders for path in (folder, *folder.rglob("*")) if path.suffix in SUFFIXES]
    paths = [path for path in paths if path.is_file() and "node_modules" not in path.parts]
    counts: Counter[str] = Counter()
    for path in sorted(path for path in paths if path.name != SELF):
        for line, name, text in findings(path):
            counts[name] += 1
            print(f"{path}:{line}: {name}: {text}")
    for name, number in counts.most_common():
        print(f"{number:5} {name}")
    print(f"{counts.total()} in all")
    return int(bool(counts))


if __name__ == "__main__":
    sys.exit(main())
