"""Print the packages that the installed fastgan and its extras ask for, a line each: extras.py EXTRA..."""

import sys
from importlib.metadata import requires

from pip._vendor.packaging.requirements import Requirement

for requirement in map(Requirement, requires("fastgan") or ()):
    marker, requirement.marker = requirement.marker, None
    if marker is None or any(marker.evaluate({"extra": extra}) for extra in sys.argv[1:]):
        print(requirement)
