"""DomainNet's domain clipart."""

from functools import partial

from cae.data.layouts.domainnet import SPLITS, list_domain
from cae.data.layouts.parts import Published

__all__ = ["PUBLISHED", "SPLITS", "listing"]

PUBLISHED = Published(33_525, 14_604, 345, 1.3e9)
listing = partial(list_domain, "clipart")
