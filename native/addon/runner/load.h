#pragma once

#include <napi.h>

namespace kvpage::addon {

// load(path, kvType, threads, fast, onProgress | undefined) -> Promise<Model>
Napi::Value load_model(const Napi::CallbackInfo &info);

} // namespace kvpage::addon
