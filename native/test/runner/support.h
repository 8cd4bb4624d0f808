// What the runner's tests share: small random models on disk, memory for K and V, and steps in few words.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "runner/model_writer.h"
#include "runner/runner.h"

struct gguf_context;

namespace kvpage::runner::test {

// The path of the model, written once per process and removed at its end.
const std::string &model_file(const RandomModel &spec);
// A copy of the model with its metadata or its tensors' types edited.
std::string edited_model(const RandomModel &spec, const std::function<void(gguf_context *)> &edit);
// A new path in the same folder, with that content.
std::string scratch_file(const std::string &content);
std::string read_file(const std::string &path);

// Reserved address space of which pages become readable one by one; everything else kills the process.
class KvMemory {
  public:
    explicit KvMemory(size_t bytes);
    ~KvMemory();
    KvMemory(const KvMemory &) = delete;
    KvMemory &operator=(const KvMemory &) = delete;

    uint64_t base() const { return reinterpret_cast<uint64_t>(base_); }
    size_t bytes() const { return bytes_; }
    // Makes the pages that hold [address, address + bytes) readable, and no others.
    void allow(uint64_t address, size_t bytes);
    void allow_all() { allow(base(), bytes_); }

  private:
    std::byte *base_;
    size_t bytes_;
};

// A loaded model with room for sequences of equal capacity, numbered from 0.
class Session {
  public:
    struct Options {
        KvType kv_type = KvType::f16;
        int threads = 1; // more wait for one another in a loop: slow where cores are shared
        bool fast = false;
        int sequences = 1;
        int capacity = 1024; // rows per sequence
        bool allow_all = true;
    };
    Session(const std::string &path, const Options &options);

    Runner &runner() { return *runner_; }
    KvMemory &memory() { return *memory_; }
    uint64_t address(int sequence) const;
    // The bytes of K and V of the sequence's first rows.
    std::string kv(int sequence, int rows) const;

    struct Step {
        int sequence;
        int past;
        std::vector<int32_t> tokens;
        bool logits = true;
    };
    // The logits of the wanting sequences, one after another. Fails the test on an error.
    std::vector<float> forward(const std::vector<Step> &steps);

  private:
    std::unique_ptr<Runner> runner_;
    std::unique_ptr<KvMemory> memory_;
    Options options_;
};

// Tokens as if drawn at random.
std::vector<int32_t> random_tokens(int count, int vocabulary, uint64_t seed);
std::vector<int32_t> slice(const std::vector<int32_t> &tokens, int first, int count);

bool same_bits(const std::vector<float> &a, const std::vector<float> &b);

} // namespace kvpage::runner::test
