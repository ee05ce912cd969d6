"""The report of a comparison, as a parser and as a real browser see it."""

import html.parser
import json
import shutil
from pathlib import Path

import pytest

from diptych import cli
from diptych.auditing.report import Audit, Finding, Stage
from diptych.comparison import Comparison, compare_runs, script_of
from diptych.look.report import report
from diptych.runs import Run
from diptych.scripts.counting import lines_of_code
from diptych.whole_files import write_json
from support import diptych, violations

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")


class Page(html.parser.HTMLParser):
    """What a page refers to, its words, and whether its elements are closed."""

    VOID = frozenset({"meta", "img", "br"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.words: list[str] = []
        self.open: list[str] = []
        self.ids: list[str] = []
        self.feed(text)
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in self.VOID:
            self.open.append(tag)
        for name, value in attrs:
            if name in ("src", "href", "action", "data", "srcset", "poster"):
                self.addresses.append(value or "")
            if name == "id":
                self.ids.append(value or "")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.words.append(data)


@pytest.fixture(scope="module")
def compared(
    pair: dict[str, Run], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Comparison, Path]:
    made = compare_runs(list(pair.values()), runs=tmp_path_factory.mktemp("compared"))
    return made, report(made)


def test_it_says_all_and_needs_nothing_else(compared: tuple[Comparison, Path]) -> None:
    comparison, path = compared
    assert path == Path(comparison.folder) / "report.html"
    text = path.read_text(encoding="utf-8")
    page = Page(text)
    assert page.open == []
    for address in page.addresses:
        assert address.startswith("data:image/") or address[1:] in page.ids, address[:80]
    assert "url(" not in text
    assert "@import" not in text
    assert comparison.conclusion in page.text
    for side in comparison.sides:
        assert f"{100 * side.test_accuracy:.2f}%" in page.text
        assert side.training
        assert f"{side.training.peak_memory_mib:,.0f} MiB" in page.text
        assert side.runs[0] in page.text
    for name, version in comparison.versions.items():
        assert f"{name} {version}" in page.text
    assert "McNemar's exact test" in page.text
    images = [address for address in page.addresses if address.startswith("data:image/png")]
    assert len(images) == min(60, len(comparison.disagreements)) > 0
    pictures = [address for address in page.addresses if address.startswith("data:image/svg")]
    assert len(pictures) == 1 + 1 + 2 * len(comparison.sides)


def test_it_has_both_scripts_to_copy(compared: tuple[Comparison, Path]) -> None:
    comparison, path = compared
    html = path.read_text(encoding="utf-8")
    text = "".join(Page(html).words)
    for side in comparison.sides:
        script = script_of(Run.open(side.runs[0]))
        assert script in text
        assert f"({lines_of_code(script)} lines)" in text
    assert html.count('<button type="button" class="copy">') == len(comparison.sides)


AUDIT = Audit(
    "runs/a",
    "runs/<b>",
    ("TensorFlow 2", "Keras 3"),
    [
        Stage("structure", note="17 layers"),
        Stage("forward", False, 1e-3, 2e-6),
        Stage("loss", None),
    ],
    [Finding("forward", "padding", "conv_1 & more", "same", "valid <i>", "much", "do this")],
    notes=["a note"],
)


def test_the_audits_verdict(compared: tuple[Comparison, Path], tmp_path: Path) -> None:
    comparison, path = compared
    assert "--audit" in Page(path.read_text(encoding="utf-8")).text, "how to get one"
    found = AUDIT.to_dict() | {"conclusion": AUDIT.conclusion}
    odd = "<script>alert(1)</script>"
    values = vars(comparison) | {"folder": str(tmp_path), "audits": [found]}
    values |= {"alike": comparison.alike | {"network": odd}}
    page = Page(report(Comparison(**values)).read_text(encoding="utf-8"))
    for words in (AUDIT.conclusion, "runs/<b>", "1.0e-03", "2.0e-06", "17 layers", "a note"):
        assert words in page.text
    assert f"network {odd}, recipe" in page.text, "a name is words and nothing else"
    for words in ("1. padding at conv_1 & more (forward)", "valid <i>", "Fix do this"):
        assert words in page.text


def test_an_audit_that_fails_does_not_take_the_comparison_along(
    pair: dict[str, Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> Audit:
        raise TimeoutError("no answer within 60 s")

    monkeypatch.setattr("diptych.auditing.audit", fail)
    made = compare_runs(list(pair.values()), runs=tmp_path, audit=True)
    assert made.audits[0]["conclusion"] == "could not be audited: no answer within 60 s"
    kept = json.loads((Path(made.folder) / "comparison.json").read_text())
    assert kept["audits"] == made.audits
    assert "could not be audited: no answer" in repr(made)


def test_a_comparison_is_worth_something_without_its_data(
    pair: dict[str, Run], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folders = []
    for name, run in pair.items():
        folder = tmp_path / name
        shutil.copytree(run.folder, folder)
        description = run.description()
        description["data"] = description["data"] | {"source": str(tmp_path / "gone")}
        write_json(folder / "run.json", description)
        folders.append(str(folder))
    json_file = tmp_path / "answer.json"
    arguments = ["compare", *folders, "--runs", str(tmp_path), "--json", str(json_file)]
    assert cli.run(arguments) == 0
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("No report: no folder ")
    assert json.loads(json_file.read_text())["report"] is None
    assert not list(tmp_path.glob("comparison-*/report.html"))


def test_open_opens_it(
    pair: dict[str, Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []
    monkeypatch.setattr("typer.launch", opened.append)
    folders = [str(run.folder) for run in pair.values()]
    assert cli.run(["compare", *folders, "--runs", str(tmp_path), "--open"]) == 0
    [path] = tmp_path.glob("comparison-*/report.html")
    assert opened == [path.as_uri()]


def test_without_the_extra_one_line_says_how_to_get_it(
    pair: dict[str, Run], tmp_path: Path
) -> None:
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.modules['matplotlib'] = None\n")
    folders = [run.folder for run in pair.values()]
    path = f"{tmp_path}:{Path(cli.__file__).parents[2]}"
    done = diptych("compare", *folders, "--runs", tmp_path / "made", PYTHONPATH=path)
    assert done.returncode == 0
    [line] = done.stderr.splitlines()
    assert line.endswith("[look]'`")
    assert "Report:" not in done.stdout
    done = diptych("look", "network", PYTHONPATH=path)
    assert done.returncode == 2
    [line] = done.stderr.splitlines()
    assert line.endswith("[look]'`")


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
def test_a_browser_shows_it(compared: tuple[Comparison, Path], tmp_path: Path) -> None:
    """On a wide screen and a phone, light and dark, on paper; without a request or an error."""
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright")
    asked, said = [], []
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        for scheme, width in (("light", 1280), ("light", 390), ("dark", 390)):
            page = browser.new_page(color_scheme=scheme, viewport={"width": width, "height": 800})
            page.on("request", lambda request: asked.append(request.url))
            page.on("console", lambda message: said.append(message.text))
            page.on("pageerror", lambda error: said.append(str(error)))
            page.goto(compared[1].as_uri())
            sizes = page.evaluate("[...document.images].map(i => [i.complete, i.naturalWidth])")
            assert len(sizes) > 6
            assert all(complete and wide > 0 for complete, wide in sizes)
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
            assert (colour == "rgb(255, 255, 255)") == (scheme == "light")
            assert violations(page) == [], (scheme, width)
            # Ten inches with letters of ten points or more: those have ten pixels or more.
            wide = page.locator("img.picture").evaluate_all("all => all.map((i) => i.width)")
            assert min(wide) >= 10 * 72 or width > 720
            if width > 720:
                page.pdf(path=tmp_path / "report.pdf")
        browser.close()
    assert {url for url in asked if not url.startswith("data:")} == {compared[1].as_uri()}
    assert said == []
    paper = (tmp_path / "report.pdf").read_bytes()
    assert paper.startswith(b"%PDF")
    assert 3 <= paper.count(b"/Type /Page\n") + paper.count(b"/Type /Page ") <= 15
