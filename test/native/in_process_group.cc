// The ranks of a process: their sums, and what they learn of a rank that fails.
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "comm/in_process_group.h"
#include "runtime/error.h"

using namespace tesserae;

namespace {

void check(bool condition, const char* what) {
  if (condition) return;
  std::fprintf(stderr, "in_process_group: %s\n", what);
  std::exit(1);
}

using Group = std::vector<std::shared_ptr<ProcessGroup>>;

// Runs a rank on a thread of its own each.
void onRanks(const Group& group, const std::function<void(ProcessGroup&)>& work) {
  std::vector<std::thread> threads;
  for (const auto& rank : group) threads.emplace_back([&] { work(*rank); });
  for (std::thread& thread : threads) thread.join();
}

// What a call throws; empty for nothing.
std::string failureOf(const std::function<void()>& call) {
  try {
    call();
  } catch (const Error& error) {
    check(error.code == ErrorCode::Distributed, "the code is ERR_DISTRIBUTED");
    return error.what();
  }
  return "";
}

float valueOf(int rank, size_t i) { return 1.0f / static_cast<float>(3 + 7 * rank) + static_cast<float>(i % 5); }

constexpr size_t kElements = 5003;  // a multiple of neither the ranks nor a block

std::vector<float> valuesOf(int rank) {
  std::vector<float> values(kElements);
  for (size_t i = 0; i < kElements; ++i) values[i] = valueOf(rank, i);
  return values;
}

// In the order of the ranks.
float sumOf(int world, size_t i) {
  float sum = valueOf(0, i);
  for (int rank = 1; rank < world; ++rank) sum += valueOf(rank, i);
  return sum;
}

bool isIn(size_t i, int rank, int world) {
  const size_t ranks = static_cast<size_t>(world), r = static_cast<size_t>(rank);
  return i >= kElements * r / ranks && i < kElements * (r + 1) / ranks;
}

void checkCollectives(int world) {
  onRanks(inProcessGroup(world), [&](ProcessGroup& group) {
    const int rank = group.rank();
    check(group.world() == world, "each rank knows how many there are");
    for (int round = 0; round < 20; ++round) {
      // Another rank is the last one in each round.
      if (rank == round % world) std::this_thread::sleep_for(std::chrono::microseconds(200));
      std::vector<float> reduced = valuesOf(rank), scattered = valuesOf(rank), gathered = valuesOf(rank),
                         sent = valuesOf(rank);
      group.allReduce(reduced.data(), kElements, DType::F32);
      group.reduceScatter(scattered.data(), kElements, DType::F32);
      group.allGather(gathered.data(), kElements, DType::F32);
      group.broadcast(sent.data(), kElements, DType::F32, round % world);
      for (size_t i = 0; i < kElements; ++i) {
        check(reduced[i] == sumOf(world, i), "allReduce adds in the order of the ranks");
        check(scattered[i] == (isIn(i, rank, world) ? sumOf(world, i) : valueOf(rank, i)),
              "reduceScatter adds up a rank's own part alone");
        check(sent[i] == valueOf(round % world, i), "broadcast sends what the root has");
        for (int other = 0; other < world; ++other)
          check(!isIn(i, other, world) || gathered[i] == valueOf(other, i), "allGather takes each part");
      }
      double one = rank;
      group.allReduce(&one, 1, DType::F64);
      check(one == world * (world - 1) / 2, "fewer elements than ranks");
      group.poll();
    }
  });
}

void checkAbort() {
  const Group group = inProcessGroup(3);
  onRanks(group, [&](ProcessGroup& rank) {
    float value = 1;
    rank.allReduce(&value, 1, DType::F32);
    if (rank.rank() == 1) {
      rank.abort("rank 1 has no memory");
      rank.abort("another reason");
    } else {
      const std::string failure = failureOf([&] { rank.allReduce(&value, 1, DType::F32); });
      check(failure.find("rank 1 has no memory") != std::string::npos, "all learn the first reason");
    }
  });
  for (const auto& rank : group) {
    float value = 1;
    check(!failureOf([&] { rank->broadcast(&value, 1, DType::F32, 0); }).empty(), "an aborted group stays so");
    check(!failureOf([&] { rank->poll(); }).empty(), "poll tells of it");
  }
}

// Nobody leaves a call while another rank may still use its memory.
void checkAbortAtAnyTime() {
  for (int round = 0; round < 300; ++round) {
    const Group group = inProcessGroup(3);
    std::thread aborting([&] {
      std::this_thread::sleep_for(std::chrono::microseconds(round));
      group[0]->abort("no longer wanted");
    });
    onRanks(group, [&](ProcessGroup& rank) {
      failureOf([&] {
        for (int i = 0; i < 50; ++i) {
          std::vector<float> values = valuesOf(rank.rank());
          rank.allReduce(values.data(), kElements, DType::F32);
          check(values[17] == sumOf(3, 17), "a call that returns has the sum");
        }
      });
    });
    aborting.join();
  }
}

void checkMismatch() {
  const Group group = inProcessGroup(2);
  onRanks(group, [](ProcessGroup& rank) {
    float values[2] = {1, 2};
    const std::string failure = failureOf([&] { rank.allReduce(values, 1 + rank.rank(), DType::F32); });
    check(failure.find("different collective calls") != std::string::npos, "calls that differ are an error");
  });
}

}  // namespace

int main() {
  for (int world : {1, 2, 3, 4}) checkCollectives(world);
  checkAbort();
  checkAbortAtAnyTime();
  checkMismatch();
}
