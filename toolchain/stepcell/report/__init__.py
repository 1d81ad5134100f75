"""Measurements and descriptions of models and bundles, for people and as JSON."""
