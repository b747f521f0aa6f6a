"""The page in a browser: a made-up sweep of 8 cells x 2 seeds, with hostile texts, opened from a file, offline."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe

from benchmarks import synthetic
from genclspp.report import figures, page, results
from genclspp.report.page import Outstanding
from genclspp.report.results import Results

HOSTILE = (
    "<script>document.title = 'broken'</script>",
    "</script><img src=x onerror=\"document.title='broken'\">",
    "\"double\" 'single' `back` &amp; &lt; \\ ${x}",
    "w" * 5000,
    "שלום עולם, abc ‮reversed‬",
    "👩‍🔬🧪 é é 中文",
    "nul \x00, bell \x07, and\na second line",
)
TABS = ("cells", "compare", "dimensions", "cell", "cost", "provenance")
MISSING = [
    Outstanding("made_up", "train=icl decode=ppl", "failed", "CUDA is out of memory <b>", "logs/x.log"),
    Outstanding("made_up", "train=icl decode=greedy", "pending"),
]


class View:
    """A page of the browser, and what to do with it."""

    def __init__(self, browser: Any, file: Path, **context: Any) -> None:
        self.file, self.context = file, browser.new_context(offline=True, **context)
        self.page = self.context.new_page()
        self.said: list[str] = []
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("request", self._note_foreign)
        self.open("")

    def _note_foreign(self, request: Any) -> None:
        if not request.url.startswith(("data:", self.file.as_uri())):
            self.said.append(request.url)

    def open(self, address: str) -> None:
        """Go to an address behind the #, and wait until its view is drawn."""
        self.page.goto(f"{self.file.as_uri()}#{address}")
        self.wait()

    def wait(self) -> None:
        self.page.wait_for_selector(f"html[data-drawn={json.dumps(self.address())}]", state="attached")

    def address(self) -> str:
        return str(self.page.evaluate("() => location.hash || '#'"))

    def press(self, *keys: str) -> None:
        for key in keys:
            self.page.keyboard.press(key)
            self.wait()

    def click(self, what: str) -> None:
        self.page.click(what)
        self.wait()

    def choose(self, menu: str, value: str) -> None:
        self.page.select_option(f'[id="menu-{menu}"]', value)
        self.wait()

    def column(self, key: str) -> list[str]:
        """The texts of a column of the table of cells."""
        head = "#cells-table thead th, #cells-table thead td"
        keys = self.page.eval_on_selector_all(head, "(found) => found.map((cell) => cell.dataset.key)")
        rows = "(rows, place) => rows.map((row) => row.cells[place].innerText.trim())"
        return self.page.eval_on_selector_all("#cells-table tbody tr", rows, keys.index(key))

    def text(self, what: str) -> str:
        return str(self.page.inner_text(what))

    def focused(self) -> dict[str, str]:
        found = "({id, textContent, tagName}) => ({id, text: textContent, tag: tagName})"
        return dict(self.page.evaluate(f"() => ({found})(document.activeElement)"))


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Results:
    outputs = tmp_path_factory.mktemp("outputs")
    synthetic.write(outputs, "made_up", synthetic.Size(cells=8, seeds=2, examples=60, labels=7), HOSTILE)
    return results.read(["made_up"], outputs)


@pytest.fixture(scope="module")
def file(found: Results, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("report") / "index.html"
    path.write_text(page.make(["made_up"], found, MISSING), encoding="utf-8")
    return path


@pytest.fixture
def view(browser: Any, file: Path) -> Iterator[View]:
    opened = View(browser, file)
    yield opened
    assert not opened.said, "messages of the console, or requests"
    opened.context.close()


def numbers(texts: list[str]) -> list[float]:
    return [float(text.split()[0].replace("−", "-")) for text in texts]


def test_every_tab_opens_from_a_file_with_the_network_off(view: View) -> None:
    for tab in TABS:
        view.click(f"#tab-{tab}")
        assert view.page.is_visible(f"#view-{tab}")
        assert view.text(f"#view-{tab}").strip()
    assert view.page.locator("svg.main-svg").count() > 3


def test_cells_without_a_result_are_grouped_with_their_reason(view: View) -> None:
    view.page.click(".outstanding summary")
    said = view.text(".outstanding")
    assert "2 cells have no result: 1 failed, 1 pending" in said
    assert "CUDA is out of memory <b>" in said


def test_cells_are_sorted_best_first_and_by_any_column(view: View) -> None:
    assert numbers(view.column("accuracy")) == sorted(numbers(view.column("accuracy")), reverse=True)
    view.click("th[data-key=accuracy] button")
    assert numbers(view.column("accuracy")) == sorted(numbers(view.column("accuracy")))
    assert view.page.get_attribute("th[data-key=accuracy]", "aria-sort") == "ascending"
    view.click("th[data-key=rl] button")
    assert view.column("rl") == sorted(view.column("rl"))


def test_the_page_and_the_tables_write_the_same_figures(view: View) -> None:
    halves = [half / 2000 for half in range(3, 2000, 2)]
    shares = [
        sign * share for share in [*halves, *np.random.default_rng(0).uniform(0.001, 1, 2000)] for sign in (1, -1)
    ]
    # The page stores six digits; what computes a share for the tables leaves errors of floats in it.
    stored = [round(share, 6) for share in shares]
    script = (Path(page.__file__).parent / "script" / "elements.js").read_text(encoding="utf-8")
    write = f"(shares) => {{ {script}\nreturn [shares.map(percent), shares.map(points)]; }}"
    percents, points = view.page.evaluate(write, stored)
    for way in (0.0, 1.0):
        computed = [float(np.nextafter(share, way)) for share in shares]
        assert percents == [figures.value("accuracy", share) for share in computed]
        assert points == [figures.value("accuracy", share, "+").replace("-", "−") for share in computed]


def test_filters_keep_the_cells_that_have_a_choice(view: View) -> None:
    view.choose("is.train", "=icl")
    assert {text.split()[0] for text in view.column("train")} == {"icl"}
    assert view.text("#cells-count") == "4 of 8 cells"
    view.page.fill("#menu-q", "zero_shot grpo")
    view.wait()
    assert view.text("#cells-count") == "1 of 8 cells"
    view.click("text=Clear")
    assert view.text("#cells-count") == "8 cells"


def test_gains_are_those_of_the_statistics(view: View, found: Results) -> None:
    for wanted in ({"rl": "none"}, {"train": "icl"}):
        ((word, choice),) = wanted.items()
        view.choose("base", f"{word}={choice}")
        expected = []
        for series in found.series:
            baseline = found.baseline_of(series, wanted)
            assert baseline is not None
            gain = found.gain(series, baseline)
            expected.append(0.0 if baseline is series or gain is None else round(100 * gain.mean, 1))
        shown = [text for text in view.column("gain") if text != "baseline"]
        assert sorted(numbers(shown)) == sorted(value for value in expected if value)


def test_two_cells_are_compared_where_they_differ(view: View, found: Results) -> None:
    one, two = found.series[3], found.series[0]
    first, second = (found.predictions(series.records[1]) for series in (one, two))
    assert first is not None
    assert second is not None
    view.click("#tab-compare")
    for menu, series in (("a", one), ("b", two)):
        view.choose(menu, page.content.name_of(series))
    view.choose("seed", "1")
    view.click("[data-show=a]")
    wanted = np.flatnonzero((first.label == first.gold) & (second.label != second.gold))
    assert view.text("#position") == f"1 of {len(wanted)}"
    for place in wanted[:3]:
        assert view.text("#example .muted >> nth=0").startswith(f"example {first.ids[place]} ")
        answers = view.page.locator("#example .answer").all_inner_texts()
        assert answers[0].startswith(f"✓ {first.labels[first.label[place]]}")
        assert answers[1].startswith("✗")
        view.press("ArrowRight")
    view.press("p")
    assert view.text("#position") == f"{min(3, len(wanted))} of {len(wanted)}"


def test_one_cell_alone_is_asked_what_makes_sense_for_it(view: View, found: Results) -> None:
    predictions = found.predictions(found.series[0].records[0])
    assert predictions is not None
    right, examples = int((predictions.label == predictions.gold).sum()), len(predictions.ids)
    name = page.content.name_of(found.series[0])
    view.open(f"tab=compare&a={name}&b={name}&seed=0&show=wrong")
    assert view.text("#position") == f"1 of {examples - right}"
    offered = view.page.locator("[data-show]:visible").all_inner_texts()
    assert offered == [f"all{examples}", f"right{right}", f"wrong{examples - right}"]
    assert view.text("#prompts summary") == "Prompt"
    view.choose("b", page.content.name_of(found.series[1]))
    assert view.page.locator("[data-show]:visible").count() == 6
    assert view.text("#prompts summary") == "Both prompts"


@pytest.mark.parametrize("place", range(len(HOSTILE)))
def test_hostile_texts_show_as_text(view: View, found: Results, place: int) -> None:
    view.open(f"tab=compare&example=test-{place}")
    shown = HOSTILE[place].replace("\x00", "␀").replace("\x07", "␇")
    assert view.page.text_content("#example blockquote") == shown
    assert view.page.title() == "made_up · genclspp"
    assert view.page.evaluate("() => document.documentElement.scrollWidth <= innerWidth")


def test_prompts_are_put_together_whole(view: View, found: Results) -> None:
    series = max(found.series, key=lambda each: each.words["infer"] == "icl")
    name = page.content.name_of(series)
    view.open(f"tab=compare&a={name}&b={name}&seed=1&example=test-9")
    view.page.click("#prompts summary")
    view.page.wait_for_selector("#prompts-body .prompt")
    texts = found.texts(series.records[1])
    assert texts is not None
    lines = view.page.locator("#prompts-body section >> nth=0 >> .writing").all_text_contents()
    assert [line.strip() for line in lines] == [piece.rstrip("\n").strip() for piece in texts.prompts[9]]


def test_the_address_restores_a_view(view: View, browser: Any, file: Path) -> None:
    view.click("#tab-compare")
    view.click("[data-show=differ]")
    view.press("n", "n")
    other = View(browser, file)
    other.open(view.address()[1:])
    assert other.text("main") == view.text("main")
    assert other.text("#position").startswith("3 of")
    other.context.close()
    view.page.go_back()
    view.wait()
    assert view.page.get_attribute("[data-show='']", "aria-pressed") == "true"
    view.page.go_back()
    view.wait()
    assert view.page.is_visible("#cells-table")


@pytest.mark.parametrize("tab", ["nowhere", "cells", "compare", "cell"])
def test_an_address_that_does_not_fit_shows_what_does(view: View, tab: str) -> None:
    view.open(f"tab={tab}&sort=-x&base=x&a=x&b=%25&seed=9&show=x&gold=x&said=x&example=x&cell=x&is.train=x")
    assert view.text("main").strip()


def test_a_page_without_records_says_so_in_every_tab(browser: Any, tmp_path: Path) -> None:
    path = tmp_path / "index.html"
    path.write_text(page.make(["new"], Results([], tmp_path), MISSING), encoding="utf-8")
    empty = View(browser, path)
    for tab in TABS:
        empty.click(f"#tab-{tab}")
        assert "There are no records yet." in empty.text(f"#view-{tab}")
    assert not empty.said
    empty.context.close()


def test_confused_labels_lead_to_their_examples(view: View, found: Results) -> None:
    series = found.series[0]
    predictions = found.predictions(series.records[0])
    assert predictions is not None
    wrong = np.flatnonzero(predictions.label != predictions.gold)
    gold, said = predictions.gold[wrong[0]], predictions.label[wrong[0]]
    name = page.content.name_of(series)
    view.open(f"tab=compare&a={name}&b={name}")
    view.choose("gold", predictions.labels[gold])
    view.choose("said", predictions.labels[said])
    count = ((predictions.gold == gold) & (predictions.label == said)).sum()
    assert view.text("#position") == f"1 of {count}"


def test_the_keyboard_alone_suffices(view: View) -> None:
    def tab_to(id: str) -> None:
        for _ in range(60):
            view.page.keyboard.press("Tab")
            if view.focused()["id"] == id:
                return
        raise AssertionError(f"no way to {id} by Tab")

    tab_to("tab-cells")
    tab_to("menu-base")
    view.press("ArrowDown")
    assert "base=" in view.address()
    view.page.focus("#tab-cells")
    view.press("ArrowRight")
    assert view.focused()["id"] == "tab-compare"
    tab_to("menu-b")
    view.press("ArrowUp")
    assert "b=" in view.address()
    view.page.keyboard.press("Tab")
    tab_to("next")
    view.press("Enter", "Enter")
    assert view.text("#position").startswith("3 of")
    assert view.focused()["id"] == "next"


def test_every_chart_has_its_numbers_as_a_table(view: View) -> None:
    view.click("#tab-dimensions")
    for chart in view.page.query_selector_all("#view-dimensions figure"):
        plot, summary = chart.query_selector("[role=img]"), chart.query_selector("summary")
        assert plot is not None
        assert summary is not None
        assert plot.get_attribute("aria-label")
        summary.click()
        chart.wait_for_selector("tbody tr")


@pytest.fixture(scope="module")
def wide(found: Results, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of cells with long names: they differ in four dimensions."""
    long = {word: {"icl": "icl_similar_by_embedding", "zero_shot": "zero_shot"} for word in ("train", "infer")}
    renamed: list[dict[str, Any]] = [
        {**record, **{word: names[record[word]] for word, names in long.items()}, "method": f"generative_{k % 2}"}
        for k, record in enumerate(found.records)
    ]
    path = tmp_path_factory.mktemp("wide") / "index.html"
    path.write_text(page.make(["made_up"], Results(renamed, found.artifacts), MISSING), encoding="utf-8")
    return path


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("name", ["file", "wide"])
def test_no_tab_scrolls_sideways(browser: Any, width: int, name: str, request: pytest.FixtureRequest) -> None:
    shown = View(browser, request.getfixturevalue(name), viewport={"width": width, "height": 844})
    right = "one.getBoundingClientRect().right"
    beyond = f"(found) => found.filter((one) => {right} > innerWidth).map((one) => one.id)"
    for tab in TABS:
        shown.open(f"tab={tab}")
        assert shown.page.evaluate("() => document.documentElement.scrollWidth <= innerWidth"), tab
        assert not shown.page.eval_on_selector_all("select, [role=tab]", beyond), tab
    shown.context.close()


def test_the_table_of_cells_fits_a_laptop(browser: Any, wide: Path) -> None:
    laptop = View(browser, wide, viewport={"width": 1280, "height": 844})
    box = "(box) => box.scrollWidth <= box.clientWidth"
    assert laptop.page.eval_on_selector("#view-cells .scroll", box)
    laptop.context.close()


@pytest.mark.parametrize("width", [390, 1280])
def test_a_confusion_matrix_names_every_column(browser: Any, file: Path, width: int) -> None:
    shown = View(browser, file, viewport={"width": width, "height": 844})
    shown.open("tab=cell")
    names = shown.page.evaluate("() => document.getElementById('confusion').layout.xaxis.ticktext")
    assert shown.page.locator("#confusion .xtick text:visible").all_text_contents() == names
    shown.context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_fault(browser: Any, file: Path, scheme: str) -> None:
    view = View(browser, file, color_scheme=scheme)
    faults = []
    for tab in TABS:
        view.open(f"tab={tab}&example=test-3")  # a long text
        if tab == "compare":
            view.page.click("#prompts summary")
        found = Axe().run(view.page).response["violations"]
        faults += [(tab, fault["id"], [node["html"] for node in fault["nodes"]][:3]) for fault in found]
    assert not faults
    view.context.close()
