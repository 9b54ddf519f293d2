"""Networks at addresses: a prepared cache of the hub, and web servers on this machine. Nothing leaves it."""

from __future__ import annotations

import hashlib
import http.server
import json
import re
import shlex
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import keras
import numpy as np
import onnx
import pytest
from huggingface_hub.utils import filter_repo_objects

import sg3tf
from sg3tf.cli import main as console
from sg3tf.cli import upload
from sg3tf.generate.open_network import open_network
from sg3tf.models import hub
from sg3tf.models.model_card import model_card
from sg3tf.models.provenance import Provenance, training_metrics, training_provenance

COMMIT = "0123456789abcdef0123456789abcdef01234567"
TINY = {"channel_base": 32, "channel_max": 4, "z_dim": 6, "w_dim": 4, "label_dim": 2}


class NoMetrics:
    """Stands for sg3tf.metrics.Evaluation, without metrics."""

    data: Any = None
    labels: Any = None
    detectors: ClassVar[dict[str, Any]] = {}

    def __init__(self, *_: Any, labels: Any, **__: Any) -> None:
        NoMetrics.labels = labels

    def __iter__(self) -> Iterator[Any]:
        return iter(())


@pytest.fixture(scope="module")
def generator() -> Any:
    return sg3tf.Generator.from_preset("stylegan2", 8, **TINY)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A snapshot folder of the repository user/cats, at the revisions main and v1, in an offline cache."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    repo = tmp_path / "models--user--cats"
    (repo / "refs").mkdir(parents=True)
    for revision in ("main", "v1"):
        (repo / "refs" / revision).write_text(COMMIT)
    (repo / "blobs").mkdir()
    snapshot = repo / "snapshots" / COMMIT
    snapshot.mkdir(parents=True)
    return snapshot


def store(cache: Path, name: str, content: bytes) -> None:
    """As the hub's cache does: a link to a file that is named by its digest."""
    blob = cache.parents[1] / "blobs" / hashlib.sha256(content).hexdigest()
    blob.write_bytes(content)
    (cache / name).symlink_to(blob)


def saved(generator: Any, folder: Path) -> bytes:
    generator.save(folder / "saved.keras")
    return (folder / "saved.keras").read_bytes()


def same(found: Any, expected: Any) -> bool:
    pairs = zip(found.get_weights(), expected.get_weights(), strict=True)
    return all(np.array_equal(a, b) for a, b in pairs)


@pytest.mark.parametrize(
    ("address", "parts"),
    [
        ("hf://user/cats", ("user/cats", None, None)),
        ("hf://user/cats/", ("user/cats", None, None)),
        ("hf://user/cats@v1", ("user/cats", "v1", None)),
        ("hf://user/cats@refs/pr/3", ("user/cats", "refs/pr/3", None)),
        ("hf://user/cats@v1.0/a/G.keras", ("user/cats", "v1.0", "a/G.keras")),
        ("hf://user/cats/G.keras", ("user/cats", None, "G.keras")),
    ],
)
def test_addresses(address: str, parts: tuple[str | None, ...]) -> None:
    assert hub.parse_repository(address) == parts


@pytest.mark.parametrize("address", ["hf://cats", "hf://user/cats@", "hf://user/cats/readme.txt", "hf:///cats"])
def test_malformed_addresses(address: str) -> None:
    with pytest.raises(ValueError, match=f"^{address}: give hf://USER/NAME"):
        sg3tf.load(address)


def test_a_repository(generator: Any, cache: Path, tmp_path: Path) -> None:
    store(cache, "generator.keras", saved(generator, tmp_path))
    store(cache, "other.keras", b"")
    store(cache, "classes.json", b'["tabby", "manx"]')
    store(cache, "provenance.json", b'{"training_kimg": 7.0, "data_name": "cats", "data_digest": "abc"}')
    for address in ("hf://user/cats", "hf://user/cats@v1", f"hf://user/cats@{COMMIT}/generator.keras"):
        assert same(sg3tf.load(address), generator)
    assert open_network("hf://user/cats").classes == ("tabby", "manx")
    expected = {"training_kimg": 7.0, "data_name": "cats", "data_digest": "abc", "source": "hf://user/cats"}
    assert training_provenance("hf://user/cats") == Provenance(**expected, classes=("tabby", "manx"))


def test_metrics_of_a_repository(generator: Any, cache: Path, tmp_path: Path, monkeypatch: Any, capsys: Any) -> None:
    """Classes are drawn for a network with classes, and refused for one with standardized numbers."""
    monkeypatch.setattr("sg3tf.metrics.Evaluation", NoMetrics)
    store(cache, "generator.keras", saved(generator, tmp_path))
    command = ["metrics", "--network=hf://user/cats@v1", "--metrics=swd"]
    assert console.main(command) == 0
    assert NoMetrics.labels.origin == "uniform classes"
    store(cache, "label_scale.json", b'{"mean": [1, 2], "std": [3, 4]}')
    assert console.main(command) == 1
    assert "its label is standardized numbers; give --data" in capsys.readouterr().err


def test_the_unzipped_form(generator: Any, cache: Path, tmp_path: Path) -> None:
    import zipfile

    (tmp_path / "saved.keras").write_bytes(saved(generator, tmp_path))
    with zipfile.ZipFile(tmp_path / "saved.keras") as file:
        for name in file.namelist():
            store(cache, name, file.read(name))
    assert same(sg3tf.load("hf://user/cats"), generator)
    assert same(sg3tf.load(cache), generator)


def test_one_file_of_another_name(generator: Any, cache: Path, tmp_path: Path) -> None:
    store(cache, "cats-8.keras", saved(generator, tmp_path))
    assert same(sg3tf.load("hf://user/cats"), generator)
    store(cache, "cats-8-discriminator.keras", b"")
    assert same(sg3tf.load("hf://user/cats"), generator)
    store(cache, "dogs-8.keras", b"")
    with pytest.raises(FileNotFoundError, match=r"no generator\.keras; it has cats-8\.keras, dogs-8\.keras: add one"):
        sg3tf.load("hf://user/cats")
    assert same(sg3tf.load("hf://user/cats/cats-8.keras"), generator)
    store(cache, "cats-8-classes.json", b'["tabby", "manx"]')
    assert open_network("hf://user/cats/cats-8.keras").classes == ("tabby", "manx")


def test_files_to_download(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Networks and the names of their classes, of repositories with one network or several; nothing else."""
    asked: dict[str, Any] = {}

    def download(repo: str, **options: Any) -> str:
        asked.update(options)
        return str(tmp_path)

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    there = ["generator.keras", "classes.json", "cats.keras", "cats-classes.json", "cats-discriminator.keras"]
    there += ["a/dogs.keras", "a/dogs-classes.json", "a/dogs-label_scale.json", "README.md", "samples.png", "run.zip"]
    of_labels = {"classes.json", "cats-classes.json", "a/dogs-classes.json", "a/dogs-label_scale.json"}
    for address, expected in (
        ("hf://user/pets", {*there[:4], *there[5:8]}),
        ("hf://user/pets/cats.keras", {"cats.keras", *of_labels}),
        ("hf://user/pets/[ac]*.keras", of_labels),  # no pattern
    ):
        with pytest.raises(FileNotFoundError):
            hub.fetch(address)
        patterns = (asked["allow_patterns"], asked["ignore_patterns"])
        kept = filter_repo_objects(there, allow_patterns=patterns[0], ignore_patterns=patterns[1])
        assert set(kept) == expected
        with pytest.raises(FileNotFoundError):
            hub.fetch(address, discriminator=True)
        kept = filter_repo_objects(there, allow_patterns=asked["allow_patterns"])
        beside = set() if "*" in address else {"cats-discriminator.keras"}
        assert asked["ignore_patterns"] is None and set(kept) == expected | beside


def test_missing_network_or_repository_is_one_line(
    cache: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    store(cache, "README.md", b"")
    with pytest.raises(FileNotFoundError, match=r"^hf://user/cats: holds no generator\.keras; it has no \.keras file$"):
        sg3tf.load("hf://user/cats")
    flags = ["generate", "images", "--network=hf://user/dogs", "--seeds=0", f"--outdir={tmp_path / 'out'}"]
    assert console.main(flags) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("sg3tf generate images: hf://user/dogs: cannot be fetched (")


# --- Web servers ------------------------------------------------------------------------------------------------------


class Handler(http.server.BaseHTTPRequestHandler):
    """Files by path, and of the hub's interface what an upload calls; everything is noted in `server.calls`."""

    def do_GET(self) -> None:  # the name that the base class asks for
        self.server.calls.append(self.path)  # type: ignore[attr-defined]
        content = self.server.files.get(self.path)  # type: ignore[attr-defined]
        self._reply(200 if content is not None else 404, content or b"")

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.calls.append((self.path, body, self.headers["Authorization"]))  # type: ignore[attr-defined]
        root = f"http://{self.headers['Host']}"
        if self.path == "/api/repos/create":
            reply: Any = {"url": f"{root}/user/cats"}
        elif self.path.endswith("/preupload/main"):
            files = json.loads(body)["files"]
            reply = {"files": [{"path": f["path"], "uploadMode": "regular", "shouldIgnore": False} for f in files]}
        else:
            reply = {"commitUrl": f"{root}/user/cats/commit/{COMMIT}", "commitOid": COMMIT, "pullRequestUrl": None}
        self._reply(200, json.dumps(reply).encode())

    def _reply(self, status: int, content: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    for variable in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(variable, raising=False)
    running: Any = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    running.calls, running.files = [], {}
    running.root = f"http://127.0.0.1:{running.server_port}"
    thread = threading.Thread(target=running.serve_forever, daemon=True)
    thread.start()
    yield running
    running.shutdown()
    running.server_close()
    thread.join()


def test_a_file_of_known_digest(generator: Any, server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    content = saved(generator, tmp_path)
    digest = hashlib.sha256(content).hexdigest()
    server.files["/cats.keras"] = content
    for _ in range(2):
        assert same(sg3tf.load(f"{server.root}/cats.keras#sha256={digest}"), generator)
    assert server.calls == ["/cats.keras"]  # the second time from the cache
    wrong = "0" * 64
    with pytest.raises(ValueError, match=f"gave {len(content):,} bytes of SHA-256 {digest}, not {wrong}"):
        sg3tf.load(f"{server.root}/cats.keras#sha256={wrong}")
    with pytest.raises(FileNotFoundError, match=f"dogs.keras: cannot be fetched .*404.* SHA-256 {wrong}, there"):
        sg3tf.load(f"{server.root}/dogs.keras#sha256={wrong}")
    assert same(sg3tf.load(f"{server.root}/cats.keras#sha256={digest.upper()}"), generator)
    assert hub.identity(f"https://h/a#sha256={digest.upper()}") == hub.identity(f"https://h/b#sha256={digest}")
    with pytest.raises(ValueError, match="the digest is missing; give .*/cats.keras#sha256= and"):
        sg3tf.load(f"{server.root}/cats.keras")
    stored = [file.name for file in (tmp_path / "cache").rglob("*") if file.is_file()]
    assert stored == ["cats.keras"]
    (damaged,) = (tmp_path / "cache").rglob("cats.keras")
    damaged.write_bytes(b"")
    assert same(sg3tf.load(f"{server.root}/cats.keras#sha256={digest}"), generator)


def test_a_cache_without_a_home_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", no_home)
    with pytest.raises(ValueError, match="^no home folder .*: set XDG_CACHE_HOME to a folder$"):
        hub.fetch(f"https://localhost/cats.keras#sha256={'0' * 64}")


# --- Upload -----------------------------------------------------------------------------------------------------------

#: Address of the list of what a repository holds.
FILES = "/api/models/user/cats/tree/main?recursive=true&expand=false"


@pytest.fixture(scope="module")
def run(generator: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run") / "00003-stylegan2-cats"
    folder.mkdir()
    generator.save(folder / "network-snapshot-000007.keras")
    (folder / "options.json").write_text('{"data_name": "cats", "data_digest": "abc"}')
    (folder / "classes.json").write_text('["tabby", "manx"]')
    lines = [{"kimg": kimg, "results": {"swd": 10.5 + kimg}, "num_samples": 64} for kimg in (3.0, 7.0)]
    (folder / "metric-swd.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


def test_metrics_of_other_networks_are_left_out(run: Path, tmp_path: Path) -> None:
    """Several runs may measure the same kimg; only the folder of a run has metrics of its networks."""
    networks = shutil.copytree(run, tmp_path / "runs" / run.name)
    line = json.dumps({"kimg": 7.0, "results": {"fid50k": 1.0}}) + "\n"
    (tmp_path / "runs" / "metric-fid50k.jsonl").write_text(line)
    (networks / "metric-swd_held_out.jsonl").write_text(line.replace("fid50k", "swd_held_out"))
    assert training_metrics(networks) == {"swd": 17.5}


def test_names_of_other_classes_are_left_out(generator: Any, tmp_path: Path) -> None:
    """classes.json may lie above a network that has nothing to do with it."""
    (tmp_path / "classes.json").write_text('["tabby", "manx", "persian"]')
    (tmp_path / "a").mkdir()
    generator.save(tmp_path / "a" / "cats.keras")
    flags = [f"--network={tmp_path / 'a' / 'cats.keras'}", "--repo=user/cats", "--license=cc0-1.0"]
    assert console.main(["upload", *flags, f"--out={tmp_path / 'out'}"]) == 0
    assert not (tmp_path / "out" / "classes.json").exists()
    assert "tabby" not in (tmp_path / "out" / "README.md").read_text()
    assert json.loads((tmp_path / "out" / "provenance.json").read_text())["classes"] == []
    export = ["export", "--format=onnx", flags[0], f"--out={tmp_path / 'cats.onnx'}"]
    assert console.main(export) == 0
    (described,) = onnx.load(tmp_path / "cats.onnx").metadata_props
    assert json.loads(described.value)["classes"] == []


def test_labels_that_were_standardized(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their means and deviations go along; the card draws the mean, and its commands work."""
    G = sg3tf.Generator.from_preset("stylegan2", 8, **TINY)
    (tmp_path / "run").mkdir()
    G.save(tmp_path / "run" / "network-snapshot-000007.keras")
    scale = {"mean": [40.0, -5.0], "std": [10.0, 0.5]}
    (tmp_path / "run" / "label_scale.json").write_text(json.dumps(scale))
    flags = [f"--network={tmp_path / 'run'}", "--repo=user/ages", "--license=cc0-1.0"]
    assert console.main(["upload", *flags, f"--out={tmp_path / 'out'}"]) == 0
    assert json.loads((tmp_path / "out" / "label_scale.json").read_text()) == scale
    assert json.loads((tmp_path / "out" / "provenance.json").read_text())["label_scale"] == scale
    card = (tmp_path / "out" / "README.md").read_text()
    assert "standard deviation: means 40, -5, standard deviations 10, 0.5." in card
    assert "with labels of 0, the mean](" in card and "label = np.zeros([1, 2])" in card
    monkeypatch.chdir(tmp_path)
    network = str(tmp_path / "out" / "generator.keras")
    words = [word.replace("hf://user/ages", network) for word in shell_command(card)]
    assert console.main([*words, "--seeds=0", "--save_latents=kept.npz"]) == 0
    with np.load("kept.npz") as arrays:
        assert arrays["label"].tolist() == [[0, 0]]
    export = ["export", "--format=onnx", f"--network={network}", f"--out={tmp_path / 'ages.onnx'}"]
    assert console.main(export) == 0
    (described,) = onnx.load(tmp_path / "ages.onnx").metadata_props
    assert json.loads(described.value)["label_scale"] == scale
    # Of a network with another number of labels, which lies above.
    sg3tf.Generator.from_preset("stylegan2", 8, **TINY | {"label_dim": 3}).save(tmp_path / "run" / "g.keras")
    assert "label_scale" not in training_provenance(tmp_path / "run" / "g.keras", 3).to_json()


def shell_command(card: str) -> list[str]:
    (command,) = re.findall(r"In a shell: `sg3tf (.*)`", card)
    return shlex.split(command)


def test_the_card(
    run: Path,
    generator: Any,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    flags = [f"--network={run}", "--repo=user/cats", "--license=cc-by-4.0", "--intended_use=Pictures of cats."]
    assert console.main(["upload", *flags, f"--out={tmp_path / 'out'}"]) == 0
    names = {"README.md", "classes.json", "generator.keras", "provenance.json", "samples.png"}
    assert {file.name for file in (tmp_path / "out").iterdir()} == names
    card = (tmp_path / "out" / "README.md").read_text()
    _, front, text = card.split("---\n", 2)
    fields = dict(line.split(": ", 1) for line in front.splitlines())
    assert (fields["license"], fields["library_name"]) == ('"cc-by-4.0"', '"sg3tf"')
    for part in (
        "| Training data | cats |",
        "| Digest of the training data | `abc` |",
        "| Training | 7 thousand images |",
        "| License of the weights | cc-by-4.0 |",
        "| swd | 17.5 |",
        "Classes, in the order of the labels: tabby, manx.",
        "Pictures of cats.",
    ):
        assert f"\n{part}\n" in text, part
    assert "jax" not in card and "torch" not in card
    (code,) = [block.split("```")[0] for block in text.split("```python")[1:]]
    assert 'sg3tf.load("hf://user/cats")' in code
    drawn: dict[str, Any] = {}
    exec(code.replace("hf://user/cats", str(tmp_path / "out" / "generator.keras")), drawn)
    assert drawn["images"].shape == (1, 8, 8, 3)
    assert same(sg3tf.load(tmp_path / "out" / "generator.keras"), generator)
    monkeypatch.chdir(tmp_path)
    words = [word.replace("hf://user/cats", str(tmp_path / "out" / "generator.keras")) for word in shell_command(card)]
    assert console.main([*words, "--seeds=0"]) == 0
    assert len(list(tmp_path.glob("*/seed0000.png"))) == 1


@pytest.mark.parametrize(
    ("dim", "classes", "first", "caption", "code"),
    [
        (1, [], [0.0], "0 to 15, with the label 0](", "label = np.zeros([1, 1])"),
        (1, ["cats"], [1.0], "0 to 15, of each class in turn](", "label = np.eye(G.config.label_dim)[[0]]"),
        (
            3,
            [],
            [1.0, 0.0, 0.0],
            "0 to 15, with labels that are 1 in one place",
            "label = np.eye(G.config.label_dim)[[0]]",
        ),
        (0, [], None, "0 to 15](", ""),
    ],
)
def test_labels_of_the_samples(
    dim: int, classes: list[str], first: Any, caption: str, code: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A label of one number is no class: 0 is the mean of a standardized one, and 1 an unusual value."""
    network = sg3tf.Generator.from_preset("stylegan2", 8, **TINY | {"label_dim": dim})
    drawn: list[Any] = []

    class Recording:
        config = network.config

        def __call__(self, inputs: Any, truncation_psi: float) -> Any:
            drawn.append(inputs.get("label"))
            return np.zeros([1, 8, 8, 3], np.float32)

    assert len(list(upload._samples(Recording(), classes, is_standardized=False))) == 16
    assert (drawn[0] is None) if first is None else drawn[0].tolist() == [first]
    provenance = Provenance("g.keras", classes=tuple(classes))
    card = model_card(network, "u/n", license="other", intended_use="", provenance=provenance, metrics={})
    assert caption in card and code in card
    parsed: list[Any] = []
    monkeypatch.setattr("sg3tf.cli.generate.images.main", parsed.append)
    assert console.main(shell_command(card)) == 0
    (options,) = parsed
    expected = None if not dim else classes[0] if classes else "0"  # a number of one class would be its whole label
    assert (options.network, options["class"].value) == ("hf://u/n", expected)


def test_a_discriminator_goes_along(run: Path, generator: Any, tmp_path: Path, capsys: Any) -> None:
    D = sg3tf.Discriminator.from_preset("stylegan2", 8, channel_base=32, channel_max=4, label_dim=2)
    generator.save(tmp_path / "cats.keras")
    flags = ["upload", "--repo=user/cats", "--license=cc0-1.0", "--discriminator", f"--network={tmp_path}/cats.keras"]
    assert console.main([*flags, f"--out={tmp_path / 'out'}"]) == 1
    assert "--discriminator: " in (line := capsys.readouterr().err) and "cats-discriminator.keras does not" in line
    D.save(tmp_path / "cats-discriminator.keras")
    (tmp_path / "cats-classes.json").write_text('["tabby", "manx"]')
    assert console.main([*flags, f"--out={tmp_path / 'out'}"]) == 0
    assert same(keras.models.load_model(tmp_path / "out" / "generator-discriminator.keras"), D)
    assert json.loads((tmp_path / "out" / "classes.json").read_text()) == ["tabby", "manx"]


def test_upload(run: Path, server: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", server.root)
    monkeypatch.setenv("HF_TOKEN", "hf_abc")
    server.files[FILES] = b"[]"
    flags = ["upload", f"--network={run}", "--repo=user/cats", "--license=cc-by-4.0", "--private"]
    assert console.main(flags) == 0
    assert capsys.readouterr().out == f"hf://user/cats@{COMMIT}\n"
    posted = {call[0]: call[1] for call in server.calls if call[2:] == ("Bearer hf_abc",)}
    created = json.loads(posted["/api/repos/create"])
    assert (created["name"], created["organization"], created["visibility"]) == ("cats", "user", "private")
    lines = [json.loads(line) for line in posted["/api/models/user/cats/commit/main"].splitlines()]
    sent = {line["value"]["path"] for line in lines if line["key"] == "file"}
    assert sent == {"README.md", "classes.json", "generator.keras", "provenance.json", "samples.png"}


def test_an_upload_leaves_nothing_of_the_network_before(
    run: Path, generator: Any, server: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Its discriminator and the names of its classes, which the new network does not have; other files stay."""
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", server.root)
    monkeypatch.setenv("HF_TOKEN", "hf_abc")
    there = ["README.md", "classes.json", "generator.keras", "generator-discriminator.keras", "paper.pdf"]
    there += ["label_scale.json"]
    entries = [{"type": "file", "path": name, "oid": COMMIT, "size": 1} for name in there]
    server.files[FILES] = json.dumps(entries).encode()
    generator.save(tmp_path / "g.keras")
    for network, gone in ((tmp_path / "g.keras", {there[1], there[3], there[5]}), (run, {there[3], there[5]})):
        server.calls.clear()
        assert console.main(["upload", f"--network={network}", "--repo=user/cats", "--license=cc-by-4.0"]) == 0
        (body,) = [call[1] for call in server.calls if call[0] == "/api/models/user/cats/commit/main"]
        lines = [json.loads(line) for line in body.splitlines()]
        assert {line["value"]["path"] for line in lines if line["key"] == "deletedFile"} == gone


def test_links_to_networks(run: Path, tmp_path: Path) -> None:
    """One outside a run folder is followed; one in it has the name of a snapshot, which tells its kimg."""
    (tmp_path / "cats.keras").symlink_to(run / "network-snapshot-000007.keras")
    (tmp_path / "run").symlink_to(run)
    for path in (tmp_path / "cats.keras", tmp_path / "run", tmp_path / "run" / "network-snapshot-000007.keras"):
        found = training_provenance(path)
        assert (found.training_kimg, found.source) == (7, f"{run.name}/network-snapshot-000007.keras")
    copy = shutil.copytree(run, tmp_path / run.name)
    (copy / "network-snapshot-000007.keras").rename(tmp_path / "moved.keras")
    (copy / "network-snapshot-000007.keras").symlink_to(tmp_path / "moved.keras")
    for path in (copy, copy / "network-snapshot-000007.keras"):
        assert training_provenance(path).training_kimg == 7 and training_metrics(path) == {"swd": 17.5}


def test_a_run_in_training(run: Path, generator: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything in the repository is about one network."""
    copy = shutil.copytree(run, tmp_path / run.name)

    def load_while_training(*arguments: Any) -> Any:
        G = load_model(*arguments)
        shutil.copy(copy / "network-snapshot-000007.keras", copy / "network-snapshot-000009.keras")
        return G

    load_model = sg3tf.models.loading.load_model
    monkeypatch.setattr("sg3tf.models.loading.load_model", load_while_training)
    out = tmp_path / "out"
    assert console.main(["upload", f"--network={copy}", "--repo=user/cats", "--license=cc0-1.0", f"--out={out}"]) == 0
    assert json.loads((out / "provenance.json").read_text())["training_kimg"] == 7
    assert "| swd | 17.5 |" in (out / "README.md").read_text()


def test_a_refused_upload(
    run: Path, server: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", f"{server.root}/nowhere")
    monkeypatch.setattr(Handler, "do_POST", lambda self: self._reply(401, b""))
    flags = ["upload", f"--network={run}", "--license=cc-by-4.0"]
    assert console.main([*flags, "--repo=user/cats"]) == 1
    (line,) = capsys.readouterr().err.splitlines()[-1:]
    assert line.startswith("sg3tf upload: hf://user/cats: cannot be uploaded (") and "401" in line
    assert console.main([*flags, "--repo=cats"]) == 1
    assert capsys.readouterr().err.endswith("sg3tf upload: --repo=cats: give USER/NAME\n")
