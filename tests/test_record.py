import hashlib
import json
import os
from dataclasses import replace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from scaling.config import Placement, run_id
from scaling.counts import flops_per_token
from scaling.hardware import HARDWARE
from scaling.outcome import failed_record, record_of
from scaling.provenance import provenance
from scaling.record import (
    Heldout,
    RecordError,
    RunDirectory,
    Tokens,
    differences,
    read_config,
    read_record,
    read_records,
    status_in,
    write_config,
    write_record,
)


@pytest.fixture
def directory(tmp_path, run):
    found = RunDirectory(tmp_path / run_id(run))
    found.path.mkdir()
    return found


@pytest.fixture
def record(run):
    return record_of(
        run,
        Placement(),
        status="finished",
        message="",
        heldout=Heldout(loss=3.0, loss_se=0.1, bits_per_byte=2.0, bits_per_byte_se=0.1, sequences=4, tokens=64),
        curve=None,
        tokens=Tokens(seen=run.tokens, loss_bearing=run.tokens, unique=run.tokens, epochs=0.1),
        started_from_tokens=0,
        device_seconds=2.0,
        wall_seconds=3.0,
        attempts=1,
        made_with=provenance("cpu", 1),
    )


def test_a_record_survives_the_way_to_disk_and_back(directory, record):
    write_record(directory, record)
    assert read_record(directory.record) == record


def test_a_finished_record_is_never_overwritten(directory, record):
    write_record(directory, record)
    with pytest.raises(RecordError, match="finished already and is never trained twice"):
        write_record(directory, replace(record, status="failed"))


def test_the_status_of_a_record_needs_no_validation_but_an_untouched_file(directory, record, tmp_path):
    assert status_in(directory) is None
    write_record(directory, record)
    assert status_in(directory) == "finished"
    text = directory.record.read_text()
    other = RunDirectory(tmp_path / "other")
    other.path.mkdir()
    other.record.write_text(text)
    with pytest.raises(RecordError, match=f"is the record of run {record.run_id}; move it back"):
        status_in(other)
    for damaged, said in ((text[:-5], "not whole JSON"), (text.replace("finished", "diverged"), "edited after")):
        directory.record.write_text(damaged)
        with pytest.raises(RecordError, match=said):
            status_in(directory)


def test_a_failed_record_gives_way(directory, record, run):
    write_record(directory, failed_record(run, Placement(), "out of memory", 128))
    write_record(directory, record)
    assert read_record(directory.record).status == "finished"


def test_a_record_or_config_cut_at_any_byte_is_refused(directory, record, run):
    write_config(directory, run)
    write_record(directory, record)
    for path, read in ((directory.record, lambda: read_record(directory.record)),
                       (directory.config, lambda: read_config(directory))):  # fmt: skip
        for length in reversed(range(path.stat().st_size)):
            os.truncate(path, length)
            with pytest.raises(RecordError, match=rf"{path}: not whole JSON .* delete it and train this run again"):
                read()


def test_a_hand_edited_record_is_refused(directory, record):
    write_record(directory, record)
    directory.record.write_text(directory.record.read_text().replace('"loss": 3.0', '"loss": 2.0'))
    with pytest.raises(RecordError, match="edited after it was written"):
        read_record(directory.record)


def test_a_record_of_another_schema_is_refused(directory, record):
    write_record(directory, record)
    values = json.loads(directory.record.read_text()) | {"schema": 99}
    directory.record.write_text(json.dumps(values))
    with pytest.raises(RecordError, match="schema 99, but this version reads schema 1"):
        read_record(directory.record)


def test_a_record_that_is_no_object_is_refused(directory):
    directory.record.write_text("[1]")
    with pytest.raises(RecordError, match="holds a list, not an object"):
        read_record(directory.record)


def test_a_record_whose_name_is_not_its_configs_is_refused(directory, record):
    write_record(directory, replace(record, run_id="f" * 16))
    with pytest.raises(RecordError, match="run_id ffffffffffffffff is not that of its config"):
        read_record(directory.record)


def test_one_unreadable_record_does_not_hide_the_others(tmp_path, directory, record):
    write_record(directory, record)
    broken = RunDirectory(tmp_path / "broken")
    broken.path.mkdir()
    broken.record.write_text("{")
    found = list(read_records(tmp_path))
    assert [type(item) for item in found if item != record] == [RecordError]
    assert record in found


def test_claiming_a_directory_twice_for_one_run_is_quiet(tmp_path, run):
    directory = RunDirectory(tmp_path / "x")
    write_config(directory, run)
    write_config(directory, run)
    assert read_config(directory) == run


def test_two_configs_with_one_id_are_refused_with_the_field_that_differs(tmp_path, run):
    directory = RunDirectory(tmp_path / "x")
    write_config(directory, run)
    with pytest.raises(
        RecordError, match=r"another config already has this run id; they differ in seed \(None, now 5\)"
    ):
        write_config(directory, replace(run, seed=5))


def test_differences_name_the_dotted_path_and_both_values():
    assert differences({"a": {"b": 1, "c": 2}}, {"a": {"b": 1, "c": 3}}) == ["a.c (2, now 3)"]


def test_a_known_device_gives_mfu_and_energy_and_an_unknown_one_none(record, run):
    assert 0 < record.cost.mfu < 1
    assert record.cost.energy_kwh > 0
    unknown = failed_record(run, Placement(), "died", 0)
    assert (unknown.cost.mfu, unknown.cost.energy_kwh) == (None, None)


def test_goodput_is_the_share_of_the_wall_time_in_steps_that_were_taken(record, run):
    assert record.cost.goodput == pytest.approx(2.0 / 3.0)
    skipped = record_of(
        run,
        Placement(),
        status="finished",
        message="",
        heldout=record.heldout,
        curve=None,
        tokens=record.tokens,
        started_from_tokens=0,
        device_seconds=2.0,
        useful_seconds=1.5,
        skipped_steps=7,
        wall_seconds=3.0,
        attempts=1,
        made_with=record.provenance,
    )
    assert skipped.cost.goodput == pytest.approx(0.5)
    assert skipped.skipped_steps == 7
    assert failed_record(run, Placement(), "died", 0).cost.goodput is None


def test_mfu_is_the_exact_flops_over_the_time_of_the_steps_and_the_peak(record, run):
    exact = flops_per_token(run.model, run.objective).exact * run.tokens
    assert record.cost.mfu == pytest.approx(exact / (2.0 * HARDWARE["cpu-core"].float32_flops))


def test_a_record_from_before_skips_and_goodput_is_still_read(directory, record):
    write_record(directory, record)
    values = json.loads(directory.record.read_text())
    del values["skipped_steps"], values["cost"]["goodput"], values["digest"]
    digest = hashlib.sha256(json.dumps(values, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
    directory.record.write_text(json.dumps(values | {"digest": digest}))
    found = read_record(directory.record)
    assert (found.skipped_steps, found.cost.goodput) == (0, None)


def test_the_final_training_loss_leaves_out_skipped_steps(tmp_path, run, record):
    curve = tmp_path / "curve.parquet"
    pq.write_table(pa.table({"loss": [4.0, float("nan"), 2.0, 90.0], "skipped": [0, 1, 0, 1]}), curve)
    made = record_of(
        run,
        Placement(),
        status="finished",
        message="",
        heldout=record.heldout,
        curve=curve,
        tokens=record.tokens,
        started_from_tokens=0,
        device_seconds=2.0,
        wall_seconds=3.0,
        attempts=1,
        made_with=record.provenance,
    )
    assert made.train_loss == 2.0  # the last 5% of two steps is one


def test_a_record_is_known_as_it_was_written_from_its_text_and_else_from_what_it_says(directory, record):
    write_record(directory, record)
    text = directory.record.read_text()
    # As some editors and file systems leave it: the same content, other white space.
    directory.record.write_text(text.replace("\n ", "\r\n\t").replace('": ', '":  '))
    assert status_in(directory) == "finished"
    directory.record.write_text(text.replace('"attempts": 1', '"attempts": 2'))
    with pytest.raises(RecordError, match="edited after it was written"):
        status_in(directory)


def test_a_message_that_looks_like_a_record_is_no_fault(directory, record):
    write_record(directory, replace(record, status="failed", message='no "digest": "0" in\n  {"a": 1, "digest": 2}'))
    assert status_in(directory) == "failed"
