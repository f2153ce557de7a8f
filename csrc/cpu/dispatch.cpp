// Chooses the best instruction set of the machine, once at load.
#include "dispatch.h"

#include <atomic>

namespace fastgan {

extern const KernelTable kernels_baseline;
#if defined(FASTGAN_X86)
extern const KernelTable kernels_avx2;
extern const KernelTable kernels_avx512;
#endif

static const KernelTable* best() {
#if defined(FASTGAN_X86)
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
      __builtin_cpu_supports("avx512vl"))
    return &kernels_avx512;
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return &kernels_avx2;
#endif
  return &kernels_baseline;
}

// The only state shared by calls. Atomic, as Python threads may call at the same time.
static std::atomic<const KernelTable*> chosen = best();

const KernelTable& kernels() { return *chosen.load(std::memory_order_relaxed); }

std::vector<std::string> instruction_sets() {
  std::vector<std::string> names{"baseline"};
#if defined(FASTGAN_X86)
  if (best() != &kernels_baseline) names.push_back("avx2");
  if (best() == &kernels_avx512) names.push_back("avx512");
#endif
  return names;
}

bool use_instruction_set(const std::string& name) {
  for (const std::string& known : instruction_sets()) {
    if (known != name) continue;
    const KernelTable* named = &kernels_baseline;
#if defined(FASTGAN_X86)
    if (name == "avx2") named = &kernels_avx2;
    if (name == "avx512") named = &kernels_avx512;
#endif
    chosen = named;
    return true;
  }
  return false;
}

}  // namespace fastgan
