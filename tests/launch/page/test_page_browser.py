"""The page in a real browser, while runs go on."""

import time

import pytest

from launch.page import watch as watching
from tests.launch.page.chromium import Chromium, executable
from tests.launch.page.made import EVIL, begin, launched, settle, study_of
from tests.launch.page.test_page_server import serving

pytestmark = [pytest.mark.slow, pytest.mark.skipif(executable() is None, reason="no Chromium is installed here")]


@pytest.fixture
def study():
    return study_of(question=f"What grows? {EVIL}")


@pytest.fixture
def workspace(tmp_path, study, monkeypatch):
    monkeypatch.setattr(watching, "LOOK_SECONDS", 0.2)
    monkeypatch.setattr(watching, "REST", 0.0)
    workspace = launched(tmp_path / "root", study)
    settle(workspace, study.cells[3].run)
    begin(workspace, study.cells[4].run, steps=10)
    return workspace


@pytest.fixture
def browser(tmp_path):
    (tmp_path / "profile").mkdir()
    opened = Chromium(tmp_path / "profile")
    yield opened
    opened.close()


def opened(browser, port):
    browser.call("Emulation.setDeviceMetricsOverride", width=1000, height=700, deviceScaleFactor=1, mobile=False)
    browser.go(f"http://127.0.0.1:{port}/")
    browser.wait("document.querySelectorAll('#curves svg, #law svg').length === 2")


def top_of(browser, choice):
    return browser.ask(f"document.querySelector('{choice}').getBoundingClientRect().top")


def test_a_run_that_finishes_appears_and_the_reader_is_left_where_he_was(browser, workspace, study):
    with serving(workspace, "made") as port:
        opened(browser, port)
        assert "1 of 5 runs finished" in browser.ask("document.querySelector('#head').textContent")
        assert browser.ask("document.querySelectorAll('main img, main script').length") == 0
        assert browser.ask("document.querySelector('h1').textContent") == study.question
        # In a low window the heading of the list is the first thing to be seen, and what changes is all above it.
        browser.call("Emulation.setDeviceMetricsOverride", width=1000, height=200, deviceScaleFactor=1, mobile=False)
        browser.ask("document.querySelector('#runs details').open = true")
        browser.ask("document.querySelector('#runs h2').scrollIntoView(); scrollBy(0, -10)")
        browser.ask("document.querySelector('#runs details tr:last-child').id = 'marked'")
        before = top_of(browser, "#runs h2")
        settle(workspace, study.cells[4].run, loss=2.5)
        browser.wait("document.querySelector('#head').textContent.includes('2 of 5 runs finished')")
        browser.wait("document.querySelector('#runs').textContent.includes('2.5000')")
        browser.wait("document.querySelector('#law').textContent.includes('From 2 finished runs')")
        # It keeps its place to a pixel's rounding; an opened list stays open, an old row the same element.
        assert top_of(browser, "#runs h2") == pytest.approx(before, abs=2)
        assert browser.ask("document.querySelector('#runs details').open && scrollY > 0")
        assert browser.ask("document.querySelectorAll('#runs details:first-of-type tr').length") == 3
        assert browser.ask("document.querySelector('#marked') !== null")
        assert not browser.complaints()
        here = f"http://127.0.0.1:{port}/"
        assert {address for address in browser.requested() if not address.startswith("data:")} >= {here, f"{here}state"}
        assert all(address.startswith((here, "data:")) for address in browser.requested())


def test_values_are_shown_over_a_curve_and_stay_when_the_figure_is_drawn_anew(browser, workspace, study):
    with serving(workspace, "made") as port:
        opened(browser, port)
        browser.ask("document.querySelector('#curves').scrollIntoView()")
        end = "[...document.querySelectorAll('#curves [data-tip]')].pop().getBoundingClientRect()"
        place = browser.ask(f"(() => {{ const r = {end}; return [r.x + r.width / 2, r.y + r.height / 2]; }})()")
        browser.point_at(*place)
        browser.wait("!document.querySelector('#tip').hidden")
        assert "training loss 2.4000" in browser.ask("document.querySelector('#tip').textContent")  # 2 + 4 / 10
        old = browser.ask("(window.old = document.querySelector('#curves svg')) !== null")
        begin(workspace, study.cells[4].run, steps=11, first=11)
        browser.wait("document.querySelector('#curves svg') !== window.old")
        assert old and not browser.ask("document.querySelector('#tip').hidden")
        assert not browser.complaints()


def test_a_server_that_is_gone_is_said_and_its_return_noticed(browser, workspace):
    with serving(workspace, "made") as port:
        opened(browser, port)
        browser.wait("document.querySelector('#asof').textContent.includes('Renewed')")
    browser.wait("document.querySelector('#asof').className === 'lost'")
    assert "may be old" in browser.ask("document.querySelector('#asof').textContent")
    assert "1 of 5 runs finished" in browser.ask("document.querySelector('#head').textContent")
    with serving(workspace, "made", port):
        browser.wait("document.querySelector('#asof').className === ''")


@pytest.mark.parametrize("width", [360, 1400])
@pytest.mark.parametrize("dark", [False, True])
def test_nothing_sticks_out_of_the_window_and_text_can_be_told_from_paper(browser, workspace, tmp_path, width, dark):
    with serving(workspace, "made") as port:
        opened(browser, port)
        browser.screenshot(tmp_path / "page.png", width=width, height=800, dark=dark)
        assert browser.ask("document.documentElement.scrollWidth <= innerWidth")
        ink, paper = browser.ask(
            "(({color, backgroundColor}) => [color, backgroundColor])(getComputedStyle(document.body))"
        )
        bright = [sum(map(int, colour[4:-1].split(","))) for colour in (ink, paper)]
        assert (bright[0] > bright[1]) == dark and abs(bright[0] - bright[1]) > 400


def test_a_style_or_script_that_is_not_the_page_s_own_is_not_run(browser, workspace):
    with serving(workspace, "made") as port:
        opened(browser, port)
        browser.ask(
            "document.body.insertAdjacentHTML('beforeend', '<i style=\"color: red\" onclick=\"window.ran = 1\">x</i>')"
        )
        browser.ask("document.querySelector('i').click()")
        browser.ask("fetch('http://127.0.0.1:9/').catch(() => 0).then(() => 0)")
        assert browser.ask(
            "window.ran === undefined && getComputedStyle(document.querySelector('i')).color !== 'rgb(255, 0, 0)'"
        )
        time.sleep(0.2)
        said = " ".join(map(str, (browser.ask("1"), browser.complaints())))
        assert said.count("Content Security Policy") >= 3
