"""The clients of the fault schedule see broken promises."""

from collections.abc import Sequence
from time import monotonic

import pytest

from jobworker.v1 import job_pb2
from tests.cluster.faults.callers import Callers
from tests.cluster.faults.history import ID, accept, final, plan
from tests.cluster.faults.ledger import KNOWN_SECONDS, Ledger
from tests.cluster.faults.scripted_server import Message, ScriptedServer, payload, result

_LIVE = job_pb2.Job(id=ID, status=job_pb2.JOB_STATUS_RUNNING)
_OTHER = job_pb2.Job(id=ID.replace("1", "2"))
_OUTPUT = plan().output
_END = result(final(), len(_OUTPUT))


@pytest.mark.parametrize(
    ("stream", "violations"),
    [
        ([payload(_OUTPUT), _END], 0),
        ([payload(_OUTPUT[:9]), payload(_OUTPUT[9:], 9), _END], 0),
        # One byte is lost, or comes twice.
        ([payload(_OUTPUT[:9]), payload(_OUTPUT[10:], 10), _END], 2),
        ([payload(_OUTPUT[:9]), payload(_OUTPUT[8:], 8), _END], 2),
        # The offsets hide that a byte is missing.
        ([payload(_OUTPUT[:9]), Message(payload=_OUTPUT[10:], offset=9, next_offset=len(_OUTPUT)), _END], 2),
        ([payload(_OUTPUT)], 1),
    ],
)
async def test_a_stream_with_a_wrong_offset_or_without_a_result_is_a_violation(
    ledger: Ledger, *, stream: Sequence[Message], violations: int
) -> None:
    entry = accept(ledger, plan())
    await Callers([ScriptedServer(stream=stream).stub], ledger).follow(entry)
    assert len(ledger.violations) == violations


async def test_a_gateway_that_does_not_find_a_job_breaks_a_promise(ledger: Ledger) -> None:
    entry = accept(ledger, plan())
    await Callers([ScriptedServer(_LIVE).stub], ledger).get(entry)
    assert not ledger.violations
    await Callers([ScriptedServer().stub], ledger).get(entry)
    await Callers([ScriptedServer().stub], ledger).follow(entry)
    assert len(ledger.violations) == 2


async def test_a_list_without_a_job_that_the_gateway_has_shown_is_a_violation(ledger: Ledger) -> None:
    entry = accept(ledger, plan())
    gateways = [ScriptedServer(_LIVE, _OTHER).stub, ScriptedServer(_OTHER).stub]
    callers = Callers(gateways, ledger)
    assert await callers.check_list(1)
    assert not ledger.violations, "the gateway can know of the job later"
    assert await callers.check_list(0)
    await Callers(gateways[1:], ledger).check_list(0)
    assert len(ledger.violations) == 1
    entry.accepted_at -= KNOWN_SECONDS + 1
    assert await callers.check_list(1)
    assert len(ledger.violations) == 2


async def test_a_list_without_a_final_job_is_a_violation(ledger: Ledger) -> None:
    accept(ledger, plan())
    ledger.observe(final(), monotonic())
    assert await Callers([ScriptedServer(_OTHER).stub], ledger).check_list(0)
    assert len(ledger.violations) == 1


async def test_a_list_with_a_job_twice_is_a_violation(ledger: Ledger) -> None:
    accept(ledger, plan())
    assert await Callers([ScriptedServer(_LIVE, _LIVE).stub], ledger).check_list(0)
    assert len(ledger.violations) == 1


@pytest.mark.parametrize(("job", "violations"), [(final(), 0), (_LIVE, 1)])
async def test_a_list_with_a_running_job_after_its_end_is_a_violation(
    ledger: Ledger, *, job: job_pb2.Job, violations: int
) -> None:
    accept(ledger, plan())
    ledger.observe(final(), monotonic())
    callers = Callers([ScriptedServer(job).stub], ledger)
    await callers.check_list(0)
    assert len(ledger.violations) == violations
    await callers.check_running(0)
    assert len(ledger.violations) == 2 * violations
