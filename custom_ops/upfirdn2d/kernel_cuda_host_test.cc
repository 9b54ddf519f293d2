// The phases of the CUDA kernel, run on the host and compared with the definition for many geometries.

#include <string>

#include "custom_ops/resampling/testing/cuda_host.h"
#include "custom_ops/upfirdn2d/cuda_plan.h"

namespace sg3::cuda {
namespace {

struct Case {
  Sg3Axis y, x;
  int64_t terms, channels, batch;
  int type;
  int64_t shared_bytes;

  std::string name() const {
    char text[200];
    snprintf(text, sizeof(text),
             "up %dx%d down %dx%d taps %dx%d(%d terms) before %d,%d size %dx%d to %dx%d C %d N %d type %d", int(y.up),
             int(x.up), int(y.down), int(x.down), int(y.taps), int(x.taps), int(terms), int(y.before), int(x.before),
             int(y.in_size), int(x.in_size), int(y.out_size), int(x.out_size), int(channels), int(batch), type);
    return text;
  }
};

// Returns the number of failures, 0 or 1; `fixed_runs` counts the cases that a fixed line took.
int check(const Case& c, bool fixed, int* fixed_runs) {
  const OwnedStage stage(c.y, c.x, c.terms);
  const Sg3Upfirdn2d problem = {c.batch, c.channels, stage.get()};
  UpfirdnPlan plan = upfirdn_plan(problem, c.type, c.channels % (16 / bytes_of(c.type)) == 0);
  if (!choose_tiles(&plan, {c.shared_bytes, c.shared_bytes / 2})) {
    printf("FAILED, no tile: %s\n", c.name().c_str());
    return 1;
  }
  std::vector<float> taps(num_taps(plan));
  copy_taps(problem, plan, taps.data());
  Tensor x(c.type, random_normal(c.batch * c.y.in_size * c.x.in_size * c.channels));
  const size_t outputs = c.batch * c.y.out_size * c.x.out_size * c.channels;
  Tensor y(c.type, Doubles(outputs, std::numeric_limits<double>::quiet_NaN()));
  const auto run = [&](auto line) {
    for (int64_t block = 0; block < num_blocks(plan); ++block) {
      Shared shared(plan.shared_floats);
      UpfirdnBlock<decltype(line)>(plan, taps.data(), x.data(), y.data(), shared.get(), block)
          .run_all(SerialPhases{plan.threads});
    }
  };
  if (fixed && !with_fixed_line(plan, run)) return 0;
  if (fixed) ++*fixed_runs;
  if (!fixed) run(AnyLine());

  const double error = relative_error(y.values(), testing::resample(problem.stage, c.batch, c.channels, x.values()));
  if (error <= tolerance(c.type)) return 0;
  printf("FAILED, error %g, tiles %dx%d of %dx%d, fixed %d: %s\n", error, plan.y.tiles, plan.x.tiles, plan.y.outputs,
         plan.x.outputs, int(fixed), c.name().c_str());
  return 1;
}

Sg3Axis random_axis(int64_t up, int64_t down, int64_t taps) {
  Sg3Axis axis = {up, down, choose({-7, -2, -1, 0, 1, 2, 5, 14}), taps, choose({1, 6, 15, 40}), 0};
  const int64_t padded = axis.in_size * up + axis.before + choose({-3, -1, 0, 1, 2, 5, 14});
  axis.out_size = padded < taps ? 0 : (padded - taps) / down + 1;
  return axis.out_size > 0 ? axis : random_axis(up, down, taps);
}

Case random_case() {
  struct Factors {
    int64_t up, down, taps;
  };
  static const Factors kFactors[] = {{1, 2, 4},  {2, 1, 4}, {1, 1, 4}, {1, 2, 12}, {2, 1, 12}, {1, 1, 1}, {1, 1, 5},
                                     {1, 1, 61}, {2, 1, 3}, {1, 3, 4}, {3, 2, 7},  {2, 3, 5},  {4, 4, 9}, {5, 1, 2}};
  const Factors& y = kFactors[generator()() % (generator()() % 2 ? 5 : 14)];
  const Factors& x = generator()() % 2 ? y : kFactors[generator()() % 14];
  Case c = {};
  c.channels = choose({1, 3, 5, 8, 16, 37, 64});
  c.y = random_axis(y.up, y.down, y.taps);
  c.x = random_axis(x.up, x.down, x.taps);
  c.terms = choose({1, 1, 2, 5});
  c.batch = choose({1, 2});
  c.type = int(choose({SG3_FLOAT32, SG3_FLOAT32, SG3_FLOAT16, SG3_BFLOAT16}));
  c.shared_bytes = choose({100, 163, 227}) << 10;
  return c;
}

int run_all(int cases) {
  int failures = 0, fixed_runs = 0;
  for (int i = 0; i < cases; ++i) {
    const Case c = random_case();
    failures += check(c, true, &fixed_runs) + check(c, false, &fixed_runs);
  }
  if (fixed_runs < cases / 8) ++failures;
  printf("%d cases, %d of them with a fixed line too, %d failures\n", cases, fixed_runs, failures);
  return failures != 0;
}

}  // namespace
}  // namespace sg3::cuda

int main(int argc, char** argv) { return sg3::cuda::run_all(argc > 1 ? atoi(argv[1]) : 1000); }
