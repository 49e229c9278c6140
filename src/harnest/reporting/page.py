"""A self-contained HTML page of interactive figures: it needs no network and no other files.

MLflow's UI shows an artifact page in a frame where scripts beside it are not found, so the page
contains plotly.js, compressed to save two megabytes. The frame may be small and may be resized:
text wraps, legends are below the figures, and a figure of several panels arranges them in as many
columns as fit.
"""

import base64
import functools
import html
import json
import zlib
from collections.abc import Mapping
from importlib import resources
from typing import Any

#: A figure in the format of plotly.js: {"data": [...], "layout": {...}}.
Figure = dict[str, Any]

_PANEL = 250  # minimum width of a readable panel, in pixels

_PAGE = """<!doctype html>
<meta charset="utf-8">
<title>{title}</title>
<style>
* {{ box-sizing: border-box; }}
body {{ font: 15px/1.4 system-ui, sans-serif; margin: 0 auto; padding: 12px 16px;
       max-width: 1100px; }}
h1 {{ font-size: 20px; margin: 0 0 12px; overflow-wrap: anywhere; }}
h2 {{ font-size: 15px; margin: 0 0 4px; overflow-wrap: anywhere; }}
section {{ margin-bottom: 24px; }}
</style>
<meta name="viewport" content="width=device-width, initial-scale=1">
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
  const columns = (grid, width) =>
    Math.max(1, Math.min(grid.columns, Math.floor(width / {panel})));
  const layout = (figure, width) => {{
    const base = {{
      margin: {{l: 50, r: 12, t: 32, b: 40}},
      legend: {{orientation: "h", x: 0, y: 0, yref: "container", yanchor: "bottom"}},
      height: 420,
    }};
    const grid = figure.layout.grid;
    if (grid) {{
      const beside = columns(grid, width), rows = Math.ceil(grid.rows * grid.columns / beside);
      base.grid = {{...grid, rows, columns: beside, ygap: 0.4}};
      base.margin = {{...base.margin, t: 64, b: 120}};
      base.height = 184 + 230 * rows;
    }}
    return {{...figure.layout, ...base, title: null}};
  }};
  const config = {{responsive: true, displaylogo: false}};
  for (const [name, figure] of Object.entries(JSON.parse(text("figures")))) {{
    const place = document.getElementById(name);
    let drawn = null;
    // A frame that is hidden at first has no width; it draws once it has one.
    new ResizeObserver(() => {{
      const width = place.clientWidth;
      const beside = figure.layout.grid ? columns(figure.layout.grid, width) : 1;
      if (width === 0) return;
      if (beside !== drawn) Plotly.react(place, figure.data, layout(figure, width), config);
      else Plotly.Plots.resize(place);
      drawn = beside;
    }}).observe(place);
  }}
}})();
</script>
"""


def page(title: str, figures: Mapping[str, Figure]) -> str:
    """Return an HTML page that shows ``figures`` below each other."""
    content = json.dumps(figures, separators=(",", ":")).replace("</", "<\\/")
    return _PAGE.format(
        title=html.escape(title),
        places="\n".join(_place(name, figure) for name, figure in figures.items()),
        panel=_PANEL,
        library=library(),
        figures=content,
    )


def _place(name: str, figure: Figure) -> str:
    """Return a figure's element below its title: HTML text wraps, titles of plotly.js do not."""
    title = figure["layout"].get("title", {}).get("text", "")
    heading = f"<h2>{html.escape(title)}</h2>" if title else ""
    return f'<section>{heading}<div id="{html.escape(name)}"></div></section>'


@functools.cache
def library() -> str:
    """Return plotly.js, compressed and base64-encoded; cached, so forked trials inherit it."""
    text = resources.files("plotly").joinpath("package_data/plotly.min.js").read_bytes()
    return base64.b64encode(zlib.compress(text, 9)).decode()
