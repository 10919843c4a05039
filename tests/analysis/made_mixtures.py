"""Runs on mixtures by a law that is known, as a table and the manifest of the study that planned them."""

import numpy as np

from analysis.mixing import law_losses
from analysis.tables.manifest import AskedMixture, Manifest, PlannedRun
from analysis.tables.table import read_table
from scaling.sweeps import simplex

PARTS = ("web", "code", "books")
# c, k, and t of web and code; that of books is 0. Each part's loss falls with its own share.
LAW = np.array([[1.5, 1.8, -2.5, -0.6], [1.2, 0.5, 0.4, -1.6], [1.9, 0.9, 1.2, 0.8]])
BEST = (0.3, 0.16, 0.54)  # the lowest of all hundredths with at least 0.05 of each; a test looks at them all
LEAST = 0.05


def columns(shares, losses, parts=PARTS):
    """Shares and losses of runs as columns, (n, K) each."""
    named = {f"share_{name}": shares[:, k] for k, name in enumerate(parts)}
    return named | {f"loss_{name}": losses[:, k] for k, name in enumerate(parts)}


def spread(points=16, repeats=2):
    """(n, K) shares: mixtures spread over all, equal shares repeated."""
    shares = np.array(simplex(3, points, least=LEAST))
    return np.concatenate([shares, *[shares[3:4]] * repeats])


def noisy(shares, noise, seed=0):
    """(n, K) losses by the law; half of the noise of a run is in all of its parts."""
    rng = np.random.default_rng(seed)
    off = rng.normal(0, noise, (len(shares), 1)) + rng.normal(0, noise, (len(shares), 3))
    return law_losses(LAW, shares) * np.exp(off / np.sqrt(2))


def study(noise=0.0, larger=6, decided=True, seed=0, lift=0.0):
    """Proxies and larger runs, the predicted best among these. lift: of ln loss, of the best at the larger size."""
    shares = [*spread(), *spread()[:larger], *([np.array(BEST)] if decided else [])]
    shares = np.array(shares)
    losses = noisy(shares, noise, seed)
    proxies = len(spread())
    losses[proxies:] *= 0.8  # a larger model is better throughout
    losses[-1] *= np.exp(lift)
    arms = ["proxy"] * proxies + ["larger"] * larger + ["predicted best"] * decided
    ids = [f"run-{place}" for place in range(len(arms))]
    size = np.where(np.array(arms) == "proxy", 1e4, 5e4)
    table = {"run_id": ids, "params": size, "tokens": 20 * size, "flops": 120 * size**2, "loss": losses.mean(1)}
    table |= {"loss_se": np.full(len(ids), 0.01), "seed": np.arange(len(ids))} | columns(shares, losses)
    asked = AskedMixture(
        proxies="proxy", arm="predicted best", parts=PARTS, target=(), least=LEAST,
        most=(1.0, 1.0, 0.54) if decided else (), weights=BEST if decided else (),
    )  # fmt: skip
    runs = tuple(PlannedRun(run_id=i, role="cell", budget=None, arm=arm) for i, arm in zip(ids, arms, strict=True))
    manifest = Manifest(name="made", question="Which is <best>?", published="a, 2020", runs=runs, best_mixture=asked)
    return read_table(table), manifest
