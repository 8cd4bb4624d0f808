// The runner's exports: load() and the functions that make model files.
#include <functional>
#include <memory>

#include "addon/common.h"
#include "addon/runner/load.h"
#include "addon/runner/model_addon.h"
#include "runner/llama_guard.h"
#include "runner/model_writer.h"

namespace kvpage::addon {
namespace {

using runner::RandomModel;
using runner::Status;

// A function that gives a status, off the main thread.
class StatusWorker final : public Napi::AsyncWorker {
  public:
    StatusWorker(Napi::Env env, std::function<Status()> work)
        : Napi::AsyncWorker(env), work_(std::move(work)), deferred_(Napi::Promise::Deferred::New(env)) {}
    static Napi::Promise start(Napi::Env env, std::function<Status()> work) {
        auto *worker = new StatusWorker(env, std::move(work));
        Napi::Promise promise = worker->deferred_.Promise();
        worker->Queue();
        return promise;
    }
    void Execute() override { status_ = work_(); }
    void OnOK() override {
        if (status_.ok())
            deferred_.Resolve(Env().Undefined());
        else
            deferred_.Reject(make_error(Env(), status_.code, status_.message).Value());
    }
    // An exception in Execute().
    void OnError(const Napi::Error &error) override {
        deferred_.Reject(make_error(Env(), "KVPAGE_WRITE_FAILED", error.Message()).Value());
    }

  private:
    std::function<Status()> work_;
    Status status_;
    Napi::Promise::Deferred deferred_;
};

Napi::Value generate_model(const Napi::CallbackInfo &info) {
    Napi::Object options = info[1].As<Napi::Object>();
    RandomModel spec;
    auto integer = [&](const char *name, int32_t &field) {
        field = options.Get(name).As<Napi::Number>().Int32Value();
    };
    spec.architecture = options.Get("architecture").As<Napi::String>().Utf8Value();
    spec.name = options.Get("name").As<Napi::String>().Utf8Value();
    spec.weights = options.Get("weights").As<Napi::String>().Utf8Value();
    integer("layers", spec.layers);
    integer("embedding", spec.embedding);
    integer("heads", spec.heads);
    integer("kvHeads", spec.kv_heads);
    integer("headDim", spec.head_dim);
    integer("feedForward", spec.feed_forward);
    integer("vocabulary", spec.vocabulary);
    integer("context", spec.context);
    spec.tied_embeddings = options.Get("tiedEmbeddings").ToBoolean();
    spec.seed = static_cast<uint64_t>(options.Get("seed").As<Napi::Number>().Int64Value());
    std::string path = info[0].As<Napi::String>().Utf8Value();
    return StatusWorker::start(info.Env(), [spec, path] { return runner::write_random_model(spec, path); });
}

Napi::Value convert_llama2c(const Napi::CallbackInfo &info) {
    std::string paths[3];
    for (size_t i = 0; i < 3; i++)
        paths[i] = info[i].As<Napi::String>().Utf8Value();
    return StatusWorker::start(info.Env(), [checkpoint = paths[0], tokenizer = paths[1], out = paths[2]] {
        return runner::convert_llama2c(checkpoint, tokenizer, out);
    });
}

Napi::Object init(Napi::Env env, Napi::Object exports) {
    runner::quiet_llama_log();
    env.SetInstanceData(new AddonData);
    define_model(env);
    exports.Set("load", Napi::Function::New(env, load_model));
    exports.Set("generateModel", Napi::Function::New(env, generate_model));
    exports.Set("convertLlama2c", Napi::Function::New(env, convert_llama2c));
    exports.Set("setErrorClass", Napi::Function::New(env, set_error_class));
    return exports;
}

} // namespace
} // namespace kvpage::addon

static Napi::Object init_runner(Napi::Env env, Napi::Object exports) {
    return kvpage::addon::init(env, exports);
}
NODE_API_MODULE(kvpage_runner, init_runner)
