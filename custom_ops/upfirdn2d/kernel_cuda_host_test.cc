// Runs the CUDA kernels on the host and compares them with the definition for many geometries.

#include <numeric>
#include <string>

#include "custom_ops/resampling/testing/cuda_host.h"
#include "custom_ops/upfirdn2d/cuda_image_plan.h"
#include "custom_ops/upfirdn2d/cuda_plan.h"
#include "custom_ops/upfirdn2d/cuda_strip_plan.h"

namespace sg3::cuda {
namespace {

struct Case {
  Sg3Axis y, x;
  int64_t terms, channels, batch;
  int type;
  int64_t shared_bytes;
  bool random_tiles;  // instead of the best ones

  std::string name() const {
    char text[200];
    snprintf(text, sizeof(text),
             "up %dx%d down %dx%d taps %dx%d(%d terms) before %d,%d size %dx%d to %dx%d C %d N %d type %d", int(y.up),
             int(x.up), int(y.down), int(x.down), int(y.taps), int(x.taps), int(terms), int(y.before), int(x.before),
             int(y.in_size), int(x.in_size), int(y.out_size), int(x.out_size), int(channels), int(batch), type);
    return text;
  }

  SharedLimits limits() const { return {shared_bytes, shared_bytes / 2}; }
};

// A problem with its tensors. The result starts as NaNs.
struct Data {
  OwnedStage stage;
  Sg3Upfirdn2d problem;
  Tensor x, y;

  explicit Data(const Case& c)
      : stage(c.y, c.x, c.terms),
        problem{c.batch, c.channels, stage.get()},
        x(c.type, random_normal(c.batch * c.y.in_size * c.x.in_size * c.channels)),
        y(c.type, Doubles(c.batch * c.y.out_size * c.x.out_size * c.channels, NAN)) {}
};

enum Kernel { kGeneral, kStrip, kImage };
constexpr const char* kNames[] = {"general", "strip", "image"};

bool run_general(const Case& c, Data* d) {
  UpfirdnPlan plan = upfirdn_plan(d->problem, c.type, c.channels % (16 / bytes_of(c.type)) == 0);
  if (!choose_tiles(&plan, c.limits())) return false;
  std::vector<float> taps(num_taps(plan));
  copy_taps(d->problem, plan, taps.data());
  for (int64_t block = 0; block < num_blocks(plan); ++block) {
    Shared shared(plan.shared_floats);
    UpfirdnBlock(plan, taps.data(), d->x.data(), d->y.data(), shared.get(), block).run_all(SerialPhases{plan.threads});
  }
  return true;
}

bool run_strip(const Case& c, Data* d) {
  return with_strip_shape(d->problem, true, [&](auto shape) {
    using Shape = decltype(shape);
    StripPlan plan = strip_plan<Shape>(d->problem);
    if (plan.threads > kStripThreads) return;  // leaves NaNs
    if (c.random_tiles) {
      plan.strip_groups = int(choose({1, 3, plan.strip_groups}));
      plan.strips = ceil_div(plan.y.groups, plan.strip_groups);
    }
    const StripTaps<Shape> taps = strip_taps<Shape>(d->problem);
    const char* x = static_cast<char*>(d->x.data());
    char* y = static_cast<char*>(d->y.data());
    with_type(c.type, [&](auto zero) {
      for (int64_t block = 0; block < num_blocks(plan); ++block) {
        const StripBlock<decltype(zero), Shape> work = {plan, taps, x, y, unsigned(block)};
        SerialPhases{plan.threads}([&](Worker w) { work.run(w); });
      }
    });
  });
}

bool run_image(const Case& c, Data* d) {
  bool fits = false;
  return with_image_shape(d->problem,
                          [&](auto shape) {
                            using Shape = decltype(shape);
                            ImagePlan plan;
                            fits = make_image_plan<Shape>(d->problem, c.limits(), &plan);
                            if (!fits) return;
                            if (c.random_tiles)
                              set_tiles<Shape>(&plan, int(choose({1, 2, 4})), int(choose({4, 24, 256})));
                            std::vector<float> taps(num_image_taps<Shape>(d->problem));
                            image_taps<Shape>(d->problem, plan, taps.data());
                            with_type(c.type, [&](auto zero) {
                              using T = decltype(zero);
                              const T* x = static_cast<T*>(d->x.data());
                              T* y = static_cast<T*>(d->y.data());
                              for (int64_t block = 0; block < num_blocks(plan); ++block) {
                                Shared shared(plan.shared_floats);
                                ImageBlock<T, Shape>(plan, taps.data(), x, y, shared.get(), block)
                                    .run_all(SerialPhases{kImageThreads});
                              }
                            });
                          }) &&
         fits;
}

// Returns the greatest possible rounding error of any output: each of `operations` on a term of its sum rounds the term
// by at most 2^-24 of its magnitude, and the type rounds the result.
double error_bound(const Case& c, const Sg3Stage& s, double greatest_input, double greatest_output) {
  const auto sum = [](const double* taps, int64_t count) { return std::accumulate(taps, taps + count, 0.0); };
  double gain = 0;
  for (int64_t r = 0; r < s.terms; ++r)
    gain += sum(s.taps_y + r * c.y.taps, c.y.taps) * sum(s.taps_x + r * c.x.taps, c.x.taps);
  const double operations = double(c.y.taps + c.x.taps + s.terms + 2);  // with two roundings of taps
  const double half_unit = c.type == SG3_FLOAT32 ? 0x1p-24 : c.type == SG3_FLOAT16 ? 0x1p-11 : 0x1p-8;
  return operations * 0x1p-24 * gain * greatest_input + half_unit * greatest_output;
}

double greatest(const Doubles& values) {
  return std::accumulate(values.begin(), values.end(), 0.0,
                         [](double a, double b) { return std::fmax(a, std::fabs(b)); });
}

// Returns the number of failures; `runs` counts the runs of each kernel.
int check(const Case& c, int (&runs)[3]) {
  Data data(c);
  const Doubles inputs = data.x.values();
  const Doubles expected = testing::resample(data.problem.stage, c.batch, c.channels, inputs);
  const double bound = error_bound(c, data.problem.stage, greatest(inputs), greatest(expected));
  int failures = 0;
  for (const Kernel kernel : {kGeneral, kStrip, kImage}) {
    data.y = Tensor(c.type, Doubles(expected.size(), NAN));
    const bool runs_it = kernel == kGeneral ? run_general(c, &data)
                         : kernel == kStrip ? run_strip(c, &data)
                                            : run_image(c, &data);
    if (!runs_it && kernel != kGeneral) continue;
    ++runs[kernel];
    const Doubles actual = data.y.values();
    double error = 0;
    for (size_t i = 0; i < expected.size(); ++i) {
      const double difference = std::fabs(actual[i] - expected[i]);
      error = std::fmax(error, std::isnan(difference) ? INFINITY : difference);
    }
    if (runs_it && error <= bound) continue;
    printf("FAILED, %s kernel, error %g, allowed %g: %s\n", kNames[kernel], error, bound, c.name().c_str());
    ++failures;
  }
  return failures;
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
  static const Factors kFactors[] = {{1, 2, 4},  {2, 1, 4}, {1, 1, 4}, {1, 2, 12}, {2, 1, 12}, {1, 1, 12}, {1, 1, 5},
                                     {1, 1, 61}, {2, 1, 3}, {1, 3, 4}, {3, 2, 7},  {2, 3, 5},  {4, 4, 9},  {5, 1, 2}};
  const Factors& y = kFactors[generator()() % (generator()() % 2 ? 6 : 14)];
  const Factors& x = generator()() % 2 ? y : kFactors[generator()() % 14];
  Case c = {};
  c.channels = choose({1, 3, 3, 4, 8, 16, 37, 64});
  c.y = random_axis(y.up, y.down, y.taps);
  c.x = random_axis(x.up, x.down, x.taps);
  c.terms = choose({1, 1, 1, 2, 5});
  c.batch = choose({1, 2});
  c.type = int(choose({SG3_FLOAT32, SG3_FLOAT32, SG3_FLOAT16, SG3_BFLOAT16}));
  c.shared_bytes = choose({100, 163, 227}) << 10;
  c.random_tiles = choose({0, 1});
  return c;
}

// Shapes with several blocks along every axis, so that strips and tiles meet inside the image.
std::vector<Case> large_cases() {
  const int64_t shared = 227 << 10;
  return {
      {{1, 1, 2, 4, 150, 151}, {1, 1, 2, 4, 77, 78}, 1, 68, 1, SG3_FLOAT32, shared, false},
      {{1, 2, 1, 4, 140, 70}, {1, 2, 1, 4, 170, 85}, 1, 68, 1, SG3_FLOAT16, shared, false},
      {{2, 1, 2, 4, 70, 140}, {2, 1, 2, 4, 75, 149}, 1, 68, 1, SG3_BFLOAT16, shared, false},
      {{1, 1, 30, 61, 70, 70}, {1, 1, 30, 61, 300, 300}, 1, 3, 1, SG3_FLOAT32, shared, false},
      {{1, 2, 0, 12, 139, 64}, {1, 2, 0, 12, 611, 300}, 1, 3, 1, SG3_FLOAT32, shared, false},
      {{2, 1, 0, 12, 66, 121}, {2, 1, 0, 12, 306, 601}, 1, 3, 1, SG3_FLOAT16, shared, false},
  };
}

int run_all(int cases) {
  int failures = 0, runs[3] = {};
  for (const Case& c : large_cases()) failures += check(c, runs);
  for (int i = 0; i < cases; ++i) failures += check(random_case(), runs);
  for (const int count : runs) failures += count < cases / 20;
  printf("%d random cases, %d runs of the general kernel, %d of strips, %d of images, %d failures\n", cases,
         runs[kGeneral], runs[kStrip], runs[kImage], failures);
  return failures != 0;
}

}  // namespace
}  // namespace sg3::cuda

int main(int argc, char** argv) { return sg3::cuda::run_all(argc > 1 ? atoi(argv[1]) : 1000); }
