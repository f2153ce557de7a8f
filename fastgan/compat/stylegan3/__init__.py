"""The operations of NVlabs/stylegan3, stylegan2-ada-pytorch and their forks, in ``torch_utils/ops``.

Two modules with the names and signatures of the originals. They replace these in a code base that imports
them::

    import sys
    from fastgan.compat import stylegan3

    sys.modules["torch_utils.ops.bias_act"] = stylegan3.bias_act
    sys.modules["torch_utils.ops.upfirdn2d"] = stylegan3.upfirdn2d

These lines come before the first import of the networks. Nothing is compiled then, also for networks in a
pickle, whose code imports the same modules.
"""

from fastgan.compat.stylegan3 import bias_act, upfirdn2d

__all__ = ["bias_act", "upfirdn2d"]
