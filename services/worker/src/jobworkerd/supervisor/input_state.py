"""The accepted length of each client's input, without its bytes."""

import msgspec

_MAX_OTHERS = 16
"""Earlier inputs of a job whose clients can return."""


class InputState(msgspec.Struct, frozen=True):
    """The inputs of one job.

    From `spool_size` on, the bytes of the spool belong to the input `input_id`, from its position `offset`
    on. So the size of the spool implies its accepted length, and a chunk changes only the spool. `others` has
    the accepted lengths of earlier inputs. `ended` is true if a client has ended its input.
    """

    input_id: str = ""
    offset: int = 0
    spool_size: int = 0
    others: tuple[tuple[str, int], ...] = ()
    ended: bool = False

    def accepted(self, input_id: str, spool_size: int) -> int:
        """Return the accepted length of an input, for the current size of the spool."""
        if input_id == self.input_id:
            return self.offset + spool_size - self.spool_size
        return dict(self.others).get(input_id, 0)

    def switched(self, input_id: str, spool_size: int) -> "InputState":
        """Return the state in which the next bytes of the spool belong to an input."""
        if input_id == self.input_id:
            return self
        lengths = dict(self.others)
        offset = lengths.pop(input_id, 0)
        if self.input_id:
            lengths[self.input_id] = self.accepted(self.input_id, spool_size)
        return InputState(input_id, offset, spool_size, tuple(lengths.items())[-_MAX_OTHERS:], self.ended)


_decoder = msgspec.msgpack.Decoder(InputState)


def encode(state: InputState) -> bytes:
    """Return a state as bytes."""
    return msgspec.msgpack.encode(state)


def decode(data: bytes) -> InputState:
    """Return the state that `encode` has encoded.

    Raises:
        msgspec.DecodeError: the bytes have another format.
    """
    return _decoder.decode(data)
