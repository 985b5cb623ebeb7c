"""Are generated frames equivalent to real ones in what a clinic measures? Tables of biomarkers to a verdict."""
