"""Writes the stored references: python -m tests.interchange.make_references (needs the extra `hf`).

One safetensors file a case: `weights.*` under their names, `inputs.*` and
`outputs.*`, and the config.json in the metadata. All are drawn from fixed
seeds, so another run changes them only with torch or transformers.
"""

import json
import tempfile
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

from tests.interchange.cases import STORED

FOLDER = Path(__file__).parent / "references"
SEED = 0


def main() -> None:
    from tests.interchange import reference  # torch, which only those who make references need

    FOLDER.mkdir(exist_ok=True)
    for name, case in STORED.items():
        model = reference.model_of(case, SEED)
        batch = reference.batch_of(model, case.positions, SEED)
        with tempfile.TemporaryDirectory() as folder:
            model.save_pretrained(folder)
            weights = load_file(Path(folder) / "model.safetensors")
            config = json.loads((Path(folder) / "config.json").read_text(encoding="utf-8"))
        tensors = {f"weights.{key}": value for key, value in weights.items()}
        tensors |= {f"inputs.{key}": value.astype(np.int32) for key, value in batch.items()}
        tensors |= {f"outputs.{key}": value for key, value in reference.outputs_of(model, batch).items()}
        save_file(tensors, FOLDER / f"{name}.safetensors", metadata={"config": json.dumps(config, sort_keys=True)})
        print(f"{name}: {(FOLDER / f'{name}.safetensors').stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
