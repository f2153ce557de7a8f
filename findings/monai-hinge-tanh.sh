#!/bin/sh
# MONAI's hinge loss has almost no slope where the discriminator is wrong.
#
# PatchAdversarialLoss(criterion="hinge") takes the tanh of the logits before the hinge. The hinge loss of Lim & Ye
# (2017) has slope -1 for a real sample's logit of -5, which is what pulls it up. Here the slope is that of tanh,
# -1.8e-4, and the loss never exceeds 2 for one sample: a discriminator that is sure and wrong hardly learns from it.
# G's loss is 1 - tanh(f), not -f, and saturates just where D wins. Besides, reduction="sum" adds up the terms of
# "bce" and "least_squares", but for "hinge" it still takes the mean of each discriminator's terms.
# Cure: compute the hinge of the logits themselves.
#
# Needs python3 with venv and pip, and no GPU. Installs the versions below into a temporary folder, which is removed
# at the end. Exits with 0 if they behave so, and with 1 if they do not.
#
#     sh findings/monai-hinge-tanh.sh

set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 1' HUP INT TERM

cat > "$folder/hinge.py" <<'PYTHON'
import sys

import monai
import torch
from monai.losses import PatchAdversarialLoss


def slope(logit, **call):
    f = torch.full((1, 1, 1, 1), logit, requires_grad=True)
    PatchAdversarialLoss(criterion="hinge")(f, **call).backward()
    return f.grad.item()


print(f"MONAI {monai.__version__}, torch {torch.__version__}")
of_d = slope(-5.0, target_is_real=True, for_discriminator=True)
of_g = slope(-5.0, target_is_real=True, for_discriminator=False)
print(f"  slope of D's loss of a real sample with logit -5: {of_d:.2g} (hinge: -1)")
print(f"  slope of G's loss at a logit of -5: {of_g:.2g} (hinge: -1)")
logits = torch.full((2, 1, 3, 3), -1.0)
call = {"target_is_real": True, "for_discriminator": True}
sums = {kind: PatchAdversarialLoss("sum", kind)(logits, **call).item() for kind in ("bce", "hinge")}
means = {kind: PatchAdversarialLoss("mean", kind)(logits, **call).item() for kind in ("bce", "hinge")}
for kind in sums:
    print(f"  {kind} of 18 logits: sum / mean = {sums[kind] / means[kind]:.3g}")
is_flat = -1e-3 < of_d < 0 and -1e-3 < of_g < 0
is_mean = abs(sums["hinge"] / means["hinge"] - 1) < 1e-6 and abs(sums["bce"] / means["bce"] - 18) < 1e-3
print("  the hinge is", "flat, and its sum a mean" if is_flat and is_mean else "another: fixed")
sys.exit(not (is_flat and is_mean))
PYTHON

python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 monai==1.6.1
"$folder/env/bin/python" -W ignore "$folder/hinge.py"
