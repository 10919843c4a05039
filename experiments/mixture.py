"""Which mixture of sources is best, and do small proxy runs foretell it?"""

import sysconfig
from dataclasses import replace
from pathlib import Path

from scaling.config import DataConfig, Mixture, Part, Precision, RunConfig, Source
from scaling.counts import params, train_flops
from scaling.plan import BestMixture, Study
from scaling.sizes import Ladder, models, sized_run
from scaling.sweeps import Sweep, arm, chain, grid, seeds, simplex

STDLIB = sysconfig.get_paths()["stdlib"]


def study(
    *,
    points: int = 16,
    least: float = 0.05,
    tokens_per_param: float = 20.0,
    proxy_size: int = 1,
    large_size: int = 4,
    larger: int = 8,
    sizes: Ladder = "tiny",
    folders: tuple[str, ...] = tuple(f"{STDLIB}/{name}" for name in ("encodings", "idlelib", "unittest")),
    data: DataConfig = DataConfig(heldout_sequences=128, validation_fraction=0.15, max_epochs=32.0),
    context: int = 64,
    batch: int = 4,
    precision: Precision = "float32",
    lr: float = 6e-3,
    repeats: int = 3,
) -> Study:
    """Proxies on mixtures spread over all that there are, some of them larger, and the best by the proxies' law.

    The larger model is trained on the mixture that a law fitted to the proxies
    predicts as the best when these are done: `scaling launch` fits, and adds it.

    points: mixtures of the proxies: each part alone, equal shares, and others spread evenly
    least: share of every part
    tokens_per_param: of training
    proxy_size: place in the ladder of the proxies' model, counted from 0
    large_size: place of the larger model
    larger: mixtures of the proxies, the first so many, on which the larger model is trained beside the predicted best
    sizes: ladder of models, 5 thousand to 5 million or 3 million to 13 billion parameters
    folders: the parts, each called by its last name; the best mixture has the lowest mean of their held-out losses
    data: tokenizer and held-out sets; its source is not read
    context: tokens a sequence
    batch: sequences a step
    precision: of the compute
    lr: peak learning rate at width 32; other widths get lr * 32 / width
    repeats: seeds of the proxy on equal shares, to measure the noise
    """
    named = tuple(Part(name=Path(folder).name, source=Source(kind="folder", path=folder)) for folder in folders)
    data = replace(data, source=Source(), mixture=Mixture(parts=named))
    ladder = models(sizes, data.total_vocab, context)
    if not 0 <= proxy_size < large_size < len(ladder):
        raise ValueError(
            f"proxy_size={proxy_size}, large_size={large_size}: the {sizes} ladder has {len(ladder)} sizes"
        )
    if points < len(named) + 2:
        raise ValueError(f"points={points}: a mixing law of {len(named)} parts needs {len(named) + 2} or more mixtures")
    if not 1 <= larger <= points:
        raise ValueError(f"larger={larger}: give 1 to points={points}, for they are the first mixtures of the proxies")

    def run_of(place: int) -> RunConfig:
        tokens = tokens_per_param * params(ladder[place]).total
        return sized_run(ladder[place], data=data, batch=batch, lr=lr, tokens=tokens, precision=precision)

    def on(place: int, weights: list[tuple[float, ...]], name: str) -> Sweep:
        return arm(grid(run_of(place), {"data.mixture.weights": weights}), name)

    spread = simplex(len(named), points, least=least)
    equal = replace(data, mixture=replace(data.mixture, weights=spread[min(len(named), points - 1)]))
    again = arm(seeds(replace(run_of(proxy_size), data=equal), range(1, repeats)), "proxy")
    return Study(
        name="mixture",
        question="Which mixture of sources gives the lowest loss, and do small proxy runs foretell it?",
        published="Ye et al. 2024 (arXiv:2403.16952): L_i = c_i + k_i exp(sum_j t_ij r_j) for each domain i, fitted to "
        "small runs, foretells the best mixture of larger ones. Liu et al. 2024 (arXiv:2407.01492): the order of "
        "mixtures is nearly the same at 1 million and at 1 billion parameters.",
        shows="The held-out loss of each part against the shares of all, where many mixtures can be afforded, "
        "and whether the best of them stays the best at a larger one.",
        cannot_show="What large models need: the parts are small, so that a large share of one is read many times, "
        "and all are of one language.",
        forecast_flops=10 * train_flops(ladder[large_size], run_of(large_size).tokens).exact,
        cells=chain(on(proxy_size, spread, "proxy"), again, on(large_size, spread[:larger], "larger")),
        later=1,
        best_mixture=BestMixture(proxies="proxy", run=run_of(large_size), arm="predicted best", least=least),
    )
