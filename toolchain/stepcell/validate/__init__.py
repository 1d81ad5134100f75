"""Is what runs on the chip what was validated? Every link of the chain, compared."""

from stepcell.validate.validate import Validation, open_bundle, validate

__all__ = ["Validation", "open_bundle", "validate"]
