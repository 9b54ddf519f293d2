"""The page results.html of the demo: one file, with all pictures in it."""

from __future__ import annotations

import base64
import html
import io
import json
from collections.abc import Mapping
from pathlib import Path

from PIL import Image

from sg3tf.utils.files import atomic_write

_TILES = 12  # images in a row
_ROWS_OF_TRAINING = 8

_PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>sg3tf demo</title>
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #222; }}
h1, h2 {{ line-height: 1.2; }}
img {{ width: 100%; image-rendering: pixelated; display: block; }}
td {{ padding: .15rem .6rem .15rem 0; vertical-align: middle; white-space: nowrap; }}
td:last-child {{ width: 100%; }}
pre {{ background: #f3f3f3; padding: 1rem; white-space: pre-wrap; overflow-wrap: anywhere; font-size: 13px; }}
</style>
<h1>sg3tf demo</h1>
<p>A network trained on drawn portraits has learned to generate another kind of pictures from {kimg:g} thousand
examples.</p>
<h2>Before</h2>
<p>The included network, seeds 0 to 31.</p>
{before}
<h2>What it had to learn</h2>
<p>Real pictures from the data set.</p>
{reals}
<h2>Training</h2>
<p>The same seeds in every row, at psi 1; the first row is from before training. The left column has the thousands of
images seen (kimg).</p>
<table>
{training}
</table>
<h2>From the server</h2>
<p>Seeds 0 to 31 at psi 0.8, requested from the exported network over gRPC.</p>
{served}
<h2>Between seeds</h2>
<p>An endless walk through latent space, also from the server.</p>
{interpolation}
<h2>Next</h2>
<pre>{commands}</pre>
<h2>Time</h2>
<table>
{times}
</table>
</html>
"""


def write_results(out: Path, run: Path, seconds: Mapping[str, float], commands: str) -> Path:
    """Write results.html.

    Args:
        out: folder of the demo, with first.png, served.png and interpolation.gif.
        run: run folder, with options.json, reals.png and the grids fakesNNNNNN.png, or fakesNNNNNN_NNN.png.
        seconds: {title of a step: seconds that it took}.
        commands: text that shows what to do next.

    Returns:
        The page.
    """
    side = json.loads((run / "options.json").read_text())["resolution"]
    grids = {float(path.stem.removeprefix("fakes").replace("_", ".")): path for path in run.glob("fakes*.png")}
    shown = sorted(grids)
    if len(shown) > _ROWS_OF_TRAINING:
        shown = [shown[i * (len(shown) - 1) // (_ROWS_OF_TRAINING - 1)] for i in range(_ROWS_OF_TRAINING)]
    page = out / "results.html"
    text = _PAGE.format(
        kimg=max(grids),
        before=_image((out / "first.png").read_bytes(), "png"),
        reals=_image(_top_rows(run / "reals.png", 2, side), "png"),
        training="\n".join(
            f"<tr><td>{kimg:g}</td><td>{_image(_top_rows(grids[kimg], 1, side), 'png')}</td></tr>" for kimg in shown
        ),
        served=_image((out / "served.png").read_bytes(), "png"),
        interpolation=_image((out / "interpolation.gif").read_bytes(), "gif"),
        commands=html.escape(commands),
        times="\n".join(f"<tr><td>{html.escape(title)}</td><td>{s:.0f} s</td></tr>" for title, s in seconds.items()),
    )
    with atomic_write(page) as file:
        file.write(text.encode())
    return page


def _top_rows(path: Path, rows: int, side: int) -> bytes:
    """The first tiles, `side` pixels wide, of the first rows of a grid of a training run, as PNG."""
    with Image.open(path) as grid:
        buffer = io.BytesIO()
        grid.crop((0, 0, min(_TILES * side, grid.width), rows * side)).save(buffer, "PNG")
    return buffer.getvalue()


def _image(data: bytes, kind: str) -> str:
    return f'<img alt="" src="data:image/{kind};base64,{base64.b64encode(data).decode()}">'
