"""The built book in headless Chromium, at a phone's and a laptop's width."""

import http.server
import threading
from functools import partial

import pytest

from selfprompt_lib.pipeline import CHAPTERS
from selfprompt_lib.workshop.exercises import chapters_with_exercises

PAGES = ["index", "book/method", "book/deviations", "book/running", "book/settings",
         "book/own", "book/measuring", "book/troubles", "book/cards",
         "book/found", "book/beyond", "book/benchmarks", "book/statistics", "book/judge", "book/robustness",
         *(f"nbs/{c.notebook.stem}" for c in CHAPTERS.values()), "book/inside", "book/glossary",
         "book/try", "book/teaching", "book/status", "book/references",
         *(f"book/quizzes/{number}" for number in range(1, 7)),
         *(f"nbs/exercises/{c.notebook.stem}" for c in chapters_with_exercises())]  # fmt: skip
FIGURES = {
    "01_annotate": 1,
    "02_roles": 7,
    "03_sft": 3,
    "04_infer": 2,
    "05_evaluate": 6,
    "06_ablate": 4,
    "07_compare": 4,
    "a1_judge": 1,
    "a2_robustness": 3,
}


@pytest.fixture(scope="module")
def site(road):
    """The book on a loopback server."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), partial(Quiet, directory=str(road / "_build" / "html"))
    )
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


@pytest.mark.parametrize("width", [390, 1280])
def test_every_page_opens_without_error_and_fits(site, browser, width):
    page = browser.new_page(viewport={"width": width, "height": 900})
    troubles = []
    page.on(
        "console",
        lambda message: troubles.append(message.text) if message.type == "error" else None,
    )
    page.on("pageerror", lambda error: troubles.append(str(error)))
    page.on(
        "request",
        lambda request: (
            troubles.append(request.url) if not request.url.startswith((site, "data:")) else None
        ),
    )
    page.on(
        "response",
        lambda response: (
            troubles.append(f"{response.status} {response.url}") if response.status >= 400 else None
        ),
    )
    for name in PAGES:
        page.goto(f"{site}/{name}.html", wait_until="load")
        broken = page.eval_on_selector_all(
            "img", "all => all.filter(i => i.complete && !i.naturalWidth).map(i => i.src)"
        )
        wide = page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
        assert not broken and wide <= 1, f"{name} at {width}: {broken}, {wide} pixels too wide"
        sideways = page.eval_on_selector_all(
            "article pre", "all => all.filter(e => e.scrollWidth > e.clientWidth + 1).map(e => e.innerText)"
        )
        assert sideways == [], f"{name} at {width}: code or a printed text that must be scrolled"
    assert troubles == []


@pytest.mark.parametrize(("width", "columns"), [(390, 1), (1280, 2)])
def test_the_front_page_shows_the_method_at_work_below_the_idea(site, browser, width, columns):
    page = browser.new_page(viewport={"width": width, "height": 900})
    page.goto(f"{site}/index.html")
    order = page.eval_on_selector_all(
        "article img, article table, article h2, .example",
        "all => all.filter(e => e.offsetHeight).map(e => e.className == 'example' ? 'example' :"
        " e.tagName == 'H2' ? e.innerText.replace('#', '').trim() : e.tagName)",
    )
    examples = order.count("example")
    assert 1 <= examples <= 3 and order == [
        "IMG", "The method at work", *["example"] * examples, "What was measured", "IMG",
        "Where to go next"]  # fmt: skip
    left = page.eval_on_selector_all(
        ".example-reply", "all => all.map(e => Math.round(e.getBoundingClientRect().left))"
    )
    assert len(left) == 2 * examples and len(set(left)) == columns


def test_every_figure_is_there_and_every_chapter_links_its_notebook_and_colab(site, browser):
    page = browser.new_page()
    for name, least in FIGURES.items():
        page.goto(f"{site}/nbs/{name}.html")
        assert page.locator(".cell_output img").count() >= least
        links = page.eval_on_selector_all("a[href]", "all => all.map(a => a.href)")
        assert any("colab.research.google.com" in link and name in link for link in links)
        assert any(link.endswith(f"{name}.ipynb") for link in links)


def test_set_up_is_folded_and_says_so_and_a_recap_can_be_ticked_by_keyboard(site, browser):
    page = browser.new_page()
    page.goto(f"{site}/nbs/03_sft.html")
    folded = page.locator("details.hide summary").filter(has_text="Show the set-up").first
    code = page.locator("details.hide pre").filter(has_text="start_chapter").first
    assert not code.is_visible()
    folded.focus()
    page.keyboard.press("Enter")
    assert code.is_visible()
    box = page.locator(".task-list-item-checkbox").first
    box.focus()
    page.keyboard.press("Space")
    assert box.is_checked()


def test_no_internal_link_is_dead(site, browser):
    page, targets = browser.new_page(), set()
    for name in PAGES:
        page.goto(f"{site}/{name}.html")
        targets |= {
            link.split("#")[0]
            for link in page.eval_on_selector_all("a[href]", "all => all.map(a => a.href)")
        }
    dead = [
        link for link in targets if link.startswith(site) and page.request.get(link).status >= 400
    ]
    assert dead == []


@pytest.mark.parametrize("width", [390, 1280])
def test_an_opened_answer_tells_whether_it_is_right_by_mouse_and_keyboard(road, browser, width):
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme="dark")
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto((road / "_build" / "html" / "book" / "quizzes" / "5.html").as_uri())
    assert page.locator("details.quiz").count() == 15
    assert page.locator("details.quiz[open]").count() == 0
    wrong, right = (page.locator(f"details.quiz.{kind}").first for kind in ("wrong", "right"))
    wrong.locator("summary").click()
    right.locator("summary").focus()
    page.keyboard.press("Enter")
    opened = page.locator("details.quiz[open]").all_inner_texts()
    assert sorted(text.split("\n")[-1].split(".")[0] for text in opened) == ["No", "Right"]
    colours = [part.locator("summary").evaluate("e => getComputedStyle(e).backgroundColor")
               for part in (wrong, right, page.locator("details.quiz").last)]  # fmt: skip
    assert len(set(colours)) == 3, "right, wrong and unopened look different"
    assert [url for url in asked if not url.startswith(("file:", "data:"))] == []
