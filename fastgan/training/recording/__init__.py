"""Steps on a CPU as replays of a list of native calls, recorded before the first step.

If both networks are chains of layers (:mod:`fastgan.chains`), or those of CTGAN on a table, each step makes
the same calls on the same memory. They are recorded once. Then one native call runs the steps up to the next
log point, or as many as begin within a tenth of a second, without the interpreter, the dispatcher, autograd
or an allocation.
"""
