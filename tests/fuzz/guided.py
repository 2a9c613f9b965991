"""`python -m tests.fuzz.guided SURFACE`: cases chosen by coverage.

atheris (libFuzzer) keeps the bytes that reached new lines of partsight, and changes those further. It ends at the first
finding and leaves its bytes in a file `…-crash-…` beside the corpus, to be given as FILE to run the case again.
"""

import argparse
import contextlib
import random
import sys
import tempfile
from pathlib import Path


class BytesRandom(random.Random):
    """Random numbers that are read from bytes, so that a fuzzer who changes the bytes changes the case."""

    def __init__(self, data: bytes) -> None:
        super().__init__(0)
        self._data, self._place = data, 0

    def getrandbits(self, count: int, /) -> int:
        """Return the next bits; 0 where the bytes have come to an end."""
        size = (count + 7) // 8
        piece = self._data[self._place : self._place + size]
        self._place += size
        return int.from_bytes(piece.ljust(size, b"\0"), "little") & (1 << count) - 1

    def random(self) -> float:
        """Return a number in [0, 1)."""
        return self.getrandbits(32) / 2**32


def main() -> int:
    """Run what the command line asks for. atheris ends the process: with 0 when the time is over."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.guided", description=__doc__)
    parser.add_argument("surface", help="of those that `python -m tests.fuzz --help` names")
    parser.add_argument("file", nargs="?", type=Path, help="one case to run again")
    parser.add_argument("--seconds", type=int, default=60, help="how long (default: %(default)s)")
    parser.add_argument("--corpus", type=Path, default=Path("build/fuzz"), help="folder of what reached new lines")
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
