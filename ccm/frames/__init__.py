"""Frames on disk: reading one, listing a folder or a table of them, and the layouts of public data sets."""
