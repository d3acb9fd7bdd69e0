"""Whatever the server's own description allows, and what it does not, is answered as described and
never by a fault.
"""

import os
from contextlib import suppress

import pytest
import requests  # noqa: F401 - schemathesis would import it while the server changes warnings' filters
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from latent_atlas.explorer.server.app import make_app
from latent_atlas.explorer.server.limits import Limits
from server_client import tiny_atlas

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]
EXAMPLES = int(os.environ.get("EXAMPLES", "5"))  # of each address; more of them were tried by hand
SECONDS = 0.3  # of computation for one request: that it is stopped is an answer as well
HOW = settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)


# Threads that other tests leave behind, such as Ray's, may use Python's random numbers meanwhile.
@pytest.mark.filterwarnings("ignore:Do not use the `random` module inside strategies")
@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: mode.value)
def test_every_address_answers_as_it_is_described(mode: GenerationMode) -> None:
    app = make_app(tiny_atlas(), address="testserver", limits=Limits(seconds=SECONDS))
    tried = []
    for found in schemathesis.openapi.from_asgi("/api/openapi.json", app).get_all_operations():
        assert isinstance(found, Ok)
        operation = found.ok()

        @HOW
        @given(case=operation.as_strategy(generation_mode=mode))
        def answers(case: Case) -> None:
            case.call_and_validate(checks=CHECKS)

        with suppress(Unsatisfiable):  # what takes no input, or takes any, cannot be asked wrongly
            answers()
            tried.append(operation.label)
    assert len(tried) == len(set(tried)) >= 12
    app.state.explorer.close()
