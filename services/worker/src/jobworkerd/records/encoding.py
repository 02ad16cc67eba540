"""The forms of a job in the database."""

import hashlib

import msgspec
from msgspec.structs import replace

from jobworkerd.model import Job, JobSpec

COMMAND_LENGTH = 1_024
"""Characters of a command that `ListJobs.command_contains` searches."""

HASH_BYTES = 16
"""The length of a `request_hash`."""

_deterministic = msgspec.msgpack.Encoder(order="deterministic")
_decoder = msgspec.msgpack.Decoder(Job)


def without_env(job: Job) -> Job:
    """Return a job without its environment, which can contain secrets. Neither disk nor cache has it."""
    return replace(job, spec=replace(job.spec, env={})) if job.spec.env else job


def encode(job: Job) -> bytes:
    """Return the record of a job."""
    return msgspec.msgpack.encode(without_env(job))


def decode(record: bytes) -> Job:
    """Return the job of a record."""
    return _decoder.decode(record)


def request_hash(spec: JobSpec, key: bytes = b"") -> bytes:
    """Return a hash of a request with a key, which is equal for equal requests."""
    return hashlib.blake2b(_deterministic.encode(spec), digest_size=HASH_BYTES, key=key).digest()


def command_text(spec: JobSpec) -> str:
    """Return the begin of the command and its arguments, in which `ListJobs.command_contains` searches."""
    return " ".join((spec.command, *spec.args))[:COMMAND_LENGTH]
