from dataclasses import replace

import pytest

from analysis.tables.files import from_rows
from analysis.tables.records import flatten
from scaling.config import (
    DataConfig,
    Experts,
    Masked,
    NgramConfig,
    Prefix,
    RecurrentConfig,
    RunConfig,
    SkipGram,
    TransformerConfig,
    Word2VecConfig,
    lengths,
)
from scaling.counts import params, train_flops
from scaling.provenance import provenance
from scaling.record import Cost, Heldout, PartLoss, PartTokens, RunRecord, Tokens

DECODER = TransformerConfig(vocab=257, dim=16, layers=2, heads=2, context=16)
MODELS = {
    "decoder": DECODER,
    "prefix": replace(DECODER, architecture="prefix"),
    "recurrent": RecurrentConfig(vocab=257, dim=16, layers=2, context=16),
    "ngram": NgramConfig(vocab=257, context=16),
    "word2vec": Word2VecConfig(vocab=257, dim=16, context=16),
}


def record_of(model, by_position=None, **more):
    objective = more.get("objective")
    data = DataConfig(tokenizer="bytes", vocab=257, specials=model.vocab - 257)
    text = lengths(model, objective).text if objective else model.context
    run = RunConfig(model=model, data=data, tokens=4 * text, batch=4, **more)
    return RunRecord(
        run_id="", status="finished", config=run, cluster="", train_loss=3.0,
        heldout=Heldout(
            loss=3.0, loss_se=0.01, bits_per_byte=None, bits_per_byte_se=None, sequences=4, tokens=64,
            by_position=by_position or {},
        ),
        params=params(run.model, run.objective), flops=train_flops(run.model, run.tokens, run.objective),
        tokens=Tokens(seen=1, loss_bearing=1, unique=1, epochs=1.0),
        cost=Cost(
            wall_seconds=1.0, device_seconds=1.0, started_from_tokens=0, flops_computed=0.0, attempts=1, mfu=None,
            energy_kwh=None,
        ),
        provenance=provenance("cpu", 1),
    )  # fmt: skip


@pytest.mark.parametrize("family", ["decoder", "recurrent", "ngram"])
def test_every_family_becomes_a_row(family):
    row = flatten(record_of(MODELS[family]))
    assert row["family"] == family and row["objective"] == "next_token"
    assert row["layers"] == getattr(MODELS[family], "layers", None)
    assert (row["heads"] is None) == (family != "decoder")


def test_word_vectors_have_no_layers():
    row = flatten(record_of(MODELS["word2vec"], objective=SkipGram()))
    assert row["family"] == "word2vec" and row["layers"] is None and row["objective"] == "skip_gram"


def test_a_masked_encoder_says_its_objective():
    encoder = replace(DECODER, architecture="encoder", vocab=257 + 5)
    assert flatten(record_of(encoder, objective=Masked()))["objective"] == "masked"


def test_experts_have_columns_only_where_there_are_any():
    row = flatten(record_of(replace(DECODER, moe=Experts(experts=4, active=2))))
    assert (row["experts"], row["experts_active"]) == (4, 2)
    assert "experts" not in flatten(record_of(DECODER))


def test_losses_by_position_become_a_column_a_place():
    rows = [flatten(record_of(DECODER, {1: 4.0, 16: 3.0})), flatten(record_of(MODELS["prefix"], objective=Prefix()))]
    table = from_rows(rows)
    assert table["loss_by_position.16"].to_pylist() == [3.0, None]
    assert not [name for name in from_rows(rows[1:]).column_names if name.startswith("loss_by_position")]


def test_the_parts_of_a_mixture_become_columns():
    plain, record = record_of(DECODER), record_of(DECODER)
    held = {
        name: PartLoss(loss=loss, loss_se=0.1, bits_per_byte=None, bits_per_byte_se=None, sequences=4, tokens=64)
        for name, loss in (("code", 1.5), ("prose", 2.5))
    }
    read = {"code": PartTokens(seen=300, unique=200, epochs=1.5), "prose": PartTokens(seen=100, unique=100, epochs=0.1)}
    record = replace(
        record,
        heldout=replace(record.heldout, parts=held),
        tokens=Tokens(seen=400, loss_bearing=400, unique=300, epochs=0.3, parts=read),
    )
    row = flatten(record)
    assert (row["loss_code"], row["loss_prose"], row["loss_code_se"]) == (1.5, 2.5, 0.1)
    assert (row["tokens_code"], row["unique_code"], row["epochs_code"], row["share_code"]) == (300, 200, 1.5, 0.75)
    assert (row["tokens"], row["tokens_unique"]) == (400, 300)  # what laws of repeated data ask for
    assert "loss_code" not in flatten(plain)
    # A run that diverged has no losses, but it has read.
    assert "loss_code" not in (row := flatten(replace(record, heldout=None))) and row["tokens_code"] == 300
