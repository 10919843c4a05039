"""Text drawn from laws whose answers are known: documents by their number, and the least loss that any reader has."""

from scaling.data.worlds.floor import Floor, floor
from scaling.data.worlds.text import VERSION, document, documents, solves

__all__ = ["VERSION", "Floor", "document", "documents", "floor", "solves"]
