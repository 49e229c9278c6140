"""Makes the README's pictures: the demo's store in a real browser, and its report.

    python docs/screenshots.py        (in the folder where `make demo` was given)

Needs Chromium (Debian: apt-get install chromium), which is driven over its own protocol.
"""

import asyncio
import base64
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp
from mlflow import MlflowClient

IMAGES = Path(__file__).parent / "images"
STUDY = "quick"
SHOWN = ("metrics.`objective`", "metrics.`steps`", "params.`optimizer.lr`",
         "params.`model.hidden_size`", "params.`model.pooling`")  # fmt: skip
WIDTH = 1400
TEXT = "(document.body ? document.body.innerText : '')"


class Page:
    """One tab of the browser."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._calls = 0

    async def call(self, method: str, **parameters: Any) -> Any:
        self._calls += 1
        await self._socket.send_json({"id": self._calls, "method": method, "params": parameters})
        while True:
            answer = await self._socket.receive_json()
            if answer.get("id") == self._calls:
                assert "error" not in answer, answer
                return answer["result"]

    async def run(self, script: str) -> Any:
        """The value of a script."""
        result = await self.call("Runtime.evaluate", expression=script, awaitPromise=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    async def wait_for(self, condition: str) -> None:
        """Wait until a script gives true, and for what still moves then."""
        for _ in range(300):
            if await self.run(f"Boolean({condition})"):
                await asyncio.sleep(2)
                return
            await asyncio.sleep(0.2)
        raise TimeoutError(condition)

    async def open(self, address: str, condition: str) -> None:
        # An address that differs in its fragment alone would not be loaded anew.
        await self.call("Page.navigate", url="about:blank")
        await self.call("Page.navigate", url=address)
        await self.wait_for(condition)

    async def choose(self, field: int, *names: str) -> None:
        """Choose options of a drop-down, by typing them into its field."""
        await self.run(f"document.querySelectorAll('input[type=search]')[{field}].focus()")
        enter = {"key": "Enter", "code": "Enter", "windowsVirtualKeyCode": 13}
        for name in names:
            await self.call("Input.insertText", text=name)
            await asyncio.sleep(0.5)
            await self.call("Input.dispatchKeyEvent", type="keyDown", **enter)
            await self.call("Input.dispatchKeyEvent", type="keyUp", **enter)
        escape = {"key": "Escape", "code": "Escape", "windowsVirtualKeyCode": 27}
        await self.call("Input.dispatchKeyEvent", type="keyDown", **escape)

    async def picture(self, name: str, height: int, top: int = 0) -> None:
        """Write what stands between two heights of the page."""
        view = {"width": WIDTH, "height": top + height, "deviceScaleFactor": 1, "mobile": False}
        await self.call("Emulation.setDeviceMetricsOverride", **view)
        await asyncio.sleep(2)
        clip = {"x": 0, "y": top, "width": WIDTH, "height": height, "scale": 1}
        shot = await self.call("Page.captureScreenshot", format="png", clip=clip)
        file = IMAGES / name
        file.write_bytes(base64.b64decode(shot["data"]))
        print(f"{file.relative_to(IMAGES.parent.parent)}: {file.stat().st_size // 1024} KB")


@asynccontextmanager
async def browser() -> AsyncIterator[Page]:
    """A headless Chromium with a profile of its own."""
    names = ("chromium", "chromium-browser", "google-chrome")
    program = next(filter(None, map(shutil.which, names)), None)
    if program is None:
        sys.exit("no Chromium: apt-get install chromium")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        process = subprocess.Popen(
            [
                program,
                "--headless",
                "--no-sandbox",  # it has none for root, and needs none for our own pages
                "--disable-gpu",
                "--hide-scrollbars",
                "--remote-debugging-port=0",
                f"--user-data-dir={profile}",
                f"--window-size={WIDTH},900",
                "about:blank",
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            port = Path(profile) / "DevToolsActivePort"
            while not (port.exists() and port.read_text().strip()):
                assert process.poll() is None, "Chromium does not start"
                await asyncio.sleep(0.1)
            tabs = f"http://127.0.0.1:{port.read_text().split()[0]}/json"
            async with aiohttp.ClientSession() as session:
                async with session.get(tabs) as answer:
                    tab = next(one for one in await answer.json() if one["type"] == "page")
                address = tab["webSocketDebuggerUrl"]
                async with session.ws_connect(address, max_msg_size=0) as socket:
                    page = Page(socket)
                    await page.call("Page.enable")
                    yield page
        finally:
            process.terminate()
            process.wait()


async def pictures(ui: str, report: Path) -> None:
    """Make all three."""
    client = MlflowClient("sqlite:///mlflow.db")
    experiment = client.get_experiment_by_name("harnest").experiment_id
    family = f"tags.study = '{STUDY}'"
    runs = client.search_runs([experiment], f"{family} AND tags.trial != ''")
    is_parent = "tags.`study.identity` != '' AND tags.trial IS NULL"
    (parent,) = client.search_runs([experiment], f"{family} AND {is_parent}")
    state = {"selectedColumns": SHOWN, "runsExpanded": {parent.info.run_id: True}}
    kept = f'MLflowLocalStorage-1.1-ExperimentPage-["{experiment}"]-ReactComponentState'
    settings = {
        "mlflow.assistant.panelOpen_v1": "false",
        "mlflow.assistant.fab.autoOpenedOnFirstLoad_v1": "true",
        kept: json.dumps(state),
    }
    async with browser() as page:
        await page.open(ui, f"{TEXT}.includes('Model training')")
        for key, value in settings.items():
            await page.run(f"localStorage.setItem({json.dumps(key)}, {json.dumps(value)})")
        await page.run(f"{by_text('Model training')}.click()")
        query = quote(f"tags.study = '{STUDY}'")
        runs_page = f"{ui}/#/experiments/{experiment}/runs?searchFilter={query}"
        await page.open(runs_page, f"{TEXT}.includes('trial-1')")
        await page.picture("mlflow-runs.png", 760)

        chosen = quote(json.dumps([run.info.run_id for run in runs]))
        compare_page = f"{ui}/#/compare-runs?runs={chosen}&experiments=%5B%22{experiment}%22%5D"
        await page.open(compare_page, "document.querySelector('.js-plotly-plot')")
        await page.run(f"{by_text('Clear All')}.click()")
        await page.choose(0, *(json.loads(parent.data.tags["best.params"])))
        await page.choose(1, "objective")
        await page.wait_for("document.querySelector('.js-plotly-plot')")
        await page.picture("mlflow-compare.png", 640)

        await page.open(report.as_uri(), "document.querySelectorAll('.js-plotly-plot').length > 3")
        await page.picture("report.png", 1250)


def by_text(text: str) -> str:
    """A script's expression for the innermost element that holds just this text."""
    return f"[...document.querySelectorAll('*')].filter(e => e.innerText == '{text}').at(-1)"


def main() -> None:
    """Start the UI, make the pictures, end it."""
    programs = Path(sys.executable).parent
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.html"
        html = [programs / "harnest-compare", STUDY, "--format", "html"]
        report.write_bytes(subprocess.run(html, check=True, stdout=subprocess.PIPE).stdout)
        ui = subprocess.Popen([programs / "harnest-ui"], stdout=subprocess.PIPE, text=True)
        try:
            assert ui.stdout is not None
            address = ui.stdout.readline().split()[-1]
            asyncio.run(pictures(address, report))
        finally:
            ui.terminate()
            ui.wait()


if __name__ == "__main__":
    main()
