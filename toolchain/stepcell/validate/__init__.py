"""Is what runs on the chip what was validated? Every link of the chain, compared."""

from stepcell.validate.files import BundleFiles, open_bundle
from stepcell.validate.validate import OnStage, Validation, validate

__all__ = ["BundleFiles", "OnStage", "Validation", "open_bundle", "validate"]
