"""``python -m benchmarks.tabular.synthesize NAME TABLE.csv EPOCHS SEED OUT.csv DISCRETE...``

Trains one contender on a table and writes a synthetic one of as many rows. DISCRETE columns hold categories.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pandas as pd

from benchmarks.tabular import contender


def main() -> None:
    name, source, epochs, seed, out, *discrete = sys.argv[1:]
    frame = pd.read_csv(source, dtype=dict.fromkeys(discrete, str))
    made = contender(name, int(epochs), int(seed))
    made.fit(frame, discrete)
    part = Path(out).with_suffix(".part")
    made.sample(len(frame)).to_csv(part, index=False)
    part.replace(out)


if __name__ == "__main__":
    main()
