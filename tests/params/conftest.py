import pytest

from cae.params import Params, load
from tests.conftest import ROOT

PARAMS = ROOT / "params"


@pytest.fixture(scope="session")
def paper() -> Params:
    return load(PARAMS / "paper.yaml")
