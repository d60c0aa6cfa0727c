"""Reports as a person gets them: whole, escaped, self-contained, and small however much was evaluated."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from dispatcher.errors import DispatcherError, UsageError
from dispatcher.evaluation.metrics import (
    AgentMetrics,
    Confusion,
    CoveragePoint,
    by_agent,
    confusions,
    coverage_curve,
    measure,
    reliability,
)
from dispatcher.evaluation.predictions import Prediction
from dispatcher.evaluation.report import Miss, Report, check_report_path, write_report
from dispatcher.evaluation.report.matrix import most_confused
from dispatcher.evaluation.report.plots import agent_bar, coverage_plot, thinned
from dispatcher.evaluation.statistics import Comparison, Interval, Move

HOSTILE = '</title><script>alert("1")</script> | @someone #12 `tick` **bold** & [a](http://x.example)\x1b[2J'
VOID = {"meta", "rect", "path", "circle", "br"}


class Page(HTMLParser):
    """What a browser would see: the elements, all closed in order, and the texts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    @property
    def text(self) -> str:
        return " ".join("".join(self.texts).split())

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def predicted(task: str, expected: str | None, first: str, confidence: float) -> Prediction:
    others = tuple(name for name in ("api", "web", "ops") if name != first)
    ranking = tuple((name, 1.0 - place / 10) for place, name in enumerate((first, *others)))
    return Prediction(task=task, expected=expected, agent=first, confidence=confidence, ranking=ranking)


PREDICTIONS = (
    predicted("write an endpoint", "api", "api", 0.95),
    predicted("the endpoint is slow", "api", "ops", 0.85),
    predicted("center a div", "web", "web", 0.75),
    predicted("restart the pods", "ops", "ops", 0.65),
    predicted("order a pizza", None, "web", 0.15),
)


def sample() -> Report:
    metrics = measure(PREDICTIONS)
    return Report(
        title="Evaluation",
        provenance=(("Agents", "3 from agents/"), ("Date", "2026-01-02")),
        metrics=metrics,
        intervals={"top1": Interval(low=0.5125, high=0.9875)},
        baselines={"TF-IDF": replace(metrics, top1=0.241)},
        by_tag={"typo": replace(metrics, top1=0.111)},
        by_agent=by_agent(PREDICTIONS),
        confusions=confusions(PREDICTIONS),
        reliability=reliability(PREDICTIONS),
        coverage_curve=coverage_curve(PREDICTIONS),
        misses=(
            Miss(task="order a pizza", expected=None, predicted="web", confidence=0.15),
            Miss(
                task="the endpoint is slow",
                expected="api",
                predicted="ops",
                confidence=0.85,
                rank=2,
                context="since the release",
                explanation=("ops", "  +0.31 triggers: slow  agents/ops.md:7"),
            ),
        ),
        comparison=Comparison(
            up=(Move(task="center a div", expected="web", old="api", new="web"),),
            down=(Move(task="the endpoint is slow", expected="api", old="api", new="ops"),),
            both_right=2,
            both_wrong=0,
            only_old=0,
            only_new=1,
            p_value=1.0,
        ),
    )


def written(report: Report, tmp_path: Path, name: str) -> str:
    path = tmp_path / name
    write_report(path, report)
    return path.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["report.html", "report.md", "REPORT.HTML"])
def test_a_report_has_everything(name: str, tmp_path: Path) -> None:
    text = written(sample(), tmp_path, name)
    shown = Page(text).text if name.lower().endswith("html") else " ".join(text.replace("`", "").split())
    for expected in (
        "3 from agents/",
        "Tasks that have an agent: 4. Tasks that no agent fits: 1.",
        "0.750",  # top1: three of four
        "0.512 to 0.988",
        "TF-IDF",
        "0.241",
        "0.111",
        "since the release",
        "+0.31 triggers: slow agents/ops.md:7",
        "expected api, first pick ops, confidence 0.85, expected one at rank 2",
        "no agent fits, first pick web, confidence 0.15",
        "Moved up (right now, wrong before): 1. Moved down: 1. Right as before: 2. Wrong as before: 0.",
        "McNemar's exact test: p = 1. Tasks of the old run only: 0, of the new one only: 1.",
    ):
        assert expected in shown


def test_the_surest_miss_comes_first(tmp_path: Path) -> None:
    for name in ("report.html", "report.md"):
        misses = written(sample(), tmp_path, name).rpartition("Misses")[2]
        assert misses.index("the endpoint is slow") < misses.index("order a pizza")


def test_the_page_needs_nothing_else_and_runs_nothing(tmp_path: Path) -> None:
    text = written(sample(), tmp_path, "report.html")
    page = Page(text)
    assert not re.search(r"https?:|url\(|@import|\ssrc=|\son\w+=", text)
    assert {tag for tag, _ in page.elements}.isdisjoint({"script", "link", "img", "iframe", "form"})
    assert {"http-equiv": "Content-Security-Policy", "content": "default-src 'none'; style-src 'unsafe-inline'"} in (
        page.all("meta")
    )
    assert "prefers-color-scheme: dark" in text
    assert {"name": "viewport", "content": "width=device-width, initial-scale=1"} in page.all("meta")


def test_the_page_can_be_read_by_a_screen_reader_and_with_a_keyboard(tmp_path: Path) -> None:
    page = Page(written(sample(), tmp_path, "report.html"))
    assert page.all("html") == [{"lang": "en"}]
    assert len(page.all("h1")) == 1
    assert all(header["scope"] in ("col", "row") for header in page.all("th"))
    assert len(page.all("table")) == len(page.all("caption"))
    assert all(svg.get("aria-label") or svg.get("aria-hidden") == "true" for svg in page.all("svg"))
    boxes = [each for each in page.all("div") if each.get("class") == "scroll"]
    assert all(box["tabindex"] == "0" and box["aria-label"] for box in boxes)
    anchors = {each["id"] for each in page.all("h2")}
    assert {str(link["href"]).removeprefix("#") for link in page.all("a")} == anchors


def hostile() -> Report:
    return Report(
        title=HOSTILE,
        provenance=((HOSTILE, HOSTILE),),
        metrics=measure(PREDICTIONS),
        baselines={HOSTILE: measure(PREDICTIONS)},
        by_tag={HOSTILE: measure(PREDICTIONS)},
        by_agent=(AgentMetrics(agent=HOSTILE, n=1, precision=None, recall=0.0, f1=0.0),),
        confusions=(Confusion(expected=HOSTILE, predicted=None, tasks=(HOSTILE,)),),
        misses=(
            Miss(
                task=HOSTILE,
                expected=HOSTILE,
                predicted=HOSTILE,
                confidence=0.5,
                context=HOSTILE,
                explanation=(HOSTILE,),
            ),
        ),
        comparison=Comparison(
            up=(Move(task=HOSTILE, expected=HOSTILE, old=None, new=HOSTILE),),
            down=(),
            both_right=0,
            both_wrong=0,
            only_old=0,
            only_new=0,
            p_value=1.0,
        ),
    )


def test_text_stays_text_in_html(tmp_path: Path) -> None:
    page = Page(written(hostile(), tmp_path, "report.html"))
    assert page.all("script") == []
    assert all(str(link["href"]).startswith("#") for link in page.all("a"))
    assert '</title><script>alert("1")</script>' in page.text
    assert "\x1b" not in page.text


def test_text_stays_text_in_markdown(tmp_path: Path) -> None:
    text = written(hostile(), tmp_path, "report.md")
    assert "\x1b" not in text
    # The fence is longer than the backticks inside it.
    assert f"- ``{HOSTILE.replace(chr(27), '')}``: expected" in text
    for line in text.splitlines():
        outside = re.sub(r"(`+)(?!`).*?[^`]\1(?!`)", "", line) if not line.startswith("      ") else ""
        assert not re.search(r"(?<!\\)[<@]", outside.replace("<br>", "")), line
    tables = [line for line in text.splitlines() if line.startswith("|")]
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in tables if HOSTILE[:8] in line} <= {5, 6, 15}


def test_a_text_with_half_a_character_is_written(tmp_path: Path) -> None:
    report = replace(sample(), misses=(Miss(task="odd \ud83d", expected="api", predicted="web", confidence=0.5),))
    assert "odd ?" in written(report, tmp_path, "report.html")
    assert "odd ?" in written(report, tmp_path, "report.md")


@pytest.mark.parametrize("name", ["report.html", "report.md"])
def test_nothing_evaluated_is_a_report_too(name: str, tmp_path: Path) -> None:
    text = written(Report(title="Empty", metrics=measure(())), tmp_path, name)
    assert "–" in text
    assert "None." in text
    assert "By agent" not in text


def large() -> Report:
    """400 agents, and 10,000 tasks that all went wrong, with long texts in a script of three bytes a letter."""
    names = [f"agent-{number}" for number in range(400)]
    misses = tuple(
        Miss(
            task=f"{number} " + "長" * 300,
            expected=names[number % 400],
            predicted=names[number * 7 % 400],
            confidence=number / 10_000,
            explanation=("ranking", *(f"  {place}. 0.5 agent-{place}" for place in range(20))),
        )
        for number in range(10_000)
    )
    pairs = tuple(
        Confusion(expected=name, predicted=other, tasks=("長" * 300,) * 20)
        for name in names[:30]
        for other in names[-30:]
    )
    return replace(
        sample(),
        by_agent=tuple(AgentMetrics(agent=name, n=25, precision=0.5, recall=0.5, f1=0.5) for name in names),
        confusions=pairs,
        coverage_curve=tuple(
            CoveragePoint(coverage=place / 10_000, accuracy=0.5, threshold=1 - place / 10_000)
            for place in range(1, 10_001)
        ),
        misses=misses,
    )


@pytest.mark.parametrize(("name", "most"), [("report.html", 5_000_000), ("report.md", 1_000_000)])
def test_a_large_report_stays_small_and_says_what_it_leaves_out(name: str, most: int, tmp_path: Path) -> None:
    text = written(large(), tmp_path, name)
    assert len(text.encode()) < most
    assert re.search(r"Shown are [\d,]+ of 10,000 misses, those with the highest confidence\.", text)
    assert re.search(r"Explanations are left out after the first [\d,]+\.", text)
    assert re.search(r"Shown are \d+ of 900 pairs\.", text)


def test_the_matrix_takes_the_most_frequent_pairs() -> None:
    pairs = (
        Confusion(expected="a", predicted="b", tasks=("1", "2", "3")),
        Confusion(expected="c", predicted="d", tasks=("4", "5")),
        Confusion(expected=None, predicted="a", tasks=("6",)),
        Confusion(expected="b", predicted="a", tasks=("7",)),
    )
    agents = (AgentMetrics(agent="a", n=8, precision=0.5, recall=0.625, f1=5 / 9),)
    matrix = most_confused(agents, pairs, most=3)
    assert matrix.names == ("a", "b", None)
    # Five of the eight tasks of a went to a.
    assert matrix.counts == {(0, 1): 3, (2, 0): 1, (1, 0): 1, (0, 0): 5}
    assert matrix.left_out == 2


def test_plots_draw_what_they_are_given() -> None:
    points = [
        CoveragePoint(coverage=0.5, accuracy=1.0, threshold=0.8),
        CoveragePoint(coverage=1.0, accuracy=0.75, threshold=0.1),
    ]
    plot = coverage_plot(points, now=(0.8, 0.9), at_90=0.6)
    # The area is 300 by 284 units, from 44 to the right and 12 down.
    assert 'd="M194.0 12.0L344.0 83.0"' in plot
    assert "60 % of the tasks can be routed at 90 % right. As routed now: 80 % routed, 90 % of them right." in plot
    bar = agent_bar(AgentMetrics(agent="a", n=4, precision=None, recall=0.25, f1=0.5))
    assert 'width="60.0"' in bar
    assert bar.count("<path") == 1
    bar = agent_bar(AgentMetrics(agent="a", n=4, precision=1.0, recall=0.25, f1=0.4))
    assert '"M124.0 7l-4 -7h8z"' in bar
    assert '"M34.0 11l-4 7h8z"' in bar


def test_thinning_keeps_both_ends() -> None:
    points = [CoveragePoint(coverage=place / 100, accuracy=1.0, threshold=0.5) for place in range(101)]
    assert [point.coverage for point in thinned(points, 5)] == [0.0, 0.25, 0.5, 0.75, 1.0]
    assert thinned(points[:2], 5) == points[:2]


@pytest.mark.parametrize("name", ["report.pdf", "report", "html"])
def test_another_ending_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="HTML or Markdown") as caught:
        check_report_path(tmp_path / name)
    assert caught.value.hint == "end its name in .html or .md"
    with pytest.raises(UsageError):
        write_report(tmp_path / name, sample())
    assert not (tmp_path / name).exists()


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(DispatcherError, match=r"nowhere/report\.md: the report could not be written"):
        write_report(tmp_path / "nowhere" / "report.md", sample())
