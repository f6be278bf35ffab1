"""Between the steps: the CLIP of step 1 as a model folder that `clipn train` can teach.

    python recipes/compact/export_base.py --checkpoint runs/leg3/last.pt --out-dir runs/compact-base

The towers are as step 1 left them; the token rows that its captions never touched are zero. Without
a checkpoint they are those of the shipped model, in half precision: step 2 can be repeated without
step 1. The order of the classes does not depend on the temperature, so another one may be tried.
"""

import argparse
import json
import math
from pathlib import Path

import torch

from classes import TEMPLATES
from clipn.model import CLIPN, build_base, load_model, save_model

ARCHITECTURE = Path(__file__).with_name("architecture.json")


def read_clip(checkpoint: Path) -> CLIPN:
    """The plain CLIP of step 1; token rows that no caption touched are zero."""
    state = torch.load(checkpoint, weights_only=True)
    base = build_base(json.loads(ARCHITECTURE.read_text()), name="compact")
    weights, token_ids = state["model"], state["token_ids"]
    rows = torch.zeros_like(base.clip.token_embedding.weight)
    rows[token_ids] = weights["token_embedding.weight"]
    base.clip.load_state_dict({**weights, "token_embedding.weight": rows})
    model = CLIPN(base)
    model.known_tokens, model.templates = token_ids, tuple(TEMPLATES)
    return model


def read_shipped() -> CLIPN:
    """The shipped model without its "no"."""
    model = load_model("compact")
    model.no_tower = None
    return model


def main() -> None:
    """Read the towers, write the folder."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--checkpoint", type=Path, help="of step 1; the shipped model by default")
    parser.add_argument("--tau", type=float, help="temperature; the one of step 1 by default")
    parser.add_argument("--out-dir", type=Path, required=True)
    args = parser.parse_args()
    model = read_clip(args.checkpoint) if args.checkpoint else read_shipped()
    if args.tau is not None:
        model.logit_scale.data.fill_(math.log(args.tau))
    save_model(model, args.out_dir)
    print(f"{args.out_dir}: tau {model.tau:.2f}, {len(model.known_tokens)} known tokens")


if __name__ == "__main__":
    main()
