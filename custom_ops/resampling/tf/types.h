// Converts TensorFlow's element types to Sg3Type.

#ifndef SG3TF_CUSTOM_OPS_RESAMPLING_TF_TYPES_H_
#define SG3TF_CUSTOM_OPS_RESAMPLING_TF_TYPES_H_

#include "custom_ops/resampling/stage.h"
#include "tensorflow/core/framework/types.h"

namespace sg3 {

inline Sg3Type element_type(tensorflow::DataType type) {
  switch (type) {
    case tensorflow::DT_DOUBLE:
      return SG3_FLOAT64;
    case tensorflow::DT_HALF:
      return SG3_FLOAT16;
    case tensorflow::DT_BFLOAT16:
      return SG3_BFLOAT16;
    default:
      return SG3_FLOAT32;
  }
}

}  // namespace sg3

#endif  // SG3TF_CUSTOM_OPS_RESAMPLING_TF_TYPES_H_
