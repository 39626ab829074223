"""HTML made of parts."""

from __future__ import annotations

import pytest

from tools.reporting.markup import Markup, escaped, table, tag


@pytest.mark.parametrize("text", ["</p><script>", "a & b", '" onclick="x', "' x='", "<!--"])
def test_text_makes_no_markup_in_content_and_in_attributes(text):
    made = tag("p", text, title=text)
    assert made.count("<") == made.count(">") == 2
    assert made.count('"') == 2 and "'" not in made


def test_what_is_markup_already_stays():
    assert tag("p", tag("b", "x"), [" and ", Markup("&amp;")]) == "<p><b>x</b> and &amp;</p>"


def test_controls_surrogates_and_marks_of_direction_are_replaced():
    assert escaped("a\0b\x1b\ud800\u202ec\td\n") == "a\ufffdb\ufffd\ufffd\ufffdc\td\n"


def test_attributes_are_named_as_html_names_them_and_left_out_where_they_are_none():
    made = tag("td", class_="x", data_sort=0, hidden=True, title=None, lang=False)
    assert made == '<td class="x" data-sort="0" hidden></td>'


def test_elements_without_content_are_closed_also_in_svg():
    assert tag("line", x1=3) == '<line x1="3"/>'


def test_a_table_has_a_heading_for_each_column_and_row():
    made = table(["a", "b"], [["x", (3, {"data_sort": 3})]])
    assert made.count('scope="col"') == 2
    assert '<th scope="row">x</th><td data-sort="3">3</td>' in made
