// The Model class as JavaScript sees it.
#pragma once

#include <napi.h>

namespace kvpage::addon {

Napi::Function define_model(Napi::Env env);

// load(path, kvType, threads, fast, onProgress | undefined) -> Promise<Model>
Napi::Value load_model(const Napi::CallbackInfo &info);

} // namespace kvpage::addon
