"""The speed measurement runs, and both ways agree."""

import re
import runpy
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "metrics_speed.py"


def test_the_measurement_prints_ratios_for_both_precisions(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(sys, "argv", [str(SCRIPT), "--num-scores", "2001", "--repeats", "1"])
    runpy.run_path(str(SCRIPT), run_name="__main__")
    out = capsys.readouterr().out
    for dtype in ("float64", "float32"):
        assert f"1000 ID and 1001 OOD scores, {dtype}, 1 thread, median of 1" in out
    for way in ("scikit-learn", "summarise", "auroc, fpr_at_tpr"):
        assert len(re.findall(rf"^{way} +[\d.]+ s +ratio +[\d.]+ +peak +\d+ MiB", out, re.M)) == 2
    gaps = re.findall(r"AUROC off by (\S+), FPR95 by (\S+)", out)
    assert len(gaps) == 6
    assert max(float(gap) for pair in gaps for gap in pair) < 1e-12
