"""The training data: splits by patient, checks before the first step, and what each sample is."""
