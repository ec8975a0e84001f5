#pragma once

#include <cstdint>
#include <string>

#include <quire/simt/simt.cuh>

namespace quire::simt {

/// What the device in use is.
struct DeviceFacts {
  std::string name{}, driver{},
      runtime{};  // versions as 13.0: of CUDA, as the driver has it, and as was compiled with
  std::int64_t memory = 0;       // bytes
  std::int64_t free_memory = 0;  // of those, not taken by anybody
};

/// Asks the device. The emulator's is a small one. \errors state, where there is none
[[nodiscard]] inline DeviceFacts device_facts() {
#if defined(__CUDACC__)
  const auto said = [](int version) {
    return std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10);
  };
  int device = 0, driver = 0, runtime = 0;
  check(cudaGetDevice(&device), "cudaGetDevice", "");
  cudaDeviceProp of{};
  check(cudaGetDeviceProperties(&of, device), "cudaGetDeviceProperties", "");
  check(cudaDriverGetVersion(&driver), "cudaDriverGetVersion", "");
  check(cudaRuntimeGetVersion(&runtime), "cudaRuntimeGetVersion", "");
  std::size_t free = 0, all = 0;
  check(cudaMemGetInfo(&free, &all), "cudaMemGetInfo", "");
  return {of.name, said(driver), said(runtime), static_cast<std::int64_t>(all),
          static_cast<std::int64_t>(free)};
#else
  constexpr std::int64_t memory = std::int64_t{2} << 30;
  return {"emulator", "", "", memory, memory};
#endif
}

}  // namespace quire::simt
