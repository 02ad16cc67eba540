"""The forms of a job in the database."""

import hashlib

import msgspec

from jobworkerd.model import Job, JobSpec

HASH_BYTES = 16
"""The length of a `request_hash`."""

_deterministic = msgspec.msgpack.Encoder(order="deterministic")
_decoder = msgspec.msgpack.Decoder(Job)


def encode(job: Job) -> bytes:
    """Return the record of a job, which has no environment."""
    return msgspec.msgpack.encode(job)


def decode(record: bytes) -> Job:
    """Return the job of a record."""
    return _decoder.decode(record)


def request_hash(spec: JobSpec, key: bytes = b"") -> bytes:
    """Return a hash of a request with a key, which is equal for equal requests."""
    return hashlib.blake2b(_deterministic.encode(spec), digest_size=HASH_BYTES, key=key).digest()
