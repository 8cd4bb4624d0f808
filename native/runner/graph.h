// One step as a ggml graph. Sequences share every matrix product; attention is one operation per sequence, at
// its own address, length and stride, so that sequences of any length share a step without padding one
// another.
#pragma once

#include <cstdint>
#include <vector>

#include "runner/hyperparameters.h"
#include "runner/weights.h"

namespace kvpage::runner {

// K and V of a layer inside a token's row.
struct KvOffsets {
    ggml_type type;
    size_t row_bytes;
    size_t vector_bytes; // of one layer's K, and of its V: kv_heads * head_dim elements
    size_t k(int64_t layer) const { return static_cast<size_t>(layer) * 2 * vector_bytes; }
    size_t v(int64_t layer) const { return k(layer) + vector_bytes; }
};

// A piece of a sequence inside a step.
struct Piece {
    uint64_t address;
    int32_t past;
    int32_t count;
    const int32_t *tokens;
    int32_t output; // row of the logits to fill, or -1
};

struct StepShape {
    // Rows of the activations: the pieces' tokens, and a copy of the last where one row alone would take
    // another kernel's path (needs_two_rows).
    int32_t rows = 0;
    int32_t tokens = 0;
    int32_t outputs = 0;
    int32_t output_rows = 0;

    bool operator==(const StepShape &) const = default;
};

class StepGraph {
  public:
    StepGraph(const Hyperparameters &parameters, const Weights &weights, const KvOffsets &kv);

    // The last graph again if it serves this step too, with other lengths and addresses; else null. So it is
    // for decodes of as many sequences: no mask, no tensor whose size depends on a length. Stays allocated.
    ggml_cgraph *reuse(const std::vector<Piece> &pieces, const StepShape &shape,
                       ggml_backend_buffer_t region);
    // Builds the graph over the region. Its inputs are filled by fill() once it is allocated.
    ggml_cgraph *build(const std::vector<Piece> &pieces, const StepShape &shape,
                       ggml_backend_buffer_t region);
    // It could not be allocated, or its region is gone.
    void forget() { graph_ = nullptr; }
    void fill(const std::vector<Piece> &pieces, const StepShape &shape);
    // [vocabulary, output_rows]; null if nothing was asked for.
    ggml_tensor *logits() const { return logits_; }

  private:
    ggml_tensor *normalise(ggml_tensor *x, ggml_tensor *weight);
    ggml_tensor *rotate(ggml_tensor *x);
    ggml_tensor *project(ggml_tensor *x, ggml_tensor *weight, ggml_tensor *bias, int64_t heads);
    void store_kv(int64_t layer, ggml_tensor *x, const StepShape &shape);
    ggml_tensor *attention(int64_t layer, ggml_tensor *x, const std::vector<Piece> &pieces,
                           const StepShape &shape);
    ggml_tensor *attend(int64_t layer, ggml_tensor *q, size_t piece, const Piece &at, int32_t first_row);
    ggml_tensor *kv_tensor(uint64_t address, int64_t rows);
    void point(ggml_tensor *tensor, uint64_t address, int64_t rows) const;

    const Hyperparameters &p_;
    const Weights &w_;
    const KvOffsets kv_;

    std::vector<std::byte> arena_; // metadata of the graph, reused from step to step
    ggml_context_ptr context_;
    ggml_cgraph *graph_ = nullptr;
    ggml_backend_buffer_t region_ = nullptr;
    StepShape shape_;
    struct Attended {
        ggml_tensor *k, *v;
    };
    std::vector<Attended> attended_kv_; // [layer][piece]

    ggml_tensor *tokens_ = nullptr;
    ggml_tensor *positions_ = nullptr;
    ggml_tensor *kv_rows_ = nullptr;
    ggml_tensor *output_rows_ = nullptr;
    ggml_tensor *attended_ = nullptr; // where the sequences' attention goes, side by side
    std::vector<ggml_tensor *> masks_;
    ggml_tensor *logits_ = nullptr;
};

} // namespace kvpage::runner
