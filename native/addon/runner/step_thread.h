// The one thread that computes a model's steps, in order of arrival. JavaScript's thread hands steps over and
// takes results back; it waits only at the end of the process, for the step under way.
#pragma once

#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <thread>

#include "addon/runner/step.h"

namespace kvpage::addon {

class StepThread {
  public:
    StepThread(Napi::Env env, std::shared_ptr<runner::Runner> runner);
    // Only when idle(), or after the environment's end.
    ~StepThread();
    StepThread(const StepThread &) = delete;
    StepThread &operator=(const StepThread &) = delete;

    // A step to fill and submit; its vectors may have capacity from earlier ones.
    std::unique_ptr<Step> take();
    Napi::Promise submit(Napi::Env env, std::unique_ptr<Step> step);
    bool idle() const { return pending_ == 0; }

  private:
    void work();
    void compute(Step &step);
    void settle(Napi::Env env, std::unique_ptr<Step> step);
    static void environment_ends(void *self);
    static void process_exits();
    void end();
    void join();

    napi_env env_; // null after its end
    std::shared_ptr<runner::Runner> runner_;
    runner::Sampler sampler_;
    Napi::ThreadSafeFunction finished_;
    bool released_ = false; // the environment took finished_ away

    std::mutex mutex_;
    std::condition_variable wake_;
    std::deque<std::unique_ptr<Step>> queue_;
    bool stop_ = false;

    // Touched by JavaScript's thread alone.
    int pending_ = 0;
    std::unique_ptr<Step> spare_;

    std::thread thread_; // last: it uses all of the above
};

} // namespace kvpage::addon
