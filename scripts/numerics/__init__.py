"""The parts of scripts/measure_numerics.py: what the integers lose, measured on trained networks."""
