"""Recorded speech at 16 kHz, from Debian packages."""
