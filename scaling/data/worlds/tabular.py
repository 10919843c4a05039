"""What a table of contexts is expected to lose in a Zipf world after so many facts: a sum, exactly.

The table predicts a character from the one before it, with kappa pseudo-counts
a context, evenly over V tokens: p(w | h) = (c(hw) + kappa / V) / (c(h .) + kappa).
A fact's parts are independent of all other facts, so every count is binomial,
and with F facts, chance q_h that a fact visits h, and chance p_w|h of w there,

    E L = sum_h q_h [psi_kappa(q_h) - sum_w p_w|h psi_(kappa / V)(q_h p_w|h)] / tokens of a fact
    psi_s(q) = E ln(Binomial(F, q) + s)

The tokens of a fact are a context, an answer, and the share that it has in
the end of its document. All parts of the excess over the floor depend on the
contexts' chances times F alone, so that for contexts without end it falls as
F^-beta, beta = alpha / (1 + alpha) (Hutter 2021, arXiv:2102.04074): those seen
at least once are about F^(1 / (1 + alpha)).
"""

from collections.abc import Callable
from functools import lru_cache

import numpy as np
from scipy.interpolate import CubicSpline
from scipy.special import gammaln, xlog1py, xlogy

from scaling.config.worlds import ZipfWorld
from scaling.data.worlds.floor import floor
from scaling.data.worlds.zipf import law

GRID = 0.02  # of ln q: between its points psi is interpolated; 0.01 moves no loss by 1e-8 nats
REACH = 9.0  # standard deviations of a count that are summed over: beyond lie 2e-19 of its chances
FEW = 60  # counts summed over at least on either side, for chances far from normal


def expected_loss(
    world: ZipfWorld, tokens: float, vocab: int, pseudocounts: float, kept_K: np.ndarray | None = None
) -> float:
    """Nats a token, the mean over all texts of the world of `tokens` tokens, on further text of the same world.

    kept_K: True for each context that has a row in the table; None: all. After
    one that has none every token is as likely, which costs ln V; all answers
    have rows. That the facts among so many tokens vary by the number of documents is
    left out: it moves the loss by less than 1e-3 of its excess.
    """
    known, ends = law(world), 1 / world.facts
    of_fact = floor(world).tokens
    facts = round(tokens / of_fact)
    whole, part = expected_log(facts, pseudocounts), expected_log(facts, pseudocounts / vocab)
    wrong = world.noise / world.answers
    right = 1 - world.noise + wrong
    chances = known.chances_K
    learned = whole(chances) - right * part(chances * right) - (world.answers - 1) * wrong * part(chances * wrong)
    answered = chances @ (learned if kept_K is None else np.where(kept_K, learned, np.log(vocab)))
    begun = 0.0
    for visits, stops in [*((share, ends) for share in answer_shares(world)), (ends, 0.0)]:
        follows = (1 - stops) * chances
        begun += visits * (whole(visits) - follows @ part(visits * follows) - stops * part(visits * stops))
    return float((answered + begun) / of_fact)


def answer_shares(world: ZipfWorld) -> np.ndarray:
    """(A,) how often each answer is given, a fact."""
    known = law(world)
    right = np.bincount(known.answers_K, weights=known.chances_K, minlength=world.answers)
    return (1 - world.noise) * right + world.noise / world.answers


@lru_cache(maxsize=64)
def expected_log(draws: int, added: float) -> Callable[[np.ndarray | float], np.ndarray]:
    """E ln(Binomial(draws, q) + added) as a function of q in [0, 1], by a cubic through exact values on a grid of ln q.

    Below 1e-9 / draws nothing is ever drawn.
    """
    logs = np.arange(np.log(1e-9 / draws), GRID, GRID)
    logs[-1] = 0.0
    spline = CubicSpline(logs, [_exact_log(draws, float(np.exp(log)), added) for log in logs])

    def value(q: np.ndarray | float) -> np.ndarray:
        return spline(np.log(np.clip(q, 1e-9 / draws, 1.0)))

    return value


def _exact_log(draws: int, q: float, added: float) -> float:
    mean, spread = draws * q, np.sqrt(draws * q * (1 - q))
    low, high = (mean + sign * (REACH * spread + FEW) for sign in (-1, 1))
    n = np.arange(max(0, int(low)), min(draws, int(high)) + 1)
    log_chance = gammaln(draws + 1) - gammaln(n + 1) - gammaln(draws - n + 1) + xlogy(n, q) + xlog1py(draws - n, -q)
    chance = np.exp(log_chance)
    return float(chance @ np.log(n + added) / chance.sum())
