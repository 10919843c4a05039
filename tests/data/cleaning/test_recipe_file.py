import pytest

from scaling.config.cleaning import ExactDuplicates, Lengths
from scaling.config.cleaning_heuristics import C4, Language
from scaling.data.cleaning.recipe import folder_key, recipe
from scaling.data.cleaning.recipe_file import read_recipe
from scaling.data.sources import DataError
from scaling.sweeps.nodes import FileError


def read(tmp_path, text):
    (tmp_path / "r.toml").write_text(text)
    return read_recipe(tmp_path / "r.toml")


def test_steps_come_in_their_order_with_their_fields(tmp_path):
    steps = read(
        tmp_path,
        '[[cleaning]]\nkind = "lengths"\nleast_words = 3\n\n[[cleaning]]\nkind = "exact_duplicates"\n\n'
        '[[cleaning]]\nkind = "language"\nkeep = ["de", "fr"]\n',
    )
    assert steps == (Lengths(least_words=3), ExactDuplicates(), Language(keep=("de", "fr")))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[[cleaning]]\nkind = "length"\n', r"r\.toml, line 2: cleaning 1\.kind: no such step; .*'lengths'\?"),
        ('[[cleaning]]\nkind = "lengths"\nleast_word = 3\n', r"line 3: cleaning 1\.least_word: no such name;"),
        ("[[cleaning]]\nleast_words = 3\n", r"line 1: cleaning 1: kind is missing"),
        ('[[cleaning]]\nkind = "lengths"\nleast_words = "x"\n', r"line 3: .*valid integer \(found 'x'\)"),
        ('\n[[cleaning]]\nkind = "lengths"\nleast_words = -1\n', r"line 2: cleaning 1: Lengths\.least_words=-1:"),
        ("cleaning = 3\n", r"line 1: cleaning: 3 is no list"),
        ("[[cleaning]\n", r"not TOML"),
        ("", r"cleaning is missing"),
        ("steps = 1\n", r"line 1: steps: no such name"),
    ],
)  # fmt: skip
def test_a_fault_is_told_with_its_line(tmp_path, text, message):
    with pytest.raises(FileError, match=message):
        read(tmp_path, text)


def test_a_recipe_is_its_steps_and_what_their_files_hold(tmp_path):
    path = tmp_path / "bad.txt"
    path.write_text("one")
    one = (C4(bad_words=str(path)),)
    assert recipe(()) == "" and recipe(one) == recipe((C4(),))
    first = folder_key(one)
    assert first not in (folder_key((C4(),)), folder_key((Lengths(),)))
    (tmp_path / "moved.txt").write_text("one")
    assert folder_key((C4(bad_words=str(tmp_path / "moved.txt")),)) == first
    path.write_text("two")
    assert folder_key(one) != first
    path.unlink()
    with pytest.raises(DataError, match=r"C4\.bad_words='.*bad\.txt': cannot be read \(No such file or directory\)"):
        folder_key(one)
    assert folder_key((Lengths(), ExactDuplicates())) != folder_key((ExactDuplicates(), Lengths()))
