// A GGUF model as a function: tokens, positions and the addresses of K and V in, logits out.
//
// The runner knows nothing of paging. A *sequence* is an address: the row of its token 0. Row i holds the K
// and V of token i for all layers and stands at address + i * layout().row_bytes. The caller guarantees that
// rows [0, past + count) are readable and writable during forward(); no byte beyond them is touched.
//
// Deterministic mode (the default): logits and K/V bytes of a prefix are bit-identical whatever the chunking,
// the other sequences of the step, the reuse of an earlier prefix and the number of threads.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>

#include "runner/status.h"

namespace kvpage::runner {

enum class KvType : int32_t { f16 = 0, f32 = 1, q8_0 = 2 };

struct LoadOptions {
    std::string path;
    KvType kv_type = KvType::f16;
    int threads = 1;
    bool fast = false; // true: plain ggml kernels; faster deep prefill, not deterministic
    std::function<void(float)> on_progress; // 0..1, may be empty
};

struct ModelInfo {
    std::string architecture; // "llama", "qwen2", "qwen3" (Mistral files say "llama" or "mistral3")
    std::string name;         // general.name, may be empty
    std::string weights;      // the most frequent matrix type, such as "Q8_0"
    int layers = 0;
    int embedding = 0;
    int heads = 0;
    int kv_heads = 0;
    int head_dim = 0;
    int vocabulary = 0;
    int context = 0; // trained context length, tokens
    uint64_t parameters = 0;
    uint64_t file_bytes = 0;
};

// Token-major: all layers of a token are adjacent.
struct KvLayout {
    size_t token_bytes = 0; // bytes of one token's K and V of all layers
    size_t row_bytes = 0;   // token_bytes rounded up to 64: the distance of consecutive tokens
};

struct SequenceStep {
    uint64_t address = 0;            // of the row of token 0
    int32_t past = 0;                // rows already valid
    std::span<const int32_t> tokens; // to process now, at positions past, past + 1, ...; at least one
    bool logits = false;             // wants the logits after its last token
};

class Runner {
  public:
    // Loads a model. Fails (and leaves nothing behind) on a missing, truncated or unsupported file.
    static Status load(const LoadOptions &options, std::unique_ptr<Runner> &out);
    virtual ~Runner() = default;

    virtual const ModelInfo &info() const = 0;
    virtual const KvLayout &layout() const = 0;

    // The one region in which all sequences live (a reservation; not touched). Every address of a step must
    // lie in it at a multiple of row_bytes from base. Call once before the first forward().
    virtual Status set_kv_region(uint64_t base, size_t bytes) = 0;

    // Runs one step over any mix of prefill chunks and decodes. `logits` receives [wanting
    // sequences][vocabulary] floats in the order of `sequences`. On failure the K/V rows of the step are
    // undefined, all else unchanged.
    virtual Status forward(std::span<const SequenceStep> sequences, float *logits) = 0;
};

} // namespace kvpage::runner
