"""What compression does to three tasks: the benchmark, recipes, and the smallest models."""
