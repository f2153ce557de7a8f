#!/bin/sh
# lightweight-gan and stylegan2-pytorch augment a whole batch or none of it, and real and generated ones apart.
#
# Their --aug-prob reads like ADA's p, the probability with which each image is augmented. The wrapper around D draws one
# number for each call, so with 0.3 three of ten batches are augmented, each of them whole. The batch of real images and
# the generated one pass through it separately: in 42 % of the steps D compares augmented images with plain ones, and
# any trace of an augmentation tells them apart.
#
# Needs python3 with venv and pip, and no GPU. Installs the versions below into a temporary folder, which is removed at
# the end. What the packages import to read images and to draw progress is not installed, and their check for a GPU,
# which the wrapper does not need, is answered for them. Exits with 0 if they behave so, and with 1 if they do not.
#
#     sh findings/augmented-by-batch.sh

set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 1' HUP INT TERM

cat > "$folder/batches.py" <<'PYTHON'
import random
import sys
from importlib import import_module
from importlib.metadata import version
from unittest.mock import MagicMock

import torch
from torch import nn

for absent in ("aim", "fire", "torchvision", "vector_quantize_pytorch"):
    sys.modules[absent] = MagicMock()
torch.cuda.is_available = lambda: True

BATCH, STEPS, PROBABILITY = 16, 1_000, 0.3
images = torch.rand(BATCH, 3, 8, 8)
differs = False
print(f"torch {torch.__version__}, batches of {BATCH} images, prob={PROBABILITY}")
for name in ("lightweight_gan", "stylegan2_pytorch"):
    wrapper = import_module(f"{name}.{name}").AugWrapper(nn.Identity(), 8)
    random.seed(0)
    torch.manual_seed(0)

    def augmented():
        """The number of images of a batch that D sees changed."""
        seen = wrapper(images.clone(), prob=PROBABILITY, types=["color"])
        return int(((seen - images).abs().amax((1, 2, 3)) > 0).sum())

    pairs = [(augmented(), augmented()) for _ in range(STEPS)]
    counts = [count for pair in pairs for count in pair]
    some = sum(0 < count < BATCH for count in counts)
    whole = sum(count == BATCH for count in counts) / len(counts)
    unlike = sum(real != fake for real, fake in pairs) / STEPS
    print(f"  {name} {version(name.replace('_', '-'))}: {whole:.0%} of batches augmented whole, {some} in part;")
    print(f"    steps with one batch augmented and the other one plain: {unlike:.0%}")
    differs |= some > 0 or not 0.25 < whole < 0.35 or not 0.37 < unlike < 0.47
sys.exit(differs)
PYTHON

python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 numpy pillow tqdm einops==0.8.2 \
    kornia==0.9.0 adabelief-pytorch==0.2.1
"$folder/env/bin/pip" install --quiet --disable-pip-version-check --no-deps lightweight-gan==1.2.1 \
    stylegan2-pytorch==1.9.0
"$folder/env/bin/python" -W ignore "$folder/batches.py"
