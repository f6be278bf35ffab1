import pytest

from clipn.benchmarks import EvaluationOptions, compare_results, evaluate
from clipn.errors import DataError


@pytest.fixture
def two_folders(learnable_model, painted_suite, painted_root, tmp_path):
    folders = tmp_path / "first", tmp_path / "second"
    for folder, scores in zip(folders, (["msp", "energy"], ["energy", "mcm"]), strict=True):
        evaluate(
            learnable_model,
            painted_suite,
            data_root=painted_root,
            out_dir=folder,
            scores=scores,
            options=EvaluationOptions(num_resamples=0),
        )
    return folders


def test_only_what_both_hold_is_compared(two_folders):
    differences = compare_results(*two_folders, num_resamples=10)
    assert {one.score for one in differences} == {"energy"}
    assert {one.set_name for one in differences} == {"grey", "pink", "average"}


def test_a_model_does_not_differ_from_itself(two_folders):
    for one in compare_results(*two_folders, num_resamples=10):
        assert one.difference == 0
        assert one.interval in (None, (0.0, 0.0))


def test_the_difference_is_second_minus_first(
    two_folders, handcrafted_model, painted_suite, painted_root, tmp_path
):
    other = tmp_path / "other"
    evaluate(
        handcrafted_model,
        painted_suite,
        data_root=painted_root,
        out_dir=other,
        scores=["energy"],
        options=EvaluationOptions(num_resamples=0, templates=["{}"]),
    )
    there = compare_results(two_folders[0], other, num_resamples=50)
    back = compare_results(other, two_folders[0], num_resamples=50)
    for one, opposite in zip(there, back, strict=True):
        assert one.difference == pytest.approx(-opposite.difference)
        assert one.difference == one.second - one.first


def test_folders_that_share_nothing_are_refused(two_folders, tmp_path):
    with pytest.raises(DataError, match="holds no results"):
        compare_results(two_folders[0], tmp_path / "nothing")


def test_different_images_are_refused(two_folders, learnable_model, painted_suite, painted_root):
    (painted_root / "grey" / "0.png").write_bytes((painted_root / "pink" / "0.png").read_bytes())
    evaluate(
        learnable_model,
        painted_suite,
        data_root=painted_root,
        out_dir=two_folders[1],
        scores=["energy"],
        options=EvaluationOptions(num_resamples=0, existing="replace"),
    )
    with pytest.raises(DataError, match="different images of grey"):
        compare_results(*two_folders)
