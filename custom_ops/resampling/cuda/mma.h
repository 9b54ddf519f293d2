// Joint operations of a warp for tensor cores, as CUDA instructions. testing/mma_host.h emulates them on the host.

#ifndef SG3TF_CUSTOM_OPS_RESAMPLING_CUDA_MMA_H_
#define SG3TF_CUSTOM_OPS_RESAMPLING_CUDA_MMA_H_

#include "custom_ops/resampling/cuda/portable.h"

namespace sg3::cuda {

template <class T>
constexpr bool kIsHalf = false;
template <>
constexpr bool kIsHalf<Half> = true;

// Two numbers rounded to 16 bits, the first in the lower half.
template <class T>
SG3_HD uint32_t pack(float first, float second) {
#if __CUDA_ARCH__ >= 800
  uint32_t result;
  if constexpr (kIsHalf<T>) {
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

constexpr float kHalfMax = 65504;

// The same, but float16 saturates at +-kHalfMax; NaNs pass.
template <class T>
SG3_HD uint32_t pack_saturated(float first, float second) {
  if constexpr (kIsHalf<T>) {
#ifdef __CUDA_ARCH__
    uint32_t result;
    asm("cvt.rn.satfinite.f16x2.f32 %0, %1, %2;" : "=r"(result) : "f"(second), "f"(first));
    return result;
#else
    const auto saturated = [](float x) { return x > kHalfMax ? kHalfMax : x < -kHalfMax ? -kHalfMax : x; };
    return pack<Half>(saturated(first), saturated(second));
#endif
  } else {
    return pack<T>(first, second);
  }
}

// For two numbers rounded by pack_saturated: the distance of their magnitudes to the largest unsaturated number,
// negative if saturated.
SG3_HD uint32_t below_saturation(uint32_t pair) {
  constexpr uint32_t kBelowMax = 0x7bfe7bfe;
#ifdef __CUDA_ARCH__
  uint32_t result;
  asm("{ .reg .b32 t; abs.f16x2 t, %1; sub.f16x2 %0, %2, t; }" : "=r"(result) : "r"(pair), "r"(kBelowMax));
  return result;
#else
  const auto distance = [&](int shift) {
    return to_float(Half{uint16_t(kBelowMax)}) - std::fabs(to_float(Half{uint16_t(pair >> shift)}));
  };
  return pack<Half>(distance(0), distance(16));
#endif
}

// The negative identity matrix in float16, as operand b of multiply_add_8.
SG3_HD uint32_t minus_identity(int lane) {
  const int column = lane / 4, row = lane % 4 * 2;
  return row == column ? 0xbc00u : row + 1 == column ? 0xbc000000u : 0u;
}

SG3_HD uint32_t bits_of(float value) {
#ifdef __CUDA_ARCH__
  return __float_as_uint(value);
#else
  return float_to_bits(value);
#endif
}

// Selects four of the eight bytes of low and high. Each hexadecimal digit of the selector, from the lowest on, is the
// number of a byte. A digit of 8 or more gives the highest bit of byte digit - 8, eight times.
SG3_HD uint32_t permute_bytes(uint32_t low, uint32_t high, uint32_t selector) {
#ifdef __CUDA_ARCH__
  uint32_t result;
  asm("prmt.b32 %0, %1, %2, %3;" : "=r"(result) : "r"(low), "r"(high), "r"(selector));
  return result;
#else
  uint32_t result = 0;
  for (int i = 0; i < 4; ++i) {
    const uint32_t digit = selector >> 4 * i & 15;
    const uint32_t byte = uint32_t((low | uint64_t(high) << 32) >> (digit & 7) * 8 & 0xff);
    result |= (digit < 8 ? byte : byte & 0x80 ? 0xff : 0) << 8 * i;
  }
  return result;
#endif
}

#ifdef __CUDACC__

// One thread of a block: number `thread` in the block, and number `lane` in warp `warp`. Matrices are 8x8 16-bit
// numbers. Lanes 0 to 7 pass the addresses of the 16-byte rows of the first matrix, the next 8 lanes those of the
// second, and so on. Each lane holds two numbers of each matrix: of its transpose, lane l has row l / 4 at columns
// l % 4 * 2 and the next.
struct CudaLane {
  int thread, lane, warp;

  __device__ __forceinline__ CudaLane()
      // The shuffle lets the compiler assume that `warp` is the same in all lanes.
      : thread(int(threadIdx.x)), lane(int(threadIdx.x & 31)), warp(__shfl_sync(~0u, int(threadIdx.x >> 5), 0)) {}

  __device__ static __forceinline__ uint32_t shared_address(const void* shared) {
    return uint32_t(__cvta_generic_to_shared(shared));
  }

  __device__ __forceinline__ void sync() const { __syncthreads(); }
  __device__ __forceinline__ void sync_warp() const { __syncwarp(); }

  // Start copying from global to shared memory: 4 bytes; or 4 or 16 bytes, zeros unless `exists`.
  __device__ __forceinline__ void copy(const uint32_t* global, uint32_t* shared) const {
    asm volatile("cp.async.ca.shared.global [%0], [%1], 4;" ::"r"(shared_address(shared)), "l"(global) : "memory");
  }
  template <class V>
  __device__ __forceinline__ void copy(const void* global, bool exists, V* shared) const {
    if constexpr (sizeof(V) == 16) {
      asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(shared)), "l"(global),
                   "r"(exists ? 16 : 0)
                   : "memory");
    } else {
      static_assert(sizeof(V) == 4, "");
      asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;" ::"r"(shared_address(shared)), "l"(global),
                   "r"(exists ? 4 : 0)
                   : "memory");
    }
  }

  // Waits for this thread's copies.
  __device__ __forceinline__ void wait_copies() const { asm volatile("cp.async.wait_all;" ::: "memory"); }

  __device__ __forceinline__ uint32_t exchange(uint32_t value, int distance) const {
    return __shfl_xor_sync(~0u, value, distance);
  }

  // Returns the transpose of a matrix.
  __device__ __forceinline__ uint32_t transpose(uint32_t matrix) const {
    uint32_t result;
    asm volatile("movmatrix.sync.aligned.m8n8.trans.b16 %0, %1;" : "=r"(result) : "r"(matrix));
    return result;
  }

  template <int N>
  __device__ __forceinline__ void load_matrices(const void* row, uint32_t* registers) const {
    const uint32_t address = shared_address(row);
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
    const uint32_t address = shared_address(row);
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
      const uint32_t transposed = transpose(registers[n]);
      const uint32_t to = __shfl_sync(~0u, address, n * 8 + lane / 4) + lane % 4 * 4;
      asm volatile("st.shared.b32 [%0], %1;" ::"r"(to), "r"(transposed) : "memory");
    }
#endif
  }

  // d [16, 8] = c + a [16, 16] b [16, 8]. With g = l / 4 and t = l % 4 * 2, lane l holds: of a, rows g, g + 8, g, g + 8
  // at columns t, t, t + 8, t + 8; of b, column g at rows t and t + 8; of c and d, rows g and g + 8 at column t; and
  // each time also the number after it, at t + 1 or t + 9.
  template <class T>
  __device__ __forceinline__ void multiply_add(const uint32_t (&a)[4], const uint32_t (&b)[2], const float (&c)[4],
                                               float (&d)[4]) const {
    if constexpr (kIsHalf<T>) {
      asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
          "{%10, %11, %12, %13};"
          : "=f"(d[0]), "=f"(d[1]), "=f"(d[2]), "=f"(d[3])
          : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]), "f"(c[0]), "f"(c[1]), "f"(c[2]),
            "f"(c[3]));
    } else {
      asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
          "{%10, %11, %12, %13};"
          : "=f"(d[0]), "=f"(d[1]), "=f"(d[2]), "=f"(d[3])
          : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]), "f"(c[0]), "f"(c[1]), "f"(c[2]),
            "f"(c[3]));
    }
  }

  // d [16, 8] = a [16, 32] b [32, 8] of signed bytes, two in the place of each 16-bit number above.
  __device__ __forceinline__ void multiply_bytes(const uint32_t (&a)[4], const uint32_t (&b)[2], int (&d)[4]) const {
    asm("mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
        "{%10, %10, %10, %10};"
        : "=r"(d[0]), "=r"(d[1]), "=r"(d[2]), "=r"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]), "r"(0));
  }

  // c [16, 8] += a [16, 8] b [8, 8] of float16: the first halves of the operands above.
  __device__ __forceinline__ void multiply_add_8(uint32_t a0, uint32_t a1, uint32_t b, float (&c)[4]) const {
    asm("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5}, {%6}, {%0, %1, %2, %3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a0), "r"(a1), "r"(b));
  }
};

#endif  // __CUDACC__

}  // namespace sg3::cuda

#endif  // SG3TF_CUSTOM_OPS_RESAMPLING_CUDA_MMA_H_
