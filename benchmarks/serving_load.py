"""The service under load: right answers, latency, throughput, memory, and an end without loss.

    python benchmarks/serving_load.py [--seconds 180] [--clients 64] [--images 1] [--side 64]

Starts `clipn serve` with the compact model and lets clients on the same machine ask as fast as they
are answered, each over one connection. Every answer is compared with that of `Detector.predict` in
this process. Then SIGTERM is sent under load: every request that the service has taken must have
been answered in full.

The image tower's rate is measured in processes of their own, in batches of the service's size:
alone, and beside an equal load, that is beside the same clients, which ask as often as before a
service that does all its work but the tower's. The difference is what HTTP, decoding and clients
cost on the same cores.
"""

import argparse
import asyncio
import io
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from serving_clients import Load, Tally, run_clients

from clipn.cli.demo import find_pictures
from clipn.detector import Detector
from clipn.model import load_model
from clipn.serving.app import create_app
from clipn.serving.schemas import ClassSetContent
from clipn.serving.server import Server
from clipn.serving.settings import Settings
from clipn.serving.torch_engine import TorchEngine

CLASSES = ("tabby cat", "espresso", "school bus", "pizza", "sports car")
NUM_IMAGES = 256
TOWER_SECONDS, WARM_SECONDS = 5, 10


def make_images(side: int) -> list[bytes]:
    """JPEG files of so many pixels a side, cut from scikit-image's photographs."""
    generator = np.random.default_rng(0)
    photos = [Image.open(path).convert("RGB") for path in find_pictures()]
    files = []
    for number in range(NUM_IMAGES):
        photo = photos[number % len(photos)]
        crop = int(generator.integers(64, min(photo.size) + 1))
        left, top = (int(generator.integers(0, size - crop + 1)) for size in photo.size)
        view = photo.crop((left, top, left + crop, top + crop)).resize((side, side))
        buffer = io.BytesIO()
        view.save(buffer, "JPEG", quality=90)
        files.append(buffer.getvalue())
    return files


@contextmanager
def start(*arguments: str, log: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Run a command until its first line; gives the process and the last word of that line."""
    with log.open("w") as errors:
        process = subprocess.Popen(
            [sys.executable, *arguments], stdout=subprocess.PIPE, stderr=errors, text=True
        )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            raise SystemExit(f"{arguments} ended: {log.read_text()}")
        yield process, next(word for word in line.split() if word.startswith(("http", "tower")))
    finally:
        process.kill()
        process.wait()


def resident_mib(pid: int) -> float:
    """Memory that a process holds."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / (1 << 20)


def cpu_seconds(pid: int) -> float:
    """Processor time that a process has used, all threads together."""
    user, system = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


async def watch_memory(pid: int, memory: list[tuple[int, float]], tally: Tally) -> None:
    """Note answered requests and memory of a process again and again."""
    while True:
        memory.append((len(tally.seconds), resident_mib(pid)))
        await asyncio.sleep(1)


class Tower:
    """The image tower in a process of its own, as the service's is; measures on demand."""

    def __init__(self) -> None:
        command = [sys.executable, __file__, "--role", "tower"]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def rate(self, seconds: float) -> float:
        """Images a second."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(seconds, file=self._process.stdin, flush=True)
        return float(self._process.stdout.readline())

    def cpu_milliseconds(self, seconds: float) -> float:
        """Processor time of an image."""
        before = cpu_seconds(self._process.pid)
        num_images = seconds * self.rate(seconds)
        return 1000 * (cpu_seconds(self._process.pid) - before) / num_images

    def end(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()


def run_tower(batch_size: int) -> None:
    """Read seconds, and print images a second in batches, again and again."""
    model = load_model("compact")
    pixels = torch.randn(batch_size, 3, *model.source.preprocess["size"])
    for line in sys.stdin:
        num_images, begin = 0, time.perf_counter()
        with torch.inference_mode():
            while time.perf_counter() - begin < float(line):
                model.encode_image(pixels)
                num_images += batch_size
        print(num_images / (time.perf_counter() - begin), flush=True)


class TowerlessEngine(TorchEngine):
    """Does everything but the image tower's work."""

    def encode(self, images: Sequence[torch.Tensor]) -> np.ndarray:
        """Embeddings that mean nothing."""
        return np.full((len(images), self.info.embedding_dim), 0.01, dtype=np.float32)


def serve_towerless() -> None:
    """A service without its tower."""
    engine = TowerlessEngine(load_model("compact"))
    content = ClassSetContent(classes=list(CLASSES), score=None, rule=None, threshold=None)
    Server(
        create_app(engine, class_sets={"default": content}),
        port=0,
        on_ready=lambda address: print(address, flush=True),
    ).run()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=180)
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--images", type=int, default=1, help="a request")
    parser.add_argument("--side", type=int, default=64, help="pixels a side of the images")
    parser.add_argument("--role", choices=["tower", "towerless"], help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.role == "tower":
        run_tower(Settings().batch_size)
    elif args.role == "towerless":
        serve_towerless()
    else:
        measure(args)


@dataclass(frozen=True, kw_only=True)
class Round:
    """Images a second of the service and, close in time, of the tower."""

    service: float
    alone: float
    beside: float
    """Beside an equal load, which is answered without a tower."""
    cpu: float
    """Processor milliseconds that the service used for an image."""


def measure(args: argparse.Namespace) -> None:
    """The whole measurement."""
    files = make_images(args.side)
    answers = Detector(load_model("compact"), CLASSES).predict(files)
    load = Load(
        files=files,
        expected=[(answer.label, answer.score) for answer in answers],
        images_a_request=args.images,
    )
    serve = ("-m", "clipn.cli.main", "serve", "--port", "0", "--log", "requests")
    with (
        tempfile.TemporaryDirectory() as folder,
        start(*serve, "--classes", ",".join(CLASSES), log=Path(folder) / "log") as service,
        start(__file__, "--role", "towerless", log=Path(folder) / "other-log") as towerless,
    ):
        (process, address), (_, other_address) = service, towerless
        tower = Tower()
        try:
            tally, memory, rounds = asyncio.run(
                hold(address, other_address, load, args, process.pid, tower)
            )
            cpu = tower.cpu_milliseconds(TOWER_SECONDS)
        finally:
            tower.end()
        report_load(tally, memory, rounds, args)
        print(f"processor time of the tower alone: {cpu:.1f} ms an image")
        report_end(
            asyncio.run(end(address, load, args, process)), tally, process, Path(folder) / "log"
        )


async def hold(
    address: str, other_address: str, load: Load, args: argparse.Namespace, pid: int, tower: Tower
) -> tuple[Tally, list[tuple[int, float]], list[Round]]:
    """Rounds of load, after some to warm up; each between two measurements of the tower."""
    tally = await run_clients(address, load, args.clients, WARM_SECONDS)
    whole, rounds = Tally(answered=tally.answered), []
    memory: list[tuple[int, float]] = []
    watching = asyncio.create_task(watch_memory(pid, memory, whole))
    alone = await asyncio.to_thread(tower.rate, TOWER_SECONDS)
    for _ in range(args.rounds):
        seconds = args.seconds / args.rounds
        used = cpu_seconds(pid)
        tally = await run_clients(address, load, args.clients, seconds)
        used = cpu_seconds(pid) - used
        whole.add(tally)
        rate = tally.statuses[200] / seconds
        equal = asyncio.create_task(
            run_clients(other_address, load, args.clients, TOWER_SECONDS + 2, rate)
        )
        await asyncio.sleep(1)
        beside = await asyncio.to_thread(tower.rate, TOWER_SECONDS)
        await equal
        before, alone = alone, await asyncio.to_thread(tower.rate, TOWER_SECONDS)
        rounds.append(
            Round(
                service=rate * args.images,
                alone=(before + alone) / 2,
                beside=beside,
                cpu=1000 * used / (tally.statuses[200] * args.images),
            )
        )
    watching.cancel()
    return whole, memory, rounds


def report_load(
    tally: Tally,
    memory: Sequence[tuple[int, float]],
    rounds: Sequence[Round],
    args: argparse.Namespace,
) -> None:
    """Print what the clients saw."""
    p50, p95, p99 = (1000 * np.percentile(tally.seconds, q) for q in (50, 95, 99))
    requests, mib = np.array(memory).T
    half = len(mib) // 2
    slope = np.polyfit(requests[half:], mib[half:], 1)[0] * 1000
    print(
        f"{args.clients} clients, {args.images} images of {args.side} px a request, "
        f"{args.seconds:.0f} s in {args.rounds} rounds, {os.cpu_count()} cores\n"
        f"{len(tally.seconds)} requests, statuses {dict(tally.statuses)}, {tally.num_wrong} wrong, "
        f"{tally.num_cut} cut\n"
        f"latency p50 {p50:.0f}, p95 {p95:.0f}, p99 {p99:.0f} ms\n"
        f"memory {mib[0]:.0f} MiB at first, {mib[half]:.0f} half way, {mib[-1]:.0f} at last, at "
        f"most {mib.max():.0f}; {slope:+.2f} MiB a thousand requests in the second half"
    )
    for name, values in {
        "service, images/s": [one.service for one in rounds],
        "tower alone, images/s": [one.alone for one in rounds],
        "tower beside an equal load, images/s": [one.beside for one in rounds],
        "processor time of the service, ms an image": [one.cpu for one in rounds],
        "service / tower alone, %": [100 * one.service / one.alone for one in rounds],
        "service / tower beside, %": [100 * one.service / one.beside for one in rounds],
    }.items():
        print(f"{name}: median {np.median(values):.4g}, {min(values):.4g} to {max(values):.4g}")


async def end(
    address: str, load: Load, args: argparse.Namespace, process: subprocess.Popen[str]
) -> Tally:
    """SIGTERM under load."""
    clients = asyncio.create_task(run_clients(address, load, args.clients, 60))
    await asyncio.sleep(3)
    process.send_signal(signal.SIGTERM)
    return await clients


def report_end(tally: Tally, before: Tally, process: subprocess.Popen[str], log: Path) -> None:
    """Compare what the service says to have taken with what the clients were answered."""
    code = process.wait(60)
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    taken = Counter(line["request_id"] for line in lines if line.get("route") == "/v1/detect")
    lost = set(taken) - tally.answered - before.answered
    print(
        f"SIGTERM: exit code {code}, {len(tally.seconds)} requests answered around it, "
        f"{tally.num_wrong} wrong, {tally.num_cut} cut, {len(lost)} taken and lost"
    )


if __name__ == "__main__":
    main()
