"""The network that can be worked out by hand, opened once."""

from __future__ import annotations

import pytest

from cxray.explain.opened import OpenedModel
from tests.explain.graphs import disc_model


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> OpenedModel:
    """Two classes; PNEUMONIA is brightness above one half."""
    return disc_model(tmp_path_factory.mktemp("disc"))
