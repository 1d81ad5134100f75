"""stepcell: trained recurrent networks as small, fast, proven C for microcontrollers."""

__version__ = "0.1.0"
