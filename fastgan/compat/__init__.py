"""The losses and operations of other libraries, under their names, with fastgan's kernels.

One module per library, with the same functions, argument order, scale and constant: after a change of the
import the results are the same. ``docs/migration.md`` lists them in one table.
"""

from fastgan.compat import (
    audiocraft,
    basicsr,
    ctgan,
    dac,
    hifigan,
    lightning,
    lucidrains,
    mimicry,
    mmcv,
    monai,
    parallel_wavegan,
    pix2pix,
    pytorch,
    r3gan,
    spade,
    studiogan,
    stylegan,
    stylegan3,
    taming,
    tf_gan,
    torchgan,
    vocos,
)

__all__ = [
    "audiocraft",
    "basicsr",
    "ctgan",
    "dac",
    "hifigan",
    "lightning",
    "lucidrains",
    "mimicry",
    "mmcv",
    "monai",
    "parallel_wavegan",
    "pix2pix",
    "pytorch",
    "r3gan",
    "spade",
    "studiogan",
    "stylegan",
    "stylegan3",
    "taming",
    "tf_gan",
    "torchgan",
    "vocos",
]
