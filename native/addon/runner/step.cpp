#include "addon/runner/step.h"

#include <algorithm>
#include <cmath>
#include <string>

namespace kvpage::addon {
namespace {

using runner::Status;

template <class T> constexpr napi_typedarray_type kArrayType = napi_uint8_array;
template <> constexpr napi_typedarray_type kArrayType<int32_t> = napi_int32_array;
template <> constexpr napi_typedarray_type kArrayType<float> = napi_float32_array;
template <> constexpr napi_typedarray_type kArrayType<uint64_t> = napi_biguint64_array;

Status invalid(const std::string &field, const std::string &value, const std::string &expected) {
    return Status::error("KVPAGE_INVALID_ARGUMENT", field + " is " + value + "; expected " + expected);
}

// The batch's fields; the first failure is kept and ends the reading.
class Fields {
  public:
    explicit Fields(Napi::Object batch) : batch_(batch) {}

    // The elements of a typed array of at least `count`; null after a failure.
    template <class T> T *array(const char *name, size_t count) {
        if (!status.ok())
            return nullptr;
        Napi::Value value = batch_.Get(name);
        if (!value.IsTypedArray() || value.As<Napi::TypedArray>().TypedArrayType() != kArrayType<T>) {
            status = invalid(field(name), "something else", "the typed array that it was made with");
            return nullptr;
        }
        auto array = value.As<Napi::TypedArrayOf<T>>();
        if (array.ElementLength() < count) {
            status = invalid(field(name) + ".length", std::to_string(array.ElementLength()),
                             "at least " + std::to_string(count));
            return nullptr;
        }
        return array.Data();
    }

    size_t size(const char *name, double minimum, double maximum) {
        if (!status.ok())
            return 0;
        Napi::Value value = batch_.Get(name);
        const double number = value.IsNumber() ? value.As<Napi::Number>().DoubleValue() : std::nan("");
        if (!(number >= minimum && number <= maximum && number == std::floor(number))) {
            status = invalid(field(name), std::to_string(number),
                             "an integer of " + std::to_string(static_cast<int64_t>(minimum)) + ".." +
                                 std::to_string(static_cast<int64_t>(maximum)));
            return 0;
        }
        return static_cast<size_t>(number);
    }

    void element(const char *name, size_t index, double value, bool good, const std::string &expected) {
        if (status.ok() && !good)
            status =
                invalid(field(name) + "[" + std::to_string(index) + "]", std::to_string(value), expected);
    }

    static std::string field(const char *name) { return std::string("batch.") + name; }

    Status status;

  private:
    Napi::Object batch_;
};

constexpr double kMaxSequences = 1 << 20;
constexpr double kMaxTop = 64;

} // namespace

Status read_batch(Napi::Object batch, Napi::Value raw_logits, size_t vocabulary, Step &step) {
    Fields fields(batch);
    const size_t count = fields.size("sequences", 1, kMaxSequences);
    step.max_top = static_cast<uint32_t>(fields.size("maxTopLogprobs", 0, kMaxTop));
    const auto *address = fields.array<uint64_t>("address", count);
    const auto *past = fields.array<int32_t>("past", count);
    const auto *counts = fields.array<int32_t>("count", count);
    const auto *sample = fields.array<uint8_t>("sample", count);
    const auto *temperature = fields.array<float>("temperature", count);
    const auto *top_k = fields.array<int32_t>("topK", count);
    const auto *top_p = fields.array<float>("topP", count);
    const auto *min_p = fields.array<float>("minP", count);
    const auto *seed = fields.array<uint64_t>("seed", count);
    const auto *top_logprobs = fields.array<int32_t>("topLogprobs", count);
    fields.array<int32_t>("next", count);
    fields.array<float>("nextLogprob", count);
    fields.array<int32_t>("topToken", count * step.max_top);
    fields.array<float>("topLogprob", count * step.max_top);
    if (!fields.status.ok())
        return fields.status;

    size_t total = 0;
    step.sampling.clear();
    step.sampled.clear();
    for (size_t i = 0; i < count && fields.status.ok(); i++) {
        fields.element("past", i, past[i], past[i] >= 0, "an integer >= 0");
        fields.element("count", i, counts[i], counts[i] >= 1, "an integer >= 1");
        total += static_cast<size_t>(std::max(counts[i], 0));
        if (sample[i] == 0)
            continue;
        fields.element("temperature", i, temperature[i], temperature[i] >= 0 && std::isfinite(temperature[i]),
                       "a number >= 0");
        fields.element("topK", i, top_k[i], top_k[i] >= 0, "an integer >= 0");
        fields.element("topP", i, top_p[i], top_p[i] >= 0 && top_p[i] <= 1, "a number of 0..1");
        fields.element("minP", i, min_p[i], min_p[i] >= 0 && min_p[i] <= 1, "a number of 0..1");
        fields.element("topLogprobs", i, top_logprobs[i],
                       top_logprobs[i] >= -1 && top_logprobs[i] <= static_cast<int32_t>(step.max_top),
                       "an integer of -1.." + std::to_string(step.max_top));
        step.sampling.push_back({temperature[i], top_k[i], top_p[i], min_p[i], seed[i], top_logprobs[i]});
        step.sampled.push_back(static_cast<uint32_t>(i));
    }
    const auto *tokens = fields.array<int32_t>("tokens", total);
    if (!fields.status.ok())
        return fields.status;

    step.raw_logits.Reset();
    if (!raw_logits.IsUndefined()) {
        const size_t floats = step.sampling.size() * vocabulary;
        if (!raw_logits.IsTypedArray() ||
            raw_logits.As<Napi::TypedArray>().TypedArrayType() != napi_float32_array)
            return invalid("logits", "something else", "a Float32Array");
        const size_t length = raw_logits.As<Napi::TypedArray>().ElementLength();
        if (length < floats)
            return invalid("logits.length", std::to_string(length), "at least " + std::to_string(floats));
        step.raw_logits = Napi::Persistent(raw_logits.As<Napi::Object>());
    }
    step.tokens.assign(tokens, tokens + total);
    step.sequences.clear();
    const int32_t *next = step.tokens.data();
    for (size_t i = 0; i < count; i++) {
        const auto length = static_cast<size_t>(counts[i]);
        step.sequences.push_back({address[i], past[i], {next, length}, sample[i] != 0});
        next += length;
    }
    step.next.assign(count, -1);
    step.next_logprob.assign(count, std::nanf(""));
    step.top_token.assign(count * step.max_top, -1);
    step.top_logprob.assign(count * step.max_top, std::nanf(""));
    step.batch = Napi::Persistent(batch);
    return Status::success();
}

Status write_results(Step &step) {
    Fields fields(step.batch.Value());
    const size_t count = step.sequences.size();
    auto *next = fields.array<int32_t>("next", count);
    auto *next_logprob = fields.array<float>("nextLogprob", count);
    auto *top_token = fields.array<int32_t>("topToken", step.top_token.size());
    auto *top_logprob = fields.array<float>("topLogprob", step.top_logprob.size());
    if (!fields.status.ok())
        return fields.status;
    std::copy(step.next.begin(), step.next.end(), next);
    std::copy(step.next_logprob.begin(), step.next_logprob.end(), next_logprob);
    std::copy(step.top_token.begin(), step.top_token.end(), top_token);
    std::copy(step.top_logprob.begin(), step.top_logprob.end(), top_logprob);
    if (step.raw_logits.IsEmpty())
        return Status::success();
    auto raw = step.raw_logits.Value().As<Napi::Float32Array>();
    if (raw.ElementLength() < step.logits.size())
        return invalid("logits.length", std::to_string(raw.ElementLength()),
                       "it to stay as it was at the call");
    std::copy(step.logits.begin(), step.logits.end(), raw.Data());
    return Status::success();
}

} // namespace kvpage::addon
