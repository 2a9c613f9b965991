import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import h5py
import keras
import pytest

from partsight.train import trainer
from partsight.train.interrupts import interrupts_kept
from partsight.train.run_folder import RunFolder, TrainConfig
from partsight.train.trainer import train
from tests.interrupts import interrupt, swallowed, swallowing

pytestmark = pytest.mark.usefixtures("pythons_sigint")


def test_no_interrupt() -> None:
    with interrupts_kept():
        pass
    with pytest.raises(ZeroDivisionError), interrupts_kept():
        _ = 1 / 0
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_one_that_nobody_swallows_is_at_once() -> None:
    with pytest.raises(KeyboardInterrupt), interrupts_kept():
        interrupt()
        pytest.fail("went on")
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_one_that_is_swallowed() -> None:
    went_on = False
    with pytest.raises(KeyboardInterrupt), interrupts_kept():
        swallowed()
        went_on = True
    assert went_on
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_one_that_becomes_an_error() -> None:
    def fail() -> None:
        swallowed()
        raise ValueError("a type that cannot be interpreted as a shape")

    with pytest.raises(KeyboardInterrupt) as caught, interrupts_kept():
        fail()
    assert isinstance(caught.value.__cause__, ValueError)


def test_a_program_with_a_handler_of_its_own_decides() -> None:
    seen: list[int] = []

    def own(number: int, _: object) -> None:
        seen.append(number)

    signal.signal(signal.SIGINT, own)
    with interrupts_kept():
        interrupt()
    assert seen == [signal.SIGINT]
    assert signal.getsignal(signal.SIGINT) is own


def test_another_thread() -> None:
    done = []

    def work() -> None:
        with interrupts_kept():
            done.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert done == [signal.default_int_handler]


@pytest.fixture
def weights_interrupted(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Ctrl-C while weights are opened: Keras then tries to open them differently, as if the disk were full."""
    opened, real = [], h5py.File

    def open_interrupted(*args: object, **options: object) -> object:
        opened.append(args)
        if len(opened) == 1:
            interrupt()
        return real(*args, **options)

    monkeypatch.setattr(h5py, "File", open_interrupted)
    yield
    assert len(opened) > 1, "Keras does not go on any more"


@pytest.mark.usefixtures("tiny_backbone", "weights_interrupted")
def test_a_model_that_is_saved(small_catalog: Path, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        train(small_catalog, tmp_path / "run", TrainConfig(side_px=64))
    assert [path.name for path in tmp_path.iterdir()] == [".partsight-cache"]


@pytest.mark.usefixtures("weights_interrupted")
def test_a_model_that_is_loaded(small_run: RunFolder) -> None:
    with pytest.raises(KeyboardInterrupt):
        RunFolder.read(small_run.path).load_model()


def test_an_interrupt_is_no_damaged_model(small_run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    def load(*_: object, **__: object) -> None:
        swallowed()
        raise OSError("cannot be interpreted")

    monkeypatch.setattr(keras.saving, "load_model", load)
    with pytest.raises(KeyboardInterrupt):
        RunFolder.read(small_run.path).load_model()


@pytest.mark.usefixtures("tiny_backbone")
@pytest.mark.parametrize("name", ["read_catalog", "build_extractor", "fit_head", "calibrate", "write_report"])
def test_every_stage_of_training(
    small_catalog: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(trainer, name, swallowing(getattr(trainer, name)))
    with pytest.raises(KeyboardInterrupt):
        train(small_catalog, tmp_path / "run", TrainConfig(side_px=64))
    assert {path.name for path in tmp_path.iterdir()} <= {".partsight-cache"}
