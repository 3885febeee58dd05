"""DomainNet's domain clipart."""

from functools import partial

from cae.data.layouts.domainnet import EXPECTED, SPLITS, list_domain
from cae.data.layouts.parts import Published

__all__ = ["EXPECTED", "NEEDED", "PUBLISHED", "SPLITS", "listing"]

PUBLISHED = Published(33_525, 14_604, 345, 1.3e9)
NEEDED = "clipart", "clipart_train.txt", "clipart_test.txt"
listing = partial(list_domain, "clipart")
