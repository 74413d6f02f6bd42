"""The page in a real browser: what a person sees, by keyboard, with whatever stands in the documents."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from odqa.service import create_app
from odqa.service.host import Loaded
from odqa.types import Abstain, Answer, Evidence, PassageRead, Result
from tests.service.server import Served, serving, until

webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
if CHROMIUM is None or DRIVER is None:
    pytest.skip("no Chromium with its driver on this machine", allow_module_level=True)

EVIL = '<img src=x onerror="window.hacked=1"><script>window.hacked=1</script>'
PLACES = [
    ("Party 🎉👩‍👩‍👧", "Before 🎉👩‍👩‍👧 and 𝒳 came the «", "é🎈 answer", "» and 🎊 after. " + "More words. " * 60),
    ("ערים", "בירת פולין היא ", "ורשה", ", והיא עומדת על נהר הוויסלה. Warsaw 2024."),
    (f"Title {EVIL}", f"Text {EVIL} then ", f"answer {EVIL}", f" and {EVIL} again."),
]
ARROW_DOWN, ARROW_UP, ESCAPE, ENTER = "\ue015", "\ue013", "\ue00c", "\ue007"


def evidence(number: int) -> dict[str, Any]:
    title, before, text, after = PLACES[number]
    return {
        "text": text,
        "score": 3.0 - number,
        "margin": 3.0,
        "document_id": f"d{number}",
        "title": title,
        "start": 10 + len(before),
        "end": 10 + len(before) + len(text),
        "passage": before + text + after,
        "passage_start": 10,
        "page": 7 if number == 0 else None,
        "heading": EVIL if number == 2 else None,
    }


class Scripted:
    """A pipeline that finds the places above, or nothing where it is asked for nothing."""

    def __init__(self, loaded: Loaded) -> None:
        self.retriever, self.name = loaded.pipeline.retriever, "scripted"
        self.calibration = SimpleNamespace(threshold_of="margin", risks=(SimpleNamespace(risk=0.5),))
        recipe = loaded.pipeline.reader.recipe
        self.reader, self.null_threshold = SimpleNamespace(check_question=len, recipe=recipe, batch_tokens=512), 0.0

    def answer_batch(self, questions: list[str], *, abstain: str, **_: object) -> list[Result]:
        found = [Evidence(**evidence(number)) for number in range(3)]
        passages = tuple(PassageRead(one.document_id, one.title, 10, 99, one.passage, 1.0, 0.0) for one in found)
        answers = tuple(
            Answer(**evidence(number), probability=0.9 - number / 10, evidence=tuple(found[number:]))
            for number in range(3)
        )
        return [
            Result(question, answers if keep else (), not keep, 0.4, {"read": 0.1}, "tiny", 1, self.name, passages)
            for question in questions
            for keep in ["nothing" not in question or abstain == Abstain.NEVER]
        ]


@pytest.fixture(scope="module")
def page(loaded: Loaded) -> Iterator[Served]:
    pipeline: Any = Scripted(loaded)
    with serving(create_app(lambda: replace(loaded, pipeline=pipeline))) as one:
        yield one


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--window-size=1200,900"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    service = webdriver.ChromeService(DRIVER)
    started = webdriver.Chrome(options=options, service=service)
    yield started
    started.quit()


@pytest.fixture
def open_page(page: Served, browser: Any) -> Any:
    browser.get("about:blank")
    browser.get(page.url + "/")
    until(lambda: "8 documents" in text(browser, "#about"))
    return browser


def find(browser: Any, selector: str) -> Any:
    return browser.find_element("css selector", selector)


def text(browser: Any, selector: str) -> str:
    return str(find(browser, selector).get_property("textContent"))


def ask(browser: Any, question: str) -> None:
    find(browser, "#question").send_keys(question + ENTER)
    until(lambda: cards(browser) and "busy" not in find(browser, "body").get_attribute("class"))


def cards(browser: Any) -> list[Any]:
    return list(browser.find_elements("css selector", ".result"))


def widen(browser: Any) -> None:
    for button in browser.find_elements("css selector", ".more:not([hidden])"):
        button.click()


def test_answers_are_marked_at_their_place(open_page: Any) -> None:
    ask(open_page, "who?")
    widen(open_page)
    for card, (title, before, answer, after) in zip(cards(open_page), PLACES, strict=True):
        nodes = open_page.execute_script(
            "return [...arguments[0].querySelector('.passage').childNodes].map((n) => [n.nodeName, n.textContent])",
            card,
        )
        assert nodes == [["#text", before], ["MARK", answer], ["#text", after]]
        assert card.find_element("css selector", "h2").get_property("textContent") == answer
        assert card.find_element("css selector", ".place bdi").get_property("textContent") == title
    assert "page 7" in text(open_page, ".place")
    assert text(open_page, ".percent") == "90 %"
    assert "3 answers in 3 passages" in text(open_page, "#status")
    assert "Also in 2 other places" in text(open_page, ".others summary")


def test_right_to_left_text_runs_from_the_right(open_page: Any) -> None:
    ask(open_page, "who?")
    passage = cards(open_page)[1].find_element("css selector", ".passage")
    assert open_page.execute_script("return getComputedStyle(arguments[0]).direction", passage) == "rtl"
    mark, begin = open_page.execute_script(
        "const m = arguments[0].querySelector('mark').getBoundingClientRect(), r = document.createRange();"
        "r.setStart(arguments[0].firstChild, 0); r.setEnd(arguments[0].firstChild, 4);"
        "return [m.right, r.getBoundingClientRect().right]",
        passage,
    )
    assert mark < begin


def test_nothing_in_a_document_or_a_question_runs(open_page: Any) -> None:
    ask(open_page, EVIL)
    widen(open_page)
    assert open_page.execute_script("return window.hacked") is None
    inside = open_page.execute_script("return document.querySelectorAll('#results img, #results script').length")
    assert inside == 0
    assert EVIL in text(open_page, "#results")
    assert EVIL in open_page.execute_script("return document.title")
    open_page.get(open_page.current_url)
    until(lambda: len(cards(open_page)) == 3)
    assert open_page.execute_script("return window.hacked") is None


def test_no_answer_is_said_plainly(open_page: Any) -> None:
    ask(open_page, "nothing?")
    assert text(open_page, ".none h2") == "No answer"
    assert "None of the 3 passages" in text(open_page, ".reason")
    assert len(cards(open_page)) == 3
    find(open_page, ".anyway").click()
    until(lambda: open_page.find_elements("css selector", ".best"))
    assert find(open_page, "#abstain").get_property("value") == "never"


def test_all_of_it_works_by_keyboard(open_page: Any) -> None:
    def focused() -> Any:
        return open_page.switch_to.active_element

    ask(open_page, "who?")
    focused().send_keys(ARROW_DOWN)
    assert focused() == cards(open_page)[0]
    focused().send_keys(ENTER)
    assert not cards(open_page)[0].find_element("css selector", ".more").is_displayed()
    focused().send_keys(ARROW_DOWN)
    assert focused() == cards(open_page)[1]
    focused().send_keys(ARROW_UP + ARROW_UP)
    assert focused() == find(open_page, "#question")
    focused().send_keys(ARROW_DOWN + ESCAPE)
    assert focused() == find(open_page, "#question")
    focused().send_keys(ARROW_DOWN)
    focused().send_keys("/")
    assert focused() == find(open_page, "#question")
    assert focused().get_property("value") == "who?"


def test_back_leads_to_the_question_before(open_page: Any) -> None:
    ask(open_page, "who?")
    find(open_page, "#question").clear()
    ask(open_page, "nothing?")
    until(lambda: open_page.find_elements("css selector", ".none"))
    open_page.back()
    until(lambda: open_page.find_elements("css selector", ".best"))
    assert find(open_page, "#question").get_property("value") == "who?"


def test_a_screen_reader_hears_names_and_outcomes(open_page: Any) -> None:
    ask(open_page, "who?")
    unnamed = open_page.execute_script(
        "return [...document.querySelectorAll('input, select')].filter((one) => one.labels.length === 0).length"
    )
    assert unnamed == 0
    assert find(open_page, "#status").get_attribute("aria-live") == "polite"
    assert find(open_page, ".probability").get_attribute("aria-label") == "probability 90 percent"
    assert find(open_page, "html").get_attribute("lang") == "en"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_words_stand_out_from_their_ground(open_page: Any, scheme: str) -> None:
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    open_page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    ask(open_page, "who?")
    for words, ground in (
        (".place", ".result"),
        ("mark", "mark"),
        (".passage", ".result"),
        ("#status", "body"),
        (".ask button", ".ask button"),
        (".more", ".result"),
    ):
        assert contrast(colour(open_page, words, "color"), colour(open_page, ground, "backgroundColor")) >= 4.5


def colour(browser: Any, selector: str, name: str) -> list[float]:
    script = "return getComputedStyle(document.querySelector(arguments[0]))[arguments[1]]"
    return [int(part) / 255 for part in re.findall(r"\d+", browser.execute_script(script, selector, name))[:3]]


def contrast(one: list[float], other: list[float]) -> float:
    """The ratio of relative luminances. Source: WCAG 2.2."""

    def luminance(rgb: list[float]) -> float:
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in rgb]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    dark, light = sorted([luminance(one), luminance(other)])
    return (light + 0.05) / (dark + 0.05)


def test_a_narrow_phone_needs_no_sideways_scrolling(open_page: Any) -> None:
    metrics = {"width": 320, "height": 640, "deviceScaleFactor": 2, "mobile": True}
    open_page.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    try:
        ask(open_page, "who?")
        assert open_page.execute_script("return document.documentElement.scrollWidth") <= 320
    finally:
        open_page.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


@pytest.mark.parametrize("path", ["/", "/docs"])
def test_nothing_comes_from_outside_and_nothing_is_blocked(page: Served, browser: Any, path: str) -> None:
    browser.get_log("browser")
    browser.get(page.url + path)
    until(lambda: "8 documents" in browser.page_source or "/v1/retrieve" in browser.page_source)
    loaded = browser.execute_script("return performance.getEntriesByType('resource').map((one) => one.name)")
    assert all(name.startswith(page.url) for name in loaded)
    assert any(name.endswith(".css") for name in loaded)
    assert browser.get_log("browser") == []


def test_the_description_shows_every_address(page: Served, browser: Any) -> None:
    browser.get(page.url + "/docs")
    until(lambda: "/v1/retrieve" in browser.page_source)
    shown = {one.text for one in browser.find_elements("css selector", "#operations summary code:not(.method)")}
    assert shown == set(page.get("/openapi.json").json()["paths"])


def test_only_certified_risks_are_offered(open_page: Any) -> None:
    shown = [one.text for one in open_page.find_elements("css selector", "#abstain option")]
    assert shown == ["say so", "answer anyway", "risk at most 50 %"]


def test_the_way_to_the_answers_keeps_them(open_page: Any) -> None:
    ask(open_page, "who came?")
    find(open_page, ".skip").send_keys(ENTER)
    assert open_page.switch_to.active_element.get_attribute("id") == "results"
    assert len(cards(open_page)) == 3


def test_options_ask_nothing_before_a_question_was_asked(open_page: Any) -> None:
    find(open_page, "#question").send_keys("half a ques")
    find(open_page, "#abstain").send_keys(ARROW_DOWN)
    assert "asked" not in (find(open_page, "body").get_attribute("class") or "")
    assert not cards(open_page)


def test_the_last_answer_lets_the_page_scroll(open_page: Any) -> None:
    ask(open_page, "who came?")
    cards(open_page)[2].send_keys(ARROW_DOWN)
    pressed = "new KeyboardEvent('keydown', {key: 'ArrowDown', bubbles: true, cancelable: true})"
    kept = f"return !document.activeElement.dispatchEvent({pressed})"
    assert open_page.switch_to.active_element == cards(open_page)[2]
    assert open_page.execute_script(kept) is False


def test_the_start_page_shows_nothing_of_the_last_answer(open_page: Any) -> None:
    ask(open_page, "who came?")
    until(lambda: "request" in text(open_page, "#footer"))
    open_page.back()
    until(lambda: not cards(open_page))
    assert "request" not in text(open_page, "#footer")
