"""Nerve trees with known biomarkers and the frames drawn from them."""
