"""Engines: who runs the servers that make items; the rest of a run is the same for all of them."""
