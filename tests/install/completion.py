"""Completes a command line in each shell of the machine, as a user would with the Tab key."""

from tests.install.machine import Machine

_BASH = """
. /usr/share/bash-completion/completions/{program}
COMP_WORDS=({line}) COMP_CWORD=1
_{program}_completion {program}
printf '%s\\n' "${{COMPREPLY[@]}}"
"""
# fish writes to its home directory.
_FISH = """HOME=/tmp/fish fish -c 'complete --do-complete "{line}"' | cut -f 1"""
# zsh completes only in a terminal and only a unique prefix. Ctrl-X prints the line after its completion.
_ZSH = r"""
cat >/tmp/complete <<'SCRIPT'
zmodload zsh/zpty
zpty shell 'zsh -f -i'
zpty -w shell 'autoload compinit; compinit -u -D'
zpty -w shell 'show() {{ print "LINE $BUFFER;" }}; zle -N show; bindkey "^X" show'
zpty -n -w shell $'{line}\t\x18'
zpty -r shell answer '*LINE {program}*;'
print -r -- "$answer"
SCRIPT
timeout 60 zsh -f /tmp/complete | sed -n 's/.*LINE {program} \(.*\) *;.*/\1/p'
"""
_SCRIPTS = {"bash": _BASH, "fish": _FISH, "zsh": _ZSH}


def complete(machine: Machine, shell: str, line: str) -> set[str]:
    """Return what the shell offers for the last word of the line; zsh offers nothing unless it is unique."""
    script = _SCRIPTS[shell].format(program=line.split(maxsplit=1)[0], line=line)
    return set(machine.output(script).split())
