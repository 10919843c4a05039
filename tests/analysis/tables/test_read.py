import json
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest

from analysis.tables.files import TORN
from analysis.tables.read import close_names, frame, numbers

CSV = "N,val/loss,optimizer\n1e6,3.5,adamw\n2e6,3.25,muon\n"
WANDB = (
    '"Name","State","Notes","User","Tags","Created","Runtime","Sweep","n_params","tokens","eval.loss"\n'
    '"calm-sun-1","finished","-","me","","2024-01-01T00:00:00.000Z","61","","1000000","20000000","3.5"\n'
    '"calm-sun-1","crashed","-","me","","2024-01-01T00:00:00.000Z","6","","1000000","40000000","NaN"\n'
    '"wild-sea-3","running","-","me","","2024-01-01T00:00:00.000Z","6","","1000000","80000000",""\n'
)


class Stream:
    """What pandas and polars frames offer to Arrow."""

    def __init__(self, table):
        self.table = table

    def __arrow_c_stream__(self, requested_schema=None):
        return self.table.__arrow_c_stream__(requested_schema)


class Protocol:
    """What a frame offers that knows the dataframe protocol alone."""

    def __init__(self, table):
        self.table = table

    def __dataframe__(self, *args, **kwargs):
        return self.table.__dataframe__(*args, **kwargs)


def offline_run(folder, name, config, summary):
    """The files of one offline run of wandb; None leaves a file out."""
    files = folder / f"offline-run-20240101_000000-{name}" / "files"
    files.mkdir(parents=True)
    (files.parent / f"run-{name}.wandb").write_bytes(b"\x00")
    if config is not None:
        (files / "config.yaml").write_text("wandb_version: 1\n_wandb:\n  value: {}\n" + config)
    if summary is not None:
        (files / "wandb-summary.json").write_text(json.dumps(summary))


def write(tmp_path, name, text):
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


def test_every_kind_of_table_gives_the_same_columns(tmp_path):
    table = pa.table({"params": [1e6, 2e6], "loss": [3.5, 3.25]})
    rows = table.to_pylist()
    pyarrow.parquet.write_table(table, tmp_path / "a.parquet")
    found = [
        table,
        Stream(table),
        Protocol(table),
        table.to_batches()[0],
        rows,
        table.to_pydict(),
        {name: table[name].to_numpy() for name in table.column_names},
        {name: table[name] for name in table.column_names},
        tmp_path / "a.parquet",
        str(write(tmp_path, "a.csv", "params,loss\n1e6,3.5\n2e6,3.25\n")),
        write(tmp_path, "a.tsv", "params\tloss\n1e6\t3.5\n2e6\t3.25\n"),
        write(tmp_path, "a.jsonl", "\n".join(map(json.dumps, rows))),
        write(tmp_path, "a.json", json.dumps(rows)),
    ]
    for data in found:
        read = frame(data)
        assert read.column_names == ["params", "loss"], type(data)
        assert numbers(read, "params").tolist() == [1e6, 2e6] and numbers(read, "loss").tolist() == [3.5, 3.25]


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_a_frame_of_a_library_is_a_table(library):
    frames = pytest.importorskip(library)
    table = frame(frames.DataFrame({"N": [1e6, 2e6], "arm": ["a", "b"]}))
    assert numbers(table, "params").tolist() == [1e6, 2e6] and table["arm"].to_pylist() == ["a", "b"]


def test_columns_are_mapped_and_the_letters_of_the_papers_read(tmp_path):
    table = frame(write(tmp_path, "a.csv", CSV), {"loss": "val/loss"})
    assert set(table.column_names) == {"params", "loss", "optimizer"}
    assert numbers(table, "loss").tolist() == [3.5, 3.25]


def test_a_mapped_column_takes_the_place_of_one_with_our_name():
    table = frame({"params": [1.0], "body": [2.0], "N": [3.0]}, {"params": "body"})
    assert table.to_pylist() == [{"params": 2.0, "N": 3.0}]
    swapped = frame({"a": [1], "b": [2]}, {"a": "b", "b": "a"})
    assert swapped.to_pylist() == [{"a": 2, "b": 1}]


def test_two_dimensional_arrays_are_columns_of_lists():
    shares = np.array([[0.25, 0.75], [0.5, 0.5], [1.0, 0.0]])
    for given in (shares, shares.tolist()):
        found = numbers(frame({"loss": [3, 2, 1], "share": given}), "share")
        assert found.dtype == np.float64
        np.testing.assert_array_equal(found, shares)


def test_numbers_come_as_float64_from_every_type():
    table = frame({"bool": [True, False], "text": ["1e3", " inf"], "none": [None, None], "int": [2**60, None]})
    table = table.append_column("kind", pa.array(["1.5", "2"]).dictionary_encode())
    np.testing.assert_array_equal(numbers(table, "bool"), [1.0, 0.0])
    np.testing.assert_array_equal(numbers(table, "text"), [1000.0, np.inf])
    np.testing.assert_array_equal(numbers(table, "none"), [np.nan, np.nan])
    np.testing.assert_array_equal(numbers(table, "int"), [2.0**60, np.nan])
    np.testing.assert_array_equal(numbers(table, "kind"), [1.5, 2.0])


def test_integers_beyond_64_bits_are_numbers(tmp_path):
    path = write(tmp_path, "a.jsonl", '{"flops": 6000000000000000000000000}\n{"flops": 1}\n')
    assert numbers(frame(path), "flops").tolist() == [6e24, 1.0]
    assert numbers(frame({"flops": [6 * 10**24]}), "flops").tolist() == [6e24]


def test_numbers_that_are_not_finite_are_read_in_every_spelling(tmp_path):
    lines = (
        '{"loss": 1.5}\n{"loss": NaN}\n{"loss": Infinity}\n{"loss": "inf"}\n{"loss": "-Infinity"}\n{"loss": "NaN"}\n'
    )
    values = [1.5, np.nan, np.inf, np.inf, -np.inf, np.nan]
    np.testing.assert_array_equal(numbers(frame(write(tmp_path, "a.jsonl", lines)), "loss"), values)
    csv = "x,loss\n1,1.5\n1,NaN\n1,inf\n1,Infinity\n1,-inf\n1,nan\n"
    np.testing.assert_array_equal(numbers(frame(write(tmp_path, "a.csv", csv)), "loss"), values)


def test_a_cell_is_never_evaluated(tmp_path):
    cells = ["=1+1", "__import__('os')", "2**2", "{{7*7}}"]
    table = frame(write(tmp_path, "a.csv", "loss,note\n3,a\n" + "".join(f"3,{cell}\n" for cell in cells)))
    assert table["note"].to_pylist()[1:] == cells
    for cell in cells:
        with pytest.raises(ValueError, match=r"column loss, row 2: .* is no number"):
            numbers(frame(write(tmp_path, "b.csv", f"loss\n3\n{cell}\n")), "loss")


def test_a_line_that_was_cut_off_at_the_end_is_left_out_and_counted(tmp_path):
    table = frame(write(tmp_path, "a.jsonl", '{"N": 1}\n{"N": 2, "late": 3}\n{"N": 3, "la'))
    assert table["params"].to_pylist() == [1, 2] and table["late"].to_pylist() == [None, 3]
    assert table.schema.metadata[TORN] == b"1"


def test_nested_values_become_columns_of_their_own(tmp_path):
    rows = [{"config": {"optim": {"lr": 0.1}}, "loss": 3.0}]
    for data in (rows, write(tmp_path, "a.json", json.dumps(rows)), Stream(pa.Table.from_pylist(rows))):
        assert frame(data).to_pylist() == [{"config.optim.lr": 0.1, "loss": 3.0}]


def test_views_and_categories_become_texts_whose_rows_can_be_taken():
    arms = pa.array(["a", "b"])
    given = pa.table({"view": arms.cast(pa.string_view()), "category": arms.dictionary_encode()})
    table = frame(Stream(given))
    assert table.schema.types == [pa.string(), pa.string()]
    assert table.take(pa.array([1])).to_pylist() == [{"view": "b", "category": "b"}]


def test_a_column_of_several_kinds_is_text_until_its_numbers_are_asked_for():
    table = frame([{"tag": 1, "loss": 3.0}, {"tag": "x", "loss": 2.0}, {"tag": [1]}])
    assert table["tag"].to_pylist() == ["1", "x", "[1]"]
    with pytest.raises(ValueError, match="column tag, row 2: 'x' is no number"):
        numbers(table, "tag")


def test_a_byte_order_mark_and_spaces_about_names_are_no_part_of_them(tmp_path):
    assert frame(write(tmp_path, "a.csv", "\ufeffN, loss\n1, 3.5\n")).column_names == ["params", "loss"]
    assert frame(write(tmp_path, "a.jsonl", '\ufeff{"loss": 1}')).column_names == ["loss"]


@pytest.mark.parametrize(
    ("name", "have", "near"),
    [
        ("parms", ["params", "tokens"], ["params"]),
        ("params", ["tokens_per_param", "hparams", "n_params", "tokens"], ["n_params", "tokens_per_param", "hparams"]),
        ("loss", ["flops", "tokens", "val/loss", "accuracy"], ["val/loss"]),
        ("loss", ["summary.nll", "lr"], ["summary.nll"]),
        ("flops", ["compute", "step"], ["compute"]),
        ("tokens", ["a", "b"], []),
    ],
)
def test_names_that_may_be_meant_are_offered(name, have, near):
    assert close_names(name, have) == near


@pytest.mark.parametrize(
    ("table", "name", "message"),
    [
        ({"params": [1.0], "tokens": [1.0]}, "parms", "no column 'parms'; did you mean params"),
        ({"n_params": [1.0]}, "params", r'columns={"params": "n_params"} in Python, --column params=n_params'),
        ({"x": [1]}, "y", "no column 'y'; it has x"),
        ({f"c{i}": [1] for i in range(30)}, "y", "c11 and 18 more"),
        ({"a;b": ["1;2"]}, "a", "separate its columns with commas"),
        ({"loss": ["3", "low"]}, "loss", "column loss, row 2: 'low' is no number"),
        ({"x": [[1.0, 2.0], [1.0]]}, "x", "column x, row 2: 1 values where others have 2"),
        ({"x": [[1.0, 2.0], None]}, "x", "column x, row 2: 0 values where others have 2"),
        ({"x": [["a"]]}, "x", "column x, row 1: 'a' is no number"),
    ],
)
def test_what_gives_no_numbers_is_refused_with_its_place(table, name, message):
    with pytest.raises(ValueError, match=message):
        numbers(frame(table), name)


@pytest.mark.parametrize(
    ("data", "columns", "message"),
    [
        (3, None, "a int is no table; give a pyarrow Table"),
        ([1, 2], None, "a list is no table"),
        ({"a": [1], "b": [1, 2]}, None, r"different lengths \(a 1, b 2\)"),
        ({"a": np.zeros((1, 1, 1))}, None, r"column a has shape \(1, 1, 1\)"),
        (pa.table([[1], [2]], names=["a", "a"]), None, "column a stands there twice"),
        (
            {"n_params": [1.0]},
            {"params": "n_parms"},
            "params should be read from n_parms, but .* did you mean n_params",
        ),
        (SimpleNamespace(__arrow_c_stream__=3), None, "this SimpleNamespace cannot be read as a table"),
    ],
)
def test_what_is_no_table_is_refused(data, columns, message):
    with pytest.raises(ValueError, match=message):
        frame(data, columns)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.csv", "", "is empty; it needs a header and rows"),
        ("a.csv", "a,b\n", "has a header but no rows"),
        ("a.csv", "a,b\n1,2,3\n", "not a table of separated values"),
        ("a.csv", "a,who\n1,\udce9\n", "column who is not UTF-8"),
        ("a.jsonl", "\n\n", "has no rows"),
        ("a.jsonl", '{"a": "\udce9"}', "not UTF-8 text"),
        ("a.jsonl", '{"par\n{"a": 1}', "line 1 is not JSON"),
        ("a.jsonl", '{"a": 1}\n{"par\n', "line 2 is not JSON"),
        ("a.jsonl", '{"par', "line 1 is not JSON"),
        ("a.jsonl", "[1]", "line 1 holds a list, not an object"),
        ("a.json", '{"a": 1', "not JSON"),
        ("a.json", "[]", "has no rows"),
        ("a.json", '[{"a": 1}, 2]', "entry 2 holds a int, not an object"),
        ("a.parquet", "nonsense", "not a Parquet file"),
        ("a.txt", "a", "cannot read .txt; use .csv, .tsv, .parquet, .jsonl or .json"),
        ("a", "a", "cannot read a file without a suffix"),
        ("a.csv", "Step,x - loss,x - loss__MIN,x - loss__MAX\n1,2,2,2\n", "the export of a wandb chart"),
    ],
)
def test_a_bad_file_is_refused_with_its_name(tmp_path, name, text, message):
    path = tmp_path / name
    path.write_text(text, encoding="utf-8", errors="surrogateescape")
    with pytest.raises(ValueError, match=f"{path.name}.*{message}"):
        frame(path)


def test_an_absent_file_and_a_folder_without_runs_are_refused(tmp_path):
    with pytest.raises(ValueError, match="no such file or folder"):
        frame(tmp_path / "nothing.csv")
    with pytest.raises(ValueError, match="holds no run"):
        frame(tmp_path)


def test_the_runs_table_of_wandb_says_which_runs_are_finished(tmp_path):
    table = frame(write(tmp_path, "wandb_export.csv", WANDB), {"params": "n_params", "loss": "eval.loss"})
    assert table["status"].to_pylist() == ["finished", "failed", "unfinished"]
    assert table["message"].to_pylist() == ["", "wandb: crashed", "wandb: running"]
    assert table["run_id"].to_pylist() == ["calm-sun-1 1", "calm-sun-1 2", "wild-sea-3"]
    np.testing.assert_array_equal(numbers(table, "loss"), [3.5, np.nan, np.nan])
    assert numbers(table, "params").tolist() == [1e6] * 3


def test_columns_called_name_and_state_alone_are_no_wandb_export(tmp_path):
    table = frame(write(tmp_path, "a.csv", "Name,State\na,Ohio\n"))
    assert table.column_names == ["Name", "State"]


def test_what_wandb_prints_as_json_is_read(tmp_path):
    runs = [
        {"run_id": "a1", "state": "finished", "config": {"seed": 0, "lr": 0.1}, "summary": {"lr": 0.0, "loss": 3.0}},
        {"run_id": "b2", "state": "failed", "config": {"seed": 1, "lr": 0.1}, "summary": {"lr": 0.1, "_step": 3}},
    ]
    table = frame(write(tmp_path, "runs.json", "\n".join(json.dumps(run, indent=1) for run in runs)))
    assert table["run_id"].to_pylist() == ["a1", "b2"] and table["status"].to_pylist() == ["finished", "failed"]
    assert table["seed"].to_pylist() == [0, 1] and table["loss"].to_pylist() == [3.0, None]
    assert table["config.lr"].to_pylist() == [0.1, 0.1] and table["summary.lr"].to_pylist() == [0.0, 0.1]
    assert "_step" not in table.column_names


@pytest.mark.parametrize("below", ["", "wandb", "run_7/wandb"])
def test_offline_runs_of_wandb_are_rows(tmp_path, below):
    offline_run(tmp_path / below, "aa", "model:\n  desc: null\n  value:\n    dim: 8\n", {"loss": 3.0, "_runtime": 1})
    offline_run(tmp_path / below, "bb", "model:\n  value:\n    dim: 16\n", None)
    table = frame(tmp_path)
    assert table["run_id"].to_pylist() == ["aa", "bb"] and table["status"].to_pylist() == ["finished", "unfinished"]
    assert table["model.dim"].to_pylist() == [8, 16] and table["loss"].to_pylist() == [3.0, None]
    assert not {"wandb_version", "_wandb", "_runtime"} & set(table.column_names)


def test_a_run_with_a_binary_log_alone_is_refused_with_the_way_to_json(tmp_path):
    offline_run(tmp_path, "aa", None, None)
    with pytest.raises(ValueError, match=r"binary log \(1 of 1 runs do\).*wandb leet inspect --summary --json"):
        frame(tmp_path)


@pytest.mark.parametrize(
    ("config", "summary", "message"), [("a: [", "{}", "config.yaml: not YAML"), ("", "{", "summary.json: not whole")]
)
def test_a_damaged_file_of_wandb_is_named(tmp_path, config, summary, message):
    offline_run(tmp_path, "aa", config, {})
    (tmp_path / "offline-run-20240101_000000-aa" / "files" / "wandb-summary.json").write_text(summary)
    with pytest.raises(ValueError, match=message):
        frame(tmp_path)


def test_every_published_table_is_read_whole(published):
    for path in sorted(published.folder.glob("*.csv")):
        table = frame(path)
        assert table.num_rows == len(path.read_text().splitlines()) - 1
    assert numbers(frame(published.folder / "nmt_curves.csv"), "seen_examples").min() > 0
