"""Compiles the system call filter of jobs (`system_calls`) into a program for seccomp(2).

The program finds the number of a system call in a list of ranges. It has about a third of the instructions of
a program by libseccomp with the same effect. The kernel translates it again for each job, so its length is a
part of the time that a job needs to start. Only the supervisor loads this module.

`system_call_numbers.txt` is the output of `tools/make-system-call-numbers`.
"""

import errno
from collections.abc import Collection, Iterable, Iterator, Mapping
from importlib import resources
from types import MappingProxyType

from jobworkerd.spawn.bpf import IF_EQUAL, JUMP, LOAD, RETURN, Assembler, Range, instruction
from jobworkerd.spawn.system_calls import (
    ALLOWED,
    ALLOWED_ARGUMENTS,
    REFUSED,
    REFUSED_CLONE_FLAGS,
    REFUSED_IOCTLS,
)

_ARCHITECTURES = MappingProxyType(
    {"x86_64": 0xC000003E, "i386": 0x40000003, "aarch64": 0xC00000B7, "arm": 0x40000028}
)
"""AUDIT_ARCH_… of include/uapi/linux/audit.h."""

_PROGRAMS_OF = MappingProxyType({"x86_64": ("x86_64", "i386"), "aarch64": ("aarch64", "arm")})
"""The architectures of the programs that a machine runs."""

_NUMBER, _ARCHITECTURE, _FIRST_ARGUMENT, _SECOND_ARGUMENT = 0, 4, 16, 24
"""Offsets in `struct seccomp_data`: the lower half of an argument, on little-endian machines."""

_ERROR = 0x00050000
_ALLOW, _REFUSE, _UNKNOWN = "allow", "refuse", "unknown"
_RESULTS = MappingProxyType(
    {_ALLOW: 0x7FFF0000, _REFUSE: _ERROR | errno.EPERM, _UNKNOWN: _ERROR | errno.ENOSYS}
)
"""The values that end the program, by label (SECCOMP_RET_… of include/uapi/linux/seccomp.h)."""

_CLONE, _IOCTL = "clone", "ioctl"


def is_supported(machine: str) -> bool:
    """Return whether a filter exists for a machine, by its name in uname(2)."""
    return machine in _PROGRAMS_OF


def unknown(names: Collection[str]) -> list[str]:
    """Return the names of which no supported machine has a system call."""
    known = _read_numbers() if names else {}
    return [name for name in names if name not in known]


def compile_for(machine: str, allowed: Collection[str] = ()) -> bytes:
    """Return the filter for a supported machine, as an array of `struct sock_filter`.

    Jobs can use the `allowed` system calls with any arguments, in addition to those of `system_calls`.
    """
    numbers = _read_numbers()
    program = [instruction(LOAD, _ARCHITECTURE)]
    for architecture in _PROGRAMS_OF[machine]:
        targets = {
            of[architecture]: _target(name, allowed) for name, of in numbers.items() if architecture in of
        }
        block = _block(targets)
        program.append(instruction(IF_EQUAL, _ARCHITECTURES[architecture], 1, 0))
        program.append(instruction(JUMP, len(block)))
        program += block
    program.append(instruction(RETURN, _RESULTS[_UNKNOWN]))
    return b"".join(program)


def _block(targets: Mapping[int, str]) -> list[bytes]:
    """Return the instructions for one architecture, which end the program. `targets` are labels by number."""
    block = Assembler()
    block.load(_NUMBER)
    block.search(list(_ranges(targets, _UNKNOWN)))
    for name in sorted({*targets.values()} - {*_RESULTS}):
        block.mark(name)
        block.load(_SECOND_ARGUMENT if name == _IOCTL else _FIRST_ARGUMENT)
        if name == _CLONE:
            block.if_any_bit(REFUSED_CLONE_FLAGS, _REFUSE, _ALLOW)
        elif name == _IOCTL:
            block.search(list(_ranges(dict.fromkeys(REFUSED_IOCTLS, _REFUSE), _ALLOW)))
        else:
            block.search(list(_ranges(dict.fromkeys(ALLOWED_ARGUMENTS[name], _ALLOW), _REFUSE)))
    for label, value in _RESULTS.items():
        block.mark(label)
        block.finish(value)
    return block.assemble()


def _target(name: str, allowed: Collection[str]) -> str:
    if name in allowed or name in ALLOWED:
        return _ALLOW
    if name in REFUSED:
        return _REFUSE
    return name if name in {_CLONE, _IOCTL, *ALLOWED_ARGUMENTS} else _UNKNOWN


def _ranges(targets: Mapping[int, str], otherwise: str) -> Iterator[Range]:
    """Yield the ranges of all values of 32 bits."""
    last = None
    for value in sorted({0, *targets, *(each + 1 for each in targets)} - {1 << 32}):
        target = targets.get(value, otherwise)
        if target != last:
            yield Range(value, target)
        last = target


def _read_numbers() -> Mapping[str, Mapping[str, int]]:
    """Return the numbers of each system call, by architecture."""
    table = resources.files("jobworkerd.spawn").joinpath("system_call_numbers.txt").read_text("ascii")
    header, *lines = (line.split() for line in table.splitlines() if not line.startswith("#"))
    return {name: _row(header[1:], numbers) for name, *numbers in lines}


def _row(architectures: Iterable[str], numbers: Iterable[str]) -> Mapping[str, int]:
    return {each: int(number) for each, number in zip(architectures, numbers, strict=True) if number != "-"}
