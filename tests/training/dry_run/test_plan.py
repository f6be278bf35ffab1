"""What a dry run says of a run, and that it leaves nothing behind."""

import tempfile
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from clipn.cli.main import run
from clipn.training import train
from clipn.training.dry_run import plan as plan_module
from clipn.training.dry_run import plan_run
from clipn.training.dry_run.calibration import Calibration
from clipn.training.dry_run.problems import too_little_memory, too_little_room
from clipn.training.dry_run.room import DiskNeed, available_memory, find_disks


@pytest.fixture(autouse=True)
def temporary(tmp_path, monkeypatch):
    """Where temporary files go; empty again after every dry run."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    yield folder
    assert not any(folder.iterdir())


@pytest.fixture
def command(configure, base_folder, pairs_file, tmp_path):
    """`clipn train ... --dry-run`."""
    options = {"--model": base_folder, "--pairs.source": pairs_file, "--accelerator": "cpu"}
    options |= {"--out-dir": tmp_path / "run", "--batch-size": 8, "--epochs": 3}
    return ["train", *(str(part) for option in options.items() for part in option), "--dry-run"]


def test_the_command_says_what_a_run_would_take_and_leaves_nothing_behind(
    command, capsys, tmp_path
):
    assert run([*command, "--num-ranks", "2"]) == 0
    lines = {line[:13].strip(): line[13:].strip() for line in capsys.readouterr().out.splitlines()}
    assert lines["pairs"] == "24 in 1 shards (1 by the rows of the tables)"
    assert lines["sample"] == "24 pairs of 1 shards: 0 cannot be used (0.0%)"
    assert lines["steps"] == "9 of 8 pairs over 2 ranks, 3 epochs"
    assert {"captions", "time", "cache", "disk", "memory"} <= lines.keys()
    assert lines["This run woul"] == "d work. Nothing was started or kept."
    assert not (tmp_path / "run").exists()


def test_the_plan_is_the_run_that_follows(configure, tmp_path, read_log):
    config = configure()
    plan = plan_run(config)
    assert not (tmp_path / "cache").exists()
    assert (plan.num_steps, plan.num_steps_done, plan.num_shards_done) == (9, 0, 0)
    assert plan.problems == ()
    assert plan.seconds_to_embed > 0
    assert plan.seconds_to_teach > 0
    assert plan.calibration.peak_bytes > 0
    train(config)
    assert read_log()[-1]["num_steps"] == plan.num_steps
    size = sum(path.stat().st_size for path in (tmp_path / "cache").glob("*.npy"))
    assert 0.5 * plan.cache_bytes < size <= plan.cache_bytes + 8 * 128  # a header an array


def test_what_an_earlier_start_has_done_is_not_counted_again(configure):
    train(configure())
    plan = plan_run(configure())
    assert (plan.num_steps_done, plan.num_shards_done) == (9, 1)
    assert plan.seconds_to_embed == plan.seconds_to_teach == 0
    assert plan.problems == ()


def test_a_run_that_cannot_go_on_is_told_before_it_starts(configure):
    train(configure())
    [problem] = plan_run(configure(lr=2e-3)).problems
    assert "other settings: lr was 0.001 and is 0.002" in problem
    [problem] = plan_run(configure(cache_dtype="float16")).problems
    assert "dtype 'float32' instead of 'float16'" in problem


def test_too_many_bad_pairs_are_told_before_the_run_starts(command, pair_rows, capsys, tmp_path):
    rows = [{**row, "image": {"bytes": b"no image", "path": None}} for row in pair_rows[:6]]
    pd.DataFrame(rows + pair_rows[6:]).to_parquet(tmp_path / "bad.parquet")
    command[command.index("--pairs.source") + 1] = str(tmp_path / "bad.parquet")
    assert run(command) == 1
    out = capsys.readouterr().out
    assert "problem: 6 of 24 sampled pairs cannot be used, more than the allowed share" in out
    assert "This run would not work." in out


def test_too_few_pairs_are_told_before_the_run_starts(configure, pair_rows, tmp_path):
    pd.DataFrame(pair_rows[:5]).to_parquet(tmp_path / "few.parquet")
    plan = plan_run(configure(pairs={"source": str(tmp_path / "few.parquet")}))
    assert plan.problems == ("5 usable pairs are too few to teach from or to measure with.",)
    assert plan.seconds_to_embed is None


def test_a_run_without_room_is_told_before_it_starts(configure, monkeypatch):
    def find_small_disks(needs):
        return tuple(replace(disk, free_bytes=1000) for disk in find_disks(needs))

    monkeypatch.setattr(plan_module, "find_disks", find_small_disks)
    monkeypatch.setattr(plan_module, "available_memory", lambda device: 1000)
    room, memory = plan_run(configure()).problems
    assert room.endswith("0.0 GB free; 0.0 GB are needed.")
    assert memory.startswith("1 ranks need")


def test_a_dry_run_is_for_one_process(command, monkeypatch, capsys):
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert run(command) == 2
    assert "leave torchrun out and give --num-ranks" in capsys.readouterr().err
    monkeypatch.delenv("WORLD_SIZE")
    assert run([*command, "--num-ranks", "3"]) == 2
    assert "batch_size must be divisible by the 3 ranks; got 8" in capsys.readouterr().err


# Room


def test_folders_of_one_disk_share_it(tmp_path):
    [disk] = find_disks({tmp_path / "a" / "b": 10, tmp_path / "c": 5})
    assert disk.folder == tmp_path / "a" / "b"
    assert disk.needed_bytes == 15
    assert disk.is_writable
    assert disk.free_bytes > 0


def test_a_file_in_the_way_is_no_folder(tmp_path):
    (tmp_path / "file").write_text("")
    [disk] = find_disks({tmp_path / "file" / "run": 10})
    assert list(too_little_room([disk])) == [
        f"{tmp_path / 'file' / 'run'} cannot be made or written to."
    ]


def test_ranks_on_cpus_share_the_memory_of_the_machine_and_gpus_have_their_own():
    measured = Calibration(
        device="cpu", num_pairs=8, seconds_per_pair=1, seconds_per_step=1, peak_bytes=10**9
    )
    [problem] = too_little_memory(measured, 3 * 10**9, num_ranks=4)
    assert problem.startswith("4 ranks need 4.0 GB of memory; 3.0 GB are available.")
    assert not list(too_little_memory(measured, 3 * 10**9, num_ranks=2))
    on_gpus = replace(measured, device="cuda")
    assert not list(too_little_memory(on_gpus, 3 * 10**9, num_ranks=4))


def test_a_full_disk_is_a_problem(tmp_path):
    disk = DiskNeed(folder=tmp_path, needed_bytes=2 * 10**9, free_bytes=10**9, is_writable=True)
    [problem] = too_little_room([disk])
    assert problem.endswith("has 1.0 GB free; 2.0 GB are needed.")


@pytest.mark.skipif(not Path("/proc/meminfo").exists(), reason="only Linux tells what is available")
def test_the_available_memory_is_that_of_the_machine():
    assert 10**6 < available_memory("cpu") < 10**14
