"""The hashes of requests: equal requests, secrets in environments, and hashes of earlier versions."""

import subprocess
import sys
from pathlib import Path

from msgspec.structs import replace

from jobworkerd.records.encoding import request_hash
from jobworkerd.records.request_hashes import RequestHashes
from jobworkerd.records.state_key import KEY_FILE, StateKey
from sample_jobs import SPEC

REQUEST = replace(SPEC, request_id="r", env={"PASSWORD": "correct-horse"})
OTHER = replace(REQUEST, env={"PASSWORD": "battery-staple"})


def hashes(directory: Path) -> RequestHashes:
    return RequestHashes(StateKey(directory))


async def test_only_an_equal_request_matches(tmp_path: Path) -> None:
    stored = await hashes(tmp_path).of(REQUEST)
    again = hashes(tmp_path)
    assert await again.match(REQUEST, stored)
    assert not await again.match(OTHER, stored)


async def test_a_guess_cannot_be_checked_without_the_key(tmp_path: Path) -> None:
    stored = await hashes(tmp_path).of(REQUEST)
    assert request_hash(REQUEST) not in stored
    (tmp_path / KEY_FILE).unlink()
    assert await hashes(tmp_path).of(REQUEST) != stored


async def test_the_key_of_the_file_is_not_used_for_two_purposes(tmp_path: Path) -> None:
    stored = await hashes(tmp_path).of(REQUEST)
    assert request_hash(REQUEST, (tmp_path / KEY_FILE).read_bytes()) not in stored


async def test_a_hash_of_an_earlier_version(tmp_path: Path) -> None:
    stored = request_hash(REQUEST)
    assert await hashes(tmp_path).match(REQUEST, stored)
    assert not await hashes(tmp_path).match(OTHER, stored)


async def test_a_request_without_an_id_has_no_hash_and_needs_no_key(tmp_path: Path) -> None:
    assert await hashes(tmp_path).of(SPEC) == b""
    assert not (tmp_path / KEY_FILE).exists()


def test_the_library_that_encrypts_is_not_loaded() -> None:
    code = (
        "import sys, jobworkerd.records.request_hashes as _; "
        "print([name for name in sys.modules if name.startswith('cryptography')])"
    )
    run = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, check=True)
    assert run.stdout == "[]\n"
