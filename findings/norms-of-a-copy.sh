#!/bin/sh
# Removing weight norm from a copy of a generator takes it from the generator too.
#
# A vocoder or GAN in training keeps an averaged copy of its generator, made with copy.deepcopy, and takes the norms out
# of the copy to export it. With torch.nn.utils.parametrizations both then share the class that holds the property
# `weight`: after torch.nn.utils.parametrize.remove_parametrizations on the copy, the copy works, and the next forward
# pass of the original raises AttributeError. The older torch.nn.utils.spectral_norm keeps the two apart. Cure: build the
# network a second time, load the state_dict and remove the norms there, or keep them and run inference under
# torch.nn.utils.parametrize.cached().
#
# Needs python3 with venv and pip, and no GPU. Installs each version below into a temporary folder, which is removed
# at the end. Exits with 0 if every version behaves so, and with 1 if one does not.
#
#     sh findings/norms-of-a-copy.sh [version ...]

set -eu
[ $# -gt 0 ] || set -- 2.13.0 2.14.1
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 1' HUP INT TERM

cat > "$folder/copy_norms.py" <<'PYTHON'
import copy
import sys

import torch
from torch import nn
from torch.nn.utils import parametrizations, parametrize


def outcome(norm, remove):
    """What the original does after the norm was removed from a copy."""
    original = norm(nn.Conv1d(2, 2, 3))
    average = copy.deepcopy(original)
    remove(average)
    average(torch.zeros(1, 2, 8))
    try:
        original(torch.zeros(1, 2, 8))
    except AttributeError as error:
        return f"AttributeError: {error}"
    return "works"


def remove_new(layer):
    parametrize.remove_parametrizations(layer, "weight")


print(f"torch {torch.__version__}, the original after its copy has lost the norm")
new = [outcome(norm, remove_new) for norm in (parametrizations.weight_norm, parametrizations.spectral_norm)]
old = outcome(nn.utils.spectral_norm, nn.utils.remove_spectral_norm)
print(f"  parametrizations.weight_norm: {new[0]}")
print(f"  parametrizations.spectral_norm: {new[1]}")
print(f"  utils.spectral_norm: {old}")
breaks = all(each.startswith("AttributeError") for each in new) and old == "works"
print("  the copy", "takes the norm with it" if breaks else "is apart: fixed")
sys.exit(not breaks)
PYTHON

gone=0
for version in "$@"; do
    python3 -m venv "$folder/$version"
    "$folder/$version/bin/pip" install --quiet --disable-pip-version-check "torch==$version" numpy
    "$folder/$version/bin/python" -W ignore "$folder/copy_norms.py" || gone=1
    rm -rf "${folder:?}/$version"
done
exit $gone
