#include "engine/session.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>

#include "compiler/json.h"
#include "ops/sampling.h"
#include "runtime/error.h"
#include "runtime/philox.h"

namespace tesserae {

namespace {

constexpr int64_t kMostSpare = int64_t{64} << 20;  // bytes that a model keeps for its next session
constexpr int64_t kMostRows = 65535;               // of a grid's second dimension

// A list with one entry for each row.
const Json& rowList(const Json& options, const char* name, int64_t rows) {
  const Json& list = arrayField(options, name, "session", kMostRows);
  if (static_cast<int64_t>(list.size()) != rows) {
    fail(ErrorCode::Config, "session.%s has %zu entries; it must have one for each of %lld rows", name,
         list.size(), static_cast<long long>(rows));
  }
  return list;
}

int64_t stepOf(const Json& value, const char* name) {
  if (!value.is_number_integer() || value.get<int64_t>() < 0)
    fail(ErrorCode::Config, "session.%s must hold integers of at least 0", name);
  return value.get<int64_t>();
}

// The random key of a seed's n-th sequence. For the first it is the seed itself, below 2^53. All others have
// bit 62 set, so that none equals another seed's first, and the remaining bits are random.
int64_t keyOf(int64_t seed, int64_t sequence) {
  if (sequence == 0) return seed;
  const Philox4 words = philox(static_cast<uint64_t>(seed), static_cast<uint32_t>(sequence),
                               static_cast<uint32_t>(sequence >> 32), 0, 0);
  const uint64_t bits = words.v[0] | static_cast<uint64_t>(words.v[1]) << 32;
  return static_cast<int64_t>((bits & ((uint64_t{1} << 62) - 1)) | uint64_t{1} << 62);
}

std::vector<float> settingsOf(const Json& list) {
  std::vector<float> settings;
  for (const Json& row : list) {
    if (!row.is_array() || row.size() != kSettings)
      fail(ErrorCode::Config, "session.settings must be lists of %lld numbers",
           static_cast<long long>(kSettings));
    for (const Json& value : row) {
      const double number = value.is_number() ? value.get<double>() : NAN;
      if (!(std::abs(number) <= 3.4e38))
        fail(ErrorCode::Config, "session.settings must hold numbers that are finite in fp32");
      settings.push_back(static_cast<float>(number));
    }
    const float* of = settings.data() + settings.size() - kSettings;
    if (of[kTemperature] < 0 || of[kRepetitionPenalty] <= 0)
      fail(ErrorCode::Config,
           "session.settings: a temperature below 0, or a repetition penalty that is not above it");
  }
  return settings;
}

const HostTensor& arrayOf(const HostBatch& arrays, const char* name, DType type, int64_t elements) {
  const auto it = arrays.find(name);
  if (it == arrays.end() || it->second.dtype != type || (elements >= 0 && it->second.elements() != elements))
    fail(ErrorCode::Config, "session.%s must be %lld values of %s", name, static_cast<long long>(elements),
         dtypeName(type));
  return it->second;
}

}  // namespace

Session::Session(std::shared_ptr<Model> model, std::string_view text, const HostBatch& arrays)
    : model_(std::move(model)) {
  const Json options = parseJson(text, "the session's options");
  onlyKeys(
      options, "session",
      {"rows", "cache", "seeds", "sequences", "drawn", "settings", "endTokens", "stopTokens", "features"});
  rows_ = integerField(options, "rows", "session", 1, kMostRows);
  capacity_ = integerField(options, "cache", "session", 1, 1 << 24);
  if (options.contains("features"))
    features_ = SamplingFeatures::parse(objectField(options, "features", "session"));
  const std::vector<float> settings = settingsOf(rowList(options, "settings", rows_));
  const Json &seeds = rowList(options, "seeds", rows_), &sequences = rowList(options, "sequences", rows_),
             &drawn = rowList(options, "drawn", rows_);
  for (size_t row = 0; row < seeds.size(); ++row) {
    const int64_t key = keyOf(stepOf(seeds[row], "seeds"), stepOf(sequences[row], "sequences"));
    stream_.insert(stream_.end(), {key, stepOf(drawn[row], "drawn")});
  }
  program(decodeRequest());  // throws where the model can't be sampled
  const Program& choose = program(chooseRequest());
  SessionArenas spare = model_->takeSpare();
  memory_ = std::move(spare.memory);
  cache_ = std::move(spare.cache);
  requireMemory(model_->device(), choose.sessionBytes - memory_.bytes(), "the sampler's logits and settings",
                "use fewer rows");
  memory_.reserve(model_->device(), choose.sessionBytes);
  positions_.assign(static_cast<size_t>(rows_), 0);
  finished_.assign(static_cast<size_t>(rows_), kRunning);
  past_.resize(static_cast<size_t>(rows_));
  tokens_.resize(static_cast<size_t>(rows_));
  write("stream", stream_);
  write("finished", finished_);
  write("settings", settings);
  const int64_t vocabulary = value("logits").spec.axes[1].logical(), words = maskWords(vocabulary);
  std::vector<uint32_t> stops(static_cast<size_t>(2 * words));
  for (const char* name : {"endTokens", "stopTokens"}) {
    const int64_t first = std::strcmp(name, "stopTokens") == 0 ? words : 0;
    for (const Json& entry : arrayField(options, name, "session", 1 << 24)) {
      const int64_t id = stepOf(entry, name);
      if (id >= vocabulary) {
        fail(ErrorCode::Config, "session.%s: the token %lld is not below %lld", name,
             static_cast<long long>(id), static_cast<long long>(vocabulary));
      }
      stops[static_cast<size_t>(first + id / 32)] |= 1u << id % 32;
    }
  }
  write("stops", stops);
  for (const auto& [wanted, name] : {std::pair{features_.known, "known"}, {features_.bias, "bias"}}) {
    if (!wanted) continue;
    const HostTensor& bias = arrayOf(arrays, name, DType::F32, vocabulary);
    model_->device().write(place(name), bias.data.data(), vocabulary * 4);
  }
  if (features_.penalties && arrays.count("past") > 0) writePast(arrays);
  for (const std::string name : {"types", "subtypes"}) {
    const GraphInput* input = model_->graph().findInput(name);
    if (!input) continue;
    const std::pair<std::string, int64_t> tables[] = {{name + "Of", vocabulary},
                                                      {name + "At", rows_ * capacity_}};
    for (const auto& [table, elements] : tables) {
      const HostTensor& given = arrayOf(arrays, table.c_str(), DType::I32, elements);
      const auto* types = reinterpret_cast<const int32_t*>(given.data.data());
      const int32_t least = table == name + "At" ? -1 : 0;  // -1: as the token's id says
      const auto wrong = std::find_if(types, types + elements,
                                      [&](int32_t type) { return type < least || type >= input->below; });
      if (wrong != types + elements)
        fail(ErrorCode::Config, "session.%s has the type %d; it must be below %lld", table.c_str(), *wrong,
             static_cast<long long>(input->below));
      model_->device().write(place(table.c_str()), types, elements * 4);
    }
  }
  if (features_.sets == 0) return;
  const int64_t places = rows_ * (capacity_ + 1);
  const HostTensor &sets = arrayOf(arrays, "sets", DType::I32, -1),
                   &setAt = arrayOf(arrays, "setAt", DType::I32, places);
  const int64_t count = sets.elements() / words;
  const auto* which = reinterpret_cast<const int32_t*>(setAt.data.data());
  if (sets.elements() % words != 0 || count > features_.sets ||
      std::any_of(which, which + places, [&](int32_t set) { return set < -1 || set >= count; }))
    fail(ErrorCode::Config,
         "session.sets must be at most %lld sets of %lld words, and setAt −1 or one of them",
         static_cast<long long>(features_.sets), static_cast<long long>(words));
  model_->device().write(place("setAt"), which, places * 4);
  model_->device().write(place("sets"), sets.data.data(), sets.elements() * 4);
}

Session::~Session() {
  if (memory_.bytes() + cache_.bytes() > kMostSpare) return;
  model_->keepSpare({std::move(memory_), std::move(cache_)});
}

const Value& Session::value(const char* name) const {
  for (const Value& value : program(chooseRequest()).values) {
    if (value.arena == Arena::Session && value.name == name) return value;
  }
  fail(ErrorCode::Internal, "the session has no '%s'", name);
}

// Takes the tokens that each row has before those in the cache.
void Session::writePast(const HostBatch& arrays) {
  const HostTensor &past = arrayOf(arrays, "past", DType::I32, -1),
                   &lengths = arrayOf(arrays, "pastLengths", DType::I32, rows_);
  const int64_t vocabulary = value("logits").spec.axes[1].logical();
  const auto *id = reinterpret_cast<const int32_t*>(past.data.data()), *const end = id + past.elements();
  const auto* length = reinterpret_cast<const int32_t*>(lengths.data.data());
  for (std::vector<int32_t>& row : past_) {
    const int32_t count = *length++;
    if (count < 0 || count > end - id ||
        std::any_of(id, id + count, [&](int32_t one) { return one < 0 || one >= vocabulary; }))
      fail(ErrorCode::Config, "session.past must hold pastLengths ids below %lld",
           static_cast<long long>(vocabulary));
    row.assign(id, id + count);
    id += count;
  }
}

// What penalties and n-grams must know of tokens that were not chosen here. If a row has drawn tokens, its
// last ones are those.
void Session::writeTokens() {
  const auto rows = static_cast<size_t>(rows_);
  if (features_.penalties) {
    const auto columns = static_cast<size_t>(value("counts").spec.axes[1].physical());
    std::vector<uint32_t> counts(rows * columns);
    for (size_t row = 0; row < rows; ++row) {
      size_t left = past_[row].size() + tokens_[row].size();
      for (const std::vector<int32_t>* tokens : {&past_[row], &tokens_[row]}) {
        for (int32_t token : *tokens) {
          uint32_t& count = counts[row * columns + static_cast<size_t>(token)];
          const bool drawn = static_cast<int64_t>(left--) <= stream_[2 * row + 1];
          count = drawn ? count + 1 : count | kInPrompt;
        }
      }
    }
    write("counts", counts);
  }
  if (!features_.ngrams) return;
  const auto columns = static_cast<size_t>(capacity_ + 1);
  std::vector<int32_t> history(rows * columns);
  for (size_t row = 0; row < rows; ++row)
    std::copy(tokens_[row].begin(), tokens_[row].end(),
              history.begin() + static_cast<std::ptrdiff_t>(row * columns));
  write("history", history);
}

// The memory of a Program; grows the cache to hold `positions` positions.
Bases Session::basesFor(DeviceContext& context, const Program& program, int64_t positions) {
  Bases bases = model_->state().bases();
  prepare(context, program, bases);
  for (const Value& value : program.values) {
    if (value.arena != Arena::Cache) continue;
    const int64_t pages = (std::min(positions, capacity_) + kPagePositions - 1) / kPagePositions;
    const int64_t bytes = value.spec.bytes() / value.spec.axes[0].physical() * pages;
    const int64_t kept = model_->device().kind() == DeviceKind::CUDA ? cache_.bytes() : 0;
    if (bytes > cache_.bytes())
      requireMemory(model_->device(), bytes - kept, "the sampler's keys and values",
                    "use fewer rows or shorter texts");
    cache_.reserve(model_->device(), bytes);
  }
  bases[static_cast<int>(Arena::Session)] = memory_.data();
  bases[static_cast<int>(Arena::Cache)] = cache_.data();
  return bases;
}

void Session::prefill(DeviceContext& context, const HostBatch& inputs, const std::vector<int32_t>& lengths) {
  const auto tokens = inputs.find("tokens");
  if (static_cast<int64_t>(lengths.size()) != rows_ || tokens == inputs.end() ||
      tokens->second.elements() == 0 || tokens->second.elements() % rows_ != 0) {
    fail(ErrorCode::Data, "a prompt must be %lld rows of equal capacity with a length each",
         static_cast<long long>(rows_));
  }
  if (chose_) fail(ErrorCode::Data, "prefill after decode: read the prompt before you choose tokens");
  const PrefillRequest request{rows_, tokens->second.elements() / rows_, capacity_};
  const Program& program = this->program(request);
  int32_t most = 0;
  for (size_t row = 0; row < lengths.size(); ++row) {
    const int32_t length = lengths[row], start = positions_[row];
    if (length < 1 || length > request.time || start + length > capacity_) {
      fail(ErrorCode::Data, "row %zu: a prompt of %d tokens after %d does not fit a cache of %lld positions",
           row, length, start, static_cast<long long>(capacity_));
    }
    most = std::max(most, start + length);
  }
  const Bases bases = basesFor(context, program, most);
  checkBatch(program, model_->graph(), inputs);
  upload(model_->device(), program, inputs, bases);
  write("start", positions_);
  write("lengths", lengths);
  const auto* ids = reinterpret_cast<const int32_t*>(tokens->second.data.data());
  for (size_t row = 0; row < lengths.size(); ++row) {
    positions_[row] += lengths[row];
    if (!features_.penalties && !features_.ngrams) continue;
    const int32_t* first = ids + static_cast<int64_t>(row) * request.time;
    tokens_[row].insert(tokens_[row].end(), first, first + lengths[row]);
  }
  writeTokens();
  execute(model_->device(), program, bases, model_->threads(), false);
  started_ = pending_ = true;
}

void Session::forward(DeviceContext& context) {
  if (!started_) fail(ErrorCode::Data, "decode before prefill: a sequence needs a first token");
  if (pending_) return;
  CompiledProgram& decode = model_->programs().find(decodeRequest());
  const int32_t most = *std::max_element(positions_.begin(), positions_.end());
  model_->programs().enqueue(decode, basesFor(context, decode.program, most), false);
  pending_ = true;
}

void Session::redirect(const std::vector<int32_t>& parents, const std::vector<int32_t>& tokens) {
  const int64_t vocabulary = value("logits").spec.axes[1].logical();
  if (!chose_ || pending_) fail(ErrorCode::Data, "redirect must follow decode");
  if (static_cast<int64_t>(parents.size()) != rows_ || static_cast<int64_t>(tokens.size()) != rows_)
    fail(ErrorCode::Data, "redirect needs a parent and a token for each of %lld rows",
         static_cast<long long>(rows_));
  // The position of the token chosen last, or where it would be if none could be chosen.
  const auto placeOf = [&](size_t row) { return positions_[row] - (finished_[row] == kRunning ? 1 : 0); };
  bool moved = false, ended = false;
  for (int64_t row = 0; row < rows_; ++row) {
    const size_t r = static_cast<size_t>(row);
    if (parents[r] < 0 || parents[r] >= rows_ || tokens[r] < 0 || tokens[r] >= vocabulary ||
        placeOf(static_cast<size_t>(parents[r])) != placeOf(r) || placeOf(r) >= capacity_)
      fail(ErrorCode::Data, "row %lld can't continue row %d with the token %d", static_cast<long long>(row),
           parents[r], tokens[r]);
    moved |= parents[r] != row;
    ended |= finished_[r] != kRunning;
  }
  write("next", tokens);
  const std::vector<std::vector<int32_t>> before = tokens_;
  const std::vector<int64_t> streams = stream_;
  std::vector<int32_t> start;
  for (size_t row = 0; row < parents.size(); ++row) {
    const auto parent = static_cast<size_t>(parents[row]);
    const int32_t place = placeOf(row);
    start.push_back(place);
    stream_[2 * row + 1] = streams[2 * parent + 1] + (finished_[parent] == kNoToken ? 1 : 0);
    if (!features_.penalties && !features_.ngrams) continue;
    tokens_[row].assign(before[parent].begin(), before[parent].begin() + place);
    tokens_[row].push_back(tokens[row]);
  }
  if (ended) {
    for (size_t row = 0; row < parents.size(); ++row) positions_[row] = start[row] + 1;
    finished_.assign(parents.size(), kRunning);
    write("start", start);
    write("lengths", std::vector<int32_t>(parents.size(), 1));
    write("finished", finished_);
  }
  write("stream", stream_);
  writeTokens();
  const Program& decode = program(decodeRequest());
  for (const Value& value : decode.values) {
    if (value.arena != Arena::Cache || !moved) continue;
    const TensorSpec& spec = value.spec;  // (pages, layers, 2, B, positions of a page, heads)
    const int64_t ofPage = spec.axes[1].physical() * 2;
    const int64_t bytes = spec.bytes() / spec.axes[0].physical() / ofPage, rowBytes = bytes / rows_;
    const int64_t pages =
        (*std::max_element(positions_.begin(), positions_.end()) + kPagePositions - 1) / kPagePositions;
    const int64_t slabs = std::min(pages * ofPage, cache_.bytes() / bytes);
    requireMemory(model_->device(), bytes - slab_.bytes(), "the buffers for reordering beams",
                  "use fewer beams");
    slab_.reserve(model_->device(), bytes);
    for (int64_t slab = 0; slab < slabs; ++slab) {
      char* const at = cache_.data() + slab * bytes;
      model_->device().copy(slab_.data(), at, bytes);
      for (int64_t row = 0; row < rows_; ++row) {
        const int64_t parent = parents[static_cast<size_t>(row)];
        if (parent != row)
          model_->device().copy(at + row * rowBytes, slab_.data() + parent * rowBytes, rowBytes);
      }
    }
  }
}

Visit Session::decode(DeviceContext& context, int64_t steps, const std::vector<uint32_t>& mask) {
  if (steps < 1 || steps > kMostVisit)
    fail(ErrorCode::Internal, "a visit of %lld steps; it must be 1 to %lld", static_cast<long long>(steps),
         static_cast<long long>(kMostVisit));
  forward(context);
  CompiledProgram& choose = model_->programs().find(chooseRequest());
  const Bases chooseBases = basesFor(context, choose.program, 0);
  if (features_.mask) {
    const size_t words = static_cast<size_t>(rows_ * maskWords(value("logits").spec.axes[1].logical()));
    if (mask.size() != words || steps != 1)
      fail(ErrorCode::Data, "a mask must be %zu words, for one token at a time; it has %zu", words,
           mask.size());
    write("mask", mask);
  }
  chose_ = true;
  for (int64_t step = 0; step < steps; ++step) {
    if (step > 0) {
      for (int32_t& position : positions_)
        position = std::min<int32_t>(position + 1, static_cast<int32_t>(capacity_));
      forward(context);
    }
    model_->programs().enqueue(choose, chooseBases, false);
    pending_ = false;
    if (model_->device().kind() != DeviceKind::CPU) continue;
    // Looking costs nothing there.
    const auto* states = reinterpret_cast<const int32_t*>(place("finished"));
    if (std::all_of(states, states + rows_, [](int32_t state) { return state != kRunning; })) break;
  }
  std::vector<char> report(static_cast<size_t>(choose.program.sessionReport));
  model_->device().read(report.data(), memory_.data(), choose.program.sessionReport);
  const auto reported = [&](const char* name) { return report.data() + (place(name) - memory_.data()); };
  const auto* stream = reinterpret_cast<const int64_t*>(reported("stream"));
  const auto* start = reinterpret_cast<const int32_t*>(reported("start"));
  const auto* lengths = reinterpret_cast<const int32_t*>(reported("lengths"));
  const auto* finished = reinterpret_cast<const int32_t*>(reported("finished"));
  const auto* chosen = reinterpret_cast<const int32_t*>(reported("chosen"));
  Visit visit;
  visit.tokens.assign(static_cast<size_t>(steps * rows_), -1);
  visit.finished.assign(finished, finished + rows_);
  finished_ = visit.finished;
  const int64_t k = std::max<int64_t>(features_.logProbs, 0);
  std::vector<float> logProb, topLogProbs;
  std::vector<int32_t> topTokens;
  if (features_.logProbs >= 0) {
    logProb = read<float>("logProb", kMostVisit * rows_);
    visit.logProbs.assign(visit.tokens.size(), 0);
    visit.topTokens.assign(visit.tokens.size() * static_cast<size_t>(k), -1);
    visit.topLogProbs.assign(visit.tokens.size() * static_cast<size_t>(k), 0);
    if (k > 0) topTokens = read<int32_t>("topTokens", kMostVisit * rows_ * k);
    if (k > 0) topLogProbs = read<float>("topLogProbs", kMostVisit * rows_ * k);
  }
  for (int64_t row = 0; row < rows_; ++row) {
    const size_t r = static_cast<size_t>(row);
    const int64_t first = stream_[2 * r + 1];
    for (int64_t drawn = first; drawn < std::min(stream[2 * row + 1], first + steps); ++drawn) {
      const int64_t from = drawn % kMostVisit * rows_ + row, to = (drawn - first) * rows_ + row;
      visit.tokens[static_cast<size_t>(to)] = chosen[from];
      if (features_.penalties || features_.ngrams) tokens_[r].push_back(chosen[from]);
      if (features_.logProbs < 0) continue;
      visit.logProbs[static_cast<size_t>(to)] = logProb[static_cast<size_t>(from)];
      std::copy_n(topTokens.begin() + from * k, k, visit.topTokens.begin() + to * k);
      std::copy_n(topLogProbs.begin() + from * k, k, visit.topLogProbs.begin() + to * k);
    }
    stream_[2 * r + 1] = stream[2 * row + 1];
    positions_[r] = start[row] + lengths[row];
  }
  return visit;
}

}  // namespace tesserae
