#include "addon/runner/load.h"

#include <memory>
#include <string>

#include "addon/common.h"
#include "addon/runner/model_addon.h"
#include "runner/llama_guard.h"

namespace kvpage::addon {
namespace {

using runner::KvType;
using runner::LoadOptions;
using runner::Runner;
using runner::Status;
using runner::Vocab;

// Loads off JavaScript's thread.
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
        const runner::LlamaGuard guard; // over a malformed file
        std::unique_ptr<Runner> runner;
        status_ = Runner::load(options_, runner);
        if (!status_.ok())
            return;
        std::unique_ptr<Vocab> vocab;
        status_ = Vocab::load(options_.path, vocab);
        if (status_.ok() && vocab->size() > runner->info().vocabulary)
            status_ =
                Status::error("KVPAGE_MODEL_INVALID", "the vocabulary has " + std::to_string(vocab->size()) +
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
        deferred_.Resolve(new_model(Env(), std::move(loaded_)));
    }

    // An exception in Execute().
    void OnError(const Napi::Error &error) override {
        deferred_.Reject(make_error(Env(), "KVPAGE_MODEL_INVALID", error.Message()).Value());
    }

  private:
    LoadOptions options_;
    Loaded loaded_;
    Status status_;
    Napi::Promise::Deferred deferred_;
    Napi::FunctionReference on_progress_;
};

} // namespace

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
