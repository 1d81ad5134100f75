"""DTLN, a third-party noise suppressor, its first network compiled to C."""
