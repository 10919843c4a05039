"""A figure's SVG as part of a page: it scales, speaks to screen readers, and says over each point what it is.

Hovering comes from SVG's own <title> elements, which every browser shows; a few
lines of script (`analysis.report.page`) make them appear at once. A plotting library
would add zooming: plotly's Python package holds one script of 4.8 MB and no
smaller one, thirty times what the figures weigh, and would need each figure a
second time. The same SVG prints as it is and needs no script.
"""

import re
from collections.abc import Mapping, Sequence
from xml.etree import ElementTree

SVG, LINK = "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"
MARKS = (f"{{{SVG}}}use", f"{{{SVG}}}path")


def inline(svg: str, name: str, alt: str, texts: Mapping[str, Sequence[str]]) -> str:
    """The SVG that `analysis.figures.save` wrote, ready to stand in a page.

    name: makes the ids of this figure its own. alt: what a reader who cannot see
    it is told. texts: for a group of points (runs, minima, frontier, ...) a text
    each; groups called runs-... are the same runs again. A group that the figure lacks is left aside.
    """
    ElementTree.register_namespace("", SVG)
    ElementTree.register_namespace("xlink", LINK)
    root = ElementTree.fromstring(svg)
    for group in root.iter(f"{{{SVG}}}g"):
        said = texts.get(group.get("id", "").split("-")[0], ())
        for mark, text in zip(_marks(group) if said else (), said, strict=False):
            ElementTree.SubElement(mark, f"{{{SVG}}}title").text = text
    for parent in root.iter():
        for child in [c for c in parent if c.get("id") == "patch_1" or c.tag.endswith("metadata")]:
            parent.remove(child)  # the white sheet: the page has its own
    root.set("role", "img")
    root.set("aria-label", alt)
    root.set("style", f"max-width:{float(root.attrib.pop('width').removesuffix('pt')) / 72:.4g}in")
    root.attrib.pop("height")
    text = ElementTree.tostring(root, encoding="unicode")
    text = re.sub(r'\bid="', f'id="{name}-', text)
    return re.sub(r'(url\(#|href="#)', rf"\g<1>{name}-", text)


def without_styles(svg: str) -> str:
    """The SVG of `inline` with no style of its own: a page may then forbid styles inside its text.

    Every property becomes an attribute of the same name, which SVG has for all that matplotlib writes; the
    largest width becomes `data-width`, for the page's own style sheet.
    """
    ElementTree.register_namespace("", SVG)
    ElementTree.register_namespace("xlink", LINK)
    root = ElementTree.fromstring(svg)
    for parent in root.iter():
        for child in parent.findall(f"{{{SVG}}}style"):
            parent.remove(child)
    # What matplotlib's style element says of every element; inherited here.
    root.attrib |= {"stroke-linejoin": "round", "stroke-linecap": "butt"}
    for element in root.iter():
        for rule in filter(None, map(str.strip, element.attrib.pop("style", "").split(";"))):
            name, value = (part.strip() for part in rule.split(":", 1))
            element.set("data-width" if name == "max-width" else name, value)
    return ElementTree.tostring(root, encoding="unicode")


def _marks(group: ElementTree.Element) -> list[ElementTree.Element]:
    """The points of a group in order, without the definitions that they use."""
    found: list[ElementTree.Element] = []
    for child in group:
        if child.tag in MARKS:
            found.append(child)
        elif child.tag == f"{{{SVG}}}g":
            found += _marks(child)
    return found
