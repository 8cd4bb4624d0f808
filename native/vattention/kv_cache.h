// The KV cache: windows (contiguous virtual ranges, vAttention's request ids) onto pages of one pool, and a
// host arena of pages of the same size to copy them to and from.
//
// Glossary. *page*: unit of physical memory, sharing and transfer. *window*: windowPages pages of address
// space; pages 0..mapped-1 are mapped, everything beyond faults. *reference*: one for each holder of a page
// and one for each mapping; a page returns to the pool at 0. *in flight*: being copied. A page in flight
// keeps its last reference, a page that a copy reads may be read but not written, and one that a copy writes
// may be neither.
//
// Every operation either succeeds or leaves the state as it was. None throws, none reads or writes beyond a
// mapping, and where nothing grows none calls the kernel. One thread at a time; run_copy() alone may be on
// any.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "vattention/page_pool.h"
#include "vattention/status.h"
#include "vattention/virtual_memory.h"

namespace kvpage::vattention {

struct KvCacheOptions {
    size_t page_bytes = 0; // a multiple of the granularity
    uint32_t pages = 0;    // physical pages: the hard budget
    uint32_t windows = 0;
    uint32_t window_pages = 0;
    uint32_t host_pages = 0;
};

struct KvCacheStats {
    size_t virtual_bytes;   // reserved for windows
    size_t physical_bytes;  // of the arena, allocated at creation
    size_t allocated_bytes; // of pages with a reference
    size_t mapped_bytes;    // of mappings; a page mapped twice counts twice
    size_t shared_bytes;    // of pages mapped more than once
    size_t host_bytes;      // bound of the host arena
    size_t host_allocated_bytes;
    size_t areas; // upper bound of the kernel's areas that the windows cost
};

class KvCache {
  public:
    // On POSIX memory. KVPAGE_INVALID_ARGUMENT, KVPAGE_OUT_OF_MEMORY.
    static Status create(const KvCacheOptions &options, std::unique_ptr<KvCache> &out);
    // On memory with an arena of options.pages * options.page_bytes.
    static Status create(const KvCacheOptions &options, std::unique_ptr<VirtualMemory> memory,
                         std::unique_ptr<KvCache> &out);
    ~KvCache();
    KvCache(const KvCache &) = delete;
    KvCache &operator=(const KvCache &) = delete;

    const KvCacheOptions &options() const { return options_; }
    uint64_t base_address() const { return reinterpret_cast<uint64_t>(base_); }
    size_t window_bytes() const { return options_.window_pages * options_.page_bytes; }
    size_t reserved_bytes() const { return options_.windows * window_bytes(); }

    uint32_t free_pages() const { return pool_.free(); }
    uint32_t free_host_pages() const { return host_pool_.free(); }
    uint32_t free_windows() const { return static_cast<uint32_t>(free_windows_.size()); }

    Status open_window(uint32_t &window);
    Status close_window(uint32_t window);
    Status mapped_pages(uint32_t window, uint32_t &pages) const;
    // At least `pages` mapped; missing ones are fresh from the pool and belong to the window alone.
    Status grow(uint32_t window, uint32_t pages);
    // Appends existing pages, in order: one reference more for each.
    Status map(uint32_t window, std::span<const int32_t> pages);
    // Unmaps from the end down to `pages`.
    Status truncate(uint32_t window, uint32_t pages);
    Status page_at(uint32_t window, uint32_t index, uint32_t &page) const;

    Status allocate(uint32_t &page);
    Status retain(uint32_t page);
    Status release(uint32_t page);
    Status references(uint32_t page, uint32_t &count) const;
    Status allocate_host(uint32_t &host_page);
    Status release_host(uint32_t host_page);

    // A copy in three parts: begin_copy() checks everything and marks the pages as in flight, run_copy()
    // moves the bytes and may run on any thread, end_copy() unmarks them.
    enum class Direction { out, in };
    Status begin_copy(Direction direction, std::span<const int32_t> pages,
                      std::span<const int32_t> host_pages);
    void run_copy(Direction direction, std::span<const int32_t> pages,
                  std::span<const int32_t> host_pages) const;
    void end_copy(std::span<const int32_t> pages, std::span<const int32_t> host_pages);

    // Synchronous access. Whole pages: exactly page_bytes; windows: inside the mapped length.
    Status read_page(uint32_t page, std::span<std::byte> into) const;
    Status write_page(uint32_t page, std::span<const std::byte> from);
    Status zero_page(uint32_t page);
    Status read_host_page(uint32_t host_page, std::span<std::byte> into) const;
    Status read_window(uint32_t window, size_t offset, std::span<std::byte> into) const;
    Status write_window(uint32_t window, size_t offset, std::span<const std::byte> from);

    KvCacheStats stats() const;
    // Walks the whole state; KVPAGE_INTEGRITY names the first broken invariant.
    Status check_integrity() const;

  private:
    static constexpr int32_t kWriting = -1;

    struct Window {
        bool open = false;
        std::vector<uint32_t> pages; // mapped, by position
        uint32_t runs = 0;           // consecutive positions with consecutive pages: one kernel area each
    };

    // What a copy, or a caller, does to a page.
    enum class Access { read, write };

    explicit KvCache(const KvCacheOptions &options);
    static Status check_options(const KvCacheOptions &options);
    Status check_window(uint32_t window) const;
    Status check_page(int64_t page) const { return check_page(page, pool_, "page"); }
    Status check_host_page(int64_t page) const { return check_page(page, host_pool_, "host page"); }
    static Status check_page(int64_t page, const PagePool &pool, const char *what);
    static Status check_access(uint32_t page, Access access, const std::vector<int32_t> &in_flight,
                               const char *what);
    Status check_bytes(size_t bytes) const;
    Status check_range(uint32_t window, size_t offset, size_t bytes, Access access) const;
    Status check_last_references(const Window &window, size_t from) const;
    Status append(uint32_t window, std::span<const uint32_t> pages);
    static uint32_t added_runs(const Window &window, std::span<const uint32_t> pages);
    Status out_of_pages(uint32_t wanted) const;

    std::byte *address(uint32_t window, size_t position) const {
        return base_ + window * window_bytes() + position * options_.page_bytes;
    }
    std::byte *page_address(uint32_t page) const { return memory_->arena() + page * options_.page_bytes; }
    std::byte *host_address(uint32_t page) const { return host_ + page * options_.page_bytes; }

    KvCacheOptions options_;
    std::unique_ptr<VirtualMemory> memory_;
    std::byte *base_ = nullptr;
    std::byte *host_ = nullptr;
    PagePool pool_;
    PagePool host_pool_;
    std::vector<uint32_t> mappings_;      // per page
    std::vector<int32_t> in_flight_;      // per page: copies that read it, or kWriting
    std::vector<int32_t> host_in_flight_; // the same per host page
    std::vector<Window> windows_;
    std::vector<uint32_t> free_windows_;
    std::vector<uint32_t> scratch_; // the pages of the mapping being made
    size_t areas_ = 0;
    size_t areas_limit_ = 0; // of all caches of the process together
};

} // namespace kvpage::vattention
