"""Lets ``pytest conformance --url ...`` know the suite's options."""

from conformance.plugin import *  # noqa: F403
