// A model with the one thread that computes its steps. JavaScript's thread only hands batches over and takes
// results back; it never waits for a step.
#include "addon/runner/model_addon.h"

#include <algorithm>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "addon/common.h"
#include "runner/runner.h"
#include "runner/sampler.h"
#include "runner/vocab.h"

namespace kvpage::addon {
namespace {

using runner::KvType;
using runner::LoadOptions;
using runner::Runner;
using runner::Sampled;
using runner::Sampler;
using runner::Sampling;
using runner::SequenceStep;
using runner::Status;
using runner::Vocab;

// What one step reads and writes. The arrays belong to JavaScript; `batch` keeps them alive.
struct Step {
    Napi::ObjectReference batch;
    std::vector<SequenceStep> sequences;
    std::vector<Sampling> sampling; // of the sequences that sample, in order
    std::vector<uint32_t> index;    // their places in the batch
    int32_t *next;
    float *next_logprob;
    int32_t *top_token;
    float *top_logprob;
    uint32_t max_top;
    float *raw_logits; // null: not wanted
    std::optional<Napi::Promise::Deferred> deferred;
    Status status;
};

// Runs steps in order of arrival on a thread of its own.
class StepThread {
  public:
    StepThread(Napi::Env env, std::shared_ptr<Runner> runner) : runner_(std::move(runner)) {
        // Unreferenced while idle, so that a forgotten model does not keep the process alive.
        finished_ = Napi::ThreadSafeFunction::New(env, Napi::Function(), "kvpage step", 0, 1);
        finished_.Unref(env);
        thread_ = std::thread([this] { work(); });
    }

    ~StepThread() {
        {
            std::lock_guard lock(mutex_);
            stop_ = true;
        }
        wake_.notify_one();
        thread_.join();
        finished_.Release();
    }

    void submit(Napi::Env env, std::unique_ptr<Step> step) {
        if (pending_++ == 0)
            finished_.Ref(env);
        {
            std::lock_guard lock(mutex_);
            queue_.push_back(std::move(step));
        }
        wake_.notify_one();
    }

  private:
    void work() {
        for (;;) {
            std::unique_ptr<Step> step;
            {
                std::unique_lock lock(mutex_);
                wake_.wait(lock, [this] { return stop_ || !queue_.empty(); });
                if (queue_.empty())
                    return; // stopped, and all that was asked for is done
                step = std::move(queue_.front());
                queue_.erase(queue_.begin());
            }
            compute(*step);
            Step *done = step.release();
            const napi_status status = finished_.BlockingCall(done, [this](Napi::Env env, Napi::Function, Step *raw) {
                settle(env, std::unique_ptr<Step>(raw));
            });
            if (status != napi_ok)
                return; // the environment is gone, and the step's references with it
        }
    }

    void compute(Step &step) {
        const auto vocabulary = static_cast<size_t>(runner_->info().vocabulary);
        const size_t floats = step.sampling.size() * vocabulary;
        float *logits = step.raw_logits;
        if (logits == nullptr) {
            if (logits_.size() < floats)
                logits_.resize(floats);
            logits = logits_.data();
        }
        step.status = runner_->forward(step.sequences, logits);
        for (size_t i = 0; i < step.sampling.size() && step.status.ok(); i++) {
            const uint32_t at = step.index[i];
            const SequenceStep &sequence = step.sequences[at];
            const uint64_t position = static_cast<uint64_t>(sequence.past) + sequence.tokens.size();
            Sampled sampled{};
            step.status = sampler_.sample({logits + i * vocabulary, vocabulary}, step.sampling[i], position, sampled,
                                          step.top_token + size_t{at} * step.max_top,
                                          step.top_logprob + size_t{at} * step.max_top);
            step.next[at] = sampled.token;
            step.next_logprob[at] = sampled.logprob;
        }
    }

    void settle(Napi::Env env, std::unique_ptr<Step> step) {
        if (--pending_ == 0)
            finished_.Unref(env);
        if (step->status.ok())
            step->deferred->Resolve(env.Undefined());
        else
            step->deferred->Reject(make_error(env, step->status.code, step->status.message).Value());
    }

    std::shared_ptr<Runner> runner_;
    Sampler sampler_;
    std::vector<float> logits_;
    Napi::ThreadSafeFunction finished_;
    std::thread thread_;
    std::mutex mutex_;
    std::condition_variable wake_;
    std::vector<std::unique_ptr<Step>> queue_;
    bool stop_ = false;
    int pending_ = 0; // touched by JavaScript's thread alone
};

struct Loaded {
    std::shared_ptr<Runner> runner;
    std::shared_ptr<Vocab> vocab;
};

Napi::FunctionReference &model_class(Napi::Env env) {
    // One per environment (worker threads have their own).
    struct ClassData {
        Napi::FunctionReference constructor;
    };
    static thread_local ClassData data;
    (void)env;
    return data.constructor;
}

class ModelAddon final : public Napi::ObjectWrap<ModelAddon> {
  public:
    static Napi::Function define(Napi::Env env) {
        using T = ModelAddon;
        Napi::Function constructor =
            DefineClass(env, "Model",
                        {
                            InstanceMethod<&T::info>("info"),
                            InstanceMethod<&T::set_kv_region>("setKvRegion"),
                            InstanceMethod<&T::step>("step"),
                            InstanceMethod<&T::tokenize>("tokenize"),
                            InstanceMethod<&T::token_bytes>("tokenBytes"),
                            InstanceMethod<&T::token_text>("tokenText"),
                            InstanceMethod<&T::is_control>("isControl"),
                            InstanceMethod<&T::is_end_of_generation>("isEndOfGeneration"),
                            InstanceMethod<&T::dispose>("dispose"),
                        });
        model_class(env) = Napi::Persistent(constructor);
        model_class(env).SuppressDestruct();
        return constructor;
    }

    explicit ModelAddon(const Napi::CallbackInfo &info) : Napi::ObjectWrap<ModelAddon>(info) {
        if (info.Length() < 1 || !info[0].IsExternal())
            throw make_error(info.Env(), "KVPAGE_INVALID_ARGUMENT", "a Model is made by load()");
        auto *loaded = info[0].As<Napi::External<Loaded>>().Data();
        runner_ = std::move(loaded->runner);
        vocab_ = std::move(loaded->vocab);
        thread_ = std::make_unique<StepThread>(info.Env(), runner_);
        file_bytes_ = static_cast<int64_t>(runner_->info().file_bytes);
        Napi::MemoryManagement::AdjustExternalMemory(info.Env(), file_bytes_);
    }

  private:
    using Info = Napi::CallbackInfo;

    Napi::Value info(const Info &call) {
        const runner::ModelInfo &m = runner_->info();
        const runner::KvLayout &kv = runner_->layout();
        Napi::Object out = Napi::Object::New(call.Env());
        out.Set("architecture", m.architecture);
        out.Set("name", m.name);
        out.Set("weights", m.weights);
        out.Set("layers", m.layers);
        out.Set("embedding", m.embedding);
        out.Set("heads", m.heads);
        out.Set("kvHeads", m.kv_heads);
        out.Set("headDim", m.head_dim);
        out.Set("vocabulary", m.vocabulary);
        out.Set("context", m.context);
        out.Set("parameters", static_cast<double>(m.parameters));
        out.Set("fileBytes", static_cast<double>(m.file_bytes));
        out.Set("tokenBytes", static_cast<double>(kv.token_bytes));
        out.Set("rowBytes", static_cast<double>(kv.row_bytes));
        out.Set("bosToken", vocab_->bos());
        out.Set("eosToken", vocab_->eos());
        out.Set("addsSpacePrefix", vocab_->adds_space_prefix());
        out.Set("chatTemplate", vocab_->chat_template());
        return out;
    }

    Napi::Value set_kv_region(const Info &info) {
        bool lossless = false;
        const uint64_t base = info[0].As<Napi::BigInt>().Uint64Value(&lossless);
        check(info.Env(), runner_->set_kv_region(base, static_cast<size_t>(info[1].As<Napi::Number>().Int64Value())));
        return info.Env().Undefined();
    }

    // step(batch, logits | undefined): the face has checked counts and lengths; token ids, addresses and bounds are
    // checked by forward().
    Napi::Value step(const Info &info) {
        Napi::Env env = info.Env();
        Napi::Object batch = info[0].As<Napi::Object>();
        auto step = std::make_unique<Step>();
        step->batch = Napi::Persistent(batch);
        const uint32_t count = batch.Get("sequences").As<Napi::Number>().Uint32Value();
        auto ints = [&](const char *name) { return batch.Get(name).As<Napi::Int32Array>().Data(); };
        auto floats = [&](const char *name) { return batch.Get(name).As<Napi::Float32Array>().Data(); };
        auto longs = [&](const char *name) { return batch.Get(name).As<Napi::BigUint64Array>().Data(); };
        const uint64_t *address = longs("address"), *seed = longs("seed");
        const int32_t *past = ints("past"), *counts = ints("count"), *tokens = ints("tokens");
        const int32_t *top_k = ints("topK"), *top_logprobs = ints("topLogprobs");
        const uint8_t *sample = batch.Get("sample").As<Napi::Uint8Array>().Data();
        const float *temperature = floats("temperature"), *top_p = floats("topP"), *min_p = floats("minP");
        step->next = ints("next");
        step->next_logprob = floats("nextLogprob");
        step->top_token = ints("topToken");
        step->top_logprob = floats("topLogprob");
        step->max_top = batch.Get("maxTopLogprobs").As<Napi::Number>().Uint32Value();
        step->raw_logits = nullptr;
        if (info.Length() > 1 && info[1].IsTypedArray()) {
            auto logits = info[1].As<Napi::Float32Array>();
            step->raw_logits = logits.Data();
            batch.Set("logits", logits); // kept alive with the batch
        }
        for (uint32_t i = 0; i < count; i++) {
            step->sequences.push_back({address[i], past[i], {tokens, static_cast<size_t>(counts[i])}, sample[i] != 0});
            tokens += counts[i];
            step->next[i] = -1;
            if (sample[i] == 0)
                continue;
            step->index.push_back(i);
            step->sampling.push_back({temperature[i], top_k[i], top_p[i], min_p[i], seed[i], top_logprobs[i]});
        }
        step->deferred.emplace(Napi::Promise::Deferred::New(env));
        Napi::Promise promise = step->deferred->Promise();
        thread_->submit(env, std::move(step));
        return promise;
    }

    Napi::Value tokenize(const Info &info) {
        std::vector<int32_t> tokens;
        const std::string text = info[0].As<Napi::String>().Utf8Value();
        check(info.Env(), vocab_->tokenize(text, info[1].ToBoolean(), info[2].ToBoolean(), tokens));
        auto out = Napi::Int32Array::New(info.Env(), tokens.size());
        std::copy(tokens.begin(), tokens.end(), out.Data());
        return out;
    }
    int32_t token(const Info &info) {
        const uint32_t token = uint32_argument(info, 0);
        const auto vocabulary = static_cast<uint32_t>(runner_->info().vocabulary);
        if (token >= vocabulary)
            throw make_error(info.Env(), "KVPAGE_INVALID_ARGUMENT",
                             "token is " + std::to_string(token) + "; expected 0.." + std::to_string(vocabulary - 1));
        return static_cast<int32_t>(token);
    }
    Napi::Value token_bytes(const Info &info) {
        const std::string bytes = vocab_->bytes(token(info));
        auto out = Napi::Uint8Array::New(info.Env(), bytes.size());
        std::copy(bytes.begin(), bytes.end(), out.Data());
        return out;
    }
    Napi::Value token_text(const Info &info) { return Napi::String::New(info.Env(), vocab_->text(token(info))); }
    Napi::Value is_control(const Info &info) {
        return Napi::Boolean::New(info.Env(), vocab_->is_control(token(info)));
    }
    Napi::Value is_end_of_generation(const Info &info) {
        return Napi::Boolean::New(info.Env(), vocab_->is_end_of_generation(token(info)));
    }

    // The face calls this once no step is under way, so that joining the thread does not block.
    Napi::Value dispose(const Info &info) {
        if (thread_) {
            thread_.reset();
            runner_.reset();
            vocab_.reset();
            Napi::MemoryManagement::AdjustExternalMemory(info.Env(), -file_bytes_);
        }
        return info.Env().Undefined();
    }

    std::shared_ptr<Runner> runner_;
    std::shared_ptr<Vocab> vocab_;
    std::unique_ptr<StepThread> thread_;
    int64_t file_bytes_ = 0;
};

class LoadWorker final : public Napi::AsyncProgressWorker<float> {
  public:
    LoadWorker(Napi::Env env, LoadOptions options, Napi::Value on_progress)
        : Napi::AsyncProgressWorker<float>(env), options_(std::move(options)),
          deferred_(Napi::Promise::Deferred::New(env)) {
        if (on_progress.IsFunction())
            on_progress_ = Napi::Persistent(on_progress.As<Napi::Function>());
    }
    Napi::Promise promise() const { return deferred_.Promise(); }

    void Execute(const ExecutionProgress &progress) override {
        options_.on_progress = [&](float fraction) { progress.Send(&fraction, 1); };
        std::unique_ptr<Runner> runner;
        status_ = Runner::load(options_, runner);
        if (!status_.ok())
            return;
        std::unique_ptr<Vocab> vocab;
        status_ = Vocab::load(options_.path, vocab);
        if (status_.ok() && vocab->size() > runner->info().vocabulary)
            status_ = Status::error("KVPAGE_MODEL_INVALID",
                                    "the vocabulary has " + std::to_string(vocab->size()) +
                                        " tokens; expected at most the embedding's " +
                                        std::to_string(runner->info().vocabulary));
        loaded_.runner = std::move(runner);
        loaded_.vocab = std::move(vocab);
    }
    void OnProgress(const float *fraction, size_t count) override {
        if (count > 0 && !on_progress_.IsEmpty())
            on_progress_.Call({Napi::Number::New(Env(), fraction[count - 1])});
    }
    void OnOK() override {
        if (!status_.ok()) {
            deferred_.Reject(make_error(Env(), status_.code, status_.message).Value());
            return;
        }
        deferred_.Resolve(model_class(Env()).New({Napi::External<Loaded>::New(Env(), &loaded_)}));
    }

  private:
    LoadOptions options_;
    Loaded loaded_;
    Status status_;
    Napi::Promise::Deferred deferred_;
    Napi::FunctionReference on_progress_;
};

} // namespace

Napi::Function define_model(Napi::Env env) { return ModelAddon::define(env); }

Napi::Value load_model(const Napi::CallbackInfo &info) {
    LoadOptions options;
    options.path = info[0].As<Napi::String>().Utf8Value();
    options.kv_type = static_cast<KvType>(uint32_argument(info, 1));
    options.threads = static_cast<int>(uint32_argument(info, 2));
    options.fast = info[3].ToBoolean();
    auto *worker = new LoadWorker(info.Env(), std::move(options), info[4]);
    Napi::Promise promise = worker->promise();
    worker->Queue();
    return promise;
}

} // namespace kvpage::addon
