#!/bin/sh
# An exported model says in which folders its author's sources lie.
#
# torch.export notes the Python stack of every operation, with absolute paths: the user's own files, so the home
# folder's name, and where torch is installed. torch.onnx.export(dynamo=True) writes these stacks into the ONNX file
# as metadata of its nodes, and torch.export.save writes them into the archive, where one expects operations and
# tensors alone. Cure: remove "stack_trace" from the meta of each node of the exported program, and give that program
# to torch.onnx.export.
#
# Needs python3 with venv and pip, and no GPU. Installs the versions below into a temporary folder, which is removed
# at the end. Exits with 0 if they behave so, and with 1 if they do not.
#
#     sh findings/export-source-paths.sh

set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 1' HUP INT TERM

mkdir "$folder/name-of-a-customer"
cat > "$folder/name-of-a-customer/model.py" <<'PYTHON'
import sys
import warnings
import zipfile
from pathlib import Path

import torch
from torch import nn

warnings.simplefilter("ignore")


class Generator(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 4)

    def forward(self, z):
        return torch.tanh(self.layer(z))


def holds_folder(path):
    parts = [path.read_bytes()]
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            parts = [archive.read(name) for name in archive.namelist()]
    return any(b"name-of-a-customer" in part for part in parts)


def write(program, name):
    onnx, archive = Path(f"{name}.onnx"), Path(f"{name}.pt2")
    torch.onnx.export(program, dynamo=True, verbose=False).save(onnx)
    torch.export.save(program, archive)
    return holds_folder(onnx), holds_folder(archive)


program = torch.export.export(Generator().eval(), (torch.zeros(1, 4),))
as_it_is = write(program, "as-it-is")
for node in program.graph.nodes:
    node.meta.pop("stack_trace", None)
without = write(program, "without")
print(f"torch {torch.__version__}: the folder is in the ONNX file {as_it_is[0]}, in the archive {as_it_is[1]};")
print(f"without stack traces {without[0]}, {without[1]}")
sys.exit((as_it_is, without) != ((True, True), (False, False)))
PYTHON

python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 onnx==1.23.2 onnxscript==0.7.2 numpy
cd "$folder"
"$folder/venv/bin/python" "$folder/name-of-a-customer/model.py"
