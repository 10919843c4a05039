from scaling.data.sources import Document
from scaling.data.sources.skips import NAMED, Skipped, Skips, told


def test_documents_without_text_are_counted_by_fault_and_the_first_are_named():
    good = [Document(name=f"good {number}", text="x") for number in range(3)]
    bad = [Document(name=f"bad {number}", text=None, fault="empty") for number in range(NAMED + 5)]
    odd = [Document(name="odd", text=None, fault="not UTF-8")]
    skips = Skips()
    assert list(skips.fit([*good[:1], *odd, *bad, *good[1:]])) == good
    assert skips.by_fault == {
        "not UTF-8": Skipped(documents=1, names=["odd"]),
        "empty": Skipped(documents=NAMED + 5, names=[f"bad {number}" for number in range(NAMED)]),
    }
    assert told(skips.by_fault) == [
        "15 empty: " + ", ".join(f"bad {number}" for number in range(NAMED)) + ", ...",
        "1 not UTF-8: odd",
    ]
    assert told({}) == []
