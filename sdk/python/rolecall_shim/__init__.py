"""Tells the host's agent which AWS API calls this process makes. Nothing is imported here: start-up is not ours to spend."""

VERSION = "0.1.0"
