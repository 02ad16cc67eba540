"""Tests of the first messages of the calls that attach to one job."""

from jobworker.v1 import job_attach_pb2, job_service_pb2
from jobworker_client.resumable_attach import ResumableAttach
from jobworker_client.resumable_input import ResumableInput

REQUEST = job_service_pb2.GetJobsStreamRequest(id="job")


class Calls:
    """A client whose calls break one after another."""

    def __init__(self, *, redraw: bool) -> None:
        self._source = ResumableInput("input")
        start = job_attach_pb2.AttachStart(id="job", redraw=redraw)
        self.attach = ResumableAttach(start, self._source, None)

    def redraws(self, *, answered: bool) -> bool:
        """Start a call, which the server answers or not, and return whether it draws again."""
        redraw = self.attach.next_start(REQUEST).redraw
        if answered:
            self._source.accepted(0)
        return redraw


def test_a_redraw_is_requested_until_an_answer() -> None:
    calls = Calls(redraw=True)
    assert calls.redraws(answered=False)
    assert calls.redraws(answered=True)
    assert not calls.redraws(answered=True)


def test_the_next_call_repeats_the_redraw_of_a_resize() -> None:
    """The call that was open at the resize can have lost it."""
    calls = Calls(redraw=False)
    assert not calls.redraws(answered=True)
    calls.attach.resize(90, 40, redraw=False)
    assert not calls.redraws(answered=True)
    assert calls.attach.resize(90, 40, redraw=True).resize.redraw
    assert calls.redraws(answered=False)
    assert calls.redraws(answered=True)
    assert not calls.redraws(answered=True)
