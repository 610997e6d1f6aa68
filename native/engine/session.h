// defines: Session
#pragma once

#include <memory>
#include <string_view>
#include <vector>

#include "engine/model.h"

namespace tesserae {

// Sequences that are being sampled from a model, which must outlive the session.
class Session {
 public:
  // options: {rows, cache, temperatures, seeds} as JSON. Throws ERR_CONFIG.
  Session(std::shared_ptr<Model> model, std::string_view options);
  // tokens: rows × time. Returns each row's next token.
  std::vector<int32_t> prefill(DeviceContext& context, const HostTensor& tokens,
                               const std::vector<int32_t>& lengths);
  std::vector<int32_t> decode(DeviceContext& context, int64_t steps);
  int64_t rows() const { return rows_; }

 private:
  std::vector<int32_t> step(DeviceContext& context, const Program& program);
  char* place(const Program& program, const char* name) const;

  std::shared_ptr<Model> model_;
  int64_t rows_, cache_;
  DeviceArena memory_;
  std::vector<int32_t> positions_;  // of each row in the cache, as the device counts them
  bool started_ = false;
};

}  // namespace tesserae
