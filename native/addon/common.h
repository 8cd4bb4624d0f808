// What every addon shares: the one place where a status becomes a JavaScript error.
#pragma once

#include <napi.h>
#include <string>

namespace kvpage::addon {

// The error class that the TypeScript face hands over at load time: new ErrorClass(code, message).
struct AddonData {
    Napi::FunctionReference error_class;
};

inline Napi::Error make_error(Napi::Env env, const std::string &code, const std::string &message) {
    auto *data = env.GetInstanceData<AddonData>();
    if (data == nullptr || data->error_class.IsEmpty())
        return Napi::Error::New(env, code + ": " + message);
    Napi::Value error =
        data->error_class.New({Napi::String::New(env, code), Napi::String::New(env, message)});
    return Napi::Error(env, error);
}

// Throws the status as a JavaScript exception if it is one.
template <class Status> void check(Napi::Env env, const Status &status) {
    if (!status.ok())
        throw make_error(env, status.code, status.message);
}

// An argument as T; the TypeScript face validates first, so a wrong type here is a bug of ours, not of the
// user.
inline uint32_t uint32_argument(const Napi::CallbackInfo &info, size_t index) {
    if (info.Length() <= index || !info[index].IsNumber())
        throw make_error(info.Env(), "KVPAGE_INVALID_ARGUMENT",
                         "argument " + std::to_string(index) + " must be a number");
    return info[index].As<Napi::Number>().Uint32Value();
}

// A count of bytes; JavaScript's integers are exact to 2^53.
inline size_t size_argument(const Napi::CallbackInfo &info, size_t index) {
    const double value =
        info.Length() > index && info[index].IsNumber() ? info[index].As<Napi::Number>().DoubleValue() : -1;
    if (!(value >= 0 && value <= 9007199254740991.0))
        throw make_error(info.Env(), "KVPAGE_INVALID_ARGUMENT",
                         "argument " + std::to_string(index) + " must be a number of bytes");
    return static_cast<size_t>(value);
}

template <class Array>
Array typed_array_argument(const Napi::CallbackInfo &info, size_t index, napi_typedarray_type type) {
    if (info.Length() <= index || !info[index].IsTypedArray() ||
        info[index].As<Napi::TypedArray>().TypedArrayType() != type)
        throw make_error(info.Env(), "KVPAGE_INVALID_ARGUMENT",
                         "argument " + std::to_string(index) + " must be a typed array of the right kind");
    return info[index].As<Array>();
}

inline Napi::Value set_error_class(const Napi::CallbackInfo &info) {
    info.Env().GetInstanceData<AddonData>()->error_class = Napi::Persistent(info[0].As<Napi::Function>());
    return info.Env().Undefined();
}

} // namespace kvpage::addon
