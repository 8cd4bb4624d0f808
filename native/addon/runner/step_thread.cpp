#include "addon/runner/step_thread.h"

#include <cstdlib>
#include <new>
#include <set>

#include "addon/common.h"

namespace kvpage::addon {

using runner::Sampled;
using runner::SequenceStep;
using runner::Status;

namespace {

// The threads of the process. An uncaught exception calls exit() without ending the environment first, and
// exit() destroys what ggml keeps in static variables: no step may run by then. Never destroyed itself.
struct Running {
    std::mutex mutex;
    std::set<StepThread *> threads;
};

Running &running() {
    static auto *all = new Running;
    return *all;
}

} // namespace

void StepThread::process_exits() {
    std::lock_guard lock(running().mutex);
    for (StepThread *thread : running().threads)
        thread->join();
}

StepThread::StepThread(Napi::Env env, std::shared_ptr<runner::Runner> runner)
    : env_(env), runner_(std::move(runner)) {
    {
        // Handlers run last in, first out: the model is loaded, so ggml's static variables are older than
        // this.
        static std::once_flag once;
        std::call_once(once, [] { std::atexit(process_exits); });
        std::lock_guard lock(running().mutex);
        running().threads.insert(this);
    }
    // Unreferenced while idle, so that a forgotten model does not keep the process alive.
    finished_ = Napi::ThreadSafeFunction::New(env, Napi::Function(), "kvpage step", 0, 1);
    finished_.Unref(env);
    napi_add_env_cleanup_hook(env_, environment_ends, this);
    thread_ = std::thread([this] { work(); });
}

StepThread::~StepThread() {
    {
        std::lock_guard lock(running().mutex);
        running().threads.erase(this);
    }
    if (env_ == nullptr)
        return;
    napi_remove_env_cleanup_hook(env_, environment_ends, this);
    end();
}

// The process or worker exits, maybe in the middle of a step: the memory that the step uses must stay until
// it ends, and nothing of the environment may be touched later. Hooks run in reverse order of their adding.
void StepThread::environment_ends(void *self) {
    static_cast<StepThread *>(self)->end();
}

void StepThread::end() {
    join();
    queue_.clear();
    if (!released_)
        finished_.Release();
    env_ = nullptr;
}

void StepThread::join() {
    {
        std::lock_guard lock(mutex_);
        stop_ = true;
    }
    wake_.notify_one();
    if (thread_.joinable())
        thread_.join();
}

std::unique_ptr<Step> StepThread::take() {
    return spare_ ? std::move(spare_) : std::make_unique<Step>();
}

Napi::Promise StepThread::submit(Napi::Env env, std::unique_ptr<Step> step) {
    step->deferred.emplace(Napi::Promise::Deferred::New(env));
    Napi::Promise promise = step->deferred->Promise();
    if (pending_++ == 0) {
        finished_.Ref(env);
        // To the end of the list, so that it runs before those of all memory that the step can know.
        napi_remove_env_cleanup_hook(env_, environment_ends, this);
        napi_add_env_cleanup_hook(env_, environment_ends, this);
    }
    {
        std::lock_guard lock(mutex_);
        queue_.push_back(std::move(step));
    }
    wake_.notify_one();
    return promise;
}

void StepThread::work() {
    for (;;) {
        std::unique_ptr<Step> step;
        {
            std::unique_lock lock(mutex_);
            wake_.wait(lock, [this] { return stop_ || !queue_.empty(); });
            if (stop_)
                return;
            step = std::move(queue_.front());
            queue_.pop_front();
        }
        compute(*step);
        // Handles belong to JavaScript's thread: from here on the step is settled there, or left to the end
        // of the environment.
        Step *done = step.release();
        const auto settle_there = [this](Napi::Env env, Napi::Function, Step *raw) {
            settle(env, std::unique_ptr<Step>(raw));
        };
        if (finished_.BlockingCall(done, settle_there) != napi_ok) {
            released_ = true;
            return;
        }
    }
}

void StepThread::compute(Step &step) {
    try {
        const auto vocabulary = static_cast<size_t>(runner_->info().vocabulary);
        step.logits.resize(step.sampling.size() * vocabulary);
        step.status = runner_->forward(step.sequences, step.logits.data());
        for (size_t i = 0; i < step.sampling.size() && step.status.ok(); i++) {
            const size_t at = step.sampled[i];
            const SequenceStep &sequence = step.sequences[at];
            const uint64_t position = static_cast<uint64_t>(sequence.past) + sequence.tokens.size();
            Sampled sampled{};
            step.status = sampler_.sample({step.logits.data() + i * vocabulary, vocabulary}, step.sampling[i],
                                          position, sampled, step.top_token.data() + at * step.max_top,
                                          step.top_logprob.data() + at * step.max_top);
            step.next[at] = sampled.token;
            step.next_logprob[at] = sampled.logprob;
        }
    } catch (const std::bad_alloc &) {
        step.status = Status::error("KVPAGE_OUT_OF_MEMORY", "no memory for the step's logits");
    } catch (const std::exception &error) {
        step.status = Status::error("KVPAGE_STEP_FAILED", error.what());
    }
}

void StepThread::settle(Napi::Env env, std::unique_ptr<Step> step) {
    if (--pending_ == 0)
        finished_.Unref(env);
    if (step->status.ok())
        step->status = write_results(*step);
    const Napi::Promise::Deferred deferred = *step->deferred;
    const Status status = step->status;
    step->batch.Reset();
    step->raw_logits.Reset();
    spare_ = std::move(step);
    if (status.ok())
        deferred.Resolve(env.Undefined());
    else
        deferred.Reject(make_error(env, status.code, status.message).Value());
}

} // namespace kvpage::addon
