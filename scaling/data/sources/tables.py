"""Documents in rows of Parquet files and in examples of TFDS data sets."""

from collections.abc import Iterator
from typing import Any

from scaling.config import Source
from scaling.data.sources.document import DataError, Document, faulty, named_fields, of_row, text_fields
from scaling.data.sources.places import File, damaged, place, tfds_folder, until_damage

BATCH_BYTES = 1 << 24  # of Parquet cells that are decoded at once, on average


def parquet_rows(source: Source) -> Iterator[Document]:
    """A row of a file is a document."""
    for file in place(source).files():
        yield from until_damage(file, _rows(file, source))


def tfds_examples(source: Source) -> Iterator[Document]:
    """An example of a data set's `train` split is a document."""
    examples = _examples(source)
    for index in range(len(examples)):
        example, place_name = examples[index], f"train:{index}"
        texts = text_fields(source)
        wrong = [field for field in named_fields(source).values() if field not in example]
        wrong += [field for field in texts.values() if not isinstance(example.get(field), bytes | str)]
        if wrong:
            setting = next((setting for setting, field in texts.items() if field == wrong[-1]), "field")
            raise DataError(
                f"{source.path}, example {index}: no text feature {wrong[-1]!r}; "
                f"it has {sorted(example)}; set Source.{setting} to one of them"
            )
        yield of_row(place_name, example, source)


def _rows(file: File, source: Source) -> Iterator[Document]:
    import pyarrow.parquet as pq

    with file.raw() as stream:
        # Pages are read as they are needed, not a row group at once.
        parquet = pq.ParquetFile(stream, buffer_size=1 << 20)
        wrong = _wrong_columns(parquet.schema_arrow, file, source)
        if wrong is not None:
            yield wrong
            return
        row, texts = 0, list(text_fields(source).values())
        columns, size = [*texts, *named_fields(source).values()], sum(_bytes(parquet, field) for field in texts)
        rows = max(1, min(1024, BATCH_BYTES * parquet.metadata.num_rows // max(1, size)))
        for batch in parquet.iter_batches(batch_size=rows, columns=list(dict.fromkeys(columns))):
            cells = {name: _cells(batch.column(name)) for name in batch.schema.names}
            for index in range(batch.num_rows):
                values = {name: column[index] for name, column in cells.items()}
                yield of_row(f"{file.name}:{row}", values, source)
                row += 1
        if row != parquet.metadata.num_rows:
            yield damaged(file, f"{row} rows of {parquet.metadata.num_rows}")


def _wrong_columns(schema: Any, file: File, source: Source) -> Document | None:
    texts = text_fields(source)
    for setting, field in [*texts.items(), *(("field", field) for field in named_fields(source).values())]:
        if field not in schema.names:
            detail = f"{file.where}: no column {field!r}; it has {schema.names}; set Source.{setting} to one of them"
            return faulty(file.name, "no such field", detail)
    for setting, field in texts.items():
        if not _is_text(kind := schema.field(field).type):
            detail = f"{file.where}: column {field!r} holds {kind}, not text; choose another Source.{setting}"
            return faulty(file.name, "not text", detail)
    return None


def _is_text(kind: Any) -> bool:
    import pyarrow.types as types

    if types.is_dictionary(kind):
        kind = kind.value_type
    return types.is_string(kind) or types.is_large_string(kind) or types.is_binary(kind) or types.is_large_binary(kind)


def _cells(column: Any) -> list:
    import pyarrow as pa

    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    # As bytes, because a Parquet string may hold invalid UTF-8.
    return (column.cast(pa.large_binary()) if _is_text(column.type) else column).to_pylist()


def _bytes(parquet: Any, field: str) -> int:
    """Of a column of a file, decompressed."""
    groups = (parquet.metadata.row_group(number) for number in range(parquet.num_row_groups))
    chunks = (group.column(number) for group in groups for number in range(group.num_columns))
    return sum(chunk.total_uncompressed_size for chunk in chunks if chunk.path_in_schema == field)


def _examples(source: Source) -> Any:
    import tensorflow_datasets as tfds

    try:
        builder = tfds.builder(source.path, data_dir=tfds_folder())
    except tfds.core.DatasetNotFoundError:
        raise DataError(
            f"Source(kind='tfds', path={source.path!r}): TFDS knows no such data set, in its catalogue or in "
            f"{tfds_folder()}; mend Source.path, or set TFDS_DATA_DIR to where the data set lies"
        ) from None
    except AssertionError as error:  # a version or config that it does not have
        raise DataError(
            f"Source(kind='tfds', path={source.path!r}): {str(error).rstrip('.')}; mend Source.path"
        ) from None
    if not builder.is_prepared():
        builder.download_and_prepare(file_format="array_record")
    if "train" not in builder.info.splits:
        raise DataError(f"{source.path}: has no split 'train', only {sorted(builder.info.splits)}; choose another")
    try:
        return builder.as_data_source(split="train")
    except NotImplementedError:
        raise DataError(
            f"{source.path}: prepared as {builder.info.file_format} in {builder.data_dir}, which needs TensorFlow; "
            "prepare it again with file_format='array_record'"
        ) from None
