import hashlib
import json
from dataclasses import replace

import pytest

from scaling.config import (
    DataConfig,
    Masked,
    OptimConfig,
    Placement,
    Prefix,
    RecurrentConfig,
    ReplacedTokens,
    RunConfig,
    ScheduleConfig,
    SkipGram,
    Source,
    SpanCorruption,
    Trunk,
    from_dict,
    hashed_payload,
    run_id,
    to_dict,
    to_json,
)
from scaling.config.cleaning import Lengths
from scaling.config.cleaning_duplicates import ExactDuplicates


def test_a_run_id_is_the_same_in_every_process_and_version(run):
    # Written down once: if it changes, every record made before loses its name.
    assert run_id(run) == "2b2fbd61ff4bf663"


def test_the_json_of_a_run_is_that_of_its_plain_data(run):
    cleaned = replace(run, data=replace(run.data, cleaning=(Lengths(), ExactDuplicates())))
    for other in (run, cleaned, replace(run, trunk=Trunk(run_id="a" * 16, tokens=run.batch_tokens))):
        assert to_json(other) == json.dumps(to_dict(other))


def test_what_is_learned_changes_the_run_id(run):
    others = [
        replace(run, seed=1),
        replace(run, tokens=run.tokens * 2),
        replace(run, optim=replace(run.optim, lr=2e-2)),
        replace(run, model=replace(run.model, qk_norm=True)),
        replace(run, data=replace(run.data, content="abc")),
        replace(run, trunk=Trunk(run_id="a" * 16, tokens=run.batch_tokens)),
    ]
    assert len({run_id(other) for other in (run, *others)}) == len(others) + 1


def test_where_the_data_lie_and_what_is_permitted_do_not_change_the_run_id(run):
    elsewhere = replace(run.data, source=Source(kind="folder", path="/other"), max_epochs=4.0)
    assert run_id(replace(run, data=elsewhere)) == run_id(run)


def test_whole_numbers_and_floats_name_the_same_run(run):
    assert run_id(replace(run, optim=OptimConfig(lr=1))) == run_id(replace(run, optim=OptimConfig(lr=1.0)))


def test_a_run_id_is_the_hash_of_the_canonical_payload_whatever_was_named_before(run):
    cooled = replace(run, schedule=ScheduleConfig(kind="cosine"), trunk=Trunk(run_id="a" * 16, tokens=run.batch_tokens))
    for other in (run, cooled, replace(run, seed=7), replace(run, optim=OptimConfig(clip=2)), replace(run, seed=8)):
        validated = from_dict(RunConfig, to_dict(other), "test")
        text = json.dumps(hashed_payload(validated), sort_keys=True, separators=(",", ":"))
        assert run_id(other) == hashlib.sha256(text.encode()).hexdigest()[:16]


@pytest.mark.parametrize("changes", [{"seed": "1"}, {"seed": 1.0}, {"seed": True}])
def test_types_that_validation_changes_name_the_same_run_as_what_they_become(run, changes):
    right = run_id(replace(run, seed=1))
    assert run_id(replace(run, **changes)) == run_id(replace(run, **changes)) == right


@pytest.mark.parametrize("changes", [{"seed": 1.5}, {"seed": None}, {"precision": "float33"}])
def test_a_value_of_a_wrong_type_has_no_run_id_even_after_a_run_that_has_one(run, changes):
    run_id(run)
    with pytest.raises(ValueError, match=f"run_id: {next(iter(changes))}: "):
        run_id(replace(run, **changes))


def test_defaults_are_left_out_of_the_hashed_payload_so_new_fields_keep_old_ids(run):
    assert hashed_payload(run)["model"] == {"vocab": 257, "dim": 16, "layers": 2, "heads": 2, "context": 16}
    assert "precision" not in hashed_payload(run)


def test_a_config_survives_the_way_through_plain_data(run):
    assert from_dict(RunConfig, to_dict(run), "here") == run


def test_an_unknown_field_is_refused_with_its_path_and_file(run):
    values = to_dict(run)
    values["optim"]["lrr"] = 1.0
    with pytest.raises(ValueError, match=r"config\.json: optim\.lrr: Unexpected keyword argument"):
        from_dict(RunConfig, values, "config.json")


def test_a_broken_cross_check_is_refused_in_a_file_as_in_code(run):
    values = to_dict(run) | {"tokens": 100}
    with pytest.raises(ValueError, match=r"config\.json: .*RunConfig\.tokens=100.*the nearest is 128"):
        from_dict(RunConfig, values, "config.json")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: DataConfig(vocab=100), "DataConfig.vocab=100 .*must be at least 260"),
        (lambda: DataConfig(tokenizer="bytes", vocab=260), "must be exactly 257"),
        (lambda: DataConfig(tokenizer="characters", vocab=257), "1 to 55296 code points"),
        (lambda: DataConfig(validation_fraction=0.0), "between 0 and 1"),
        (lambda: OptimConfig(spike_factor=1.0), r"OptimConfig\.spike_factor=1\.0: must be above 1, such as 10"),
        (lambda: OptimConfig(max_skips=0), r"OptimConfig\.max_skips=0: must be positive"),
        (lambda: Placement(grace_seconds=-1.0), r"Placement\.grace_seconds=-1\.0: must not be negative"),
        (lambda: DataConfig(heldout_sequences=1), "needs at least 2"),
        (lambda: Source(kind="folder"), "every other kind needs one"),
        (lambda: Source(path="x"), "stdlib, packages and world take no path"),
        (lambda: Source(kind="packages", path="x"), "stdlib, packages and world take no path"),
        (lambda: Source(pattern="*.py"), r"Source\(kind='stdlib', pattern='\*\.py'\): a pattern chooses files below"),
        (lambda: Source(kind="tfds", path="x", pattern="*"), "a pattern chooses files below a path that you give"),
        (lambda: Source(kind="text", path="x", field="body"), r"with fields \['body'\]: only jsonl, parquet and tfds"),
        (
            lambda: Source(kind="warc", path="x", url_field="url"),
            r"with fields \['url'\]: only jsonl, parquet and tfds",
        ),
        (lambda: Source(kind="jsonl", path="x", field=""), "Source.field='': name the field that holds the text"),
        (lambda: Source(most_bytes=0), "Source.most_bytes=0: must be positive"),
        (lambda: OptimConfig(lr=0.0), "OptimConfig.lr=0.0: must be positive"),
        (lambda: OptimConfig(weight_decay=-1.0), "must not be negative"),
        (lambda: OptimConfig(beta2=1.0), r"beta2=1.0: must be in \[0, 1\)"),
        (lambda: ScheduleConfig(warmup_tokens=-1), "warmup_tokens=-1"),
        (lambda: ScheduleConfig(decay_fraction=0.0), "decay_fraction=0.0"),
        (lambda: ScheduleConfig(final_share=1.0), "final_share=1.0"),
    ],
)
def test_an_impossible_setting_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data": DataConfig(vocab=300)}, "model.vocab=257 but data.vocab=300 . specials=0: set model.vocab=300"),
        (
            {"tokens": 65},
            r"tokens=65 is no positive multiple of batch \* tokens a sequence = 4 \* 16 = 64: the nearest is 64",
        ),
        ({"batch": 0}, "batch=0"),
        ({"schedule": ScheduleConfig(warmup_tokens=10**6)}, "warm-up of 1000000 tokens outlasts"),
        ({"trunk": Trunk(run_id="a", tokens=65)}, "trunk.tokens=65: must be a multiple of 64"),
        ({"objective": Masked()}, "objective 'masked' with architecture='decoder': it is learned by encoder"),
        ({"objective": Prefix(prefix=16)}, "no text fits into context=16 with prefix=16"),
        (
            {"objective": SpanCorruption()},
            r"'span_corruption' needs 9 special tokens, but data.specials=0: set data.*266",
        ),
        ({"objective": SkipGram()}, "it is learned by word_vectors"),
    ],
)
def test_an_inconsistent_run_is_refused(run, changes, message):
    with pytest.raises(ValueError, match=message):
        replace(run, **changes)


def test_a_sentence_head_and_its_objective_come_together(run):
    encoder = replace(run.model, vocab=262, architecture="encoder", sentence_head=True)
    data = replace(run.data, specials=5)
    with pytest.raises(ValueError, match=r"objective\.next_sentence=False with model\.sentence_head=True: give both"):
        replace(run, model=encoder, data=data, objective=Masked(text=14), tokens=14 * 4)


def test_attention_within_documents_belongs_to_the_next_token(run):
    with pytest.raises(ValueError, match="document_attention with objective 'prefix'"):
        replace(run, objective=Prefix(), data=replace(run.data, document_attention=True))


def test_eight_bits_are_for_transformers(run):
    with pytest.raises(ValueError, match=r"precision='int8' with a RecurrentConfig .*: take bfloat16"):
        replace(run, model=RecurrentConfig(vocab=257, dim=16, layers=1, context=16), precision="int8")
    assert run_id(replace(run, precision="int8")) != run_id(replace(run, precision="bfloat16"))


def test_every_kind_of_model_and_objective_survives_the_way_through_plain_data(run):
    recurrent = replace(run, model=RecurrentConfig(vocab=257, dim=16, layers=1, context=16))
    prefix = replace(run, model=replace(run.model, architecture="prefix"), objective=Prefix(prefix=4))
    for other in (recurrent, prefix):
        assert from_dict(RunConfig, to_dict(other), "here") == other
    assert len({run_id(run), run_id(recurrent), run_id(prefix)}) == 3


def test_the_kind_of_an_objective_is_hashed_even_where_all_else_is_default():
    assert hashed_payload(Masked()) == {"kind": "masked"}
    assert hashed_payload(ReplacedTokens()) == {"kind": "replaced_tokens"}


def test_tokens_count_text_and_not_what_an_objective_adds(run):
    encoder = replace(run.model, vocab=262, architecture="encoder")
    masked = replace(run, model=encoder, data=replace(run.data, specials=5), objective=Masked(), tokens=14 * 4 * 3)
    assert (masked.text, masked.batch_tokens, masked.steps) == (14, 56, 3)  # two of 16 positions are [CLS] and [SEP]


def test_placement_is_no_part_of_a_run(run):
    shared = set(vars(Placement())) & set(vars(run))
    assert shared == {"data"}  # the corpus of a run, a mesh axis of a placement
    assert not {"placement", "microbatches", "fsdp"} & set(hashed_payload(run))


def test_branches_of_one_trunk_are_one_cluster_and_other_runs_their_own(run):
    trunk = Trunk(run_id="a" * 16, tokens=run.batch_tokens)
    assert replace(run, trunk=trunk).cluster == "a" * 16
    assert run.cluster == run_id(run)
