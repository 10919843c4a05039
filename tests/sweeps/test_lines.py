import pytest

from scaling.sweeps.lines import lines_of

TEXT = '''\
# a comment
a = 1
b.c = { d = 2, "e.f" = 3 }

[table]
key = """
text = with = signs
"""
list = [
  1, # one
  { inner = 1 },
  [{ deep = 2 }, { deep = 3 },
   { deep = 4 }],
]

[[many]]
x = 1
[[many]]
x = 2
[many.below]
y = 3
[[many.nested]]
z = 1
'''


@pytest.mark.parametrize(
    ("path", "line"),
    [
        (("a",), 2),
        (("b", "c", "d"), 3),
        (("b", "c", "e.f"), 3),
        (("table",), 5),
        (("table", "key"), 6),
        (("table", "list"), 9),
        (("table", "list", 1, "inner"), 11),
        (("table", "list", 2), 12),
        (("table", "list", 2, 1, "deep"), 12),
        (("table", "list", 2, 2, "deep"), 13),
        (("many", 0, "x"), 17),
        (("many", 1), 18),
        (("many", 1, "x"), 19),
        (("many", 1, "below", "y"), 21),
        (("many", 1, "nested", 0, "z"), 23),
    ],
)
def test_every_key_table_and_element_has_its_line(path, line):
    assert lines_of(TEXT)[path] == line


def test_an_empty_file_has_a_first_line():
    assert lines_of("") == {(): 1}
