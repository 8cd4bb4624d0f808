// The KvCache class as JavaScript sees it. Copies run on libuv's workers; everything else is synchronous.
#include "vattention/kv_cache.h"

#include <memory>
#include <vector>

#include "addon/common.h"

namespace kvpage::addon {
namespace {

using vattention::KvCache;
using vattention::KvCacheOptions;
using vattention::KvCacheStats;
using Direction = KvCache::Direction;

// Moves bytes off the main thread. It shares the cache, so that disposal during a copy frees nothing under
// it.
//
// Plain Node-API, not Napi::AsyncWorker: when the environment ends during a copy, completion still runs,
// resolving fails, and the exception that AsyncWorker makes of that ends the process.
class Copy {
  public:
    static Napi::Value start(Napi::Env env, std::shared_ptr<KvCache> cache, Direction direction,
                             std::vector<int32_t> pages, std::vector<int32_t> host_pages) {
        std::unique_ptr<Copy> copy(new Copy);
        const Napi::String name = Napi::String::New(env, "kvpage copy");
        check(env, cache->begin_copy(direction, pages, host_pages));
        copy->cache_ = std::move(cache);
        copy->direction_ = direction;
        copy->pages_ = std::move(pages);
        copy->host_pages_ = std::move(host_pages);
        napi_value promise = nullptr;
        if (napi_create_promise(env, &copy->deferred_, &promise) != napi_ok ||
            napi_create_async_work(env, nullptr, name, execute, complete, copy.get(), &copy->work_) !=
                napi_ok ||
            napi_queue_async_work(env, copy->work_) != napi_ok) {
            copy->cache_->end_copy(copy->pages_, copy->host_pages_);
            throw Napi::Error::New(env);
        }
        (void)copy.release(); // complete() owns it now
        return {env, promise};
    }

  private:
    Copy() = default;

    static void execute(napi_env, void *data) {
        const auto *copy = static_cast<Copy *>(data);
        copy->cache_->run_copy(copy->direction_, copy->pages_, copy->host_pages_);
    }

    // Also called, as cancelled, when the environment ends before execute() ran; nobody waits for the promise
    // then.
    static void complete(napi_env env, napi_status, void *data) {
        const std::unique_ptr<Copy> copy(static_cast<Copy *>(data));
        copy->cache_->end_copy(copy->pages_, copy->host_pages_);
        napi_value undefined = nullptr;
        if (napi_get_undefined(env, &undefined) == napi_ok)
            (void)napi_resolve_deferred(env, copy->deferred_, undefined);
        (void)napi_delete_async_work(env, copy->work_);
    }

    std::shared_ptr<KvCache> cache_;
    Direction direction_ = Direction::out;
    std::vector<int32_t> pages_;
    std::vector<int32_t> host_pages_;
    napi_async_work work_ = nullptr;
    napi_deferred deferred_ = nullptr;
};

class KvCacheAddon final : public Napi::ObjectWrap<KvCacheAddon> {
  public:
    static Napi::Function define(Napi::Env env) {
        using T = KvCacheAddon;
        return DefineClass(env, "KvCache",
                           {
                               InstanceMethod<&T::base_address>("baseAddress"),
                               InstanceMethod<&T::free_pages>("freePages"),
                               InstanceMethod<&T::free_host_pages>("freeHostPages"),
                               InstanceMethod<&T::free_windows>("freeWindows"),
                               InstanceMethod<&T::open_window>("openWindow"),
                               InstanceMethod<&T::close_window>("closeWindow"),
                               InstanceMethod<&T::mapped_pages>("mappedPages"),
                               InstanceMethod<&T::grow>("grow"),
                               InstanceMethod<&T::map>("map"),
                               InstanceMethod<&T::truncate>("truncate"),
                               InstanceMethod<&T::page_at>("pageAt"),
                               InstanceMethod<&T::allocate>("allocate"),
                               InstanceMethod<&T::retain>("retain"),
                               InstanceMethod<&T::release>("release"),
                               InstanceMethod<&T::references>("references"),
                               InstanceMethod<&T::allocate_host>("allocateHost"),
                               InstanceMethod<&T::release_host>("releaseHost"),
                               InstanceMethod<&T::page_out>("pageOut"),
                               InstanceMethod<&T::page_in>("pageIn"),
                               InstanceMethod<&T::read_page>("readPage"),
                               InstanceMethod<&T::write_page>("writePage"),
                               InstanceMethod<&T::read_host_page>("readHostPage"),
                               InstanceMethod<&T::read>("read"),
                               InstanceMethod<&T::write>("write"),
                               InstanceMethod<&T::zero>("zero"),
                               InstanceMethod<&T::stats>("stats"),
                               InstanceMethod<&T::check_integrity>("checkIntegrity"),
                               InstanceMethod<&T::dispose>("dispose"),
                           });
    }

    explicit KvCacheAddon(const Napi::CallbackInfo &info) : Napi::ObjectWrap<KvCacheAddon>(info) {
        KvCacheOptions options;
        options.page_bytes = size_argument(info, 0);
        options.pages = uint32_argument(info, 1);
        options.windows = uint32_argument(info, 2);
        options.window_pages = uint32_argument(info, 3);
        options.host_pages = uint32_argument(info, 4);
        std::unique_ptr<KvCache> cache;
        check(info.Env(), KvCache::create(options, cache));
        cache_ = std::move(cache);
    }

  private:
    using Info = Napi::CallbackInfo;

    KvCache &live(const Info &info) {
        if (cache_ == nullptr)
            throw make_error(info.Env(), "KVPAGE_DISPOSED", "the cache was disposed");
        return *cache_;
    }

    Napi::Value base_address(const Info &info) {
        return Napi::BigInt::New(info.Env(), live(info).base_address());
    }
    Napi::Value free_pages(const Info &info) {
        return Napi::Number::New(info.Env(), live(info).free_pages());
    }
    Napi::Value free_host_pages(const Info &info) {
        return Napi::Number::New(info.Env(), live(info).free_host_pages());
    }
    Napi::Value free_windows(const Info &info) {
        return Napi::Number::New(info.Env(), live(info).free_windows());
    }

    // The operations that take up to two integers and give one or none.
    using Out = vattention::Status (KvCache::*)(uint32_t &);
    Napi::Value give(const Info &info, Out operation) {
        uint32_t value = 0;
        check(info.Env(), (live(info).*operation)(value));
        return Napi::Number::New(info.Env(), value);
    }
    using In = vattention::Status (KvCache::*)(uint32_t);
    Napi::Value take(const Info &info, In operation) {
        check(info.Env(), (live(info).*operation)(uint32_argument(info, 0)));
        return info.Env().Undefined();
    }
    using In2 = vattention::Status (KvCache::*)(uint32_t, uint32_t);
    Napi::Value take2(const Info &info, In2 operation) {
        check(info.Env(), (live(info).*operation)(uint32_argument(info, 0), uint32_argument(info, 1)));
        return info.Env().Undefined();
    }

    Napi::Value open_window(const Info &info) { return give(info, &KvCache::open_window); }
    Napi::Value allocate(const Info &info) { return give(info, &KvCache::allocate); }
    Napi::Value allocate_host(const Info &info) { return give(info, &KvCache::allocate_host); }
    Napi::Value close_window(const Info &info) { return take(info, &KvCache::close_window); }
    Napi::Value retain(const Info &info) { return take(info, &KvCache::retain); }
    Napi::Value release(const Info &info) { return take(info, &KvCache::release); }
    Napi::Value release_host(const Info &info) { return take(info, &KvCache::release_host); }
    Napi::Value grow(const Info &info) { return take2(info, &KvCache::grow); }
    Napi::Value truncate(const Info &info) { return take2(info, &KvCache::truncate); }

    Napi::Value mapped_pages(const Info &info) {
        uint32_t pages = 0;
        check(info.Env(), live(info).mapped_pages(uint32_argument(info, 0), pages));
        return Napi::Number::New(info.Env(), pages);
    }
    Napi::Value page_at(const Info &info) {
        uint32_t page = 0;
        check(info.Env(), live(info).page_at(uint32_argument(info, 0), uint32_argument(info, 1), page));
        return Napi::Number::New(info.Env(), page);
    }
    Napi::Value references(const Info &info) {
        uint32_t count = 0;
        check(info.Env(), live(info).references(uint32_argument(info, 0), count));
        return Napi::Number::New(info.Env(), count);
    }
    Napi::Value map(const Info &info) {
        auto pages = typed_array_argument<Napi::Int32Array>(info, 1, napi_int32_array);
        check(info.Env(), live(info).map(uint32_argument(info, 0), {pages.Data(), pages.ElementLength()}));
        return info.Env().Undefined();
    }

    Napi::Value page_out(const Info &info) { return copy(info, Direction::out, 0, 1); }
    Napi::Value page_in(const Info &info) { return copy(info, Direction::in, 1, 0); }
    Napi::Value copy(const Info &info, Direction direction, size_t pages_index, size_t host_index) {
        auto pages = typed_array_argument<Napi::Int32Array>(info, pages_index, napi_int32_array);
        auto host = typed_array_argument<Napi::Int32Array>(info, host_index, napi_int32_array);
        // Copied: the caller may change its arrays while the bytes move.
        std::vector<int32_t> page_list(pages.Data(), pages.Data() + pages.ElementLength());
        std::vector<int32_t> host_list(host.Data(), host.Data() + host.ElementLength());
        live(info);
        return Copy::start(info.Env(), cache_, direction, std::move(page_list), std::move(host_list));
    }

    // Bytes of a Uint8Array; valid until JavaScript runs again.
    static std::span<std::byte> bytes(const Info &info, size_t index) {
        auto array = typed_array_argument<Napi::Uint8Array>(info, index, napi_uint8_array);
        return {reinterpret_cast<std::byte *>(array.Data()), array.ByteLength()};
    }
    Napi::Value read_page(const Info &info) {
        check(info.Env(), live(info).read_page(uint32_argument(info, 0), bytes(info, 1)));
        return info.Env().Undefined();
    }
    Napi::Value write_page(const Info &info) {
        check(info.Env(), live(info).write_page(uint32_argument(info, 0), bytes(info, 1)));
        return info.Env().Undefined();
    }
    Napi::Value read_host_page(const Info &info) {
        check(info.Env(), live(info).read_host_page(uint32_argument(info, 0), bytes(info, 1)));
        return info.Env().Undefined();
    }
    Napi::Value read(const Info &info) {
        const size_t offset = size_argument(info, 1);
        check(info.Env(), live(info).read_window(uint32_argument(info, 0), offset, bytes(info, 2)));
        return info.Env().Undefined();
    }
    Napi::Value write(const Info &info) {
        const size_t offset = size_argument(info, 1);
        check(info.Env(), live(info).write_window(uint32_argument(info, 0), offset, bytes(info, 2)));
        return info.Env().Undefined();
    }
    Napi::Value zero(const Info &info) { return take(info, &KvCache::zero_page); }

    Napi::Value stats(const Info &info) {
        const KvCacheStats stats = live(info).stats();
        Napi::Object object = Napi::Object::New(info.Env());
        auto set = [&](const char *name, size_t value) { object.Set(name, static_cast<double>(value)); };
        set("virtualBytes", stats.virtual_bytes);
        set("physicalBytes", stats.physical_bytes);
        set("allocatedBytes", stats.allocated_bytes);
        set("mappedBytes", stats.mapped_bytes);
        set("sharedBytes", stats.shared_bytes);
        set("hostBytes", stats.host_bytes);
        set("hostAllocatedBytes", stats.host_allocated_bytes);
        set("areas", stats.areas);
        return object;
    }
    Napi::Value check_integrity(const Info &info) {
        check(info.Env(), live(info).check_integrity());
        return info.Env().Undefined();
    }
    Napi::Value dispose(const Info &info) {
        cache_.reset();
        return info.Env().Undefined();
    }

    // Null after dispose(). Shared with the copies in flight.
    std::shared_ptr<KvCache> cache_;
};

Napi::Object init(Napi::Env env, Napi::Object exports) {
    env.SetInstanceData(new AddonData);
    exports.Set("KvCache", KvCacheAddon::define(env));
    exports.Set("setErrorClass", Napi::Function::New(env, set_error_class));
    exports.Set("granularity", static_cast<double>(vattention::posix_granularity()));
    return exports;
}

} // namespace
} // namespace kvpage::addon

static Napi::Object init_vattention(Napi::Env env, Napi::Object exports) {
    return kvpage::addon::init(env, exports);
}
NODE_API_MODULE(kvpage_vattention, init_vattention)
