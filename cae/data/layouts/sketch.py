"""DomainNet's domain sketch."""

from functools import partial

from cae.data.layouts.domainnet import EXPECTED, SPLITS, list_domain
from cae.data.layouts.parts import Published

__all__ = ["EXPECTED", "NEEDED", "PUBLISHED", "SPLITS", "listing"]

PUBLISHED = Published(48_212, 20_916, 345, 2.5e9)
NEEDED = "sketch", "sketch_train.txt", "sketch_test.txt"
listing = partial(list_domain, "sketch")
