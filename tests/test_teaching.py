"""The teacher's plans add up and say when a machine is too slow; the deck is whole and fits."""

import json
import re

import front
import nbformat
import plans
import pytest
import slides
import yaml
from build_book import run_pages
from rendering import TEMPLATES

from selfprompt_lib.pipeline import CHAPTERS

PLANS = {plan.name: plan for plan in plans.read_plans()}
QUICK = dict.fromkeys(CHAPTERS, 60.0)


@pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS)
def test_a_plan_adds_up_and_uses_nothing_that_was_not_begun(plan):
    rows = plans.timetable(plan, QUICK)
    assert rows[0].begin == 0 and rows[-1].end == plan.minutes == sum(slot.minutes for slot in plan.slots)
    assert all(one.end == other.begin for one, other in zip(rows, rows[1:], strict=False))
    there = set(plan.prepared)
    for slot in plan.slots:
        assert set(slot.uses) <= there
        there |= set(slot.starts)


def test_chapters_run_one_after_the_other_and_a_class_never_waits_unless_told():
    plan = plans.Plan(name="a", about="", minutes=50, prepared=["annotate"], slots=[
        plans.Slot(minutes=5, title="talk", text=""),
        plans.Slot(minutes=10, title="start", text="", starts=["roles", "sft"]),
        plans.Slot(minutes=15, title="use", text="", uses=["annotate", "sft"]),
        plans.Slot(minutes=20, title="again", text="", starts=["roles"], all_done=True)])
    seconds = {"roles": 60, "sft": 480}
    times = [(row.begin, row.done, row.ready, row.late) for row in plans.timetable(plan, seconds)]
    assert times == [(0, None, None, 0), (5, 14, None, 0), (15, None, 14, 0), (30, 31, 14, 0)]
    assert plans.slowest(plan, seconds) == 1.1  # (15 - 5) of 9 minutes
    late = plans.timetable(plan, seconds, slower=2)[2]
    assert (late.ready, late.late) == (23, 8)
    assert plans.machine_text(late) == "needs chapters 1 to 3: **8 min late**"
    assert plans.machine_text(plans.timetable(plan, seconds)[3]) == (
        "needs all that was started: ready 0:14; starts chapter 2: done 0:31")
    assert plans.clock(75.2) == "1:16" and plans.clock(60) == "1:00"


def teaching_page(root):
    return run_pages(root, front.page_facts(root))["book/teaching.md"]


def test_the_page_tells_the_runs_own_minutes_and_what_to_do_where_they_do_not_fit(road, tmp_path):
    report = json.loads((road / "smoke" / "report.json").read_text())
    page = teaching_page(road / "smoke")
    total = sum(stage["seconds"] for stage in report["stages"].values())
    assert f"{total / 60:.0f} minutes for everything" in page and "nobody waits" in page
    for plan in PLANS.values():
        assert f"{plan.name}: {plans.clock(plan.minutes)}" in page
    assert "does not work as it stands" not in page
    report["stages"]["sft"]["seconds"] = 3 * 3600
    slow = tmp_path / "smoke"
    slow.mkdir()
    for name in ("evaluate", "infer", "annotate"):
        (slow / name).symlink_to(road / "smoke" / name)
    (slow / "report.json").write_text(json.dumps(report))
    page = teaching_page(slow)
    assert page.count("does not work as it stands") == 2 and "at “Chapter 3” the class would wait 1:" in page


def test_every_slide_that_a_plan_or_page_names_is_in_the_deck():
    deck = re.findall(r"^##? (.+)$", (TEMPLATES / "slides.md.jinja").read_text(), re.M)
    assert 18 <= len(deck) <= 24
    named = re.findall(r"slides? \*([^*]+)\*", yaml.safe_dump(yaml.safe_load(plans.PLANS.read_text()), width=10**6))
    assert len(named) >= 4 and set(named) <= set(deck)


@pytest.mark.parametrize("name", slides.FIGURES)
def test_a_figure_of_the_deck_comes_from_one_cell(name):
    chapter, words = slides.FIGURES[name]
    cells = nbformat.read(CHAPTERS[chapter].notebook, 4).cells
    assert sum(words in cell.source for cell in cells if cell.cell_type == "code") == 1


def test_a_lost_figure_is_told(road, refused):
    with refused("02_roles.ipynb", "no cell with 'nowhere'"):
        slides.figure(road / "smoke", "roles", "nowhere")


@pytest.mark.parametrize("size", [(1280, 720), (390, 844)], ids=["projector", "phone"])
def test_no_slide_leaves_the_screen_and_none_fetches_anything(road, browser, size):
    page = browser.new_page(viewport=dict(zip(("width", "height"), size, strict=True)))
    asked, errors = [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto((road / "_build" / "html" / "slides" / "index.html").as_uri())
    slides_of_page = page.evaluate("""() => [...Array(Reveal.getTotalSlides()).keys()].map(number => {
      Reveal.slide(number)
      const slide = Reveal.getCurrentSlide()
      const seen = [...slide.querySelectorAll("*")].filter(part => !part.closest("aside"))
      const boxes = seen.map(part => part.getBoundingClientRect()).filter(box => box.width)
      return {title: slide.querySelector("h1, h2").innerText, notes: !!slide.querySelector("aside.notes"),
              right: Math.max(...boxes.map(box => box.right)), bottom: Math.max(...boxes.map(box => box.bottom)),
              broken: [...slide.querySelectorAll("img")].some(image => !image.naturalWidth)}})""")
    assert len(slides_of_page) >= 18 and errors == [] and all(url.startswith(("file:", "data:")) for url in asked)
    for slide in slides_of_page:
        assert slide["right"] <= size[0] + 1 and slide["bottom"] <= size[1] + 1, slide
        assert slide["notes"] and not slide["broken"], slide
    page.close()
