#!/bin/sh
# BigVGAN's upsampling with an odd filter turns a constant signal into an alternating one.
#
# UpSample1d of bigvgan and alias_free_torch takes any kernel_size, and normalizes the filter to a sum of 1. The even
# and the odd samples of the upsampled signal come from different taps, each of which would have to add up to 1/2. With
# an even number of taps they do, by symmetry. With an odd number they do not: a signal of ones becomes 1.12, 0.88,
# 1.12, ... with 5 taps, and 1.003, 0.997, ... with 11, a tone at the highest frequency that the low-pass filter is there
# to prevent. With 3 taps the first sample is 0.56, as nothing is padded. Downsampling by an odd filter is right. Cure:
# an even kernel_size, such as the default of 12.
#
# Needs python3 with venv and pip, and no GPU. Installs the versions below into a temporary folder, which is removed at
# the end. Exits with 0 if they behave so, and with 1 if they do not.
#
#     sh findings/odd-upsampling-filter.sh

set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 1' HUP INT TERM

cat > "$folder/constant.py" <<'PYTHON'
import sys
import types
from importlib.util import find_spec

import torch

# bigvgan's own __init__ imports what its training needs
package = types.ModuleType("bigvgan")
package.__path__ = list(find_spec("bigvgan").submodule_search_locations)
sys.modules["bigvgan"] = package

from alias_free_torch import resample as alias_free
from bigvgan.alias_free_activation.torch import resample as bigvgan

print(f"torch {torch.__version__}, bigvgan 2.4.1, alias_free_torch 0.0.6")
ones = torch.ones(1, 1, 16)
as_described = True
for name, module in (("bigvgan", bigvgan), ("alias_free_torch", alias_free)):
    for taps in (3, 5, 11, 12, 13):
        up = module.UpSample1d(2, taps)(ones).flatten()
        down = module.DownSample1d(2, taps)(ones).flatten()
        shown = ", ".join(f"{value:.4f}" for value in up[:4].tolist())
        print(f"{name}, {taps} taps: a signal of ones becomes {shown}, ... and downsampled {down[0]:.4f}, ...")
        ripple = (up[4:-4] - 1).abs().max().item()
        as_described &= (ripple > 1e-4) == (taps % 2 == 1)
        as_described &= (down - 1).abs().max().item() < 1e-6
    as_described &= abs(module.UpSample1d(2, 3)(ones)[0, 0, 0].item() - 0.56) < 0.01
sys.exit(not as_described)
PYTHON

python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 numpy
"$folder/venv/bin/pip" install --quiet --no-deps bigvgan==2.4.1 alias-free-torch==0.0.6
if "$folder/venv/bin/python" "$folder/constant.py"; then
    echo "as described"
else
    echo "not as described: something has changed"
    exit 1
fi
