"""A mixture of experts in place of an MLP: every token visits the few experts that its router likes best.

Letters: M tokens of the batch (batch times positions), D width, E experts,
F width of an expert, K experts that a token visits, R = K M visits, P their
places once sorted by expert.
"""

import math
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array

from scaling.config import Experts, TransformerConfig
from scaling.models.exchange import returned, sent
from scaling.models.grouped import Product, apply_grouped, arrange, block_rows, collect, spread
from scaling.models.inputs import Routing
from scaling.models.layers import MLP, activate
from scaling.models.parametrisation import Role, std
from scaling.parallel.collectives import gather_weight, mean, total
from scaling.parallel.layout import ALONE, TOKEN_AXES, Layout


class Route(NamedTuple):
    """What the router says of every token, float32."""

    logits_ME: Array
    probabilities_ME: Array
    expert_KM: Array  # visited, the likeliest first
    weight_KM: Array  # of what the visited expert returns


class MoE(nnx.Module):
    """Routed experts, and shared ones that every token visits (Dai et al. 2024, arXiv:2401.06066).

    Every routed expert is an MLP without biases; the shared ones are a single MLP,
    as wide as they are together.
    """

    def __init__(self, model: TransformerConfig, rngs: nnx.Rngs):
        experts, dim, hidden = model.moe.experts, model.dim, model.expert_dim

        def matrix(role: Role, *shape: int) -> nnx.Param:
            return nnx.Param(std(model, role, shape[-2]) * jax.random.normal(rngs.params(), shape))

        self.router = matrix("router", dim, experts)
        self.gate = matrix("hidden", experts, dim, hidden) if model.gated else None
        self.up = matrix("hidden", experts, dim, hidden)
        self.down = matrix("residual", experts, hidden, dim)
        self.shared = MLP(model, rngs, model.moe.shared * hidden) if model.moe.shared else None
        self.model = model

    def __call__(self, x_MD: Array, layout: Layout = ALONE) -> tuple[Array, Routing]:
        """What the experts add to the residual stream, (M, D), and the router's losses.

        The losses are those of all devices' tokens. A capacity is each device's own.
        """
        moe = self.model.moe
        route = choose(x_MD, self.router[...], moe)
        limit = slots(moe, x_MD.shape[0])
        if layout.expert == 1:
            out_MD, found_E, dropped = self._visit(x_MD, route, limit, layout)
        else:
            out_MD, found_E, dropped = self._visit_elsewhere(x_MD, route, limit, layout)
        found_E = total(found_E.astype(jnp.float32), TOKEN_AXES, layout)
        likely_E = mean(jnp.mean(route.probabilities_ME, axis=0), TOKEN_AXES, layout)
        squared = mean(z_loss(route.logits_ME), TOKEN_AXES, layout)
        loss = moe.balance_loss * balance_loss(likely_E, found_E) + moe.z_loss * squared
        if self.shared is not None:
            out_MD = out_MD + self.shared(x_MD, layout)
        return out_MD, Routing(loss, mean(dropped, TOKEN_AXES, layout))

    def _visit(self, x_MD: Array, route: Route, limit: int | None, layout: Layout) -> tuple[Array, Array, Array]:
        """The weighted sum of the visited experts; visits to each expert, (E,); share of visits dropped."""
        tokens, visits, experts = x_MD.shape[0], route.expert_KM.size, self.model.moe.experts
        block = block_rows(visits, experts)
        # First choices of all tokens stand before second choices, and so find a slot before them.
        place_R, row_P, sizes_E, found_E = arrange(route.expert_KM.reshape(-1), experts, limit)
        place_KM = place_R.reshape(route.expert_KM.shape)
        token_P = jnp.where(row_P < visits, row_P % tokens, tokens)
        x_PD = spread(x_MD, token_P, place_KM)
        out_PD = apply_grouped(partial(expert, self.model), x_PD, self._weights(layout), sizes_E, block)
        weight_P = spread(route.weight_KM.reshape(-1).astype(x_MD.dtype), row_P, place_R[None])
        out_MD = collect(out_PD * weight_P[:, None], token_P, place_KM)
        return out_MD, found_E, jnp.mean(place_R == row_P.shape[0], dtype=jnp.float32)

    def _visit_elsewhere(
        self, x_MD: Array, route: Route, limit: int | None, layout: Layout
    ) -> tuple[Array, Array, Array]:
        """`_visit` where every device of `expert` holds a part of the experts: rows travel there and back."""
        here = self.model.moe.experts // layout.expert
        away = sent(x_MD, route.expert_KM, self.model.moe.experts, limit, layout)
        block = block_rows(away.x_RD.shape[0], here)
        place_R, row_P, sizes_E, _ = arrange(away.expert_R, here)
        x_PD = spread(away.x_RD, row_P, place_R[None])
        out_PD = apply_grouped(partial(expert, self.model), x_PD, self._weights(layout), sizes_E, block)
        out_RD = collect(out_PD, row_P, place_R[None])
        return returned(out_RD, route.weight_KM, away, layout), away.found_E, away.dropped

    def _weights(self, layout: Layout) -> dict[str, Array]:
        """This device's experts. `tensor` divides their widths where they lie; tokens are divided already."""
        found = {"up": self.up[...], "down": self.down[...]} | ({"gate": self.gate[...]} if self.model.gated else {})
        if layout.tensor == 1:
            return found
        return {name: gather_weight(w, "tensor", 1 if name == "down" else 2) for name, w in found.items()}


def expert(model: TransformerConfig, x_PD: Array, weights: dict[str, Array], product: Product) -> Array:
    """An MLP without biases on rows that visit the expert of these weights; see `apply_grouped`."""
    gate_PF = product(x_PD, weights["gate"]) if model.gated else None
    return product(activate(model, product(x_PD, weights["up"]), gate_PF), weights["down"])


def choose(x_MD: Array, router_DE: Array, moe: Experts) -> Route:
    """The router: a softmax over all experts, of which the likeliest are visited.

    Their weights are their probabilities (Fedus et al. 2022, arXiv:2101.03961,
    eq. 2), or with `renormalise` these divided by their sum, which is the
    softmax over the visited experts alone (Jiang et al. 2024, arXiv:2401.04088,
    section 2.1). float32 throughout, and so are its products: a rounded logit
    sends a token to another expert.
    """
    exact = jax.lax.Precision.HIGHEST
    logits_ME = jnp.matmul(x_MD.astype(jnp.float32), router_DE.astype(jnp.float32), precision=exact)
    probabilities_ME = jax.nn.softmax(logits_ME)
    expert_KM = jax.lax.top_k(jax.lax.stop_gradient(logits_ME), moe.active)[1].T
    # Picked by comparison: the gradient of indexing would be a scatter.
    is_visited_KME = expert_KM[:, :, None] == jnp.arange(moe.experts)
    weight_KM = jnp.sum(jnp.where(is_visited_KME, probabilities_ME, 0.0), axis=-1)
    if moe.renormalise:
        weight_KM = weight_KM / jnp.sum(weight_KM, axis=0)
    return Route(logits_ME, probabilities_ME, expert_KM, weight_KM)


def slots(moe: Experts, tokens: int) -> int | None:
    """Visits that an expert takes from a batch, the capacity of Fedus et al. 2022, eq. 3; None: all.

    All first choices are served before second ones, and each in the order of
    positions (Lepikhin et al. 2020, arXiv:2006.16668, algorithm 1); the visits
    beyond are dropped and add nothing to their token. So whether a token's
    second choice is dropped depends on tokens after it.
    """
    if moe.capacity is None:
        return None
    return math.ceil(round(moe.capacity * tokens * moe.active / moe.experts, 6))  # 1.1 * 10 is a little above 11


def balance_loss(likely_E: Array, found_E: Array) -> Array:
    """Load-balance loss: E sum_e f_e P_e (Fedus et al. 2022, eq. 4-6); 1 where the load is even.

    f_e is the share of visits that go to expert e, dropped or not, and P_e
    the mean probability, `likely_E`. Only P has a gradient.
    """
    share_E = jax.lax.stop_gradient(found_E / jnp.sum(found_E))
    return likely_E.shape[0] * jnp.sum(share_E * likely_E)


def z_loss(logits_ME: Array) -> Array:
    """Router z-loss: the mean square of log sum exp (Zoph et al. 2022, ST-MoE, arXiv:2202.08906, eq. 5)."""
    return jnp.mean(jnp.square(jax.nn.logsumexp(logits_ME, axis=-1)))
