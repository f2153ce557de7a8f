#!/bin/sh
# ctgan's sample(n, condition_column, condition_value) hardly knows of its condition.
#
# It is documented to make the value more likely. The package's generator stays in training mode after fit, so that its
# batch norm uses the statistics of the sampled batch. All rows of a conditioned batch have the same condition, whose
# part of each linear layer's output is then a constant, which batch norm subtracts with the mean. Only the last layer
# still sees it. On a table of two categories, each of half of the rows, and a number that depends on them, a condition
# brings the share of its category from 50 % to about 54 %, and the other column is like that of all rows. In evaluation
# mode the same generator gives almost every row the category, and the number that goes with it. Samples without a
# condition follow the table in both modes. Cure: call model._generator.eval() after fit.
#
# Needs python3 with venv and pip, and no GPU. Installs the versions below into a temporary folder, which is removed at
# the end, and trains for a minute. Exits with 0 if ctgan behaves so, and with 1 if it does not.
#
#     sh findings/ctgan-condition.sh

set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 1' HUP INT TERM

cat > "$folder/condition.py" <<'PYTHON'
import sys
from importlib.metadata import version

import numpy as np
import pandas as pd
from ctgan import CTGAN

ROWS = 2_000
rng = np.random.default_rng(0)
kind = rng.choice(["low", "high"], ROWS)
size = np.where(kind == "low", -3.0, 3.0) + rng.standard_normal(ROWS)
model = CTGAN(epochs=200, enable_gpu=False)
model.set_random_state(0)
model.fit(pd.DataFrame({"kind": kind, "size": size}), ["kind"])


def sampled(condition):
    """The share of rows that have the condition, and the mean size of all rows."""
    rows = model.sample(ROWS, "kind", condition)
    return (rows["kind"] == condition).mean(), rows["size"].mean()


print(f"ctgan {version('ctgan')}: half of the table is low, with a mean size of -3, and half is high, with 3")
rows = model.sample(ROWS)
means = rows.groupby("kind")["size"].mean()
print(f"  without a condition: {(rows['kind'] == 'low').mean():.0%} low; size low {means.low:.1f}, high {means.high:.1f}")
found = {}
for mode in ("as fitted", "after eval()"):
    found[mode] = {condition: sampled(condition) for condition in ("low", "high")}
    for condition, (share, mean) in found[mode].items():
        print(f"  {mode}, given {condition}: {share:.0%} of rows have it; mean size {mean:.1f}")
    model._generator.eval()
lost = all(share < 0.65 for share, _ in found["as fitted"].values())
kept = all(share > 0.9 for share, _ in found["after eval()"].values())
print("  the condition", "is lost until eval()" if lost and kept else "is kept: fixed")
sys.exit(not (lost and kept and means.high - means.low > 3))
PYTHON

python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check ctgan==0.12.1 torch==2.13.0
"$folder/env/bin/python" -W ignore "$folder/condition.py"
