from analysis.report.page import cards, facts, notes, page, section, table_html


def test_text_is_escaped_everywhere():
    made = [
        page(title="<b>", body=""), section("<b>", "x"), cards([("<b>", "<b>", "<b>")]), notes("<b>", [("<b>", "<b>")]),
        facts([("<b>", "<b>")]), table_html(["<b>"], [["<b>"]]),
    ]  # fmt: skip
    assert all("<b>" not in text and "&lt;b&gt;" in text for text in made)


def test_a_part_without_content_is_not_there():
    assert section("Empty", "") == "" and notes("Nothing", []) == "" and cards([]) == ""


def test_columns_of_numbers_stand_to_the_right():
    html = table_html(["run", "loss", "why"], [["1", "2.5 [2, 3]", "because"], ["2", "-", "it is"]])
    assert html.count("class=number") == 3  # head and two cells of the second column
    assert table_html(["", "a"], [["x", "3 of 4"]]).count("class=number") == 0


def test_states_have_their_own_colours():
    html = table_html(["", "state"], [["1", "not done"], ["2", "done"]], states=1)
    assert "class='state not'" in html and "class='state done'" in html


def test_a_warning_is_a_name_and_a_sentence():
    html = notes("Care", [("few_sizes", "only 3 sizes"), ("at_bound", "E ran off"), ("moved", "alpha moves to 0.3.")])
    for part in ("<dt>few_sizes</dt><dd>Only 3 sizes.</dd>", "<dd>E ran off.</dd>", "<dd>alpha moves to 0.3.</dd>"):
        assert part in html, part


def test_dark_is_for_screens_and_paper_stays_light():
    html = page(title="t", body="")
    assert "@media screen and (prefers-color-scheme: dark)" in html and "@media print" in html
