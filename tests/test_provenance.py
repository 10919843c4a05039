"""What a run is made with is written down; secrets are not."""

import json
import subprocess
from dataclasses import replace

import pytest

from scaling import provenance as module
from scaling.config import Placement, run_id
from scaling.outcome import failed_record
from scaling.provenance import MOST_BYTES, PATCH, environment, keep_changes, provenance, without_secrets
from scaling.record import RunDirectory, read_record, write_config, write_record

SECRET = "5ec7e7" + "0" * 34  # as long as a key of wandb's


def git(folder, *arguments):
    who = ("-c", "user.name=a", "-c", "user.email=a@b.c")
    subprocess.run(["git", *who, *arguments], cwd=folder, check=True, capture_output=True)


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A repository with a library in a folder of it, taken for the one this library lies in."""
    folder = tmp_path / "checkout" / "library"
    folder.mkdir(parents=True)
    (folder / "code.py").write_text("one = 1\n")
    (folder / ".env").write_text("nothing=yet\n")
    (folder.parent / "top.txt").write_text("top\n")
    git(folder.parent, "init", "-q")
    git(folder.parent, "add", "-A")
    git(folder.parent, "commit", "-qm", "first")
    monkeypatch.setattr(module, "_folder", lambda: folder)
    module.provenance.cache_clear()
    module._source.cache_clear()
    yield folder
    module.provenance.cache_clear()
    module._source.cache_clear()


def test_a_clean_checkout_has_a_commit_and_no_patch(checkout, tmp_path):
    found = provenance("cpu", 1)
    assert len(found.git_commit) == 40 and not found.git_dirty and not found.changes_bytes
    (tmp_path / PATCH).write_text("of an attempt before")
    keep_changes(tmp_path)
    assert not (tmp_path / PATCH).exists()


def test_a_patch_makes_the_changed_files_from_those_of_the_commit(checkout, tmp_path):
    changed = {checkout / "code.py": "one = 2\n", checkout.parent / "top.txt": "top, r\u00e9vis\u00e9\n"}
    for path, text in changed.items():
        path.write_text(text)
    assert provenance("cpu", 1).git_dirty
    keep_changes(tmp_path)
    git(checkout.parent, "checkout", ".")
    git(checkout.parent, "apply", str(tmp_path / PATCH))
    assert {path: path.read_text() for path in changed} == changed


def test_a_long_patch_is_cut_after_a_line_and_says_so(checkout, tmp_path):
    (checkout / "code.py").write_text("# a line of changes\n" * 60_000)  # 1.3 MB as a patch
    keep_changes(tmp_path)
    text = (tmp_path / PATCH).read_bytes()
    size = provenance("cpu", 1).changes_bytes
    assert size > MOST_BYTES and len(text) < MOST_BYTES + 100
    assert text.endswith(b"of %d bytes\n" % size) and b"\n# cut here: " in text


def test_an_installed_package_in_somebodys_project_has_no_commit(checkout, tmp_path, monkeypatch):
    (checkout.parent / ".gitignore").write_text("packages\n")
    folder = checkout.parent / "packages"
    folder.mkdir()
    (folder / "module.py").write_text("")
    monkeypatch.setattr(module, "_folder", lambda: folder)
    assert provenance("cpu", 1).git_commit == ""


def test_of_the_environment_only_harmless_names_are_kept(monkeypatch):
    given = {
        "XLA_FLAGS": "--flag",
        "JAX_PLATFORMS": "cpu",
        "JAX_SECRET_KEY": SECRET,
        "HF_TOKEN": SECRET,
        "PATH": "/bin",
    }
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    kept = environment()
    assert kept["XLA_FLAGS"] == "--flag" and kept["JAX_PLATFORMS"] == "cpu"
    assert not kept.keys() & {"JAX_SECRET_KEY", "HF_TOKEN", "HOME"}


def test_secrets_are_struck_out_of_a_command_and_tokens_to_train_on_are_not(monkeypatch):
    monkeypatch.setenv("WANDB_API_KEY", SECRET)
    typed = f"scaling train --tokens 1e6 --data.tokenizer bytes --api-key abc --x {SECRET} https://me:pass@host/x"
    monkeypatch.setenv(module.COMMAND, typed)
    module.provenance.cache_clear()
    kept = "scaling train --tokens 1e6 --data.tokenizer bytes --api-key *** --x *** https://***@host/x"
    assert provenance("cpu", 1).command == kept
    module.provenance.cache_clear()


def test_short_values_are_left_in_the_text(monkeypatch):
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "disabled")
    monkeypatch.setenv("SOME_PASSWORD", "one")
    assert without_secrets("one is disabled") == "one is disabled"


def test_a_changed_tracked_file_that_holds_secrets_by_its_name_is_not_in_the_patch(checkout, tmp_path):
    (checkout / ".env").write_text(f"KEY={SECRET}\n")
    keep_changes(tmp_path)
    assert not (tmp_path / PATCH).exists()
    assert provenance("cpu", 1).git_dirty  # and yet it is said that something was changed


def test_a_record_from_before_these_fields_is_still_read(tmp_path, run):
    directory = RunDirectory(tmp_path / run_id(run))
    write_config(directory, run)
    record = failed_record(run, Placement(), "no", 0)
    newer = ("host", "command", "environment", "changes_bytes")
    plain = replace(record.provenance, **{name: type(getattr(record.provenance, name))() for name in newer})
    write_record(directory, record)
    body = json.loads(directory.record.read_text())
    for name in newer:
        del body["provenance"][name]
    del body["digest"]
    from scaling.record import _digest

    directory.record.write_text(json.dumps({**body, "digest": _digest(body)}))
    assert read_record(directory.record) == replace(record, provenance=plain)
