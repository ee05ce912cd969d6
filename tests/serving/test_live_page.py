"""`diptych train --live`: the page of a training, while it goes on and after it."""

import json
import re
import signal
from pathlib import Path

from browsing import needs_chromium, playwright

from diptych.runs import Run
from diptych.snapshots import snapshot_steps
from support import start

pytestmark = needs_chromium
EPOCHS = 30
"""Of eleven steps each in the reference: some seconds, in which the page is opened."""


def test_a_training_is_watched(
    open_page, tmp_path: Path, few_digits: Path, small_toml: Path, monkeypatch
) -> None:
    monkeypatch.setenv("BROWSER", "true")  # The page is opened by this test alone.
    process = start(
        "train", "numpy", "--network", small_toml, "--data", few_digits, "--recipe", "plain",
        "--batch-size", "30", "--epochs", str(EPOCHS), "--live", "--runs", tmp_path,
    )  # fmt: skip
    assert process.stderr
    try:
        page_line = next(line for line in process.stderr if line.startswith("Page: "))
        page = open_page(page_line.split()[1])
        output = page.locator("#training output")
        playwright.expect(output).to_have_text("trained", timeout=300_000)
        [run] = (Run(path.parent) for path in tmp_path.glob("*/run.json"))
        assert run.status == "done"
        steps = snapshot_steps(run)
        assert steps == [0, 1, 3, 9, 27, 81, 243]
        # What came after the page was opened is on its slider too.
        playwright.expect(page.locator("#training input")).to_have_attribute("max", str(len(steps)))
        playwright.expect(page.locator(".answer")).to_have_text(re.compile(r"\d"))
        [model] = page.evaluate("async () => (await fetch('models')).json()")
        assert not model["training"]
        assert model["snapshots"] == steps
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=120)
        assert process.returncode == 0
        assert f"Run: {run.folder}" in out
        assert json.loads((run.folder / "run.json").read_text())["status"] == "done"
    finally:
        process.kill()
        process.communicate()
