"""The peer of `benchmarks/families.py`: a public implementation of the same shape, trained by an eager PyTorch loop.

It runs in an environment of its own (`pip install torch==2.13.0
transformers==5.23.0`), needs nothing else of this project, and prints one
line of JSON. The models are those of transformers; the recurrent one is
`torch.nn.LSTM` between an embedding and a head that shares its matrix. The
loop is written as a careful PyTorch user would write it: the fastest
attention that the model offers, fused AdamW, the foreach gradient clipping,
dropout 0, no host synchronisation inside a step.
"""

import argparse
import json
import statistics
import time

import torch
import torch.nn.functional as F
import transformers
from torch import Tensor, nn

# Shapes: B batch, T positions, S source positions, K predicted tokens, D width, V vocabulary.

UNPREDICTED = -100  # target of a position that predicts nothing
KEPT_BATCHES = 8


class Recurrent(nn.Module):
    """Token ids [B, T] -> logits [B, T, V] of stacked LSTM layers; the head is the embedding matrix."""

    def __init__(self, vocab: int, dim: int, layers: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocab, dim)
        self.layers = nn.LSTM(dim, dim, layers, batch_first=True)

    def forward(self, input_ids: Tensor) -> Tensor:
        x_BTD, _ = self.layers(self.embedding(input_ids))
        return F.linear(x_BTD, self.embedding.weight)


def make_model(fields: dict) -> nn.Module:
    """fields: those of a config.json, or of `Recurrent` with model_type "lstm"."""
    fields = dict(fields)
    kind = fields.pop("model_type")
    if kind == "lstm":
        return Recurrent(**fields)
    config = transformers.AutoConfig.for_model(kind, use_cache=False, **fields)
    for name, value in config.to_dict().items():
        if "drop" in name and isinstance(value, float):
            setattr(config, name, 0.0)
    heads = {"bert": transformers.AutoModelForMaskedLM, "t5": transformers.AutoModelForSeq2SeqLM}
    model = heads.get(kind, transformers.AutoModelForCausalLM).from_config(config)
    if fields.get("tie_word_embeddings") is False:  # a config of T5 ties it all the same
        head = model.get_output_embeddings()
        head.weight = nn.Parameter(head.weight.detach().clone())
    return model


def make_batch(args: argparse.Namespace) -> tuple[dict[str, Tensor], Tensor]:
    """Random inputs and targets [B, T]; where fewer are predicted than positions are read, the others are left out."""
    vocab = json.loads(args.config).get("vocab_size") or json.loads(args.config)["vocab"]
    tokens_BT = torch.randint(vocab, (args.batch, args.positions))
    targets_BT = torch.randint(vocab, (args.batch, args.positions))
    if args.predicted < args.positions:
        left_out_BT = torch.rand(args.batch, args.positions).argsort(-1) >= args.predicted
        targets_BT[left_out_BT] = UNPREDICTED
    if not args.source:
        return {"input_ids": tokens_BT}, targets_BT
    return {"input_ids": torch.randint(vocab, (args.batch, args.source)), "decoder_input_ids": tokens_BT}, targets_BT


def make_optimizer(model: nn.Module) -> torch.optim.Optimizer:
    """AdamW, decay on matrices only."""
    groups = [
        {"params": [p for p in model.parameters() if p.ndim >= 2], "weight_decay": 0.1},
        {"params": [p for p in model.parameters() if p.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=1e-3, betas=(0.9, 0.95), eps=1e-8, fused=True)


def train_step(model: nn.Module, optimizer: torch.optim.Optimizer, inputs: dict[str, Tensor], targets_BT: Tensor):
    """One update -> (loss in nats a predicted token, gradient norm before clipping)."""
    found = model(**inputs)
    logits_BTV = found if isinstance(found, Tensor) else found.logits
    loss = F.cross_entropy(logits_BTV.flatten(0, 1), targets_BT.flatten(), ignore_index=UNPREDICTED)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    norm = nn.utils.clip_grad_norm_(model.parameters(), 1.0, foreach=True)
    optimizer.step()
    return loss.detach(), norm


def measure(args: argparse.Namespace) -> dict[str, object]:
    """Time `repeats` stretches of `steps` steps, after three steps of warm-up."""
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    model = make_model(json.loads(args.config)).train()
    optimizer = make_optimizer(model)
    batches = [make_batch(args) for _ in range(KEPT_BATCHES)]
    for step in range(3):
        train_step(model, optimizer, *batches[step])
    step_seconds, processor_seconds = [], []
    for _ in range(args.repeats):
        started, used = time.perf_counter(), time.process_time()
        for step in range(args.steps):
            loss, _ = train_step(model, optimizer, *batches[step % KEPT_BATCHES])
        step_seconds.append((time.perf_counter() - started) / args.steps)
        processor_seconds.append((time.process_time() - used) / args.steps)
    return {
        "peer": f"transformers {transformers.__version__}, torch {torch.__version__} eager",
        "params": sum(p.numel() for p in model.parameters()),
        "step_seconds": step_seconds,
        "processor_seconds": processor_seconds,
        "tokens_per_second": args.batch * args.text / statistics.median(step_seconds),
        "last_loss": float(loss),
    }


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--config", required=True, help="config.json as transformers reads it, or Recurrent's arguments"
    )
    parser.add_argument("--batch", type=int, required=True, help="sequences a step")
    parser.add_argument("--text", type=int, required=True, help="tokens of text a sequence: what is counted")
    parser.add_argument("--positions", type=int, required=True, help="of the decoder, or of the only stack")
    parser.add_argument("--source", type=int, default=0, help="positions of the encoder beside a decoder")
    parser.add_argument("--predicted", type=int, required=True, help="tokens to predict a sequence")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--steps", type=int, default=5, help="steps in one timed stretch")
    parser.add_argument("--repeats", type=int, default=3, help="timed stretches; the median counts")
    return parser.parse_args()


if __name__ == "__main__":
    print(json.dumps(measure(parse_args())))
