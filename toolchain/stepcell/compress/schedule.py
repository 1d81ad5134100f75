"""How the density falls while a network is being retrained."""


def cubic_density(step: int, begin: int, end: int, final: float, initial: float = 1.0) -> float:
    """The kept fraction at `step`: `initial` until `begin`, `final` from `end` on, a cubic in between.

    Much is pruned early, while many weights are redundant, and little at the end:
    d = final + (initial - final) (1 - (step - begin) / (end - begin))^3
    (Zhu and Gupta 2017, "To prune, or not to prune", arXiv 1710.01878, equation 1, as densities).
    """
    if step >= end:
        return final
    progress = max(step - begin, 0) / (end - begin)
    return float(final + (initial - final) * (1.0 - progress) ** 3)
