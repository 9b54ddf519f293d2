// Custom calls, which represent our operations in XLA programs. They run the same kernels.

#ifndef SG3TF_CUSTOM_OPS_XLA_CUSTOM_CALL_H_
#define SG3TF_CUSTOM_OPS_XLA_CUSTOM_CALL_H_

#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/types/span.h"
#include "custom_ops/resampling/stage.h"
#include "custom_ops/xla/pack.h"
#include "xla/hlo/builder/xla_builder.h"
#include "xla/shape_util.h"

namespace sg3 {

// The layout that the kernels use. If XLA prefers another one, it adds transposes around a call.
inline xla::Shape row_major(xla::PrimitiveType type, absl::Span<const int64_t> sizes) {
  return xla::ShapeUtil::MakeShapeWithDescendingLayout(type, sizes);
}

inline xla::Shape row_major(const xla::XlaOp& operand) {
  xla::Shape shape = operand.builder()->GetShape(operand).value();
  return row_major(shape.element_type(), shape.dimensions());
}

// Calls the FFI handler `target`, which has attributes `type` and `problem`, and returns the results.
template <class Problem>
std::vector<xla::XlaOp> custom_call(const std::string& target, const std::vector<xla::XlaOp>& operands,
                                    const std::vector<xla::Shape>& results, Sg3Type type, const Problem& problem) {
  std::vector<xla::Shape> operand_shapes;
  for (const xla::XlaOp& operand : operands) operand_shapes.push_back(row_major(operand));
  std::string attributes = absl::StrCat("{type = ", static_cast<int>(type),
                                        " : i64, problem = array<i64: ", absl::StrJoin(pack(problem), ", "), ">}");
  xla::XlaOp tuple = xla::CustomCallWithLayout(
      operands[0].builder(), target, operands, xla::ShapeUtil::MakeTupleShape(results), operand_shapes, attributes,
      /*has_side_effect=*/false, /*output_operand_aliasing=*/{}, /*literal=*/nullptr,
      xla::CustomCallSchedule::SCHEDULE_NONE, xla::CustomCallApiVersion::API_VERSION_TYPED_FFI);
  std::vector<xla::XlaOp> elements;
  for (size_t i = 0; i < results.size(); ++i) elements.push_back(xla::GetTupleElement(tuple, i));
  return elements;
}

}  // namespace sg3

#endif  // SG3TF_CUSTOM_OPS_XLA_CUSTOM_CALL_H_
