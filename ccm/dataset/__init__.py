"""A synthetic data set on disk: its layout, its manifest, and the mark inside each picture."""
