"""What is in picture files: a key of each one's bytes, and whether it can be decoded, in one reading."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from dqroute.data.feature_cache import key_of
from dqroute.data.files.decoding import read_rgb, regular
from dqroute.data.files.reading import cores
from dqroute.data.files.threads import each

TOGETHER = 64  # files that a thread reads at a time
SMALL = 8  # side in pixels: of a JPEG all bytes are read, and an eighth of the work is done


def looked_through(base: Path, names: Sequence[str], decoded: Callable[[bytes], bool]) -> Iterator[bytes | Exception]:
    """The key of each file below ``base``, 16 bytes of SHA-256 over its content, or what is wrong with it, in order.

    Those whose key ``decoded`` says so of are decoded, too, so that damaged ones are found.
    """

    def look(name: str) -> bytes | Exception:
        # Damaged files raise almost anything: OSError, SyntaxError, ValueError, struct.error, EOFError.
        try:
            content = regular(base / name).read_bytes()
            key = key_of(content)
            if decoded(key):
                read_rgb(io.BytesIO(content), SMALL)
        except Exception as error:
            return error
        return key

    return each(look, names, cores(), TOGETHER)
