"""The messages about spans of final jobs."""

import msgspec

from jobworkerd.model import Job


class SpanEnded(msgspec.Struct, frozen=True, tag=True, gc=False):
    """A final job whose span the API process exports. The job has only the fields that the span needs.

    The notice goes to one API process. If that process ends without `SpansExported`, another one gets it.
    """

    job: Job


class SpansExported(msgspec.Struct, frozen=True, tag=True, gc=False):
    """Acknowledges `SpanEnded` notices of these jobs. The reply is `Done`."""

    job_ids: tuple[str, ...]
