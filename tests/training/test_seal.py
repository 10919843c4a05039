import pytest

from scaling.training.seal import SEAL, damage, seal, sealed_leaves


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "a").write_bytes(bytes(range(256)) * 5)
    (tmp_path / "b").write_bytes(b"")
    seal(tmp_path, {"params.w": (2, 3), "count": ()})
    return tmp_path


def test_a_sealed_folder_is_undamaged_and_tells_its_leaves(folder):
    assert damage(folder) is None
    assert sealed_leaves(folder) == {"params.w": (2, 3), "count": ()}


@pytest.mark.parametrize("place", [0, 777, 1279])
def test_one_flipped_bit_anywhere_is_found(folder, place):
    path = folder / "inner" / "a"
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)
    assert "inner/a has checksum" in damage(folder)


def test_a_truncated_and_a_missing_file_are_named(folder):
    path = folder / "inner" / "a"
    path.write_bytes(path.read_bytes()[:-1])
    assert damage(folder) == "inner/a holds 1279 bytes, but 1280 were written"
    path.unlink()
    assert damage(folder) == "inner/a is missing"


@pytest.mark.parametrize("text", ["", '{"files": {', "[]", "{}"])
def test_a_folder_without_a_whole_seal_is_damaged(folder, text):
    (folder / SEAL).write_text(text)
    assert damage(folder) == "seal.json is missing or not whole"
    (folder / SEAL).unlink()
    assert damage(folder) == "seal.json is missing or not whole"
