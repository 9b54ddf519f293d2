// What a warp does together on tensor cores, as CUDA instructions; testing/mma_host.h emulates them on the host.

#ifndef SG3TF_CUSTOM_OPS_RESAMPLING_CUDA_MMA_H_
#define SG3TF_CUSTOM_OPS_RESAMPLING_CUDA_MMA_H_

#include "custom_ops/resampling/cuda/portable.h"

namespace sg3::cuda {

// Two numbers rounded to 16 bits, the first in the lower half.
template <class T>
SG3_HD uint32_t pack(float first, float second) {
#ifdef __CUDA_ARCH__
  uint32_t result;
  if constexpr (std::is_same_v<T, Half>) {
    asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(result) : "f"(second), "f"(first));
  } else {
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(result) : "f"(second), "f"(first));
  }
  return result;
#else
  T low, high;
  from_float(first, &low);
  from_float(second, &high);
  return low.bits | uint32_t(high.bits) << 16;
#endif
}

// Sums of 8 numbers, each rounded.
template <class T>
SG3_HD Vector<T, 8> sum(const Vector<T, 8>& a, const Vector<T, 8>& b) {
  Vector<T, 8> result;
#ifdef __CUDA_ARCH__
  const uint32_t *from_a = reinterpret_cast<const uint32_t*>(&a), *from_b = reinterpret_cast<const uint32_t*>(&b);
  uint32_t* to = reinterpret_cast<uint32_t*>(&result);
  SG3_UNROLL for (int i = 0; i < 4; ++i) {
    if constexpr (std::is_same_v<T, Half>) {
      asm("add.rn.f16x2 %0, %1, %2;" : "=r"(to[i]) : "r"(from_a[i]), "r"(from_b[i]));
    } else {
      const uint32_t one = 0x3f803f80;  // compute capability 8.0 has no addition of this type
      asm("fma.rn.bf16x2 %0, %1, %2, %3;" : "=r"(to[i]) : "r"(from_a[i]), "r"(one), "r"(from_b[i]));
    }
  }
#else
  for (int i = 0; i < 8; ++i) from_float(to_float(a.at[i]) + to_float(b.at[i]), &result.at[i]);
#endif
  return result;
}

// The larger and the smaller of two numbers; not-a-numbers pass.
SG3_HD float larger(float a, float b) {
#ifdef __CUDA_ARCH__
  float result;
  asm("max.NaN.f32 %0, %1, %2;" : "=f"(result) : "f"(a), "f"(b));
  return result;
#else
  return std::isnan(a) || std::isnan(b) ? NAN : a > b ? a : b;
#endif
}

SG3_HD float smaller(float a, float b) { return -larger(-a, -b); }

#ifdef __CUDACC__

// One thread of a block: `thread` of the block is `lane` of `warp`. Matrices are 8x8 of 16-bit numbers; the lanes name
// the 16-byte rows of the first, the second, ... in turn, and each lane holds two numbers of each matrix: of its
// transposed, lane l has row l / 4, columns l % 4 * 2 and one more.
struct CudaLane {
  int thread, lane, warp;

  __device__ __forceinline__ CudaLane()
      : thread(int(threadIdx.x)), lane(int(threadIdx.x & 31)), warp(int(threadIdx.x >> 5)) {}

  __device__ __forceinline__ void sync() const { __syncthreads(); }

  __device__ __forceinline__ uint32_t exchange(uint32_t value, int distance) const {
    return __shfl_xor_sync(~0u, value, distance);
  }

  template <int N>
  __device__ __forceinline__ void load_matrices(const void* row, uint32_t* registers) const {
    const uint32_t address = uint32_t(__cvta_generic_to_shared(row));
    if constexpr (N == 4) {
      asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                   : "=r"(registers[0]), "=r"(registers[1]), "=r"(registers[2]), "=r"(registers[3])
                   : "r"(address)
                   : "memory");
    } else {
      static_assert(N == 2, "");
      asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0, %1}, [%2];"
                   : "=r"(registers[0]), "=r"(registers[1])
                   : "r"(address)
                   : "memory");
    }
  }

  template <int N>
  __device__ __forceinline__ void store_matrices(const uint32_t* registers, void* row) const {
    const uint32_t address = uint32_t(__cvta_generic_to_shared(row));
#if __CUDA_ARCH__ >= 900
    if constexpr (N == 4) {
      asm volatile("stmatrix.sync.aligned.m8n8.x4.trans.shared.b16 [%0], {%1, %2, %3, %4};" ::"r"(address),
                   "r"(registers[0]), "r"(registers[1]), "r"(registers[2]), "r"(registers[3])
                   : "memory");
    } else {
      static_assert(N == 2, "");
      asm volatile("stmatrix.sync.aligned.m8n8.x2.trans.shared.b16 [%0], {%1, %2};" ::"r"(address), "r"(registers[0]),
                   "r"(registers[1])
                   : "memory");
    }
#else
    SG3_UNROLL for (int n = 0; n < N; ++n) {
      uint32_t transposed;
      asm volatile("movmatrix.sync.aligned.m8n8.trans.b16 %0, %1;" : "=r"(transposed) : "r"(registers[n]));
      const uint32_t to = __shfl_sync(~0u, address, n * 8 + lane / 4) + lane % 4 * 4;
      asm volatile("st.shared.b32 [%0], %1;" ::"r"(to), "r"(transposed) : "memory");
    }
#endif
  }

  // c [16, 8] += a [16, 16] b [16, 8]. Lane l has, with g = l / 4 and t = l % 4 * 2: of a rows g, g + 8, g, g + 8 at
  // columns t, t, t + 8, t + 8 (and the next); of b column g at rows t and t + 8; of c rows g and g + 8, column t.
  template <class T>
  __device__ __forceinline__ void multiply_add(const uint32_t (&a)[4], const uint32_t (&b)[2], float (&c)[4]) const {
    if constexpr (std::is_same_v<T, Half>) {
      asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
          "{%0, %1, %2, %3};"
          : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
          : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
    } else {
      asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
          "{%0, %1, %2, %3};"
          : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
          : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
    }
  }
};

#endif  // __CUDACC__

}  // namespace sg3::cuda

#endif  // SG3TF_CUSTOM_OPS_RESAMPLING_CUDA_MMA_H_
