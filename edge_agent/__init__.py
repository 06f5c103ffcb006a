"""The gateway: samples come in, every part gets a verdict, records wait until the hub has them."""

__version__ = "0.1.0"
