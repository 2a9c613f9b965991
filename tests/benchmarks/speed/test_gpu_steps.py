import numpy as np

from benchmarks.speed import gpu_steps


def test_fp16_comes_before_cuda_graphs_which_record_it() -> None:
    steps = list(gpu_steps.all_steps({"fp32", "fp16"}))
    assert [(step.name, step.arithmetic, step.gpu.cuda_graphs) for step in steps[-2:]] == [
        ("+ FP16", "fp16", False),
        ("+ CUDA graphs", "fp16", True),
    ]


def test_labels_are_those_of_the_frames_whatever_the_batch() -> None:
    frames = np.arange(5, dtype=np.uint8).reshape(5, 1, 1, 1)
    sizes: list[int] = []

    def answer(batch: np.ndarray) -> np.ndarray:
        sizes.append(len(batch))
        return batch.ravel()

    assert gpu_steps.labels(answer, frames, 2).tolist() == [0, 1, 2, 3, 4]
    assert sizes == [2, 2, 2]
