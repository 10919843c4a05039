import re
from xml.etree import ElementTree

import pytest

from analysis.figures.save import save
from analysis.figures.style import WIDE, dots, new
from analysis.figures.svg import SVG, inline, without_styles


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """Two panels with three runs each, as a page has them."""
    figure, panels = new(WIDE, 2)
    for axes, name in zip(panels, ("runs", "runs-again"), strict=True):
        dots(axes, [1, 2, 3], [3, 1, 2], "#123456", name)
    svg = save(figure, tmp_path_factory.mktemp("svg"), "two")
    return inline(svg, "two", "Three <runs>: 3, 1 & 2.", {"runs": ["first", "second & last", "third"], "gone": ["x"]})


def test_each_point_says_what_it_is_in_order_and_in_every_panel(drawn):
    said = [title.text for title in ElementTree.fromstring(drawn).iter(f"{{{SVG}}}title")]
    assert said == ["first", "second & last", "third"] * 2


def test_the_picture_speaks_to_those_who_cannot_see_it(drawn):
    root = ElementTree.fromstring(drawn)
    assert root.get("role") == "img" and root.get("aria-label") == "Three <runs>: 3, 1 & 2."


def test_ids_are_the_figures_own_and_every_reference_is_kept(drawn):
    ids = set(re.findall(r'\bid="([^"]+)"', drawn))
    assert ids and all(name.startswith("two-") for name in ids)
    assert set(re.findall(r'href="#([^"]+)"', drawn)) | set(re.findall(r"url\(#([^)]+)\)", drawn)) <= ids


def test_the_picture_scales_and_has_no_sheet_of_its_own(drawn):
    root = ElementTree.fromstring(drawn)
    assert root.get("width") is None and root.get("viewBox") and "max-width:7.2in" in root.get("style")
    assert 'id="two-patch_1"' not in drawn and "<metadata" not in drawn


def test_without_styles_every_property_is_an_attribute_and_looks_the_same(drawn):
    bare = without_styles(drawn)
    assert "<style" not in bare and " style=" not in bare
    root = ElementTree.fromstring(bare)
    assert root.get("data-width") == "7.2in" and root.get("stroke-linejoin") == "round"
    styled = [dict(_rules(element)) for element in ElementTree.fromstring(drawn).iter() if element.get("style")]
    plain = [element.attrib for element in root.iter()]
    for rules in styled[1:]:  # the first is the root's width
        assert any(rules.items() <= attributes.items() for attributes in plain)
    known = {"fill", "stroke", "opacity", "stroke-width", "stroke-linecap", "stroke-linejoin", "fill-opacity"}
    assert {name for rules in styled[1:] for name in rules} <= known | {"stroke-opacity", "stroke-dasharray"}


def _rules(element):
    return [tuple(part.strip() for part in rule.split(":")) for rule in element.get("style").split(";") if rule.strip()]
