"""What /docs says is what is answered, to requests that nobody would write."""

from __future__ import annotations

import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import Case
from schemathesis.specs.openapi.checks import ignored_auth, positive_data_acceptance

from callpipeline_tests.service.conftest import Running

EXAMPLES = 12
"""Requests for each endpoint; more find nothing that these do not, in minutes."""

LEFT_OUT = [positive_data_acceptance, ignored_auth]
"""Bytes that are made up are no recording, and this service has no keys."""


def test_every_answer_is_one_that_is_documented(running: Running) -> None:
    api = schemathesis.openapi.from_url(f"{running.url}/openapi.json")
    found = [operation.ok() for operation in api.get_all_operations()]
    assert len(found) >= 14
    for operation in found:

        @given(case=operation.as_strategy())
        @settings(
            max_examples=EXAMPLES,
            phases=(Phase.explicit, Phase.generate),
            deadline=None,
            derandomize=True,
            database=None,
            suppress_health_check=list(HealthCheck),
        )
        def every_answer(case: Case) -> None:
            case.call_and_validate(excluded_checks=LEFT_OUT)

        every_answer()
