"""Where CCM-nano is guided by its prompt: in weak noise only (Kynkaanniemi et al. 2024, arXiv 2404.07724).

In strong noise, where the light of a frame is settled, guidance would flatten it.
"""

GUIDED_BELOW = (
    0.52  # noise level, 1 is pure noise; the usual steps meet none so near that rounding would decide
)
