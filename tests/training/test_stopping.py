"""Signals that ask a run to end: what is kept, and that it goes on as if nothing had been."""

import signal
import threading

import pytest

from clipn.errors import StopRequested
from clipn.training import train
from clipn.training.stopping import StopSwitch


def raise_at(step, signum):
    """Send this process a signal within a step."""

    def on_step(record):
        if record.step == step:
            signal.raise_signal(signum)
            signal.raise_signal(signum)  # torchrun sends Ctrl-C on to ranks that have got it

    return on_step


@pytest.mark.parametrize(("signum", "exit_code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_ends_the_run_after_its_step_with_a_checkpoint(
    configure, fresh_model, assert_same_weights, read_log, tmp_path, signum, exit_code
):
    handlers = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    config = configure(checkpoint_every=100)
    with pytest.raises(StopRequested, match=r"after step 5 of 9; its checkpoint is kept") as stop:
        train(config, model=fresh_model(), on_step=raise_at(5, signum))
    assert stop.value.exit_code == exit_code
    assert str(stop.value).startswith(f"stopped by {signum.name}")
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] == handlers
    assert [path.name for path in (tmp_path / "run/checkpoints").iterdir()] == ["step-00000005"]
    steps = []
    resumed = train(config, model=fresh_model(), on_step=lambda record: steps.append(record.step))
    assert steps == [6, 7, 8, 9]
    other = configure(out_dir=tmp_path / "other")
    assert_same_weights(resumed, train(other, model=fresh_model()))
    assert [line["step"] for line in read_log()] == list(range(1, 10))


def test_a_signal_in_the_last_step_lets_the_run_end(configure, fresh_model, tmp_path):
    train(configure(), model=fresh_model(), on_step=raise_at(9, signal.SIGTERM))
    assert (tmp_path / "run" / "model.safetensors").exists()


def test_a_signal_while_the_cache_is_built_ends_the_run_at_once(configure, fresh_model, tmp_path):
    def on_shard(done, total):
        signal.raise_signal(signal.SIGTERM)

    with pytest.raises(StopRequested, match="by SIGTERM before the first step; what was finished"):
        train(configure(), model=fresh_model(), on_shard=on_shard)
    assert (tmp_path / "cache" / "parts" / "000000.npz").exists()
    assert not (tmp_path / "run").exists()
    train(configure(), model=fresh_model())


def test_signals_are_left_alone_outside_of_the_main_thread():
    seen = []

    def mind():
        with StopSwitch():
            seen.append(signal.getsignal(signal.SIGTERM))

    before = signal.getsignal(signal.SIGTERM)
    thread = threading.Thread(target=mind)
    thread.start()
    thread.join()
    assert seen == [before]
