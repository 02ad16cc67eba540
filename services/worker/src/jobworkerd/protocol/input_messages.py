"""The messages of `messages` that concern the stdin of a job and its signals."""

import msgspec

from jobworkerd.terminal import Cells


class AttachInput(msgspec.Struct, frozen=True, tag=True, gc=False):
    """Becomes the feeder of a job's stdin when the job runs. The reply is `InputAccepted`.

    The API process chooses the number of the attachment. With `take_over`, the current feeder loses the
    stdin. `size` are the columns and rows of the client's terminal; with `redraw`, programs in the job's
    terminal draw again.
    """

    attachment: int
    job_id: str
    input_id: str
    take_over: bool = False
    size: tuple[Cells, Cells] | None = None
    redraw: bool = False


class FeedInput(msgspec.Struct, frozen=True, tag=True, gc=False):
    """Passes bytes of an input to the job. The reply is `InputAccepted`, when there is room for them."""

    attachment: int
    offset: int
    data: bytes


class EndInput(msgspec.Struct, frozen=True, tag=True, gc=False):
    """Ends the input at `offset`. The reply is `InputAccepted`."""

    attachment: int
    offset: int


class ResizeInput(msgspec.Struct, frozen=True, tag=True, gc=False):
    """Reports the columns and rows of the terminal of an attachment; `redraw` as in `AttachInput`.

    The reply is `Done`.
    """

    attachment: int
    size: tuple[Cells, Cells]
    redraw: bool = False


class DetachInput(msgspec.Struct, frozen=True, tag=True, gc=False):
    """Ends an attachment, also one that waits for the start of its job. The reply is `Done`."""

    attachment: int


class SignalJob(msgspec.Struct, frozen=True, tag=True, gc=False):
    """Sends a signal to the process group of a job. The reply is `Done`. A final job ignores it."""

    job_id: str
    number: int
    subject: str


class InputAccepted(msgspec.Struct, frozen=True, tag=True, gc=False):
    """The accepted bytes of an input, which no crash of the supervisor loses or repeats."""

    offset: int


InputPart = AttachInput | FeedInput | EndInput
"""The requests that `InputAccepted` answers."""

InputRequest = InputPart | ResizeInput | DetachInput | SignalJob
