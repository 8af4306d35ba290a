"""Cells of lists that name their column, and ids that break at their joints."""

from django.utils.safestring import SafeString

from builds.templatetags.builds_lists import breakable, labelled

CHOICE = {
    "text": SafeString("<input>"),
    "class_attrib": SafeString(' class="action-checkbox-column"'),
}


def test_each_cell_names_its_column():
    cells = [
        SafeString('<td class="action-checkbox"><input></td>'),
        SafeString('<th class="field-a"><a>1</a></th>'),
        SafeString("<td>two</td>"),
        SafeString('<input type="hidden">'),
    ]
    headers = [CHOICE, {"text": 'a "name" <b>'}, {"text": "b"}]
    assert list(labelled(cells, headers)) == [
        '<td class="action-checkbox"><input></td>',
        '<th data-label="a &quot;name&quot; &lt;b&gt;" class="field-a"><a>1</a></th>',
        '<td data-label="b">two</td>',
        '<input type="hidden">',
    ]


def test_a_cell_that_is_no_html_is_escaped():
    assert list(labelled(["<td>x</td><script>"], [{"text": ""}])) == [
        "&lt;td&gt;x&lt;/td&gt;&lt;script&gt;"
    ]


def test_long_ids_break_at_their_joints_and_are_escaped():
    assert breakable("short_id<b>") == "short_id&lt;b&gt;"
    long = breakable("import_of.the--whole/customer<b>_database")
    assert long == "import_<wbr>of.<wbr>the--<wbr>whole/<wbr>customer&lt;b&gt;_<wbr>database"
    assert breakable("&_" * 20).count("&amp;") == 20
