"""Made-up studies that compare arms, with a known truth: runs as a table, and the study's manifest."""

import numpy as np

from analysis.tables.files import from_rows
from analysis.tables.table import Manifest, PlannedRun, canonical

LAWS = {"transformer": (12.0, -0.12), "LSTM": (9.5, -0.09)}  # loss = a N^b
SIZES = np.geomspace(1e4, 1e5, 5)
BUDGETS = (1e10, 3e10, 1e11, 3e11)
GROWTH = {"decoder": 0.5, "encoder": 0.7}  # of the best size with compute
PLACES = (1, 2, 4, 8)


class Runs:
    """Rows and the plan of one study, added run by run."""

    def __init__(self, noise=0.0, seed=0):
        self.rows, self.planned, self.noise = [], [], noise
        self.draw = np.random.default_rng(seed)

    def add(self, arm, *, params, tokens, flops, loss, budget=None, seed=0, bits=0.5, **more):
        name = f"{arm or 'unnamed'}-{len(self.rows)}"
        loss = loss * np.exp(self.noise * self.draw.standard_normal())
        row = {
            "run_id": name, "params": params, "params_active": params, "tokens": tokens, "flops": flops,
            "flops_exact": flops, "loss": loss, "loss_se": 0.01, "seed": seed, "objective": "next_token",
            "bits_per_byte": None if bits is None else bits * loss, "lr": 1e-3,
        }  # fmt: skip
        self.rows.append(row | more)
        self.planned.append(PlannedRun(run_id=name, role="cell", budget=budget, arm=arm))

    def study(self, name="made"):
        manifest = Manifest(
            name=name, question="Is <b>a</b> & b?", published="a, 2020", shows="x", cannot_show="y",
            runs=tuple(self.planned),
        )  # fmt: skip
        return canonical(from_rows(self.rows), name), manifest


def sizes(noise=0.002):
    """Two families of five sizes on the same tokens, the smallest on two seeds, and a 5-gram."""
    runs = Runs(noise)
    for arm, (a, b) in LAWS.items():
        for size in SIZES:
            loss = a * size**b
            for seed in range(2 if size == SIZES[0] else 1):
                by_place = {place: loss * (1 + 0.5 / place) for place in PLACES}
                runs.add(
                    arm, params=size, tokens=1e6, flops=7e6 * size, loss=loss, seed=seed, loss_by_position=by_place
                )
    runs.noise = 0.0
    runs.add("5-gram", params=5e5, tokens=1e6, flops=0.0, loss=3.9, loss_by_position=dict.fromkeys(PLACES, 3.9))
    return runs.study("sizes")


def budgets(noise=0.0005):
    """Five sizes at each of four budgets, by two objectives; the best size is 20 thousand at 3e10 FLOPs for both."""
    runs = Runs(noise)
    for arm, growth in GROWTH.items():
        goal = {"objective": "next_token" if arm == "decoder" else "masked", "bits": 0.5 if arm == "decoder" else None}
        for flops in BUDGETS:
            for off in np.geomspace(0.25, 4, 5):
                size = 2e4 * (flops / 3e10) ** growth * off
                loss = 3 * (flops / 1e11) ** -0.06 * (1 + 0.03 * np.log(off) ** 2)
                runs.add(arm, params=size, tokens=flops / 6 / size, flops=flops, loss=loss, budget=flops, **goal)
    return runs.study("budgets")


def rates():
    """Four widths at six learning rates each: the best rate falls as 1 / width in one arm, and stays in the other."""
    runs = Runs()
    for arm in ("standard", "muP"):
        for width in (16, 32, 64, 128):
            best = -8 - (np.log2(width / 32) if arm == "standard" else 0)
            for log_rate in range(-10, -4):
                loss = 3 * (width / 16) ** -0.1 * (1 + 0.02 * (log_rate - best) ** 2)
                size = 24.0 * width**2
                runs.add(arm, params=size, tokens=1e6, flops=6e6 * size, loss=loss, lr=2.0**log_rate, dim=width)
    return runs.study("rates")


def crossing():
    """Two arms whose laws cross between the second and the third of four budgets; two seeds of one cell of `fast`."""
    runs = Runs()
    for arm, slope in (("fast", -0.05), ("slow", -0.15)):
        for budget in BUDGETS:
            loss = 3 * (budget / 5e10) ** slope
            size = 100 * budget**0.2
            cell = {"params": size, "tokens": budget / 6 / size, "flops": budget, "budget": budget}
            runs.add(arm, loss=loss, **cell)
            if (arm, budget) == ("fast", BUDGETS[3]):
                runs.add(arm, loss=1.5 * loss, seed=1, **cell)
    return runs.study("crossing")


def clouds():
    """Two arms of two sizes at each budget: too few for minima, and no series that a line could go through."""
    runs = Runs()
    for arm, level in (("a", 3.0), ("b", 3.2)):
        for budget in BUDGETS:
            for size, more in ((1e4, 1.1), (5e4, 1.0)):
                loss = more * level * (budget / 1e10) ** -0.05
                runs.add(arm, params=size, tokens=budget / 6 / size, flops=budget, budget=budget, loss=loss)
    return runs.study("clouds")


DECAY = 8.0  # R_D


def repeated(noise=0.002):
    """Three sizes on new tokens, and on two numbers of tokens that are read again, by the law of Muennighoff et al."""
    runs = Runs(noise)
    lengths = np.geomspace(2e4, 1.28e6, 7)
    for arm, unique in (("new", np.inf), ("few", 2e4), ("some", 8e4)):
        for size in (1e4, 2e4, 4e4):
            for tokens in lengths[(lengths < 40 * unique) & (lengths > 0.99 * unique) | np.isinf(unique)]:
                own = min(tokens, unique)
                worth = own * (1 - DECAY * np.expm1(-(tokens / own - 1) / DECAY))
                loss = 1.5 + 9 * size**-0.25 + 60 * worth**-0.35
                alike = {"tokens_unique": own, "family": "decoder", "content": "c"}
                runs.add(arm, params=size, tokens=tokens, flops=6 * size * tokens, loss=loss, **alike)
    return runs.study("repeated")
