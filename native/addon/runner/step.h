// One step on its way from JavaScript to the computing thread and back. Inputs are copied and checked when it
// is handed over, results are copied back when it settles: meanwhile the batch's arrays may be changed,
// detached or collected without harm.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include <napi.h>

#include "runner/runner.h"
#include "runner/sampler.h"

namespace kvpage::addon {

struct Step {
    std::vector<int32_t> tokens;
    std::vector<runner::SequenceStep> sequences; // spans into `tokens`
    std::vector<runner::Sampling> sampling;      // of the sequences that sample, in order
    std::vector<uint32_t> sampled;               // their places in the batch
    uint32_t max_top = 0;

    std::vector<int32_t> next;
    std::vector<float> next_logprob;
    std::vector<int32_t> top_token; // [sequences][max_top]
    std::vector<float> top_logprob;
    std::vector<float> logits; // [sampled][vocabulary]
    runner::Status status;

    Napi::ObjectReference batch;
    Napi::ObjectReference raw_logits; // where the logits go; empty: not wanted
    std::optional<Napi::Promise::Deferred> deferred;
};

// Fills the inputs from a StepBatch. KVPAGE_INVALID_ARGUMENT names the field, the sequence and the value;
// token ids and addresses are for forward() to check. `raw_logits` is a Float32Array or undefined.
runner::Status read_batch(Napi::Object batch, Napi::Value raw_logits, size_t vocabulary, Step &step);

// Copies the results into the batch's arrays.
runner::Status write_results(Step &step);

} // namespace kvpage::addon
