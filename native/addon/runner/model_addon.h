// The Model class as JavaScript sees it: a loaded model, its vocabulary and the thread that computes its
// steps.
#pragma once

#include <memory>

#include <napi.h>

#include "runner/runner.h"
#include "runner/vocab.h"

namespace kvpage::addon {

struct Loaded {
    std::shared_ptr<runner::Runner> runner;
    std::shared_ptr<runner::Vocab> vocab;
};

// Once per environment, before new_model().
void define_model(Napi::Env env);
Napi::Value new_model(Napi::Env env, Loaded loaded);

} // namespace kvpage::addon
