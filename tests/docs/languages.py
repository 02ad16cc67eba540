"""Runs a code block according to the language of its fence.

Variables that a shell block sets are visible to all later blocks in any language. A command must exit with
0, or with the code in the comment on its line: `# … exits with 3`.
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
# One line before the block, so that LINENO is right. Command substitutions and functions do
# not inherit the trap: only the status of the enclosing command counts.
_PROLOGUE = """set -a -o pipefail; trap 'echo "$(($LINENO - 1)) $?" >&3' ERR"""
_EPILOGUE = "trap - ERR\nenv -0 >&4"
_TYPESCRIPT = ROOT / "clients/typescript"


def shell(block: Block, session: Session) -> str:
    """Run a block with bash and keep its variables."""
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
    """Run a block as a Python program."""
    script = session.folder / "block.py"
    script.write_text(block.code)
    return succeed([sys.executable, "-W", "error", script], block, session.folder, session.environment)


def go(block: Block, session: Session) -> str:
    """Build a block as a program in the Go client's module, and run it."""
    source, program = session.folder / "block.go", session.folder / "block"
    source.write_text(block.code)
    # The compiler's caches are in the home directory of the test's own environment.
    build: list[str | Path] = [ROOT / "tools/go", "-C", "clients/go", "build", "-o", program, source]
    succeed(build, block, ROOT, os.environ)
    return succeed([program], block, session.folder, session.environment)


def typescript(block: Block, session: Session) -> str:
    """Compile a block in a package that depends on the TypeScript client, equally strictly, and run it."""
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
    """Run a program for a block and return its stdout.

    Raises:
        Wrong: the program failed.
    """
    done = run(argv, block, folder, environment)
    if done.returncode:
        raise Wrong(f"{block.place}: exit code {done.returncode}\n{done.stdout}")
    return done.stdout


def run(
    argv: list[str | Path], block: Block, folder: Path, environment: Mapping[str, str]
) -> "subprocess.CompletedProcess[str]":
    """Run a program for a block, with stderr merged into stdout."""
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
    """Return the exit codes that comments announce, by line of the block."""
    found = ((number, _PROMISE.search(line)) for number, line in enumerate(code.splitlines(), 1))
    return {number: int(promise[1]) for number, promise in found if promise}
