#include "ops/gemm/measure.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>
#include <memory>
#include <numbers>

#include "ops/attributes.h"
#include "ops/cpu_gemm.h"
#include "ops/gemm/candidates.h"
#include "ops/registry.h"
#include "runtime/error.h"
#include "runtime/philox.h"

#ifdef TESSERAE_CUDA
#include "ops/gemm/cublaslt.h"
#include "ops/gemm/gemm.h"
#endif

namespace tesserae {

namespace {

using Kind = GemmPiece::Kind;

// A round measures a candidate for about this long: the marks around it cost microseconds.
constexpr double kSampleSeconds = 1e-3;
constexpr int kMostLaunches = 1000;  // of a candidate in a round

struct Candidate {
  std::string name;
  std::function<void()> launch;  // enqueues the product once
};

// A block of memory of the device.
class Buffer {
 public:
  Buffer(Device& device, int64_t bytes)
      : device_(device), bytes_(bytes), data_(device.allocate(std::max<int64_t>(bytes, 1))) {}
  ~Buffer() { device_.release(data_); }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  char* data() const { return data_; }

  // Normal numbers of this deviation. A block of them repeats; its length is prime, so that no two rows of a
  // matrix are equal. Zeros or constants would draw less power and so raise the clocks.
  void fillNormal(DType type, double deviation, uint64_t seed) {
    constexpr int64_t kBlock = 262147;
    const int64_t size = dtypeSize(type), count = std::min(kBlock, bytes_ / size);
    std::vector<char> block(static_cast<size_t>(count * size));
    for (int64_t i = 0; i < count; ++i) {
      const Philox4 bits = philox(seed, static_cast<uint32_t>(i), 0, 0, 0);
      const double radius = std::sqrt(-2 * std::log(1 - static_cast<double>(uniform01(bits.v[0]))));
      const float value = static_cast<float>(
          deviation * radius * std::cos(2 * std::numbers::pi * static_cast<double>(uniform01(bits.v[1]))));
      if (type == DType::F32) {
        std::memcpy(block.data() + i * size, &value, sizeof(value));
      } else {
        const uint16_t half = toHalf(value, type);
        std::memcpy(block.data() + i * size, &half, sizeof(half));
      }
    }
    device_.write(data_, block.data(), count * size);
    for (int64_t filled = count * size; filled < bytes_; filled *= 2)
      device_.copy(data_ + filled, data_, std::min(filled, bytes_ - filled));
  }

 private:
  Device& device_;
  const int64_t bytes_;
  char* const data_;
};

TensorView matrix(const Buffer* buffer, DType type, int64_t rows, int64_t columns) {
  if (!buffer) return {};
  return {.data = buffer->data(),
          .dtype = type,
          .rows = rows,
          .columns = columns,
          .logicalColumns = columns,
          .elements = rows * columns};
}

// The candidates of a product, with the memory that they read and write.
class Candidates {
 public:
  Candidates(Device& device, const Target& target, const GemmProblem& problem, bool accumulate)
      : device_(device), target_(target), problem_(problem), accumulate_(accumulate) {
    const GemmProblem& p = problem_;
    const int64_t operand = dtypeSize(p.type), result = dtypeSize(p.result);
    const bool hasAux = p.has(Kind::KeepInput) || p.has(Kind::Slope);
    requireMemory(device,
                  (p.m * p.k + p.k * p.n) * operand + p.m * p.n * result * (hasAux ? 2 : 1) + sumBytes() +
                      workspaceBytes(),
                  "the operands of the product", "measure a smaller one");
    // C then has a deviation of about 1, for which activations were made.
    a_ = filled(p.m * p.k, p.type, 1, 1);
    b_ = filled(p.k * p.n, p.type, 1 / std::sqrt(static_cast<double>(p.k)), 2);
    c_ = filled(p.m * p.n, p.result, 1, 3);
    if (hasAux) aux_ = filled(p.m * p.n, p.result, 1, 4);
    if (p.has(Kind::Bias)) bias_ = filled(p.n, DType::F32, 1, 5);
    if (p.has(Kind::RowScale) || p.has(Kind::Exponentials)) rows_ = filled(p.m, DType::F32, 1, 6);
    if (p.has(Kind::Exponentials)) {
      targets_ = std::make_unique<Buffer>(device, p.m * dtypeSize(DType::I32));
      const std::vector<int32_t> first(static_cast<size_t>(p.m));
      device.write(targets_->data(), first.data(), p.m * dtypeSize(DType::I32));
    }
    if (sumBytes() > 0) sums_ = std::make_unique<Buffer>(device, sumBytes());
    workspace_ = std::make_unique<Buffer>(device, workspaceBytes());
    if (target.isCuda()) {
      addCudaCandidates();
    } else {
      addCpuCandidate();
    }
  }

  const std::vector<Candidate>& list() const { return list_; }

 private:
  // What ColumnSums or Exponentials store next to C.
  int64_t sumBytes() const {
    const GemmProblem& p = problem_;
    const int64_t size = dtypeSize(DType::F32);
    if (p.has(Kind::ColumnSums)) return columnSumRows(p.m) * p.n * size;
    if (p.has(Kind::Exponentials)) return (p.n + kExponentialColumns - 1) / kExponentialColumns * p.m * size;
    return 0;
  }

  int64_t workspaceBytes() const {
    if (target_.isCuda()) return kGemmWorkspaceBytes;
    if (!problem_.transA) return 0;
    return planWeightGradient(problem_.k, problem_.m, problem_.n).floats *
           static_cast<int64_t>(sizeof(float));
  }

  std::unique_ptr<Buffer> filled(int64_t elements, DType type, double deviation, uint64_t seed) {
    auto buffer = std::make_unique<Buffer>(device_, elements * dtypeSize(type));
    buffer->fillNormal(type, deviation, seed);
    return buffer;
  }

  // A call of a kernel of an operation on our buffers.
  std::function<void()> call(Kernel kernel, Attributes attributes, std::vector<TensorView> inputs,
                             std::vector<TensorView> outputs) {
    return [this, kernel, attributes = std::move(attributes), inputs = std::move(inputs),
            outputs = std::move(outputs)] {
      const bool accumulate[] = {accumulate_, false};
      KernelContext c = context();
      c.inputs = inputs.data();
      c.outputs = outputs.data();
      c.accumulate = accumulate;
      c.attributes = &attributes;
      kernel(c);
    };
  }

  KernelContext context() const {
    KernelContext c{};
    c.workspace = workspace_->data();
    c.threads = target_.threads;
    c.stream = device_.stream();
    c.precision = target_.precision;
    return c;
  }

  void addCpuCandidate() {
    const GemmProblem& p = problem_;
    if (p.has(Kind::ColumnSums) || p.has(Kind::RowScale) || p.has(Kind::Exponentials)) return;
    const auto view = [](const std::unique_ptr<Buffer>& buffer, int64_t rows, int64_t columns) {
      return matrix(buffer.get(), DType::F32, rows, columns);
    };
    const TensorView c = view(c_, p.m, p.n), aux = view(aux_, p.m, p.n);
    const auto add = [&](const char* operation, ActivationFunction function, std::vector<TensorView> inputs,
                         std::vector<TensorView> outputs) {
      list_.push_back(
          {"oneDNN", call(cpuKernel(operation), {{"activation", std::string(activationName(function))}},
                          std::move(inputs), std::move(outputs))});
    };
    if (p.transB) {
      add("linear", p.function(Kind::Activation),
          {view(a_, p.m, p.k), view(b_, p.n, p.k), view(bias_, 1, p.n)}, {c, aux});
    } else if (!p.transA) {
      add("linear_input_gradient", p.function(Kind::Slope), {view(a_, p.m, p.k), view(b_, p.k, p.n), aux},
          {c});
    } else {
      add("linear_weight_gradient", ActivationFunction::None, {view(a_, p.k, p.m), view(b_, p.k, p.n)},
          {c, {}});
    }
  }

#ifdef TESSERAE_CUDA
  // The plain kernel takes about 5 ms on an H100 for as many operations.
  static constexpr double kMostPlainFlops = 1e11;

  void addCudaCandidates() {
    const std::vector<GemmKernel> kernels = gemmKernels(problem_, target_);
    const double flops = 2.0 * static_cast<double>(problem_.m) * static_cast<double>(problem_.n) *
                         static_cast<double>(problem_.k);
    for (GemmKernel kernel : kernels) {
      if (kernel == GemmKernel::CublasLt) {
        addLibrary(problem_, "", nullptr);
      } else if (kernel != GemmKernel::Plain || flops <= kMostPlainFlops || kernels.size() == 1) {
        list_.push_back({candidateName({kernel}), [this, choice = GemmChoice{problem_, kernel}] {
                           gemm(context(), choice, operands(c_.get()));
                         }});
      }
    }
    if (problem_.has(Kind::ColumnSums)) addLibraryWithoutSums();
    addSeparate();
  }

  // The peer of our product with column sums, which cuBLASLt does not make next to a slope.
  void addLibraryWithoutSums() {
    GemmProblem product = problem_;
    std::erase_if(product.epilogue, [](const GemmPiece& piece) { return piece.kind == Kind::ColumnSums; });
    const std::vector<GemmKernel> kernels = gemmKernels(product, target_);
    if (std::find(kernels.begin(), kernels.end(), GemmKernel::CublasLt) != kernels.end())
      addLibrary(product, "", nullptr);
  }

  GemmOperands operands(const Buffer* c) const {
    const auto floats = [](const std::unique_ptr<Buffer>& buffer) {
      return buffer ? reinterpret_cast<float*>(buffer->data()) : nullptr;
    };
    GemmOperands o{.a = a_->data(),
                   .b = b_->data(),
                   .c = c->data(),
                   .accumulate = accumulate_,
                   .bias = floats(bias_),
                   .aux = aux_ ? aux_->data() : nullptr};
    if (problem_.has(Kind::ColumnSums)) o.columnSums = floats(sums_);
    if (problem_.has(Kind::RowScale)) o.rowScale = floats(rows_);
    if (problem_.has(Kind::Exponentials)) {
      o.exponentials = {floats(rows_), reinterpret_cast<const int32_t*>(targets_->data()), floats(sums_),
                        static_cast<int32_t>(problem_.n)};
    }
    return o;
  }

  // cuBLASLt with each algorithm, then `after`. The product's result goes to `to`, which is C unless given.
  void addLibrary(const GemmProblem& problem, const std::string& suffix, const std::function<void()>& after,
                  const Buffer* to = nullptr) {
    const auto products = libraryProducts(problem, target_.precision, kMostAlgorithms);
    for (size_t i = 0; i < products.size(); ++i) {
      const GemmChoice choice{.problem = problem, .kernel = GemmKernel::CublasLt, .library = products[i]};
      list_.push_back({candidateName({GemmKernel::CublasLt, static_cast<int>(i) + 1}) + suffix,
                       [this, choice, after, to = to ? to : c_.get()] {
                         gemm(context(), choice, operands(to));
                         if (after) after();
                       }});
    }
  }

  // The function or slope by its own kernel, as the compiler does where nothing computes both in one.
  void addSeparate() {
    const GemmProblem& p = problem_;
    if (!target_.cublasLt || !(p.has(Kind::Activation) || p.has(Kind::Slope))) return;
    GemmProblem product = p;
    std::erase_if(product.epilogue, [](const GemmPiece& piece) { return piece.kind != Kind::Bias; });
    const TensorView c = matrix(c_.get(), p.result, p.m, p.n), aux = matrix(aux_.get(), p.result, p.m, p.n);
    const auto attributes = [&](Kind kind) {
      return Attributes{{"function", std::string(activationName(p.function(kind)))}};
    };
    if (p.has(Kind::Slope)) {
      const Kernel kernel = cudaKernel("activation_backward");
      addLibrary(product, " + slope", call(kernel, attributes(Kind::Slope), {c, aux}, {c}));
    } else {
      const bool keeps = p.has(Kind::KeepInput);
      const Kernel kernel = cudaKernel("activation");
      addLibrary(product, " + activation", call(kernel, attributes(Kind::Activation), {keeps ? aux : c}, {c}),
                 keeps ? aux_.get() : c_.get());
    }
  }
#else
  void addCudaCandidates() { fail(ErrorCode::Internal, "this build has no CUDA support"); }
#endif

  Device& device_;
  const Target target_;
  const GemmProblem problem_;
  const bool accumulate_;
  std::unique_ptr<Buffer> a_, b_, c_, aux_, bias_, rows_, targets_, sums_, workspace_;
  std::vector<Candidate> list_;
};

// How often a candidate is launched in a round.
int launchesOf(Device& device, const Candidate& candidate) {
  candidate.launch();  // the first launch loads the kernel's code
  const std::unique_ptr<Stopwatch> stopwatch = device.stopwatch();
  stopwatch->mark();
  candidate.launch();
  stopwatch->mark();
  const double launches = std::ceil(kSampleSeconds / stopwatch->seconds().front());
  return static_cast<int>(std::clamp(launches, 1.0, static_cast<double>(kMostLaunches)));
}

}  // namespace

std::vector<MeasuredProduct> measureProduct(Device& device, const Target& target, const GemmProblem& problem,
                                            bool accumulate, int rounds) {
  const Candidates candidates(device, target, problem, accumulate);
  std::vector<MeasuredProduct> measured, failed;
  std::vector<Candidate> list;
  std::vector<int> launches;
  for (const Candidate& candidate : candidates.list()) {
    try {
      launches.push_back(launchesOf(device, candidate));
      list.push_back(candidate);
      measured.push_back({candidate.name, {}, {}});
    } catch (const Error& error) {
      failed.push_back({candidate.name, {}, error.what()});
    }
  }
  const size_t count = list.size();
  for (int round = 0; count > 0 && round < rounds; ++round) {
    // Every other round goes backwards: what a candidate leaves in caches, and its heat, favour no other one.
    const auto at = [&](size_t turn) { return round % 2 ? count - 1 - turn : turn; };
    const std::unique_ptr<Stopwatch> stopwatch = device.stopwatch();
    list[at(0)].launch();  // the GPU is at work when the first mark is enqueued
    stopwatch->mark();
    for (size_t turn = 0; turn < count; ++turn) {
      for (int i = 0; i < launches[at(turn)]; ++i) list[at(turn)].launch();
      stopwatch->mark();
    }
    const std::vector<double> seconds = stopwatch->seconds();
    for (size_t turn = 0; turn < count; ++turn)
      measured[at(turn)].seconds.push_back(seconds[turn] / launches[at(turn)]);
  }
  device.synchronize();
  measured.insert(measured.end(), failed.begin(), failed.end());
  return measured;
}

}  // namespace tesserae
