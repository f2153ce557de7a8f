#!/bin/sh
# sdmetrics' QualityReport compares a number and a category in bins that the real and the synthetic table do not share.
#
# For Column Pair Trends the report puts a continuous column in 10 equal bins and compares the shares of bins and
# categories in both tables. Each table gets the bins between its own smallest and largest value. So a synthetic column
# that is a thousandth of the real one, or moved away from it, has a perfect score in each pair with a category; and one
# outlier in 5,000 rows that are all equal otherwise takes the score from 1 to 0.001, as all others share a bin then.
# ContingencySimilarity itself, given continuous_column_names, takes the real table's bins for both.
# Cure: call ContingencySimilarity with continuous_column_names, and read the columns' own scores next to the pairs'.
#
# Needs python3 with venv and pip, and no GPU. Installs the versions below into a temporary folder, which is removed at
# the end. Exits with 0 if they behave so, and with 1 if they do not.
#
#     sh findings/sdmetrics-own-bins.sh

set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 1' HUP INT TERM

cat > "$folder/bins.py" <<'PYTHON'
import sys

import numpy as np
import pandas as pd
import sdmetrics
from sdmetrics.column_pairs import ContingencySimilarity
from sdmetrics.reports import QualityReport

z = np.random.default_rng(0).normal(size=5_000)
real = pd.DataFrame({"amount": 1_000 + 100 * z, "member": np.where(z > 0, "yes", "no")})
columns = {"amount": {"sdtype": "numerical"}, "member": {"sdtype": "categorical"}}
outlier = real["amount"].where(real.index > 0, 1e6)
cases = {
    "the real table": real["amount"],
    "amounts divided by 1,000": real["amount"] / 1_000,
    "amounts less 5,000": real["amount"] - 5_000,
    "one amount of 5,000 replaced by 1,000,000": outlier,
}
print(f"sdmetrics {sdmetrics.__version__}, pandas {pd.__version__}")
scores = []
for name, amounts in cases.items():
    synthetic = real.assign(amount=amounts)
    report = QualityReport()
    report.generate({"t": real}, {"t": synthetic}, {"tables": {"t": {"columns": columns}}}, verbose=False)
    score = report.get_properties().set_index("Property").loc["Column Pair Trends", "Score"]
    shared = ContingencySimilarity.compute(real, synthetic, continuous_column_names=["amount"])
    print(f"  {name}: report {score:.4f}, with the real table's bins {shared:.4f}")
    scores.append((score, shared))
same, scaled, moved, spoilt = scores
is_so = min(same) == 1.0 and min(scaled[0], moved[0]) > 0.99 and max(scaled[1], moved[1]) < 0.1
sys.exit(not (is_so and spoilt[0] < 0.01 and spoilt[1] > 0.99))
PYTHON

python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check sdmetrics==0.32.0 pandas==2.3.3
"$folder/env/bin/python" -W ignore "$folder/bins.py"
