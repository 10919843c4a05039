"""Where documents come from: named texts out of files, tables, web archives or a TFDS data set.

`documents(source)` walks a source in a fixed order. `fingerprint(source)` says
whether it changed without reading any text. A document that cannot be used has
no text but a `fault`, so that whoever reads can count it.
"""

from scaling.data.sources.document import DataError, Document
from scaling.data.sources.read import documents, fingerprint, readable_name

__all__ = ["DataError", "Document", "documents", "fingerprint", "readable_name"]
