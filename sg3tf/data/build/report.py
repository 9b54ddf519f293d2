"""Summary of a build: images found, used and skipped with reasons, class counts, and remarks."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import numpy as np

from sg3tf.data.sources import Source

Tally = dict[str, tuple[int, str]]  # text -> number of images it applies to, name of the first
_MOST_CLASSES = 20
_MOST_REASONS = 8
_LARGE = 4.0  # standardized numbers are rarely larger


@dataclass
class Report:
    """Outcome of a build.

    Attributes:
        source: source of the images.
        skipped: {name: reason} of the images that could not be used.
        notes: possibly unexpected changes to images.
    """

    source: Source
    skipped: dict[str, str] = field(default_factory=dict)
    notes: Tally = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.skipped.update(self.source.unused)

    @property
    def num_found(self) -> int:
        return len(self.source.entries) + len(self.source.unused) + self.source.num_not_chosen

    @property
    def num_skipped(self) -> int:
        return len(self.skipped)

    @property
    def num_images(self) -> int:
        return self.num_found - self.source.num_not_chosen - self.num_skipped

    def classes(self) -> dict[str, int]:
        """Return {name: number of images} of every class, including empty ones; {} if labels are not classes.

        An image with several classes counts in each.
        """
        spec, names = self.source.label, self.source.classes
        used = [label for name, label in self.source.entries if name not in self.skipped]
        if spec.kind == "class":
            counts = Counter(used)
            return {name: counts[i] for i, name in enumerate(names or map(str, range(spec.dim)))}
        if not names:
            return {}
        vectors = np.array([label for label in used if isinstance(label, tuple)]).reshape(-1, len(names))
        return dict(zip(names, np.count_nonzero(vectors, axis=0).tolist(), strict=True))

    def num_unlabeled(self) -> int:
        """Return the number of images without a label."""
        return sum(label is None for name, label in self.source.entries if name not in self.skipped)

    def lines(self) -> list[str]:
        """Return the summary, line by line."""
        chosen = f", {len(self.source.entries)} chosen by --max_images" if self.source.num_not_chosen else ""
        found = [f"found: {self.num_found} images in {self.source.path}{chosen}", *self.source.remarks]
        reasons: Tally = {}
        for name, reason in self.skipped.items():
            add(reasons, reason, name)
        most = sorted(reasons.items(), key=lambda item: -item[1][0])
        skipped = [f"skipped: {_entry(*item)}" for item in most[:_MOST_REASONS]]
        if rest := sum(count for _, (count, _) in most[_MOST_REASONS:]):
            skipped.append(f"skipped: {rest} for other reasons")
        notes = [f"note: {_entry(*item)}" for item in self.notes.items()]
        return [printable(line) for line in (*found, *skipped, *self._label_lines(), *notes)]

    def _label_lines(self) -> list[str]:
        counts, spec = self.classes(), self.source.label
        if spec.kind == "none":
            return ["labels: none"]
        missing = [f"without a label: {self.num_unlabeled()}"] if spec.optional else []
        if spec.kind == "vector" and not counts:
            return [f"labels: vectors of {spec.dim} numbers{self._range()}", *missing]
        several = "" if spec.kind == "class" else ", of which an image may have several"
        if len(counts) <= _MOST_CLASSES:
            listed = ", ".join(f"{name} ({count})" for name, count in counts.items())
            return [f"classes: {len(counts)}{several}: {listed}", *missing]
        least, most = min(counts, key=counts.__getitem__), max(counts, key=counts.__getitem__)
        span = f"from {counts[least]} images ({least}) to {counts[most]} ({most})"
        return [f"classes: {len(counts)}{several}, {span}", *missing]

    def _range(self) -> str:
        """Return the part of the summary about the range of vector labels."""
        source = self.source
        if source.scale:
            return f", standardized: {source.scale}"
        numbers = [number for _, label in source.entries if isinstance(label, tuple) for number in label]
        if not numbers:  # none of the chosen images has a label
            return ""
        least, most = min(numbers), max(numbers)
        advice = "; --standardize makes them small, for training" if max(-least, most) > _LARGE else ""
        return f" from {least:.4g} to {most:.4g}{advice}"


def add(tally: Tally, text: str, name: str, count: int = 1) -> None:
    """Add `count` to the tally of `text`; keep `name` if it is the first."""
    before, first = tally.get(text, (0, name))
    tally[text] = (before + count, first)


def _entry(text: str, counted: tuple[int, str]) -> str:
    return f"{counted[0]}: {text}, e.g. {counted[1]}"


def printable(text: str) -> str:
    """Return text with file names as one printable line, with undecodable bytes and line ends escaped."""
    line = "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text)
    return line.encode("utf-8", "backslashreplace").decode()
