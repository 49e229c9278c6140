"""One HTML page with figures to move in: it needs no network and no file beside it.

MLflow's UI shows a page in a frame of its own, where a script beside it is not found, so the page
holds plotly.js: compressed, which is two megabytes less than the text.
"""

import base64
import functools
import html
import json
import zlib
from collections.abc import Mapping
from importlib import resources
from typing import Any

#: A figure as plotly.js takes it: {"data": [...], "layout": {...}}.
Figure = dict[str, Any]

_PAGE = """<!doctype html>
<meta charset="utf-8">
<title>{title}</title>
<style>
body {{ font: 15px/1.4 system-ui, sans-serif; margin: 1.5em auto; max-width: 1100px; }}
section {{ height: 480px; margin-bottom: 2em; }}
</style>
<h1>{title}</h1>
{places}
<script id="plotly" type="text/plain">{library}</script>
<script id="figures" type="application/json">{figures}</script>
<script>
(async () => {{
  const text = id => document.getElementById(id).textContent;
  const packed = Uint8Array.from(atob(text("plotly")), c => c.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
  const script = document.createElement("script");
  script.textContent = await new Response(stream).text();
  document.head.append(script);
  for (const [name, figure] of Object.entries(JSON.parse(text("figures"))))
    Plotly.newPlot(name, figure.data, figure.layout, {{responsive: true, displaylogo: false}});
}})();
</script>
"""


def page(title: str, figures: Mapping[str, Figure]) -> str:
    """The page that shows ``figures`` below each other."""
    content = json.dumps(figures, separators=(",", ":")).replace("</", "<\\/")
    return _PAGE.format(
        title=html.escape(title),
        places="\n".join(f'<section id="{html.escape(name)}"></section>' for name in figures),
        library=library(),
        figures=content,
    )


@functools.cache
def library() -> str:
    """plotly.js, compressed and in letters: made once in the process that trials come from."""
    text = resources.files("plotly").joinpath("package_data/plotly.min.js").read_bytes()
    return base64.b64encode(zlib.compress(text, 9)).decode()
