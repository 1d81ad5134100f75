"""Calibrators: from the magnitudes that a value had over calibration data to the one that its scale covers.

The largest magnitude clips nothing, and one rare peak may cost every other value its resolution. A percentile
leaves the rarest out by count, the mean squared error by what clipping and rounding cost together, and the
entropy by how much of the values' distribution survives int8 (the threshold search of NVIDIA's TensorRT,
GTC 2017). int16 has resolution to spare: there the last two find the largest magnitude, or nearly.
"""

from typing import Literal

import numpy as np

from stepcell.errors import StepcellError
from stepcell.ir.model import FloatArray

Calibrator = Literal["minmax", "percentile", "mse", "entropy"]

USUAL_PERCENTILE = 99.99
"""Where `percentile` is asked for without a number."""
BINS = 2048
"""Of the histograms in which thresholds are tried."""
_LEAST = 8
"""The smallest threshold that is tried is 1/8 of the largest magnitude."""


def covered(magnitudes: FloatArray, calibrator: Calibrator, percentile: float, bits: int) -> float:
    """The magnitude [real units] at which a value of 8 or 16 `bits` is clipped; 0 for nothing but zeros.

    percentile (0-100): of the values that stay; only minmax and percentile read it, and 100 clips none.
    Raises StepcellError for a percentile given to a calibrator that has none.
    """
    largest = float(magnitudes.max(initial=0.0))
    if calibrator in ("mse", "entropy") and percentile < 100.0:
        raise StepcellError(
            f"the calibrator {calibrator} finds its own threshold; a percentile of {percentile:g} was given.",
            "leave the percentile out, or use the calibrator percentile.",
        )
    if calibrator == "percentile" and percentile >= 100.0:
        percentile = USUAL_PERCENTILE
    if largest == 0.0 or (calibrator == "entropy" and bits == 16):
        return largest
    match calibrator:
        case "mse":
            return _of_least_error(magnitudes, largest, (1 << (bits - 1)) - 1)
        case "entropy":
            return _of_least_divergence(magnitudes, largest, 1 << (bits - 1))
        case _:
            return largest if percentile >= 100.0 else float(np.percentile(magnitudes, percentile))


def _histogram(magnitudes: FloatArray, largest: float) -> tuple[FloatArray, FloatArray]:
    """(how many, their middle) of each of BINS equal steps."""
    counts, edges = np.histogram(magnitudes, BINS, (0.0, largest))
    return counts.astype(np.float64), (edges[1:] + edges[:-1]) / 2


def _of_least_error(magnitudes: FloatArray, largest: float, limit: int) -> float:
    """The threshold with the least mean squared error of clipping and rounding to 0..limit."""
    counts, middles = _histogram(magnitudes, largest)
    thresholds = largest * np.linspace(1.0, 1.0 / _LEAST, 128)
    errors = [_squared_error(counts, middles, threshold, limit) for threshold in thresholds]
    return float(thresholds[int(np.argmin(errors))])


def _squared_error(counts: FloatArray, middles: FloatArray, threshold: float, limit: int) -> float:
    """Rounding costs a twelfth of a step squared inside, clipping the square of the distance outside."""
    inside = float(counts[middles <= threshold].sum()) * (threshold / limit) ** 2 / 12
    return inside + float((counts * np.maximum(middles - threshold, 0.0) ** 2).sum())


def _of_least_divergence(magnitudes: FloatArray, largest: float, levels: int) -> float:
    """The threshold with the least Kullback-Leibler divergence of the quantized distribution."""
    counts, _ = _histogram(magnitudes, largest)
    ends = np.arange(BINS, BINS // _LEAST - 1, -levels // 8)
    divergences = [_divergence(counts, int(end), levels) for end in ends]
    return largest * int(ends[int(np.argmin(divergences))]) / BINS


def _divergence(counts: FloatArray, end: int, levels: int) -> float:
    """KL of the first `end` bins, what is beyond clipped into the last, from those bins merged to levels."""
    clipped = counts[:end].copy()
    clipped[-1] += counts[end:].sum()
    level = np.arange(end) * levels // end
    occupied = counts[:end] > 0
    totals = np.bincount(level, counts[:end], levels)
    shares = np.bincount(level, occupied, levels)
    merged = np.where(occupied, (totals / np.maximum(shares, 1))[level], 0.0)
    p, q = clipped / clipped.sum(), merged / max(float(merged.sum()), 1.0)
    seen = p > 0
    return float((p[seen] * np.log(p[seen] / np.maximum(q[seen], 1e-12))).sum())
