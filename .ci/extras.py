"""Print the packages that fastgan and its extras ask for, a line each: extras.py EXTRA..."""

import sys
from pathlib import Path

try:
    import tomllib
except ImportError:  # Python 3.10
    from pip._vendor import tomli as tomllib

project = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["project"]
extras = [project["optional-dependencies"][name] for name in sys.argv[1:]]
print("\n".join(sum(extras, project["dependencies"])))
