"""The model and the inputs of `svd`, with only the temporal layers trained. Start weights, inputs and gradients are that case's files."""

import importlib.util
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from common import *  # noqa: E402,F403


def main():
    spec = importlib.util.spec_from_file_location("svd_export", HERE.parent / "svd" / "export.py")
    svd = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(svd)
    unet = svd.build()
    temporal = {name: value for name, value in unet.named_parameters() if any(part in name for part in TEMPORAL)}
    case = Case(__file__, "svd", svd.SEED, shared="svd", trained=["temporal"], prediction="edm")
    case.parts["unet"] = dict(unet.named_parameters())
    case.train(unet, temporal, svd.inputs(), svd.loss_of(unet))


if __name__ == "__main__":
    main()
