#pragma once

/// Marks arithmetic that both the host and a device run; empty unless nvcc compiles it.
#if defined(__CUDACC__)
#define QUIRE_HD __host__ __device__
#else
#define QUIRE_HD
#endif
