"""tools/api-docs: the reference in Markdown has everything that a proto and its comments say."""

import subprocess
import sys
from pathlib import Path

import pytest

TOOL = Path(__file__).parents[3] / "tools/api-docs"

PROTO = """
syntax = "proto3";
package test.v1;
import "google/protobuf/duration.proto";

// Keeps things.
//
// Carefully.
service KeeperService {
  // Watches a thing.
  rpc Watch(Thing) returns (stream Thing) { option idempotency_level = NO_SIDE_EFFECTS; }
}

// A thing.
message Thing {
  // Percent. 0 = none
  // | all.
  //
  // At most 100.
  int32 max_cpu = 1 [json_name = "maxCPU"];
  // Unset = unknown.
  optional bool known = 12;
  // How it is.
  repeated State states = 3;
  // Notes.
  map<string, Thing> notes = 4;
  // How long.
  google.protobuf.Duration timeout = 5;
  // How it ends. Unset = it does not.
  oneof end {
    // A code.
    int32 code = 6;
    // Another thing.
    Thing other = 7;
  }
}

// A state.
enum State {
  // Not said.
  STATE_UNSPECIFIED = 0;
}
"""

PAGE = r"""
## KeeperService

`test.v1.KeeperService`

Keeps things.

Carefully.

### Watch

[`Thing`](#thing) → stream of [`Thing`](#thing) (no side effects)

Watches a thing.

## Messages

### Thing

A thing.

At most one field of oneof `end` is set. How it ends. Unset = it does not.

| | field | JSON | type | |
|---|---|---|---|---|
| 1 | `max_cpu` | `maxCPU` | `int32` | Percent. 0 = none \| all.<br>At most 100. |
| 12 | `known` | `known` | optional `bool` | Unset = unknown. |
| 3 | `states` | `states` | repeated [`State`](#state) | How it is. |
| 4 | `notes` | `notes` | map of `string` to [`Thing`](#thing) | Notes. |
| 5 | `timeout` | `timeout` | `google.protobuf.Duration` | How long. |
| 6 | `code` | `code` | `int32` (oneof `end`) | A code. |
| 7 | `other` | `other` | [`Thing`](#thing) (oneof `end`) | Another thing. |

## Enums

### State

A state.

| | value | |
|---|---|---|
| 0 | `STATE_UNSPECIFIED` | Not said. |
"""


def made(folder: Path, proto: str) -> "subprocess.CompletedProcess[str]":
    (folder / "test.proto").write_text(proto)
    protoc = [sys.executable, "-m", "grpc_tools.protoc", "-I", str(folder), "--include_source_info"]
    argv = [*protoc, f"--descriptor_set_out={folder}/set", str(folder / "test.proto")]
    subprocess.run(argv, check=True)
    with (folder / "set").open("rb") as descriptors:
        argv = [sys.executable, str(TOOL)]
        return subprocess.run(argv, stdin=descriptors, capture_output=True, text=True, check=False)


def test_the_page_has_everything(tmp_path: Path) -> None:
    done = made(tmp_path, PROTO)
    assert done.stderr == ""
    _, mark, rest = done.stdout.partition("\n## KeeperService\n")
    assert mark + rest == PAGE


@pytest.mark.parametrize(
    "nested", ["message Inner {}", "enum Inner { INNER_UNSPECIFIED = 0; }"], ids=["message", "enum"]
)
def test_nested_types_are_refused(tmp_path: Path, nested: str) -> None:
    proto = 'syntax = "proto3"; package test.v1; message Outer { %s map<string, string> notes = 1; }'
    done = made(tmp_path, proto % nested)
    assert done.returncode == 1
    assert "Outer has nested types" in done.stderr
