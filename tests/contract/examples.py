"""Builds the programs of clients/examples whose toolchain is installed."""

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "clients/examples"


def compiled() -> Mapping[str, list[str]]:
    """Compile the examples and return their command lines, by the name of the gRPC library.

    The tests of the cluster set WITHOUT_EXAMPLES, because the first build takes minutes.
    """
    if os.environ.get("WITHOUT_EXAMPLES"):
        return {}
    subprocess.run([ROOT / "tools/build-examples"], check=True)
    commands = {}
    if shutil.which("mvn"):
        classpath = f"{EXAMPLES}/java/target/classes:{(EXAMPLES / 'java/target/classpath').read_text()}"
        commands["grpc-java"] = ["java", "-cp", classpath, "jobworker.Run"]
    if shutil.which("cargo"):
        commands["tonic"] = [str(EXAMPLES / "rust/target/debug/jobworker-example")]
    return commands
