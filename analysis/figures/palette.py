"""One look for all plots: a budget is a colour, dark to light with compute."""

import numpy as np

PAPER = "#ffffff"
INK = "#1f2933"
MUTED = "#7b8794"
GRID = "#e4e7eb"
ACCENT = "#c2410c"  # the fitted frontier and the forecast
SECOND = "#1d4ed8"  # the isoFLOP method

# Colours told apart in print and by colour-blind readers (after Okabe & Ito), for laws and methods side by side.
SERIES = (ACCENT, SECOND, "#0f766e", "#9d174d", "#a16207", "#475569")
MARKERS = ("o", "s", "D", "^", "v", "P")

# Anchors of viridis up to 80%: evenly perceived steps, and its yellow end is lost on white paper.
_ANCHORS = np.array([(68, 1, 84), (59, 82, 139), (33, 145, 140), (94, 201, 98)], float)


def budget_colours(flops: np.ndarray) -> list[str]:
    """A hex colour for each value, by its place between the smallest and the largest, in logs."""
    logs = np.log(flops)
    span = np.ptp(logs)
    place = (logs - logs.min()) / span if span > 0 else np.full_like(logs, 0.5)
    position = place * (len(_ANCHORS) - 1)
    channels = [np.interp(position, np.arange(len(_ANCHORS)), _ANCHORS[:, i]) for i in range(3)]
    return [f"#{int(r):02x}{int(g):02x}{int(b):02x}" for r, g, b in zip(*channels, strict=True)]
