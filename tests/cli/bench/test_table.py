"""The table: the same facts as text, as Markdown and on the page."""

import re

import pytest

from partsight.cli.bench.facts import StageShares
from partsight.cli.bench.page import to_html
from partsight.cli.bench.table import HEAD, to_markdown, to_text
from partsight.cli.bench.verdict import judge, milliseconds, stages_of
from tests.cli.bench.made_up import made_up, nothing_to_recommend


def test_the_rows_are_sorted_by_speed() -> None:
    text = to_text(made_up(), judge(made_up()))
    rows = [re.split(r"  +", line) for line in text.splitlines()]
    assert [row[:6] for row in rows[rows.index(list(HEAD)) + 1 :][:4]] == [
        ["cpu", "int8", "16", "130.0", "4", "300.0"],
        ["openvino", "bf16", "16", "92.7", "3", "140.0"],
        ["cpu", "fp32", "16", "46.0", "1", "60.0"],
        ["cpu", "fp32", "1", "40.0", "1", "50.0"],
    ]
    assert "cuda (fp32, fp16): it was built without <CUDA>" in text
    assert ["", "network", "7.2 ms", "66%", "████████████████████"] in rows
    assert "cpu int8 0.02 (at most 0.3)" in text


def test_the_markdown_has_the_same_figures() -> None:
    text = to_markdown(made_up(), judge(made_up()))
    assert "| openvino | bf16 | 16 | 92.7 | 3 | 140.0 | 1,998 of 2,000 |" in text
    assert "| comparison | 2.6 ms | 24% |" in text
    assert "- cuda (fp32, fp16): it was built without <CUDA>" in text
    assert judge(made_up()).command in text


@pytest.mark.parametrize("shares", [(0.094, 0.663, 0.243), (1 / 3, 1 / 3, 1 / 3), (0, 0, 1.0)])
def test_all_forms_show_the_same_stages(shares: tuple[float, float, float]) -> None:
    facts = made_up(stages=StageShares(*shares))
    verdict = judge(facts)
    for text in (to_text(facts, verdict), to_markdown(facts, verdict), to_html(facts, verdict)):
        for stage in stages_of(facts):
            assert f"{stage.name} {stage.percent}%" in text
            assert re.search(rf"{re.escape(milliseconds(stage.ms))}\W+{stage.percent}%", text)


def test_no_form_recommends_wrong_labels() -> None:
    facts = nothing_to_recommend()
    verdict = judge(facts)
    for text in (to_text(facts, verdict), to_markdown(facts, verdict), to_html(facts, verdict)):
        assert "partsight run" not in text
        assert "1,997 of 2,000: NO" in text
