"""How far a set of frames lies from a set of real ones: one metric, one module."""
