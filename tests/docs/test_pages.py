"""Run each code block of README.md and docs/ in order against a live server."""

import re
from pathlib import Path

import pytest

from jobworker.v1 import cluster_service_pb2, job_service_pb2, login_service_pb2, node_service_pb2
from tests.docs.pages import Block, Use, blocks
from tests.docs.playing import Session
from tests.interop.paths import ROOT

PAGES = (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(ROOT.glob("docs/*.md")))
METHODS = [
    f"{service.full_name}/{method.name}"
    for file in (cluster_service_pb2, job_service_pb2, login_service_pb2, node_service_pb2)
    for service in file.DESCRIPTOR.services_by_name.values()
    for method in service.methods
]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_page_does_what_it_says(page: Path, session: Session) -> None:
    session.play(page)


@pytest.mark.parametrize("program", ["rpc|delegate|gateway", "bufrpc|bufdelegate|bufgateway"])
@pytest.mark.parametrize("method", METHODS)
def test_there_is_a_recipe_for_each_rpc(program: str, method: str) -> None:
    code = "\n".join(each.code for each in blocks(ROOT / "docs/grpcurl.md") if _is_run(each))
    commands = code.replace("\\\n", " ").splitlines()
    call = re.compile(rf"(?:{program}) .*\b{method}\b")
    assert any(call.match(command) for command in commands)


def _is_run(block: Block) -> bool:
    # tests/cluster/test_documented_commands.py runs the block that needs a gateway.
    return block.use is Use.RUN or "ClusterService" in block.code
