#include "addon/runner/model_addon.h"

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "addon/common.h"
#include "addon/runner/step_thread.h"

namespace kvpage::addon {
namespace {

using runner::Runner;
using runner::Vocab;

// One per environment: each worker thread has its own.
Napi::FunctionReference &model_class() {
    static thread_local Napi::FunctionReference constructor;
    return constructor;
}

class ModelAddon final : public Napi::ObjectWrap<ModelAddon> {
  public:
    static void define(Napi::Env env) {
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
        model_class() = Napi::Persistent(constructor);
        model_class().SuppressDestruct();
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
        out.Set("addsBos", vocab_->adds_bos());
        out.Set("addsSpacePrefix", vocab_->adds_space_prefix());
        out.Set("chatTemplate", vocab_->chat_template());
        return out;
    }

    Napi::Value set_kv_region(const Info &info) {
        bool lossless = false;
        const uint64_t base = info[0].As<Napi::BigInt>().Uint64Value(&lossless);
        check(info.Env(),
              runner_->set_kv_region(base, static_cast<size_t>(info[1].As<Napi::Number>().Int64Value())));
        return info.Env().Undefined();
    }

    // step(batch, logits | undefined) -> Promise
    Napi::Value step(const Info &info) {
        if (!info[0].IsObject())
            throw make_error(info.Env(), "KVPAGE_INVALID_ARGUMENT", "batch is no object");
        std::unique_ptr<Step> step = thread_->take();
        const auto vocabulary = static_cast<size_t>(runner_->info().vocabulary);
        check(info.Env(), read_batch(info[0].As<Napi::Object>(), info[1], vocabulary, *step));
        return thread_->submit(info.Env(), std::move(step));
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
                             "token is " + std::to_string(token) + "; expected 0.." +
                                 std::to_string(vocabulary - 1));
        return static_cast<int32_t>(token);
    }
    Napi::Value token_bytes(const Info &info) {
        const std::string bytes = vocab_->bytes(token(info));
        auto out = Napi::Uint8Array::New(info.Env(), bytes.size());
        std::copy(bytes.begin(), bytes.end(), out.Data());
        return out;
    }
    Napi::Value token_text(const Info &info) {
        return Napi::String::New(info.Env(), vocab_->text(token(info)));
    }
    Napi::Value is_control(const Info &info) {
        return Napi::Boolean::New(info.Env(), vocab_->is_control(token(info)));
    }
    Napi::Value is_end_of_generation(const Info &info) {
        return Napi::Boolean::New(info.Env(), vocab_->is_end_of_generation(token(info)));
    }

    // The face calls this once no step is under way, so that joining the thread does not block.
    Napi::Value dispose(const Info &info) {
        if (thread_ && !thread_->idle())
            throw make_error(info.Env(), "KVPAGE_INVALID_ARGUMENT", "a step is under way");
        release(info.Env());
        return info.Env().Undefined();
    }

    // Collected without dispose().
    void Finalize(Napi::Env env) override { release(env); }

    void release(Napi::Env env) {
        if (!thread_)
            return;
        thread_.reset();
        runner_.reset();
        vocab_.reset();
        Napi::MemoryManagement::AdjustExternalMemory(env, -file_bytes_);
    }

    std::shared_ptr<Runner> runner_;
    std::shared_ptr<Vocab> vocab_;
    std::unique_ptr<StepThread> thread_;
    int64_t file_bytes_ = 0;
};

} // namespace

void define_model(Napi::Env env) {
    ModelAddon::define(env);
}

Napi::Value new_model(Napi::Env env, Loaded loaded) {
    return model_class().New({Napi::External<Loaded>::New(env, &loaded)});
}

} // namespace kvpage::addon
