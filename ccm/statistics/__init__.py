"""Statistics for claims about small clinical samples: equivalence, agreement, effect size, resampling.

One question, one module; every result is frozen and carries the number of independent units behind it.
"""
