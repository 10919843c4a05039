"""Are the parameters of a law found again, and do 95% intervals hold them in 95% of cases?"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
from scipy.special import bdtrik, stdtrit

from analysis.engine import starts as starting
from analysis.engine.double import double
from analysis.engine.evaluate import linearise_many
from analysis.engine.simulate import refit, simulate
from analysis.engine.solver import Problem, minimise
from analysis.losses import squared

LEVEL = 0.95
# Some hundred parameters are counted in all tests. With a central 99.9% band one of them
# would be outside by chance once in ten changes of seeds; with 95%, five at every one.
BAND = 0.999


@dataclass(frozen=True, kw_only=True)
class Coverage:
    hits: dict[str, int]  # of each free parameter: repetitions whose interval holds the truth
    repetitions: int
    gap: float | None  # by how much the law's own starts end above a search from the truth, relative

    @property
    def band(self) -> tuple[int, int]:
        """Counts that chance alone explains when every interval holds the truth with probability LEVEL."""
        tail = (1 - BAND) / 2
        low, high = (bdtrik(q, self.repetitions, LEVEL) for q in (tail, 1 - tail))
        return int(np.ceil(low)), int(np.ceil(high))

    def check(self) -> None:
        """Every parameter's intervals hold the truth as often as they should, and both searches end at one optimum."""
        assert not self.outside(), (self.hits, self.band)
        assert self.gap < 1e-9  # relative, of the objective

    def outside(self) -> dict[str, int]:
        low, high = self.band
        return {name: count for name, count in self.hits.items() if not low <= count <= high}


def coverage(law, truth, columns, noise=2e-3, repetitions=300, seed=0, own_starts=True):
    """Refit `law` to so many made-up tables, and count intervals (Fisher, Student's t) that hold the truth.

    noise: standard deviation of ln target (of the target where the law is not fitted
    in logs). The design must identify the law: where the law is strongly curved
    within the noise, intervals by curvature need not hold, and nothing is tested.
    own_starts: refit by the engine, and fit the first table from the law's own
    starts too. Without, refit by plain Gauss-Newton steps: no solver to compile.
    """
    columns = {name: np.asarray(values, float) for name, values in columns.items()}
    truth = {**law.fixed, **truth}
    targets = simulate(law, columns, truth, noise, repetitions, seed)
    theta, errors = (refit if own_starts else gauss_newton)(law, columns, targets, truth)
    free = np.flatnonzero(law.free)
    reach = stdtrit(targets.shape[1] - len(free), (1 + LEVEL) / 2) * errors
    inside = np.abs(theta - law.theta(truth)) <= reach
    return Coverage(
        hits={law.names[p]: int(inside[:, p].sum()) for p in free},
        repetitions=repetitions,
        gap=_gap(law, columns, targets[0], theta[0], repetitions) if own_starts else None,
    )


def recover_all(cases, own_starts=()):
    """Coverage of each named case (law, truth, columns, noise). Two at a time: most of the time XLA compiles.

    own_starts: the cases whose starts are tried as well.
    """
    with ThreadPoolExecutor(2) as pool:
        waiting = {name: pool.submit(coverage, *case, own_starts=name in own_starts) for name, case in cases.items()}
        return {name: case.result() for name, case in waiting.items()}


def gauss_newton(law, columns, targets_Rn, start):
    """`refit` for laws that are nearly straight within the noise: ten undamped steps, checked to have settled."""
    theta = np.tile(law.theta(start), (len(targets_Rn), 1))
    goal = np.log(targets_Rn) if law.in_log else targets_Rn
    free = np.flatnonzero(law.free)
    for _ in range(10):
        value, slope = linearise_many(law.form, theta, columns)
        norms = np.linalg.norm(slope[:, :, free], axis=1)
        unit = slope[:, :, free] / norms[:, None]
        inverse = np.linalg.inv(unit.swapaxes(1, 2) @ unit)
        step = np.einsum("rpq,rnq,rn->rp", inverse, unit, goal - value) / norms
        theta[:, free] += step
    scale = np.sqrt(((goal - value) ** 2).sum(1) / (goal.shape[1] - len(free)))
    errors = np.zeros_like(theta)
    errors[:, free] = scale[:, None] * np.sqrt(np.einsum("rpp->rp", inverse)) / norms
    assert np.abs(step).max() <= 1e-3 * errors[:, free].max(), "not nearly straight: use own_starts=True"
    return theta, errors


def _gap(law, columns, target, theta, repetitions):
    """The best objective from the law's own starts, over that of theta, less one."""
    unit = starting.units(law, columns, target)
    lower, upper = starting.bounds(law, unit)
    ones = np.ones(len(target))
    begun = starting.project(law, starting.grid(law, unit), columns, target, ones).theta_RP
    problem = Problem(form=law.form, columns=columns, scales_n=ones, loss=squared(), lower=lower, upper=upper)
    # As many searches as repetitions: the solver has compiled that shape already.
    starts = np.concatenate([theta[None], np.resize(begun, (max(repetitions - 1, len(begun)), len(theta)))])
    found = minimise(problem, starts, np.log(target) if law.in_log else target).objective_R
    return found[1:].min() / found[0] - 1


def at(law, columns, **values):
    """The law at these rows, straight from its function, in double precision."""
    with double():
        names = {**law.fixed, **values}
        return np.asarray(law.function(SimpleNamespace(**names), SimpleNamespace(**columns)))


def grid(params=(1e7, 1e10), tokens=(1e8, 1e12), side=8):
    """A full factorial of sizes and token counts, evenly spaced in logarithms."""
    sizes, seen = np.meshgrid(np.geomspace(*params, side), np.geomspace(*tokens, side))
    return {"params": sizes.ravel(), "tokens": seen.ravel()}
