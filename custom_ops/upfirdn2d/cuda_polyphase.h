// One axis of an upfirdn2d in polyphase form. UP consecutive outputs form a group, and groups advance by DOWN inputs:
// output p of group m, which is output UP * m + p, is the sum over j < reach of taps[p][j] * in[DOWN * m + first + j].

#ifndef SG3TF_CUSTOM_OPS_UPFIRDN2D_CUDA_POLYPHASE_H_
#define SG3TF_CUSTOM_OPS_UPFIRDN2D_CUDA_POLYPHASE_H_

#include "custom_ops/resampling/cuda/portable.h"

namespace sg3::cuda {

struct PolyphaseAxis {
  int in_size, out_size;
  int first;   // input of group 0
  int reach;   // inputs of a group
  int groups;  // in all
};

}  // namespace sg3::cuda

#endif  // SG3TF_CUSTOM_OPS_UPFIRDN2D_CUDA_POLYPHASE_H_
