"""How a block is run, by the language of its fence.

The variables that a block of shell sets are there for all later blocks, of whatever language. A command is
expected to exit with 0, or as a comment on its line says: `# … exits with 3`.
"""

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from tests.docs.pages import Block
from tests.docs.playing import Runner, Session, Wrong
from tests.interop.paths import ROOT

SECONDS = 60
_PROMISE = re.compile(r"#.*\bexits with (\d+)")
# All on the line before the block's first, so that LINENO is right. Command substitutions and functions do
# not inherit the trap: the command that they are a part of is the one that counts.
_PROLOGUE = """set -a -o pipefail; trap 'echo "$(($LINENO - 1)) $?" >&3' ERR"""
_EPILOGUE = "trap - ERR\nenv -0 >&4"
_TYPESCRIPT = ROOT / "clients/typescript"


def shell(block: Block, session: Session) -> str:
    """Runs a block with bash, and keeps its variables."""
    script = session.folder / "block.sh"
    script.write_text(f"{_PROLOGUE}\n{block.code}{_EPILOGUE}\n")
    failures, environment = session.folder / "failures", session.folder / "environment"
    argv: list[str | Path] = ["bash", "-c", 'exec bash "$0" 3>"$1" 4>"$2"', script, failures, environment]
    done = run(argv, block, session.folder, session.environment)
    pairs = (line.split() for line in failures.read_text().splitlines())
    found = {int(number): int(code) for number, code in pairs}
    if found != promised(block.code) or done.returncode:
        raise Wrong(f"{block.place}: exit codes by line {found}, not {promised(block.code)}\n{done.stdout}")
    variables = (each.partition("=") for each in environment.read_text().split("\0") if each)
    session.environment = {name: value for name, _, value in variables}
    return done.stdout


def python(block: Block, session: Session) -> str:
    """Runs a block as a program in Python."""
    script = session.folder / "block.py"
    script.write_text(block.code)
    return succeed([sys.executable, "-W", "error", script], block, session.folder, session.environment)


def go(block: Block, session: Session) -> str:
    """Builds a block as a program of the Go client's module, and runs it."""
    source, program = session.folder / "block.go", session.folder / "block"
    source.write_text(block.code)
    # With our own environment: the compiler's caches are in our home.
    build: list[str | Path] = [ROOT / "tools/go", "-C", "clients/go", "build", "-o", program, source]
    succeed(build, block, ROOT, os.environ)
    return succeed([program], block, session.folder, session.environment)


def typescript(block: Block, session: Session) -> str:
    """Compiles a block, as strictly as the TypeScript client is, in a package that has it, and runs it."""
    folder = session.folder / "typescript"
    modules = folder / "node_modules"
    if not folder.exists():
        (modules / "@jobworker").mkdir(parents=True)
        (modules / "@jobworker/client").symlink_to(_TYPESCRIPT)
        (modules / "@types").symlink_to(_TYPESCRIPT / "node_modules/@types")
        (folder / "package.json").write_text(json.dumps({"type": "module"}))
    config = {
        "extends": str(_TYPESCRIPT / "tsconfig.json"),
        "compilerOptions": {"rootDir": ".", "outDir": "out"},
        "include": ["block.ts"],
    }
    (folder / "tsconfig.json").write_text(json.dumps(config))
    (folder / "block.ts").write_text(block.code)
    node = ROOT / "tools/node"
    succeed([node, _TYPESCRIPT / "node_modules/.bin/tsc", "--project", folder], block, ROOT, os.environ)
    return succeed([node, "node", folder / "out/block.js"], block, session.folder, session.environment)


RUNNERS: Mapping[str, Runner] = {"sh": shell, "python": python, "go": go, "typescript": typescript}


def succeed(argv: list[str | Path], block: Block, folder: Path, environment: Mapping[str, str]) -> str:
    """Runs a program for a block and returns what it prints.

    Raises:
        Wrong: it failed.
    """
    done = run(argv, block, folder, environment)
    if done.returncode:
        raise Wrong(f"{block.place}: exit code {done.returncode}\n{done.stdout}")
    return done.stdout


def run(
    argv: list[str | Path], block: Block, folder: Path, environment: Mapping[str, str]
) -> "subprocess.CompletedProcess[str]":
    """Runs a program for a block, with stderr among what it prints."""
    try:
        return subprocess.run(
            argv,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as late:
        raise Wrong(f"{block.place}: still running after {SECONDS} s\n{late.output}") from late


def promised(code: str) -> dict[int, int]:
    """Returns the exit codes that comments announce, by the line of the block."""
    found = ((number, _PROMISE.search(line)) for number, line in enumerate(code.splitlines(), 1))
    return {number: int(promise[1]) for number, promise in found if promise}
