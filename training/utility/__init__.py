"""Downstream utility: does training with synthetic frames make networks better on real patients?"""
