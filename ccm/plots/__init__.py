"""Figures as arrays [H,W,3] in 0..1, drawn with Pillow, which every host has."""
