"""Each operation at many sizes, as fastgan and as others do it.

``table.py`` has the cases, ``contenders.py`` who competes. A contender runs forward, backward and both
over the same inputs, and its results are checked against the reference in float64 before it is timed.
"""
