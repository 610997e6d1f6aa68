// A libFuzzer target over all text that native code reads: Graphs, and the requests and options beside them.
// What is accepted and small is compiled, and run on the CPU with each buffer in an allocation of its own.
// Anything but a coded error is a finding, ERR_INTERNAL included.
//
// An input is six lines of JSON, in the order of Line; make_corpus.mjs writes the first ones.
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "compiler/plan.h"
#include "compiler/products.h"
#include "engine/engine.h"
#include "engine/model.h"
#include "runtime/chips.h"
#include "runtime/error.h"

extern "C" size_t LLVMFuzzerMutate(uint8_t* data, size_t size, size_t maxSize);

namespace tesserae {

namespace {

enum Line { kGraph, kPlan, kRequest, kModel, kTraining, kProduct, kLines };

std::vector<std::string> linesOf(const uint8_t* data, size_t size) {
  std::vector<std::string> lines(1);
  for (size_t i = 0; i < size; ++i) {
    if (data[i] == '\n' && lines.size() < kLines) {
      lines.emplace_back();
    } else {
      lines.back().push_back(static_cast<char>(data[i]));
    }
  }
  lines.resize(kLines);
  return lines;
}

// --- What is tried
// ----------------------------------------------------------------------------------------------

template <class Attempt>
bool attempt(const Attempt& what) {
  try {
    what();
    return true;
  } catch (const Error& error) {
    if (error.code == ErrorCode::Internal) {
      std::fprintf(stderr, "ERR_INTERNAL: %s\n", error.what());
      std::abort();
    }
    return false;
  }
}

// The sizes of what runs: larger ones only take longer.
constexpr int64_t kMostNodes = 100, kMostExtent = 512, kMostPositions = 256;

int64_t extentOf(const Axis& axis, const Capacity& capacity) {
  switch (axis.factors[0].role) {
    case FactorRole::Batch:
      return capacity.rows;
    case FactorRole::Length: {
      const auto found = capacity.lengths.find(axis.name);
      return found == capacity.lengths.end() ? 1 : found->second;
    }
    default:
      return axis.logical();
  }
}

bool isSmall(const Graph& graph, const ProgramRequest& request) {
  const Capacity capacity = capacityOf(request);
  if (capacity.rows > kMostPositions || graph.nodes.size() > kMostNodes) return false;
  for (const auto& [axis, length] : capacity.lengths) {
    if (length > kMostPositions || capacity.rows * length > kMostPositions) return false;
  }
  return std::all_of(graph.axes.begin(), graph.axes.end(), [&](const Axis& axis) {
    return axis.physical() <= kMostExtent && axis.factors.size() <= 4;
  });
}

// Ids in their range, or numbers around zero; now and then one that may not be there.
HostBatch batchFor(const Graph& graph, const Capacity& capacity, uint64_t seed) {
  std::mt19937_64 random(seed);
  HostBatch batch;
  for (const GraphInput& input : graph.inputs) {
    if (input.optional && !capacity.documents) continue;  // it would be refused
    int64_t elements = 1;
    for (const Axis& axis : input.axes) elements *= extentOf(axis, capacity);
    if (elements > int64_t{1} << 20) return {};
    HostTensor tensor{input.dtype, {elements}, {}};
    tensor.data.resize(static_cast<size_t>(elements * dtypeSize(input.dtype)));
    const bool odd = random() % 8 == 0;
    // Where documents start: there, or as the position before.
    const bool starts = input.kind == GraphInput::Starts;
    const int64_t time = input.kind == GraphInput::Starts ? extentOf(input.axes[1], capacity)
                         : capacity.lengths.count(input.measures) ? capacity.lengths.at(input.measures)
                                                                  : 1;
    int32_t start = 0;
    for (int64_t i = 0; i < elements; ++i) {
      int32_t bits = static_cast<int32_t>(random());
      if (input.dtype == DType::I32) {
        const int64_t below = std::clamp<int64_t>(input.kind == GraphInput::Ids ? input.below : time, 1, INT32_MAX);
        if (i % time == 0 || bits % 3 == 0) start = static_cast<int32_t>(i % time);
        if (!odd || i != elements / 2)
          bits = starts ? start : static_cast<int32_t>((bits & INT32_MAX) % below);
      } else {
        const float value = odd ? 1e30f : static_cast<float>(bits) / 2147483648.0f;
        std::memcpy(&bits, &value, sizeof bits);
      }
      std::memcpy(tensor.data.data() + i * dtypeSize(input.dtype), &bits, sizeof bits);
    }
    batch[input.name] = std::move(tensor);
  }
  return batch;
}

void run(const std::vector<std::string>& lines, const ModelOptions& options, const TrainingOptions* training,
         const ProgramRequest& request, uint64_t seed) {
  static DeviceContext context;
  openDevice(context, "cpu");
  const auto model = std::make_shared<Model>(lines[kGraph], options, context.device);
  const Capacity capacity = capacityOf(request);
  const HostBatch batch = batchFor(model->graph(), capacity, seed);
  RunOptions runOptions;
  runOptions.poison = runOptions.separate = true;
  attempt([&] { model->run(context, request, batch, runOptions); });
  if (!training) return;
  attempt([&] {
    model->training().configure(*training);
    for (int step = 0; step < 2; ++step) {
      const StepRequest asked{capacity, {batch, batch}, {0, capacity.rows}};
      model->training().enqueueStep(context, asked)->result();
    }
  });
}

void tryAll(const std::vector<std::string>& lines, uint64_t seed) {
  attempt([&] { planJson(lines[kGraph], lines[kPlan]); });
  attempt([&] { parseProductRequest(parseJson(lines[kProduct], "the product")); });
  ModelOptions options;
  TrainingOptions training;
  ProgramRequest request;
  const bool trains = attempt([&] {
    training = TrainingOptions::parse(lines[kTraining], {1e-3f, 1e-2f}, {0.9f, 0.8f});
  });
  if (!attempt([&] { options = ModelOptions::parse(lines[kModel]); })) return;
  if (!attempt([&] { request = parseRequest(parseJson(lines[kRequest], "the request")); })) return;
  attempt([&] {
    const Graph graph = parseGraph(lines[kGraph], options.padding.policy({}));
    const Layout layout = makeLayout(graph);
    for (const char* chip : {"cpu", "h100"}) {
      const Chip& target = findChip(chip);
      Chooser chooser(target.target(target.cuda ? Precision::BF16 : Precision::FP32, 2));
      compile(graph, layout, chooser, request);
    }
    options.threads = 1;
    if (options.device == "cpu" && isSmall(graph, request))
      run(lines, options, trains ? &training : nullptr, request, seed);
  });
}

// --- Mutation
// ---------------------------------------------------------------------------------------------------

void collect(Json& json, std::vector<Json*>& places) {
  places.push_back(&json);
  if (json.is_structured()) {
    for (Json& child : json) collect(child, places);
  }
}

// Values that don't belong where they are put, or only just.
Json oddity(std::mt19937_64& random) {
  static const char* const texts[] = {"null",
                                      "true",
                                      "\"\"",
                                      "\"x\"",
                                      "\"batch\"",
                                      "\"time\"",
                                      "\"embd\"",
                                      "\"tokens\"",
                                      "0",
                                      "-1",
                                      "1",
                                      "2",
                                      "0.5",
                                      "1e-320",
                                      "1e308",
                                      "2147483647",
                                      "4294967296",
                                      "[]",
                                      "{}",
                                      "[[]]",
                                      "64",
                                      "1e-300",
                                      "512",
                                      "\"linear\"",
                                      "\"add\"",
                                      "9223372036854775807",
                                      "-0.0",
                                      "false",
                                      "3",
                                      "7",
                                      "\"width\"",
                                      "\"head\"",
                                      "\"count\"",
                                      "\"vocab\"",
                                      "18446744073709551615"};
  return Json::parse(texts[random() % std::size(texts)]);
}

// One structural change of a document somewhere: a value replaced, copied, removed, repeated, or scaled.
void change(Json& root, std::mt19937_64& random) {
  std::vector<Json*> places;
  collect(root, places);
  Json& place = *places[random() % places.size()];
  const Json source = *places[random() % places.size()];
  switch (random() % 6) {
    case 0:
      place = oddity(random);
      break;
    case 1:
      place = source;
      break;
    case 2:
      if (place.is_structured() && !place.empty()) {
        place.erase(std::next(place.begin(), static_cast<std::ptrdiff_t>(random() % place.size())));
      }
      break;
    case 3:
      if (place.is_array() && !place.empty()) place.push_back(Json(place[random() % place.size()]));
      if (place.is_object()) place["extra"] = source;
      break;
    case 4:
      if (place.is_array() && place.size() > 1) std::swap(place[0], place[random() % place.size()]);
      break;
    default:
      if (place.is_number()) {
        const double factors[] = {-1, 0, 0.5, 2, 3, 1000, 1048576};
        place = place.get<double>() * factors[random() % std::size(factors)];
      } else {
        place = oddity(random);
      }
  }
}

}  // namespace

}  // namespace tesserae

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  tesserae::tryAll(tesserae::linesOf(data, size),
                   std::hash<std::string_view>{}({reinterpret_cast<const char*>(data), size}));
  return 0;
}

// Bytes are mutated in one case of four: most of those are no longer JSON.
extern "C" size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size, size_t maxSize, unsigned int seed) {
  using namespace tesserae;
  std::mt19937_64 random(seed);
  if (random() % 4 == 0) return LLVMFuzzerMutate(data, size, maxSize);
  std::vector<std::string> lines = linesOf(data, size);
  // A Graph has far more in it than the others.
  std::string& line = lines[random() % 2 == 0 ? size_t{kGraph} : random() % kLines];
  Json json = Json::parse(line, nullptr, false);
  if (json.is_discarded()) return LLVMFuzzerMutate(data, size, maxSize);
  for (uint64_t changes = 1 + random() % 3; changes > 0; --changes) change(json, random);
  line = json.dump(-1, ' ', false, Json::error_handler_t::replace);
  std::string text;
  for (const std::string& each : lines) text += each + '\n';
  if (text.size() > maxSize) return LLVMFuzzerMutate(data, size, maxSize);
  std::memcpy(data, text.data(), text.size());
  return text.size();
}
