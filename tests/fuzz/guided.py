"""`python -m tests.fuzz.guided SURFACE`: cases chosen by coverage.

atheris (libFuzzer) keeps the bytes that reached new lines of partsight, and changes them further. It stops at the first
finding and writes the bytes to a file `…-crash-…` next to the corpus. Pass that file as FILE to run the case again.
"""

import argparse
import contextlib
import random
import sys
import tempfile
from pathlib import Path


class BytesRandom(random.Random):
    """Random numbers read from bytes, so that a fuzzer that changes the bytes changes the case."""

    def __init__(self, data: bytes) -> None:
        super().__init__(0)
        self._data, self._offset = data, 0

    def getrandbits(self, count: int, /) -> int:
        """Return the next bits; 0 after the last byte."""
        size = (count + 7) // 8
        piece = self._data[self._offset : self._offset + size]
        self._offset += size
        return int.from_bytes(piece.ljust(size, b"\0"), "little") & (1 << count) - 1

    def random(self) -> float:
        """Return a number in [0, 1)."""
        return self.getrandbits(32) / 2**32


def main() -> int:
    """Fuzz the surface that the command line names. atheris ends the process, with 0 when the time is over."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.guided", description=__doc__)
    parser.add_argument("surface", help="name of a surface from `python -m tests.fuzz --help`")
    parser.add_argument("file", nargs="?", type=Path, help="one case to run again")
    parser.add_argument("--seconds", type=int, default=60, help="duration (default: %(default)s)")
    parser.add_argument("--corpus", type=Path, default=Path("build/fuzz"), help="folder of cases with new lines")
    options = parser.parse_args()
    try:
        import atheris
    except ImportError:
        print("coverage guidance needs atheris (Linux): pip install 'partsight[fuzz]'", file=sys.stderr)
        return 2
    corpus = options.corpus / options.surface
    corpus.mkdir(parents=True, exist_ok=True)
    with atheris.instrument_imports(include=["partsight"]):
        from partsight.runtime.core.errors import PartsightError
        from tests.fuzz.catalog import SURFACES

        surface = SURFACES[options.surface]
        with tempfile.TemporaryDirectory() as folder, surface.open(Path(folder)) as case:

            def take(data: bytes) -> None:
                with contextlib.suppress(PartsightError):
                    case(BytesRandom(data))

            given = [str(options.file)] if options.file else [f"-max_total_time={options.seconds}", str(corpus)]
            bounds = [f"-timeout={round(surface.seconds)}", "-max_len=4096", f"-artifact_prefix={corpus}-"]
            atheris.Setup([sys.argv[0], *bounds, *given], take)
            atheris.Fuzz()
    return 0


if __name__ == "__main__":
    sys.exit(main())
