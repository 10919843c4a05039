import base64
import hashlib
import re

from analysis.live.page import document, policy

PAGE = document("<b>", {"head": ("m<1>", "<h1>x</h1>"), "now": ("2", "")}, "12:00:00")


def test_the_policy_names_the_page_s_only_style_and_only_script_by_their_hashes():
    for tag, name in (("style", "style-src"), ("script", "script-src")):
        (text,) = re.findall(rf"(?s)<{tag}>(.*?)</{tag}>", PAGE)
        made = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{name} 'sha256-{made}'" in policy()
    assert "unsafe" not in policy() and " style=" not in PAGE and " on" not in re.sub("(?s)<script>.*", "", PAGE)[-400:]


def test_it_asks_no_other_place_for_anything():
    assert not re.findall(r"https?://|@import|url\(|<link[^>]*href='(?!data:,')", PAGE)


def test_parts_stand_in_order_under_their_names_and_foreign_text_is_escaped():
    assert re.findall(r"<div id='(\w+)'", PAGE) == ["head", "now"]
    assert "<title>&lt;b&gt;: live</title>" in PAGE and "As of 12:00:00." in PAGE
