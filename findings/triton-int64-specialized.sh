#!/bin/sh
# Triton compiles the value of a number into a kernel although the number is annotated.
#
# An argument annotated tl.int64 has a fixed type, but its value is still looked at: where it is a multiple of
# 16, the compiled kernel carries tt.divisibility = 16 for it. Triton's own launcher compiles another kernel for
# 101 than for 112. A launcher that keeps a compiled kernel and takes the annotation to mean "not specialized"
# launches the kernel of 112 for 101: that one loads and stores four elements under one predicate, and so reads
# and writes past the end. Cure: triton.jit(do_not_specialize=["n"]).
#
# Needs python3 with venv and pip, and no GPU. Installs each version below into a temporary folder, which is
# removed at the end. Exits with 0 if every version behaves so, and with 1 if one does not.
#
#     sh findings/triton-int64-specialized.sh [version ...]

set -eu
[ $# -gt 0 ] || set -- 3.6.0 3.9.0
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 1' HUP INT TERM

cat > "$folder/kernel.py" <<'EOF'
import re
import sys

import triton
import triton.language as tl
from triton.backends.compiler import GPUTarget
from triton.runtime import driver


class Hopper:
    """As much of a driver as compiling for sm_90 takes."""

    def get_current_target(self):
        return GPUTarget("cuda", 90, 32)

    def get_current_device(self):
        return 0

    def get_current_stream(self, device=None):
        return 0


class Float32:
    def __str__(self):
        return "torch.float32"


class Pointer:
    """What Triton asks of a tensor: float32, at an address that is a multiple of 16."""

    dtype = Float32()

    def data_ptr(self):
        return 1 << 12


def copy(x, y, n: tl.int64):
    at = tl.program_id(0) * 1024 + tl.arange(0, 1024)
    tl.store(y + at, tl.load(x + at, mask=at < n), mask=at < n)


def compiled(function, n):
    kernel = function.warmup(Pointer(), Pointer(), n, grid=(1,))
    number = re.search(r"%n: i64( \{[^}]*\})?", kernel.asm["ttgir"]).group(0)
    accesses = re.findall(r"@%p\d+ ((?:ld|st)\.global\S*)", kernel.asm["ptx"])
    wide = sum(".v4" in access for access in accesses)
    return number, f"{wide} of {len(accesses)} predicated loads and stores move four elements at once"


driver.set_active(Hopper())
annotated = triton.jit(copy)
left_alone = triton.jit(copy, do_not_specialize=["n"])
print(f"Triton {triton.__version__}, compiled for sm_90")
found = {}
for name, function in (("annotated tl.int64", annotated), ("and do_not_specialize", left_alone)):
    for n in (112, 101):
        found[name, n] = compiled(function, n)
        print(f"  {name}, n = {n}: {'; '.join(found[name, n])}")
is_specialized = "tt.divisibility = 16" in found["annotated tl.int64", 112][0]
print("  the annotated number is", "specialized on its value" if is_specialized else "not specialized: fixed")
sys.exit(not is_specialized)
EOF

gone=0
for version in "$@"; do
    python3 -m venv "$folder/$version"
    "$folder/$version/bin/pip" install --quiet --disable-pip-version-check "triton==$version"
    TRITON_CACHE_DIR="$folder/cache" TRITON_DEFAULT_FP_FUSION=1 "$folder/$version/bin/python" "$folder/kernel.py" || gone=1
    rm -rf "${folder:?}/$version"
done
exit $gone
