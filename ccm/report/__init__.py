"""Real frames against generated ones, as one report: what was compared, what was found, what may be claimed."""
