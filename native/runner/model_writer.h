// GGUF files that we make: small models with random weights, for tests, benchmarks and a first start without
// a download; and conversion of llama2.c checkpoints.
#pragma once

#include <cstdint>
#include <string>

#include "runner/status.h"

namespace kvpage::runner {

struct RandomModel {
    std::string architecture = "llama"; // llama, qwen2 or qwen3
    std::string name = "random";
    std::string weights = "F16"; // type of the matrices: F32, F16, BF16, Q8_0, Q4_0, Q4_K, ...
    int32_t layers = 4;
    int32_t embedding = 256;
    int32_t heads = 4;
    int32_t kv_heads = 2;
    int32_t head_dim = 64;
    int32_t feed_forward = 512;
    int32_t vocabulary = 512; // at least 300: six control tokens, 256 bytes, some pieces
    int32_t context = 2048;
    bool tied_embeddings = false;
    uint64_t seed = 1;
};

// Writes the model; the same specification gives the same bytes. The file appears complete or not at all.
Status write_random_model(const RandomModel &spec, const std::string &path);

// Converts a llama2.c "version 0" checkpoint and its tokenizer to GGUF with float32 weights.
Status convert_llama2c(const std::string &checkpoint, const std::string &tokenizer, const std::string &path);

} // namespace kvpage::runner
