"""The generator of a run folder: the newest of snapshots and checkpoints."""

from __future__ import annotations

import json

import numpy as np
import pytest

import sg3tf
from sg3tf.models import loading
from sg3tf.models.discriminator_loading import find_discriminator
from sg3tf.utils.label_scale import LabelScale


def small():
    return sg3tf.Generator.from_preset("stylegan2", 8, channel_base=32, channel_max=4, z_dim=8, w_dim=8)


def touch(run, *names):
    for name in names:
        file = run / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()


def checkpoint(nimg):
    return f"checkpoints/{nimg:09d}/generator.keras"


@pytest.mark.parametrize(
    ("files", "newest"),
    [
        ([checkpoint(8), checkpoint(72)], checkpoint(72)),
        (["network-snapshot-000000_064.keras", checkpoint(72)], checkpoint(72)),
        (["network-snapshot-000000_080.keras", checkpoint(72)], "network-snapshot-000000_080.keras"),
        (["network-snapshot-000200.keras", checkpoint(200_000)], "network-snapshot-000200.keras"),
        (["network-snapshot-000200.keras", checkpoint(200_016)], checkpoint(200_016)),  # written before 200_016 was
        (["network-snapshot-000200.keras", "network-snapshot-000200_016.keras"], "network-snapshot-000200_016.keras"),
        (["network-snapshot-001200.keras", "network-snapshot-000900_999.keras"], "network-snapshot-001200.keras"),
        ([checkpoint(8), "checkpoints/.000000016.partial-1/generator.keras", "checkpoints/000000024/x"], checkpoint(8)),
    ],
)
def test_the_newest_of_snapshots_and_checkpoints(tmp_path, files, newest):
    touch(tmp_path, *files)
    assert loading.generator_file(tmp_path) == tmp_path / newest


def test_a_run_that_has_checkpoints_alone_is_loaded_and_its_length_said(tmp_path, capsys):
    G, folder = small(), tmp_path / "runs[a]" / "00000-x" / "checkpoints" / "000012345"
    folder.mkdir(parents=True)
    G.save(folder / "generator.keras")
    (folder / "progress.json").write_text(json.dumps({"cur_nimg": 12345}))
    run = folder.parents[1]
    for found, expected in zip(sg3tf.load(run).get_weights(), G.get_weights(), strict=True):
        np.testing.assert_array_equal(found, expected)
    assert capsys.readouterr().err == f"{run}: generator after 12.345 kimg, checkpoints/000012345/generator.keras\n"


def test_a_folder_of_converted_networks(tmp_path):
    touch(tmp_path, "G.keras", "D.keras", "G_ema.keras", "metadata.json")
    assert loading.generator_file(tmp_path) == tmp_path / "G_ema.keras"


def test_a_folder_without_a_generator_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="holds no generator; give a .keras file, .* or one of portraits-32"):
        sg3tf.load(tmp_path)


def test_the_discriminator_beside_a_network_or_the_target_of_its_link(tmp_path):
    """As of networks that come with sg3tf, which are links in a checkout."""
    link = tmp_path / "links" / "cats.keras"
    touch(tmp_path, "a.keras", "links/other.keras")
    link.symlink_to(tmp_path / "a.keras")
    with pytest.raises(FileNotFoundError, match=r"links/cats-discriminator\.keras does not exist; put the discrimin"):
        find_discriminator(link)
    touch(tmp_path, "a-discriminator.keras")
    assert find_discriminator(link) == tmp_path / "a-discriminator.keras"
    touch(tmp_path, "links/cats-discriminator.keras")
    assert find_discriminator(link) == tmp_path / "links" / "cats-discriminator.keras"


def test_an_official_pickle_names_the_command_that_converts_it(tmp_path):
    touch(tmp_path, "ffhq.pkl")
    with pytest.raises(ValueError, match=r"ffhq\.pkl: not a \.keras file; convert it with sg3tf convert from-pickle"):
        loading.load(tmp_path / "ffhq.pkl")


def test_label_files_of_another_network_do_not_stay(tmp_path):
    file = tmp_path / "a.keras"
    file.touch()
    loading.write_label_files(tmp_path, ["cat", "dog"], LabelScale(mean=(1.0, 2.0), std=(3.0, 4.0)), prefix="a-")
    assert loading.class_names(file) == ("cat", "dog")
    assert loading.label_scale(file) == LabelScale(mean=(1.0, 2.0), std=(3.0, 4.0))
    loading.write_label_files(tmp_path, (), None, prefix="a-")
    assert list(tmp_path.iterdir()) == [file]
