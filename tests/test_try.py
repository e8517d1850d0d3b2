"""The page *Try it* in headless Chromium, opened as a file: kept replies to one question, side by side."""

import json
import re

import pytest
import rendering
import side_by_side

from selfprompt_lib.files import write_rows

TOOL = re.compile(r'<div class="replies" id="replies".*?</script>', re.DOTALL)
HOSTILE = "</script><script>hacked = 1</script><img src=x onerror='hacked = 1'>\n\n<!-- {{ x }} &lt; **b**"
ODD = "a&b=#é%"  # an id that has to be escaped in a link


def reply(number, domain, role=None, answer="It is so.", outcome=None, question=None):
    return {"id": number, "domain": domain, "question": question or f"{domain} {number}?", "role": role,
            "answer": answer, "outcome": outcome or ("role" if role else "missing"),
            "role_tokens": 9 if role else 0, "answer_tokens": 5}  # fmt: skip


def arms():
    """Four questions: the second and the fourth were asked in all six ways, and one's texts are hostile."""
    names = [("1", "history", None), ("2", "history", None), ("3", "<b>coding</b>", None), (ODD, "<b>coding</b>", HOSTILE)]
    plain = [reply(*name, question=question) for *name, question in names]
    own = [reply("1", "history", "You never end", "", "broken"), reply("2", "history", "You are two."),
           reply("3", "<b>coding</b>", answer=" "), reply(ODD, "<b>coding</b>", HOSTILE, HOSTILE, question=HOSTILE)]
    given = {name: [reply("2", "history", first), reply(ODD, "<b>coding</b>", second, HOSTILE)]
             for name, first, second in (("own-role", "You are two.", HOSTILE), ("swapped", HOSTILE, "You are two."),
                                         ("forced", "You joke.", "You joke."))}
    return {"base": plain, "baseline": plain, "self-prompt": own} | given


def written(root, rows):
    (root / "infer").mkdir(parents=True)
    for name, some in rows.items():
        write_rows(root / "infer" / f"{name}.jsonl", some)
    return root


def test_what_an_older_run_did_not_ask_is_left_out(tmp_path):
    rows = arms()
    whole = side_by_side.kept_replies(written(tmp_path / "new", rows))
    assert whole["whole"] == 2 and [q["role_of"] for q in whole["questions"]] == [None, ODD, None, "2"]
    del rows["base"], rows["forced"]
    older = side_by_side.kept_replies(written(tmp_path / "old", rows | {"swapped": []}))
    assert older["whole"] == 0
    assert [list(q["replies"]) for q in older["questions"][:2]] == [
        ["baseline", "self-prompt"], ["baseline", "self-prompt", "own-role"]]  # fmt: skip


def test_no_text_ends_the_element_that_holds_the_data():
    text = rendering.as_json([HOSTILE, "\u2028"])
    assert "<" not in text and "\n" not in text and json.loads(text) == [HOSTILE, "\u2028"]


@pytest.fixture(scope="module")
def address(road, tmp_path_factory):
    """The built page with the replies above; the smoke model writes no role that could be swapped."""
    html, site = road / "_build" / "html", tmp_path_factory.mktemp("site")
    for part in html.iterdir():
        if part.name != "book":
            (site / part.name).symlink_to(part)
    stages = json.loads((road / "smoke" / "report.json").read_text(encoding="utf-8"))["stages"]
    kept = side_by_side.kept_replies(written(tmp_path_factory.mktemp("run"), arms()))
    page = rendering.render("try.md.jinja", {"stages": stages, "kept": kept})
    built = (html / "book" / "try.html").read_text(encoding="utf-8")
    assert len(TOOL.findall(built)) == 1
    (site / "book").mkdir()
    (site / "book" / "try.html").write_text(TOOL.sub(lambda _: TOOL.search(page)[0], built), encoding="utf-8")
    return (site / "book" / "try.html").as_uri()


@pytest.fixture
def opened(browser):
    """`opened(address)`: a page without errors and requests to anything but files."""
    troubles, context = [], browser.new_context()

    def open_page(address, **look):
        page = browser.new_page(**look) if look else context.new_page()
        page.on("pageerror", lambda error: troubles.append(str(error)))
        page.on("console", lambda said: troubles.append(said.text) if said.type == "error" else None)
        page.on("request", lambda asked: troubles.append(asked.url)
                if not asked.url.startswith(("file:", "data:")) else None)  # fmt: skip
        page.goto(address)
        return page

    yield open_page
    context.close()
    assert troubles == []


def shows(page, question):
    """Wait until the page shows this question: after a link or a choice it does so a moment later."""
    same = "text => document.getElementById('replies-question').textContent == text"
    return page.wait_for_function(same, arg=question, timeout=5000)


def body(page, arm):
    return page.locator(f'[data-arm="{arm}"] .reply-body').inner_text()


def test_it_is_used_by_keyboard_alone(opened, address):
    page = opened(address)
    shows(page, "history 2?")  # the first with all six replies
    page.focus("#replies-domain")
    for key, now in (("Tab", 2), ("ArrowUp", 1), ("ArrowDown", 2), ("ArrowDown", 3)):
        page.keyboard.press(key)
        shows(page, f"history {now}?" if now < 3 else "<b>coding</b> 3?")
    assert page.url.endswith("#q=3") and "question 3 of 4" in page.locator("[role=status]").inner_text()
    page.focus("[data-step='1']:not([data-up])")
    page.keyboard.press("Enter")
    shows(page, HOSTILE)
    assert page.url.endswith("#q=a%26b%3D%23%C3%A9%25")
    page.keyboard.press("Enter")
    shows(page, "history 1?")  # after the last comes the first
    page.focus("#replies-whole")
    page.keyboard.press("Space")
    shows(page, "history 2?")
    assert page.locator("#replies-pick option").count() == 2
    page.select_option("#replies-domain", "<b>coding</b>")
    shows(page, HOSTILE)
    assert "question 1 of 1" in page.locator("[role=status]").inner_text()


def test_what_was_the_role_is_told_by_colour_by_name_and_by_its_line(opened, address):
    page = opened(f"{address}#q=2")
    found = page.eval_on_selector_all(".reply-role", """all => all.map(e => [e.closest('article').dataset.arm,
        e.querySelector('b').innerText, e.querySelector('span').innerText,
        getComputedStyle(e).borderLeftStyle, getComputedStyle(e).borderLeftColor])""")  # fmt: skip
    orange = "rgb(230, 159, 0)"
    assert found[0] == ["self-prompt", "Role, written by the model", "You are two.", "solid", orange]
    assert [row[:2] + row[3:] for row in found[1:]] == [
        [arm, "Role, put there", "dashed", orange] for arm in ("own-role", "swapped", "forced")]  # fmt: skip
    assert body(page, "base").split("\n")[:2] == ["Answer", "It is so."]
    names = page.eval_on_selector_all(
        "article[data-arm]", "all => all.map(e => document.getElementById(e.getAttribute('aria-labelledby')).innerText)")
    assert len(set(names)) == 6


def test_what_a_model_wrote_is_text_whatever_it_is(opened, address):
    page = opened(f"{address}#q=a%26b%3D%23%C3%A9%25")
    shows(page, HOSTILE)
    texts = page.locator('[data-arm="self-prompt"] .reply-text').all_text_contents()
    assert texts == [HOSTILE, HOSTILE]
    assert page.locator(".replies img, .replies script").count() == 0
    assert page.evaluate("typeof hacked") == "undefined"


def test_a_link_names_a_question_and_back_goes_back(opened, address):
    page = opened(f"{address}#q=2")
    page.click("#replies-other")
    shows(page, HOSTILE)
    page.go_back()
    shows(page, "history 2?")
    for wrong in ("nothing", "%E0%A4"):
        page.evaluate(f"location.hash = '#q={wrong}'")
        page.wait_for_function("document.querySelector('[role=status]').innerText.includes('did not ask')", timeout=5000)
    shows(page, "history 2?")


def test_what_was_not_asked_or_not_written_is_said(opened, address):
    page = opened(f"{address}#q=1")
    assert "the role never ended" in body(page, "self-prompt")
    missing = page.locator(".replies-missing:visible")
    assert "did so for 2 of the 4" in missing.inner_text()
    assert not page.locator('[data-arm="own-role"]').is_visible()
    page.click("#replies-next-whole")
    shows(page, "history 2?")
    assert missing.count() == 0
    assert page.evaluate("document.activeElement.id") == "replies-question"
    page.goto(f"{address}#q=3")
    shows(page, "<b>coding</b> 3?")
    assert "None was written." in body(page, "self-prompt")


@pytest.mark.parametrize(("width", "scheme", "columns"), [(390, "dark", 1), (1280, "light", 3)])
def test_it_fits_a_phone_and_a_laptop(opened, address, width, scheme, columns):
    page = opened(f"{address}#q=2", viewport={"width": width, "height": 800}, color_scheme=scheme)
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 1
    left = page.eval_on_selector_all("article[data-arm]", "all => all.map(e => Math.round(e.getBoundingClientRect().left))")
    assert len(left) == 6 and len(set(left)) == columns
    heights = page.eval_on_selector_all(
        ".replies button, .replies select", "all => all.map(e => e.offsetHeight).filter(height => height)")
    assert min(heights) >= 44, "large enough for a finger"
    page.close()


def test_the_runs_own_page_shows_all_its_questions(opened, road):
    page = opened((road / "_build" / "html" / "book" / "try.html").as_uri())
    asked = [json.loads(line) for line in (road / "smoke" / "infer" / "self-prompt.jsonl").open(encoding="utf-8")]
    assert page.locator("#replies-pick option").count() == len(asked)
    shows(page, asked[0]["question"])
    assert body(page, "self-prompt").startswith(f"Answer\n{asked[0]['answer'].strip()[:5]}")
    assert "asked no question with a given role" in page.locator(".replies-missing:visible").inner_text()
