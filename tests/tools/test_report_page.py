"""A report, opened in Chromium and clicked through."""

from __future__ import annotations

import pytest

from tests.helpers.browser import Browser
from tests.helpers.data_sets import TRAIN, VAL, write_voc
from tests.helpers.report_runs import HOSTILE, lay_out
from tools import report

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """The page of a run against another, with names that try to be markup."""
    place = tmp_path_factory.mktemp("report")
    data = write_voc(place / "data", train=TRAIN, val=VAL)
    one = lay_out(place / "one", data, classes=HOSTILE)
    two = lay_out(place / "two", data, classes=HOSTILE, turned=True)
    report.main([str(one), "--against", str(two), "--cpu"])
    return one / "report.html"


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with Browser(tmp_path_factory.mktemp("profile")) as made:
        yield made


@pytest.fixture
def opened(browser, path):
    browser.said.clear()
    browser.asked.clear()
    browser.size(1200, 900)
    browser.prefer("light")
    browser.open(path)
    yield browser
    assert browser.said == []  # no error, and nothing that the page's policy had to stop


def column(browser, section, number):
    return browser.run(
        f"Array.from(document.querySelectorAll('#{section} table.sortable tbody tr'),"
        f" row => row.cells[{number}].textContent)"
    )


def test_the_page_asks_for_nothing_and_no_name_is_run(opened):
    assert [url[:5] for url in opened.asked if not url.startswith("data:")] == ["file:"]
    assert opened.run("document.title") == "Report of one"
    assert opened.run("document.querySelectorAll('img[src=x]').length") == 0


def test_all_pictures_are_whole(opened):
    whole = opened.run(
        "(async () => { for (const i of document.images) i.loading = 'eager';"
        " await Promise.all(Array.from(document.images, i => i.decode()));"
        " return Array.from(document.images, i => i.naturalWidth); })()"
    )
    assert len(whole) > 12 and set(whole) == {31}


@pytest.mark.parametrize("section, number", [("classes", 2), ("images", 1)])
def test_a_heading_sorts_its_table_falling_then_rising(opened, section, number):
    heading = f"#{section} thead th:nth-child({number + 1}) button"
    opened.click(heading)
    falling = [float(text) for text in column(opened, section, number)]
    assert falling == sorted(falling, reverse=True) and len(set(falling)) > 1
    opened.click(heading)
    assert [float(text) for text in column(opened, section, number)] == sorted(falling)
    label = f"document.querySelector('#{section} thead th:nth-child({number + 1})')"
    assert opened.run(f"{label}.getAttribute('aria-sort')") == "ascending"


def test_a_heading_sorts_from_the_keyboard(opened):
    opened.run("document.querySelector('#images thead th button').focus()")
    opened.press("Enter")
    assert column(opened, "images", 0) == VAL
    opened.press("Enter")
    assert column(opened, "images", 0) == VAL[::-1]


def test_a_cell_opens_its_images_and_marks_where_its_pixels_are(opened):
    opened.click("button[data-pair='1 0']")
    assert opened.run("document.getElementById('dialog').open")
    assert HOSTILE[1] in opened.run("document.getElementById('opened').textContent")
    opened.run(
        "(async () => { while (document.querySelectorAll('#behind canvas').length < 3)"
        " await new Promise(requestAnimationFrame); })()"
    )
    # As many pixels are marked as the caption says: these pictures are not made smaller.
    found = opened.run(
        "Array.from(document.querySelectorAll('#behind figure'), figure => {"
        " const c = figure.querySelector('canvas'); let marked = 0;"
        " const d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data;"
        " for (let i = 0; i < d.length; i += 4) marked += d[i] === 255 && d[i + 1] === 0;"
        " return [marked, figure.querySelector('figcaption').textContent]; })"
    )
    assert len(found) == 3
    for marked, caption in found:
        assert marked > 0 and f"; {marked} pixels of this cell" in caption
    opened.press("Escape")
    assert not opened.run("document.getElementById('dialog').open")


def test_the_close_button_closes(opened):
    opened.click("button[data-pair='2 2']")
    opened.click("#close")
    assert not opened.run("document.getElementById('dialog').open")


def test_rows_of_several_nets_show_photograph_truth_and_each_prediction(opened):
    found = opened.run(
        "Array.from(document.querySelectorAll('figure.row'), row =>"
        " Array.from(row.querySelectorAll('.view'), view =>"
        " [view.querySelector('img') !== null, view.textContent.trim()]))"
    )
    words = ["photograph", "truth", "one", "two"]
    assert len(found) == 3 and all(row == [[True, word] for word in words] for row in found)


def test_the_button_turns_light_to_dark_and_back(opened):
    paper = "getComputedStyle(document.body).backgroundColor"
    light = opened.run(paper)
    opened.click("#theme")
    dark = opened.run(paper)
    opened.click("#theme")
    assert opened.run(paper) == light != dark
    opened.prefer("dark")
    opened.run("delete document.documentElement.dataset.theme")
    assert opened.run(paper) == dark


@pytest.mark.parametrize("width", [360, 768, 1200])
def test_a_narrow_page_is_not_scrolled_sideways(opened, width):
    opened.size(width, 800)
    assert opened.run("document.documentElement.scrollWidth") == width


def test_an_image_of_the_table_leads_to_its_picture(opened):
    opened.click("#images tbody a")
    assert opened.run("document.querySelector(location.hash).className") == "image"
