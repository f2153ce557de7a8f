#!/bin/sh
# sdmetrics finds no similarity between a column of dates and itself if the two are stored in other units.
#
# pandas stores dates as whole numbers of seconds, milliseconds, microseconds or nanoseconds: dates of a Parquet file
# that polars wrote come in microseconds, and pd.to_datetime makes nanoseconds of text. KSComplement compares these
# whole numbers, so that the same days differ by a factor of 1,000 or more: its figure, which is 1 for equal columns, is
# 0, without a warning. QualityReport takes it over for its Column Shapes.
# Cure: convert both columns to one unit first, with Series.dt.as_unit("ns").
#
# Needs python3 with venv and pip, and no GPU. Installs the versions below into a temporary folder, which is removed at
# the end. Exits with 0 if they behave so, and with 1 if they do not.
#
#     sh findings/sdmetrics-date-units.sh

set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 1' HUP INT TERM

cat > "$folder/units.py" <<'PYTHON'
import sys
from pathlib import Path

import pandas as pd
import sdmetrics
from sdmetrics.reports import QualityReport
from sdmetrics.single_column import KSComplement

text = pd.Series([f"2020-{month:02}-{day:02}" for month in range(1, 13) for day in range(1, 29)])
real = pd.to_datetime(text)
path = Path(sys.argv[1]) / "dates.parquet"
pd.DataFrame({"day": real.dt.as_unit("us")}).to_parquet(path)
stored = pd.read_parquet(path)["day"]

print(f"sdmetrics {sdmetrics.__version__}, pandas {pd.__version__}: {len(real)} days, {(real == stored).sum()} equal")
score = KSComplement.compute(real, stored)
print(f"  KSComplement of {real.dtype} and {stored.dtype}: {score:.3g}")
cured = KSComplement.compute(real, stored.dt.as_unit("ns"))
print(f"  in one unit: {cured:.3g}")
report = QualityReport()
metadata = {"tables": {"days": {"columns": {"day": {"sdtype": "datetime"}}}}}
report.generate({"days": real.to_frame("day")}, {"days": stored.to_frame("day")}, metadata, verbose=False)
shapes = report.get_properties().set_index("Property").loc["Column Shapes", "Score"]
print(f"  Column Shapes of QualityReport: {shapes:.3g}")
sys.exit(not (real.equals(stored.dt.as_unit("ns")) and score == shapes == 0.0 and cured == 1.0))
PYTHON

python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check sdmetrics==0.32.0 pandas==2.3.3 pyarrow==26.0.1
"$folder/env/bin/python" -W ignore "$folder/units.py" "$folder"
