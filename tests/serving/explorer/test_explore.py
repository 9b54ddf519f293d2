"""`sg3tf explore`: from a network to a page, and nothing left behind."""

import os
import re
import signal
import subprocess
import sys
import threading
import urllib.request
from types import SimpleNamespace

import pytest

from serving import explore, saved_model
from sg3tf.models import loading, provenance

# The command as it is, but with an export that is there already.
PROGRAM = """
import shutil, sys, tempfile
from serving import explore
explore._export = lambda network, base: shutil.copytree(sys.argv[1], base, dirs_exist_ok=True) and network
explore.webbrowser.open = lambda page: print("opened", page, flush=True) or True
sys.exit(explore.main(sys.argv[2:]))
"""


def start(base, *flags):
    command = [sys.executable, "-c", PROGRAM, base, *flags]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    limit = threading.Timer(200, process.kill)  # of reading a line that does not come
    limit.daemon = True
    limit.start()
    return process


def test_a_page_until_ctrl_c(model_base_path, tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    process = start(model_base_path, "--network=portraits-32")
    try:
        page = process.stdout.readline().removeprefix("explorer: ").strip()
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/explorer/\?model=sg3&network=portraits-32", page)
        assert process.stdout.readline() == f"opened {page}\n"
        with urllib.request.urlopen(page, timeout=20) as answer:
            assert b"<title>sg3tf explorer</title>" in answer.read()
        assert list(tmp_path.iterdir())
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=40) == 0, process.stderr.read()
        assert list(tmp_path.iterdir()) == []
    finally:
        process.kill()
        process.communicate()


def test_an_end_without_all_answers(monkeypatch, tmp_path, capsys):
    """A prediction may take longer than the server's patience; its thread would keep the process alive."""

    class Ended(BaseException):
        pass

    def end(status):
        raise Ended(status, list(tmp_path.iterdir()))

    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(explore, "_export", lambda network, base: network)
    monkeypatch.setattr(explore, "_serve", lambda base, port: SimpleNamespace(rest_port=1, drain=lambda: False))
    monkeypatch.setattr("serving.server.server.stop_on_signals", lambda: SimpleNamespace(wait=lambda: None))
    monkeypatch.setattr(os, "_exit", end)
    with pytest.raises(Ended) as caught:
        explore.explore(SimpleNamespace(network=["first", "newest"], port=0, browser=False))
    assert caught.value.args == (1, [])
    printed = capsys.readouterr()
    assert printed.err.endswith("stopped before all requests were answered\n")
    assert printed.out.endswith("network=newest\n")  # the one that the page shows, for the commands that it copies


def provenance_of(source):
    return SimpleNamespace(to_json=lambda: {"source": str(source)})


@pytest.mark.parametrize(
    ("network", "loaded", "source"),
    [
        ("portraits-32", "file portraits-32, resolved", "portraits-32, resolved"),
        ("stylegan2", "preset stylegan2", "stylegan2"),
        ("runs/0", "file runs/0, resolved", "runs/0, resolved"),
        ("hf://user/cats", "file hf://user/cats, resolved", "hf://user/cats, resolved"),
    ],
)
def test_networks(network, loaded, source, monkeypatch, tmp_path):
    """An architecture by its name, anything else as sg3tf.load takes it, with its origin in the metadata.

    What to load is resolved once, so that both are about one network of a run in training.
    """
    found = {}
    presets = SimpleNamespace(from_preset=lambda name: f"preset {name}")
    monkeypatch.setattr("sg3tf.Generator", presets)
    monkeypatch.setattr(loading, "load", lambda name: f"file {name}")
    monkeypatch.setattr(loading, "resolve_network", lambda name: f"{name}, resolved")
    monkeypatch.setattr(provenance, "training_provenance", provenance_of)
    monkeypatch.setattr(
        saved_model, "export_saved_model", lambda G, base, metadata: found.update(G=G, base=base, **metadata)
    )
    assert explore._export(network, tmp_path) == network  # for the commands that the page copies
    assert found == {"G": loaded, "base": tmp_path, "source": source}
    if network.startswith("runs/"):  # of a run folder, the name of its snapshot
        (tmp_path / network).mkdir(parents=True)
        monkeypatch.chdir(tmp_path)
        assert explore._export(network, tmp_path) == f"{network}, resolved"


def test_mistakes_are_one_line(capfd, tmp_path):
    assert explore.main([]) == 1
    assert "--network is missing" in capfd.readouterr().err
    assert explore.main([f"--network={tmp_path}/none.keras"]) == 1
    error = capfd.readouterr().err.strip().splitlines()[-1]
    assert "none.keras" in error and "Traceback" not in error
