"""Models of the transformers library read as ours, and ours written as theirs; safetensors only.

model = interchange.read(folder)          # theirs, ours, or a run
interchange.write_ours(model, folder)
interchange.write_theirs(model, folder)
"""

from scaling.interchange.folders import Model, read, write_ours, write_theirs

__all__ = ["Model", "read", "write_ours", "write_theirs"]
