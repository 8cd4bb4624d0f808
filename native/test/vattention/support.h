// What the allocator's tests share: caches of a few pages, memory that fails on demand, reads that may fault.
#pragma once

#include <csignal>
#include <cstring>
#include <memory>
#include <string>
#include <sys/wait.h>
#include <unistd.h>
#include <utility>
#include <vector>

#include "doctest/doctest.h"
#include "vattention/kv_cache.h"

namespace kvpage::vattention::test {

constexpr size_t kPage = 16384;

// A cache that must come to be. Windows are 8 pages long unless told otherwise.
inline std::unique_ptr<KvCache> make_cache(uint32_t pages, uint32_t windows, uint32_t host_pages = 0,
                                           uint32_t window_pages = 8) {
    std::unique_ptr<KvCache> cache;
    const Status status = KvCache::create({.page_bytes = kPage,
                                           .pages = pages,
                                           .windows = windows,
                                           .window_pages = window_pages,
                                           .host_pages = host_pages},
                                          cache);
    REQUIRE_MESSAGE(status.ok(), status.message);
    return cache;
}

inline uint32_t open_window(KvCache &cache) {
    uint32_t window = 0;
    REQUIRE(cache.open_window(window).ok());
    return window;
}

inline uint32_t mapped(const KvCache &cache, uint32_t window) {
    uint32_t pages = 0;
    REQUIRE(cache.mapped_pages(window, pages).ok());
    return pages;
}

inline uint32_t page_at(const KvCache &cache, uint32_t window, uint32_t index) {
    uint32_t page = 0;
    REQUIRE(cache.page_at(window, index, page).ok());
    return page;
}

inline uint32_t allocate(KvCache &cache) {
    uint32_t page = 0;
    REQUIRE(cache.allocate(page).ok());
    return page;
}

inline uint32_t references(const KvCache &cache, uint32_t page) {
    uint32_t count = 0;
    REQUIRE(cache.references(page, count).ok());
    return count;
}

inline std::vector<std::byte> filled(int value, size_t bytes = kPage) {
    return std::vector<std::byte>(bytes, static_cast<std::byte>(value));
}

inline std::byte *address(const KvCache &cache, uint32_t window, size_t offset = 0) {
    return reinterpret_cast<std::byte *>(cache.base_address()) + window * cache.window_bytes() + offset;
}

// Whether touching the byte kills a process; tried in a child.
inline bool faults(std::byte *at, bool write = false) {
    const pid_t child = ::fork();
    if (child == 0) {
        // The handlers of doctest and the sanitizers would turn the signal into an exit.
        std::signal(SIGSEGV, SIG_DFL);
        std::signal(SIGBUS, SIG_DFL);
        volatile std::byte *byte = at;
        if (write)
            *byte = std::byte{1};
        else
            (void)*byte;
        ::_exit(0);
    }
    int status = 0;
    REQUIRE(::waitpid(child, &status, 0) == child);
    return WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV;
}

// Real memory whose calls fail when told to.
class FailingMemory final : public VirtualMemory {
  public:
    explicit FailingMemory(std::unique_ptr<VirtualMemory> memory) : memory_(std::move(memory)) {}

    int maps_until_failure = -1; // negative: never
    size_t limit = 65530;
    int calls = 0; // of map and unmap

    size_t granularity() const override { return memory_->granularity(); }
    std::byte *arena() const override { return memory_->arena(); }
    size_t arena_bytes() const override { return memory_->arena_bytes(); }
    Status reserve(size_t bytes, std::byte *&address) override { return memory_->reserve(bytes, address); }
    Status map(std::byte *address, size_t offset, size_t bytes) override {
        calls++;
        if (maps_until_failure >= 0 && maps_until_failure-- == 0)
            return Status::error("KVPAGE_OUT_OF_MEMORY", "injected");
        return memory_->map(address, offset, bytes);
    }
    Status unmap(std::byte *address, size_t bytes) override {
        calls++;
        return memory_->unmap(address, bytes);
    }
    Status allocate_host(size_t bytes, std::byte *&address) override {
        return memory_->allocate_host(bytes, address);
    }
    void copy_to_host(std::byte *host, const std::byte *device, size_t bytes) const override {
        memory_->copy_to_host(host, device, bytes);
    }
    void copy_to_device(std::byte *device, const std::byte *host, size_t bytes) const override {
        memory_->copy_to_device(device, host, bytes);
    }
    void zero(std::byte *device, size_t bytes) const override { memory_->zero(device, bytes); }
    size_t areas_limit() const override { return limit; }

  private:
    std::unique_ptr<VirtualMemory> memory_;
};

// A cache on failing memory, and that memory, which the cache owns.
inline std::pair<std::unique_ptr<KvCache>, FailingMemory *>
make_failing(uint32_t pages, uint32_t windows, uint32_t window_pages, size_t limit = 65530) {
    std::unique_ptr<VirtualMemory> posix;
    REQUIRE(create_posix_memory(kPage * pages, 0, posix).ok());
    auto memory = std::make_unique<FailingMemory>(std::move(posix));
    memory->limit = limit;
    FailingMemory *raw = memory.get();
    std::unique_ptr<KvCache> cache;
    REQUIRE(KvCache::create(
                {.page_bytes = kPage, .pages = pages, .windows = windows, .window_pages = window_pages},
                std::move(memory), cache)
                .ok());
    return {std::move(cache), raw};
}

} // namespace kvpage::vattention::test
