"""Settings of a line: its TOML file, command-line options, keys and signatures."""

import argparse
import contextlib
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from partsight.cli import options
from partsight.cli.run.config import LineConfig
from partsight.cli.run.toml_file import read_line_file
from partsight.runtime.core.errors import PartsightError
from partsight.runtime.page import parse_page_address
from partsight.runtime.sinks import parse_listen_address
from tests.fuzz import wild
from tests.fuzz.damage import damaged, garbage
from tests.fuzz.surface import Case, check

_WHOLE = b"""# a line
package = "line3.partsight"
sinks = ["jsonl:results.jsonl", "modbus://0.0.0.0:5020?cameras=left"]
provider = "cpu"
precision = "fp32"
batch = 4
threads = 2
threshold = 0.5
top = 3
trusted_keys = ["a.pub"]
policy = "queue:7"
deadline_ms = 200.5
watch = true
log = "json"
metrics = ":9100"
page = ":9200?data=page&cert=a.pem&key=b.pem"

[cameras.left]
address = "rtsp://user:hunter2@10.0.0.7/live"
timeout_s = 3.0

[cameras."right one"]
address = "gige:10.0.0.8"
exposure_us = 800
gain_db = -1.5
fps = 25
region = [0, 0, 640, 480]
trigger = "hardware"
"""
_ADDRESS = b'address = "rtsp://user:hunter2@10.0.0.7/live"'
_NAMES = tuple(line.split(b" ")[0].decode() for line in _WHOLE.splitlines() if b" = " in line)


@contextlib.contextmanager
def open_line_files(folder: Path) -> Iterator[Case]:
    """TOML files of a line: damaged, with any values, deep and foreign. No message shows a password."""
    path = folder / "line.toml"

    def case(rng: random.Random) -> None:
        data = _toml(rng)
        path.write_bytes(data)
        try:
            values = read_line_file(path)
            config = LineConfig(**{"package": "p", **values})
        except PartsightError as error:
            # Damage may move the address under another name.
            check("hunter2" not in str(error) or _ADDRESS not in data, "a message shows a password")
            raise
        check(config.batch >= 1 and config.top >= 1 and config.sinks != (), "a number of frames or parts below 1")
        check(all(policy.bound >= 1 for policy in config.policies.values()), "a policy without room for a frame")

    yield case


def _toml(rng: random.Random) -> bytes:
    style = rng.random()
    if style < 0.4:
        return damaged(rng, _WHOLE, (_WHOLE,))
    if style < 0.9:
        lines = _WHOLE.decode().splitlines()
        for _ in range(rng.choice((1, 1, 2, 4))):
            index = rng.randrange(len(lines))
            name = lines[index].split(" ")[0] if " = " in lines[index] else rng.choice(_NAMES)
            name = name if rng.random() < 0.8 else wild.text(rng, 8)
            lines[index] = rng.choice(
                (f"{name} = {_value(rng)}", f"[{wild.text(rng, 8)}]", lines[index] + "\n" + lines[index])
            )
        return "\n".join(lines).encode("utf-8", "surrogatepass")
    if style < 0.95:
        return garbage(rng, 500)
    depth = rng.choice((50, 500, 20_000))
    return b"package = " + rng.choice((b"[", b"{a=", b"'''", b'"\\u')) * depth


def _value(rng: random.Random) -> str:
    return rng.choice(
        (
            str(wild.number(rng)), "9" * rng.choice((20, 5000)), "inf", "nan", "-0.0", "true", "0x10", "1e400", "[]",
            "1979-05-27T07:32:00Z", f'"{wild.text(rng)}"', f"'{wild.text(rng)}'", f"[{wild.number(rng)}, 'x']", "[[1]]",
        )
    )  # fmt: skip


@contextlib.contextmanager
def open_options(_folder: Path) -> Iterator[Case]:
    """Parsers of command-line options: each returns a value or raises argparse's error."""
    parsers: tuple[Callable[[str], Any], ...] = (
        options.region, options.above_zero, options.finite, options.positive, options.policy,
        parse_listen_address, parse_page_address,
    )  # fmt: skip

    def case(rng: random.Random) -> None:
        parse = rng.choice(parsers)
        text = rng.choice(
            (
                wild.text(rng),
                str(wild.number(rng)),
                "9" * 5000,
                "1,2,3,4",
                "٣",
                "²",
                "1_0",
                " 1",
                "0x1",
                "queue:9",
                ":9200?data=page&idle_min=5&shifts=06:00,22:00",
            )
        )
        text = (
            damaged(rng, text.encode("utf-8", "surrogatepass")).decode("utf-8", "replace")
            if rng.random() < 0.3
            else text
        )
        try:
            parse(text)
        except (argparse.ArgumentTypeError, ValueError) as error:
            raise PartsightError(str(error) or "no") from error  # argparse makes the same of both

    yield case


@contextlib.contextmanager
def open_keys(folder: Path) -> Iterator[Case]:
    """Key files and signatures: damaged ones are refused, and no other key's signature is taken for a trusted one's."""
    from partsight.runtime.package.package import ModelPackage
    from partsight.runtime.package.sign import sign_package
    from partsight.runtime.signing.keys import PrivateKey, PublicKey, generate_key
    from tests.tiny import write_tiny_package

    public = generate_key(folder / "key")
    generate_key(folder / "other")
    package = write_tiny_package(folder / "p.partsight")
    sign_package(package, PrivateKey.read(folder / "key"))
    signature = (package / "signature.json").read_bytes()
    pems = tuple((folder / name).read_bytes() for name in ("key", "key.pub", "other.pub"))

    def case(rng: random.Random) -> None:
        style = rng.randrange(3)
        path = folder / "work"
        if style < 2:
            path.write_bytes(damaged(rng, rng.choice(pems), pems) if rng.random() < 0.95 else garbage(rng, 400))
            path.chmod(0o600)
            kind: Any = PublicKey if style else PrivateKey
            check(len(kind.read(path).key_id if style else kind.read(path).public.key_id) == 16, "a key without an id")
            return
        data = damaged(rng, signature, (signature,))
        (package / "signature.json").write_bytes(data)
        ModelPackage.read(package, [public])
        check(data == signature, "a signature file that was damaged is taken")

    yield case
