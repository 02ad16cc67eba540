"""The programs of clients/examples, compiled where this machine has their toolchain."""

import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "clients/examples"


def compiled() -> Mapping[str, list[str]]:
    """Compiles the examples and returns the command lines that run them, by the name of their library."""
    subprocess.run([ROOT / "tools/build-examples"], check=True)
    found = {}
    if shutil.which("mvn"):
        classpath = (EXAMPLES / "java/target/classpath").read_text()
        found["grpc-java"] = ["java", "-cp", f"{EXAMPLES}/java/target/classes:{classpath}", "jobworker.Run"]
    if shutil.which("cargo"):
        found["tonic"] = [str(EXAMPLES / "rust/target/debug/jobworker-example")]
    return found
