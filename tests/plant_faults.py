"""Plants faults in a copy of the sources, one at a time, and reports if the tests catch them.

    python -m tests.plant_faults            # all, in about an hour
    python -m tests.plant_faults --list
    python -m tests.plant_faults "a lost tail" "a missing barrier"

A fault is caught if one of its tests fails with it and passes without it. Run this after removing or merging
tests: they must still catch every fault.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Fault:
    """Replaces ``old``, which occurs once in ``file``, by ``new``. ``tests`` are arguments for pytest."""

    file: str
    old: str
    new: str
    tests: str


FAULTS = {
    # the C++ kernels
    "a lost tail": Fault(
        "csrc/cpu/loss_loops.h",
        "if (at < c.size) tile(1, c.size - at);",
        "",
        "test_losses.py -k cpu",
    ),
    "equal pieces of a maxout that do not share their gradient": Fault(
        "csrc/cpu/activation_loops.h",
        "shares[i] = dy[first + i] / counts[i];",
        "shares[i] = dy[first + i];",
        "test_chains.py -k equal_pieces",
    ),
    "an activation's gradient written over the gradient of another layer": Fault(
        "csrc/cpu/mlp.cpp",
        "if (to == free) std::swap(free, taken);",
        "std::swap(free, taken);",
        "test_chains.py -k 'one_way_back and maxout'",
    ),
    "a stage that does not wait for the one before": Fault(
        "csrc/cpu/tape.cpp",
        "        const bool is_last = end == tape.pieces_.size();\n        wait_for(base);\n",
        "        const bool is_last = end == tape.pieces_.size();\n",
        "test_recorded_steps.py -k any_number_of_threads",
    ),
    "a replay that goes on after it was asked to stop": Fault(
        "csrc/cpu/tape.cpp",
        "if (must_stop()) run->stop();",
        "must_stop();",
        "test_recorded_steps.py -k ctrl_c",
    ),
    "random numbers of a later range that begin at the first index": Fault(
        "csrc/cpu/tape_calls.cpp",
        "const int64_t begin = drawn.begin + first, count",
        "const int64_t begin = drawn.begin, count",
        "test_recorded_steps.py -k any_number_of_threads",
    ),
    "weights that are packed only before the first step": Fault(
        "fastgan/training/recording/network.py",
        "            self._step_of(tape, self._index[id(p)])\n        tape.pack(",
        "            self._step_of(tape, self._index[id(p)])\n        0 and tape.pack(",
        "test_recorded_steps.py -k same_bits",
    ),
    "a block of the depth that is forgotten": Fault(
        "csrc/cpu/narrow_loops.h",
        "if (first > 0) t += c;",
        "",
        "test_layers.py -k few_features",
    ),
    "a bias gradient that is counted twice": Fault(
        "csrc/cpu/bias_act_loops.h",
        "sums[c] += gradient;",
        "sums[c] += gradient + gradient;",
        "test_layers.py -k cpu",
    ),
    "a biased variance in the running statistics": Fault(
        "csrc/cpu/batch_norm.cpp",
        "update(running_var, c, squares[c] / std::max(count - 1, 1.0), momentum);",
        "update(running_var, c, squares[c] / count, momentum);",
        "test_batch_norm.py -k cpu",
    ),
    "repeated samples whose gradient is lost": Fault(
        "csrc/cpu/snake_loops.h",
        "if (t.start == 0) dx[0] += gradient_at(f, du, -1 - i);",
        "",
        "test_snake.py -k 'cpu and each_end'",
    ),
    "an activated signal that is not repeated": Fault(
        "csrc/cpu/snake_loops.h",
        "  repeat_ends(f, v);\n",
        "",
        "test_snake.py -k 'cpu and each_end'",
    ),
    "the square of the sine of a rounded angle": Fault(
        "csrc/scalar_math.h",
        "const float low = (rounded - r) + missing;",
        "const float low = 0.0f;",
        "test_snake.py -k ulp",
    ),
    "hooks that a fused Snake does not call": Fault(
        "fastgan/fusion/snakes.py",
        "if any(map(has_hooks, (act, up, down, down.lowpass))):",
        "if False:",
        "test_snake_modules.py -k hooks",
    ),
    "a slope of one at zero": Fault(
        "csrc/scalar_math.h",
        "return y > A(0) ? gradient",
        "return y >= A(0) ? gradient",
        "test_batch_norm.py -k 'cpu and zero'",
    ),
    "batches that nobody counts": Fault(
        "fastgan/nn.py",
        "        self.num_batches_tracked.add_(1)\n",
        "",
        "test_fuse.py -k buffers",
    ),
    "the weight of another tensor": Fault(
        "csrc/cpu/losses.cpp",
        "sum += parts[i].weight * sums.loss;",
        "sum += parts[0].weight * sums.loss;",
        "test_losses.py -k cpu",
    ),
    "one instruction set that is wrong": Fault(
        "csrc/cpu/loss_loops.h",
        "sums.loss[lane] += here.term;",
        "\n#ifdef __AVX2__\nsums.loss[lane] += here.term;\n#endif\n",
        "test_losses.py -k cpu",
    ),
    "a span's gradient that does not sum its columns": Fault(
        "csrc/cpu/span_loops.h",
        "part[row] += y[at + row] * dy[at + row];",
        "part[row] = y[at + row] * dy[at + row];",
        "test_span_activations.py -k 'cpu and wide'",
    ),
    "a row of a table that lacks the condition": Fault(
        "csrc/cpu/table_batch.cpp",
        "const int64_t first = clamped(c.starts[condition], c.order_size);",
        "const int64_t first = 0;",
        "test_table_batches.py -k cpu",
    ),
    "the last row of a condition, which is never drawn": Fault(
        "csrc/cpu/table_batch.cpp",
        "std::clamp<int64_t>(c.starts[condition + 1], 0, c.order_size) - first;",
        "std::clamp<int64_t>(c.starts[condition + 1], 0, c.order_size) - first - 1;",
        "test_table_batches.py -k cpu",
    ),
    "a row that keeps the condition of the one before": Fault(
        "csrc/cpu/table_batch.cpp",
        "    std::fill_n(to + c.width, c.tables.conditions, T(0));\n",
        "",
        "test_table_batches.py -k cpu",
    ),
    "a condition drawn by a number that is the end of its share": Fault(
        "csrc/cpu/table_batch.cpp",
        "from[left / 2 - 1] > number ? 0",
        "from[left / 2 - 1] >= number ? 0",
        "test_table_batches.py -k cpu",
    ),
    "a chunk of rows with the noise of the first one": Fault(
        "csrc/cpu/span_loops.h",
        "nullptr : c.noise + first * c.width;",
        "nullptr : c.noise;",
        "test_span_activations.py -k cpu",
    ),
    "a cross-entropy with the conditions of the first rows": Fault(
        "csrc/cpu/span_loops.h",
        "target_of(c.tables, c.conditions[first + row]), tile);",
        "target_of(c.tables, c.conditions[row]), tile);",
        "test_span_activations.py -k cpu",
    ),
    "a gradient of the cross-entropy in all spans": Fault(
        "csrc/cpu/span_loops.h",
        "if (target.first == span.first)\n",
        "",
        "test_span_activations.py -k cpu",
    ),
    "cross-entropies of a later range written over those of the first": Fault(
        "csrc/cpu/spans.cpp",
        "    visit(index, SpanChunk{",
        "    visit(piece, SpanChunk{",
        "test_table_recording.py -k any_number_of_threads",
    ),
    # a recorded step on a table
    "a latent vector written with the stride of its source": Fault(
        "csrc/cpu/tape_table_bindings.cpp",
        "width, floats(to) + i * to_row);",
        "width, floats(to) + i * source_row);",
        "test_table_recording.py -k same_bits",
    ),
    "conditions of earlier steps that stay": Fault(
        "csrc/cpu/tape_table_bindings.cpp",
        "      std::fill_n(floats(to) + i * stride, count, 0.0f);\n",
        "",
        "test_table_recording.py -k same_bits",
    ),
    "a gradient of a block's columns that replaces the others": Fault(
        "csrc/cpu/tape_table_bindings.cpp",
        "sums[i] += from[i];",
        "sums[i] = from[i];",
        "test_table_recording.py -k same_bits",
    ),
    "a later block of outputs whose dropout begins at the first": Fault(
        "csrc/cpu/tape_table_bindings.cpp",
        "dropout_range(floats(y), floats(derivative), at, end,",
        "dropout_range(floats(y), floats(derivative), first, end,",
        "test_table_recording.py -k several_tiles",
    ),
    "dropout of all layers by the same numbers": Fault(
        "csrc/cpu/tape_table_bindings.cpp",
        "const Drawn drawn{2, pointer(derivative), begin, 1, seed,",
        "const Drawn drawn{2, pointer(derivative), 0, 1, seed,",
        "test_table_recording.py -k same_bits",
    ),
    "a gradient of rows read without their conditions": Fault(
        "csrc/cpu/tape_table_bindings.cpp",
        "const SpanGrad of_rows{{pointer(grad), grad_row},",
        "const SpanGrad of_rows{{pointer(grad), width},",
        "test_table_recording.py -k same_bits",
    ),
    "swapped gradients of a batch norm's weight and bias": Fault(
        "csrc/cpu/tape_table_bindings.cpp",
        "numbers(dweight), numbers(dbias),",
        "numbers(dbias), numbers(dweight),",
        "test_table_recording.py -k same_bits",
    ),
    "batches of a recorded turn that nobody counts": Fault(
        "csrc/cpu/tape_table_bindings.cpp",
        "*static_cast<int64_t*>(pointer(count)) += more;",
        "*static_cast<int64_t*>(pointer(count)) += 1;",
        "test_table_recording.py -k same_bits",
    ),
    "a gradient of ones that forgets the blocks of rows before": Fault(
        "csrc/cpu/products.cpp",
        "to[c] = (block == 0 ? 0 : to[c]) + sums[c * width + i];",
        "to[c] = sums[c * width + i];",
        "test_one_hot_products.py",
    ),
    "a one that is added in every block of the depth": Fault(
        "csrc/cpu/narrow_loops.h",
        "if (hot >= 0 && hot < depth)",
        "if (hot >= 0)",
        "test_one_hot_products.py",
    ),
    "sampled rows of a piece that are the first one's": Fault(
        "csrc/cpu/tape_table_bindings.cpp",
        "batch_norm_leaky_relu(call, floats(x) + first * channels,",
        "batch_norm_leaky_relu(call, floats(x),",
        "test_table_sampling.py -k threads",
    ),
    "sampled blocks that are written over the first": Fault(
        "csrc/cpu/tape_table_bindings.cpp",
        "*integers(place) % places * block;",
        "0;",
        "test_table_sampling.py -k rows_of_passes",
    ),
    "real rows with the conditions of the generated ones": Fault(
        "fastgan/training/recording/table_step.py",
        "turns.conditions[turn][: self._batch]",
        "turns.conditions[turn][self._config.pack :]",
        "test_table_recording.py -k same_bits",
    ),
    "conditions of another turn": Fault(
        "fastgan/training/recording/table_step.py",
        "turns.conditions[turn][self._config.pack :]",
        "turns.conditions[0][self._config.pack :]",
        "test_table_recording.py -k same_bits",
    ),
    "latent vectors of another turn": Fault(
        "fastgan/training/recording/table_step.py",
        "turns.latents[turn], generated)",
        "turns.latents[0], generated)",
        "test_table_recording.py -k same_bits",
    ),
    "real rows of another turn": Fault(
        "fastgan/training/recording/table_step.py",
        "uniform, turns.shares[turn])",
        "uniform, turns.shares[0])",
        "test_table_recording.py -k same_bits",
    ),
    "a batch norm that does not wait for all rows": Fault(
        "fastgan/training/recording/table_step.py",
        "            tape.stage()\n            generator.passes.normalize_batches(tape, i, passes)\n",
        "            generator.passes.normalize_batches(tape, i, passes)\n",
        "test_table_recording.py -k any_number_of_threads",
    ),
    "an average without the batch norms' statistics": Fault(
        "fastgan/training/recording/table_step.py",
        "self._tape.copy_bytes(current, kept)",
        "pass",
        "test_table_recording.py -k average",
    ),
    "a gradient that does not reach the blocks before": Fault(
        "fastgan/training/recording/table_generator.py",
        "        tape.add_columns(part, behind)\n",
        "",
        "test_table_recording.py -k same_bits",
    ),
    "a batch norm whose statistics move by another weight": Fault(
        "fastgan/training/recording/table_pass.py",
        "block.norm, block.momentum, self._columns",
        "block.norm, 0.1, self._columns",
        "test_table_recording.py -k layers_own",
    ),
    "a share of zeros that another layer has": Fault(
        "fastgan/training/recording/dropout_network.py",
        "self._shares[i], slope)",
        "self._shares[0], slope)",
        "test_table_recording.py -k layers_own",
    ),
    "a slope that another layer has": Fault(
        "fastgan/training/recording/dropout_network.py",
        "self.activations[i].negative_slope",
        "self.activations[0].negative_slope",
        "test_table_recording.py -k layers_own",
    ),
    "a change of a layer that no new recording follows": Fault(
        "fastgan/training/recording/table_networks.py",
        "each.dropout.p if each.dropout.training else 0.0",
        "0.5 if each.dropout.training else 0.0",
        "test_table_recording.py -k layers_own",
    ),
    "a penalty with the dropout of D's turn": Fault(
        "fastgan/training/recording/dropout_network.py",
        "again = self.outputs(arena, len(x))",
        "again = list(outputs)",
        "test_table_recording.py -k same_bits",
    ),
    "a penalty averaged over rows, not packs": Fault(
        "fastgan/training/recording/turns.py",
        "factor = gamma * config.penalty_interval / self._shown",
        "factor = gamma * config.penalty_interval / self._batch",
        "test_table_recording.py -k same_bits",
    ),
    "logits of the other half": Fault(
        "fastgan/training/recording/turns.py",
        "tape, logits[real_half], logits[fake_half], grad",
        "tape, logits[fake_half], logits[real_half], grad",
        "test_table_recording.py -k same_bits",
    ),
    # the losses' arithmetic, for the C++ and the CUDA kernels
    "a sign": Fault(
        "csrc/logit_losses.h",
        "beyond ? A(0) : side",
        "beyond ? A(0) : -side",
        "test_losses.py -k cuda",
    ),
    # the CUDA kernels, on the host
    "a wrong label in one backend": Fault(
        "csrc/cuda/loss_ranges.cuh",
        "static_cast<compute_t<T>>(from.label)",
        "static_cast<compute_t<T>>(1 - from.label)",
        "test_losses.py -k cuda",
    ),
    "a missing barrier": Fault(
        "csrc/cuda/reduce.cuh",
        "of_warp[i][warp] = values[i];\n  __syncthreads();",
        "of_warp[i][warp] = values[i];",
        "test_losses.py -k cuda",
    ),
    "a missing barrier that changes no value on the host": Fault(
        "csrc/cuda/reduce.cuh",
        "__syncthreads();  // of_warp may still be read for earlier sums",
        "",
        "test_cuda_sanitizers.py",
    ),
    "a thread that writes beyond the last element": Fault(
        "csrc/cuda/draw.cu",
        "if (i < count) to[i] = numbers[i];",
        "to[i] = numbers[i];",
        "test_cuda_sanitizers.py",
    ),
    "one random stream for two kinds of numbers": Fault(
        "csrc/cuda/draw.cu",
        "static_cast<uint32_t>(kind + 4 * (place >> 32))",
        "static_cast<uint32_t>(4 * (place >> 32))",
        "test_draws.py",
    ),
    "one random stream for two kinds of numbers, in C++": Fault(
        "csrc/cpu/draw_loops.h",
        "for_each_block(to, first, count, 1, seed, step,",
        "for_each_block(to, first, count, 2, seed, step,",
        "test_draws.py -k cpu",
    ),
    "the weight of an average": Fault(
        "csrc/cuda/adam.cu",
        "load(values.at[i]), step.average_weight",
        "load(values.at[i]), A(1) - step.average_weight",
        "test_adam.py",
    ),
    "an average that is nearer to the weights than its weight says": Fault(
        "csrc/cpu/optimizer_loops.h",
        "is_near ? weight : weight - A(1)",
        "weight",
        "test_adam.py -k cpu",
    ),
    "a norm without its last elements": Fault(
        "csrc/cpu/vector_norm_loops.h",
        "for (int64_t lane = 0; at + lane < size; ++lane)",
        "for (int64_t lane = 0; at + lane + 1 < size; ++lane)",
        "test_norms.py -k cpu",
    ),
    # the Triton kernels, interpreted
    "a wrong mask": Fault(
        "fastgan/kernels/triton/losses.py",
        "e = tl.where(inside, e, 0.0)",
        "pass",
        "test_losses.py -k triton",
    ),
    "a sum that leaves ranges out": Fault(
        "fastgan/kernels/triton/reduction.py",
        "for first in range(0, count, HEIGHT):",
        "for first in range(0, 1, HEIGHT):",
        "test_layers.py -k triton",
    ),
    "a stale key of compiled kernels": Fault(
        "fastgan/kernels/triton/launch.py",
        "            constants,\n            *[",
        "            (),\n            *[",
        "test_compiled_kernels.py test_sizes.py",
    ),
    "a counter that is not reset": Fault(
        "fastgan/kernels/triton/bias_act.py",
        "tl.store(arrived + tile, 0)",
        "pass",
        "test_layers.py -k triton",
    ),
    # operations
    "a lost second-order term": Fault(
        "fastgan/ops/linear_leaky_relu.py",
        "total if v is None else total.add_(backend.linear(input, v, None))",
        "total",
        "test_gradients.py test_layers.py -k 'linear_leaky_relu or zero_stride'",
    ),
    "a missing contiguous()": Fault(
        "fastgan/kernels/cpu/losses.py",
        "dense = logits.contiguous()",
        "dense = logits",
        "test_losses.py -k cpu",
    ),
    "a bias along the wrong dimension": Fault(
        "fastgan/ops/bias_act.py",
        "-1 if i == dim else 1",
        "-1 if i == 1 else 1",
        "test_gradients.py -k bias_leaky_relu",
    ),
    "a mean over the other tensor": Fault(
        "fastgan/ops/relativistic_loss.py",
        "grad = first - _total(backend, second) / first.numel()",
        "grad = first - _total(backend, second) / second.numel()",
        "test_losses.py -k relativistic",
    ),
    "swapped arguments": Fault(
        "fastgan/compat/mimicry.py",
        'discriminator_loss(output_real, output_fake, loss="wasserstein")',
        'discriminator_loss(output_fake, output_real, loss="wasserstein")',
        "test_compat.py",
    ),
    # modules and fusion
    "a setting that a module does not pass on": Fault(
        "fastgan/nn.py",
        "saturating=self.saturating",
        "saturating=False",
        "test_modules.py",
    ),
    "a fused layer whose slope another activation has": Fault(
        "fastgan/fusion/pairs.py",
        "if slope_of(other) != slope_of(activation):",
        "if False:",
        "test_fuse.py",
    ),
    "a fused layer whose output is overwritten": Fault(
        "fastgan/fusion/memory.py",
        "if view in _written(user):",
        "if False:",
        "test_fuse.py",
    ),
    # training
    "a penalty one step late": Fault(
        "fastgan/training/config.py",
        "step % self.penalty_interval == 0",
        "step % self.penalty_interval == 1",
        "test_training.py",
    ),
    "a penalty that does not count its interval": Fault(
        "fastgan/training/step.py",
        "gamma * config.penalty_interval",
        "gamma",
        "test_training.py",
    ),
    "a checkpoint without the objective's state": Fault(
        "fastgan/training/state.py",
        '"objective": self.objective.tensors(),',
        "",
        "test_resume.py test_objectives.py",
    ),
    "an average that misses the buffers": Fault(
        "fastgan/training/state.py",
        "[*frozen, *zip(self.average.buffers(), self.generator.buffers(), strict=True)]",
        "frozen",
        "test_training.py",
    ),
    "the sign of the saturating loss": Fault(
        "fastgan/training/objectives/losses.py",
        "(loss, 0.0, -1.0) if saturating",
        "(loss, 0.0, 1.0) if saturating",
        "test_generation.py",
    ),
    "dropout by the numbers of another process's rows": Fault(
        "fastgan/training/dropout_pass.py",
        "self._append(layer, len(batches))",
        "self._append(layer, 1)",
        "test_table_training.py -k processes",
    ),
    "a view whose rows and columns lie apart, taken as it is": Fault(
        "fastgan/kernels/cpu/layers.py",
        "return matrix if 1 in matrix.stride() else matrix.contiguous()",
        "return matrix",
        "test_layers.py -k product_of_views",
    ),
    "gradients of one process alone": Fault(
        "fastgan/training/step.py",
        "state.world.average(flat.grads)",
        "pass",
        "test_distributed.py",
    ),
    # other people's scripts
    "a pair of feature maps without its weight": Fault(
        "csrc/cpu/l1.cpp",
        "total += call.pairs[i].weight * sum;",
        "total += sum;",
        "test_feature_matching.py -k cpu",
    ),
    "the weight of another pair of feature maps": Fault(
        "csrc/cuda/l1.cu",
        "a.parts.add(from.size, from.weight, a.span);",
        "a.parts.add(from.size, call.pairs[0].weight, a.span);",
        "test_feature_matching.py -k cuda",
    ),
    "gradients of feature maps from the wrong side": Fault(
        "fastgan/ops/l1_loss.py",
        "(any(needed[:count]), any(needed[count:]))",
        "(any(needed[:count]), any(needed[:count]))",
        "test_feature_matching.py -k cpu",
    ),
    "a penalty that does not reach the last bias": Fault(
        "fastgan/slopes.py",
        "value = _Reaching.apply(value, outputs)",
        "pass",
        "test_freezing.py -k processes",
    ),
    "a discriminator that stays frozen": Fault(
        "fastgan/freezing.py",
        "parameter.requires_grad_(True)",
        "pass",
        "test_freezing.py",
    ),
    "an activation applied in a segment that is computed again": Fault(
        "fastgan/applying.py",
        "return hooks is saving_hooks() and any(",
        "return any(",
        "test_fuse_functions.py",
    ),
    "a subclass of a patched discriminator fused too early": Fault(
        "fastgan/fusion/packages.py",
        "if type(self) is cls:",
        "if True:",
        "test_patch.py",
    ),
    "a vector divided by less than eps": Fault(
        "csrc/cpu/spectral_norm.cpp",
        "return norm < eps_ ? eps_ : norm;",
        "return norm;",
        "test_spectral_norm.py -k cpu",
    ),
    "sums of rows without the scale of their range": Fault(
        "csrc/cpu/spectral_norm.cpp",
        "sums[c] += scale * static_cast<double>(partial[c]);",
        "sums[c] += static_cast<double>(partial[c]);",
        "test_spectral_norm.py -k cpu",
    ),
    "a layer used twice whose second power iteration starts as the first": Fault(
        "fastgan/spectral.py",
        "frame.store()  # a second use starts from the vectors of the first",
        "pass",
        "test_joined_norms.py -k uses",
    ),
    "half a loss without its factor": Fault(
        "fastgan/kernels/logit_losses.py",
        "row.factor * weight",
        "weight",
        "test_losses.py -k mse",
    ),
    "an activation that is skipped twice": Fault(
        "fastgan/applying.py",
        'vars(output).pop("applied_call")',
        'vars(output)["applied_call"]',
        "test_fuse_functions.py",
    ),
    "a fused layer that activates for others": Fault(
        "fastgan/nn.py",
        "if is_running(self.owners) and not",
        "if not",
        "test_fuse_functions.py",
    ),
    # data
    "a window that never reaches the edge": Fault(
        "fastgan/data/augmentation.py",
        "number * (whole - part + 1)",
        "number * (whole - part)",
        "test_data.py test_streaming.py",
    ),
    "an image mirrored upside down": Fault(
        "fastgan/data/augmentation.py",
        "across = torch.where(numbers[:, 2:] < 0.5, across, across.flip(1))",
        "down = torch.where(numbers[:, 2:] < 0.5, down, down.flip(1))",
        "test_data.py test_streaming.py",
    ),
    "another deviation": Fault(
        "fastgan/data/transform.py",
        "points.std(axis=0)",
        "points.std(axis=0, ddof=1)",
        "test_data.py",
    ),
}


def copy_sources(to: Path) -> None:
    """Copy the tracked and untracked files that git does not ignore, and compiled modules."""
    listed = subprocess.check_output(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=ROOT, text=True
    ).split("\0")
    compiled = [*ROOT.glob("fastgan/_cpu*"), *ROOT.glob("build/cuda_on_host/*")]
    for name in [*listed, *(path.relative_to(ROOT) for path in compiled)]:
        if name and (ROOT / name).is_file():
            (to / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, to / name)


@contextmanager
def planted(fault: Fault, folder: Path) -> Iterator[None]:
    """Plant a fault, and compile it if it is in the C++ kernels. Tests compile CUDA kernels themselves."""
    file = folder / fault.file
    right = file.read_text()
    if right.count(fault.old) != 1:
        raise ValueError(f"{fault.file}: expected once, found {right.count(fault.old)} times: {fault.old}")
    file.write_text(right.replace(fault.old, fault.new))
    compiled = {path: path.read_bytes() for path in (folder / "fastgan").glob("_cpu*.so")}
    try:
        if fault.file.startswith("csrc/") and "cuda" not in fault.file:
            subprocess.run(
                [sys.executable, "setup.py", "-q", "build_ext", "--inplace"],
                cwd=folder,
                env=os.environ | {"FASTGAN_NO_CUDA": "1", "CXXFLAGS": "-O0"},  # compiles quickly
                check=True,
                stdout=subprocess.DEVNULL,
            )
        yield
    finally:
        file.write_text(right)
        for path, content in compiled.items():
            path.write_bytes(content)


def run_tests(fault: Fault, folder: Path, *options: str, **environment: str) -> tuple[int, list[str]]:
    """Run a fault's tests. Returns pytest's exit code and the failed tests."""
    cache = folder / ".pytest_cache"
    words = [f"tests/{word}" if word.endswith(".py") else word for word in shlex.split(fault.tests)]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-x", "--tb=short", "-o", f"cache_dir={cache}", *options, *words],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"} | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    (folder / "output.txt").write_text(done.stdout + done.stderr)
    failed = cache / "v/cache/lastfailed"
    return done.returncode, list(json.loads(failed.read_text())) if failed.exists() else []


def try_out(fault: Fault, folder: Path) -> tuple[bool, str]:
    """Returns if the tests catch a fault, and the test that does or the reason why none does."""
    shutil.rmtree(folder / ".pytest_cache", ignore_errors=True)
    is_in_cuda = fault.file.startswith("csrc/") and "cpu/" not in fault.file
    with planted(fault, folder):
        code, failed = run_tests(
            fault, folder, **({"FASTGAN_CUDA_ON_HOST_FLAGS": "-O0"} if is_in_cuda else {})
        )
    if code == 0:
        return False, "all tests pass"
    if code != 1 or len(failed) != 1:
        return False, f"pytest ended with {code}: {(folder / 'output.txt').read_text()[-2000:]}"
    code, _ = run_tests(fault, folder, "--last-failed")
    if code != 0:
        return False, f"{failed[0]} fails without the fault too"
    return True, failed[0].removeprefix("tests/")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help="names of faults; default: all")
    parser.add_argument("--list", action="store_true", help="print the names and exit")
    arguments = parser.parse_args()
    if arguments.list:
        print("\n".join(FAULTS))
        return 0
    unknown = [name for name in arguments.names if name not in FAULTS]
    if unknown:
        parser.error(f"no fault is called {unknown[0]!r}; see --list")
    names = arguments.names or list(FAULTS)
    missed = 0
    with tempfile.TemporaryDirectory() as folder:
        copy_sources(Path(folder))
        for name in names:
            began = time.monotonic()
            is_caught, how = try_out(FAULTS[name], Path(folder))
            missed += not is_caught
            verdict = "caught    " if is_caught else "NOT caught"
            print(f"{verdict}  {name} ({time.monotonic() - began:.0f} s): {how}", flush=True)
    print(f"{len(names) - missed} of {len(names)} faults are caught")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
