#include "vattention/kv_cache.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <limits>
#include <string>
#include <sys/mman.h>

namespace kvpage::vattention {
namespace {

// Areas that the process needs for everything else: libraries, stacks, V8's heap.
constexpr size_t kAreasReserve = 4096;

Status invalid(const std::string &field, uint64_t value, const std::string &expected) {
    return Status::error("KVPAGE_INVALID_ARGUMENT",
                         field + " is " + std::to_string(value) + "; expected " + expected);
}

bool product_fits(size_t a, size_t b) { return a == 0 || b <= std::numeric_limits<size_t>::max() / 4 / a; }

} // namespace

KvCache::KvCache(const KvCacheOptions &options)
    : options_(options), pool_(options.pages), host_pool_(options.host_pages), mappings_(options.pages, 0), in_flight_(options.pages, 0),
      host_in_flight_(options.host_pages, 0), windows_(options.windows), free_windows_(options.windows) {
    for (uint32_t i = 0; i < options.windows; i++)
        free_windows_[i] = options.windows - 1 - i;
    for (Window &window : windows_)
        window.pages.reserve(std::min(options.window_pages, options.pages));
    scratch_.reserve(std::min(options.window_pages, options.pages));
}

KvCache::~KvCache() {
    if (host_ != nullptr)
        ::munmap(host_, host_bytes_);
}

Status KvCache::create(const KvCacheOptions &options, std::unique_ptr<KvCache> &out) {
    const size_t granularity = posix_granularity();
    if (options.page_bytes == 0 || options.page_bytes % granularity != 0)
        return invalid("pageBytes", options.page_bytes, "a multiple of " + std::to_string(granularity));
    if (options.pages == 0)
        return invalid("pages", options.pages, "at least 1");
    if (options.windows == 0)
        return invalid("windows", options.windows, "at least 1");
    if (options.window_pages == 0)
        return invalid("windowPages", options.window_pages, "at least 1");
    if (!product_fits(options.page_bytes, options.pages) || !product_fits(options.page_bytes, options.host_pages) ||
        !product_fits(options.page_bytes, options.window_pages) ||
        !product_fits(options.page_bytes * options.window_pages, options.windows))
        return invalid("pageBytes", options.page_bytes, "sizes that fit the address space");

    std::unique_ptr<KvCache> cache(new KvCache(options));
    Status status = create_posix_memory(options.page_bytes * options.pages, cache->memory_);
    if (status.ok())
        status = cache->memory_->reserve(cache->reserved_bytes(), cache->base_);
    if (!status.ok())
        return status;
    const size_t limit = cache->memory_->areas_limit();
    cache->areas_limit_ = limit > 2 * kAreasReserve ? limit - kAreasReserve : limit / 2;
    if (options.host_pages > 0) {
        // Reserved, not touched: the tier's bytes become resident as it fills, and never more than the bound.
        cache->host_bytes_ = options.page_bytes * options.host_pages;
        void *host = ::mmap(nullptr, cache->host_bytes_, PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (host == MAP_FAILED)
            return Status::error("KVPAGE_OUT_OF_MEMORY", "reserving the host tier of " +
                                                             std::to_string(cache->host_bytes_) +
                                                             " bytes failed: " + std::strerror(errno));
        cache->host_ = static_cast<std::byte *>(host);
    }
    out = std::move(cache);
    return Status::success();
}

Status KvCache::check_window(uint32_t window) const {
    if (window >= options_.windows)
        return invalid("window", window, "less than " + std::to_string(options_.windows));
    if (!windows_[window].open)
        return Status::error("KVPAGE_WINDOW_CLOSED", "window " + std::to_string(window) + " is not open");
    return Status::success();
}

Status KvCache::check_page(uint32_t page, const PagePool &pool, const char *what) const {
    if (page >= pool.pages())
        return invalid(what, page, "less than " + std::to_string(pool.pages()));
    if (pool.references(page) == 0)
        return Status::error("KVPAGE_PAGE_FREE", std::string(what) + " " + std::to_string(page) + " is free");
    return Status::success();
}

Status KvCache::out_of_pages(uint32_t wanted) const {
    return Status::error("KVPAGE_OUT_OF_PAGES", std::to_string(wanted) + " pages wanted, " +
                                                    std::to_string(pool_.free()) + " of " +
                                                    std::to_string(options_.pages) + " are free");
}

Status KvCache::open_window(uint32_t &window) {
    if (free_windows_.empty())
        return Status::error("KVPAGE_OUT_OF_WINDOWS",
                             "all " + std::to_string(options_.windows) + " windows are open");
    window = free_windows_.back();
    free_windows_.pop_back();
    windows_[window].open = true;
    return Status::success();
}

Status KvCache::close_window(uint32_t window) {
    Status status = truncate(window, 0);
    if (!status.ok())
        return status;
    windows_[window].open = false;
    free_windows_.push_back(window);
    return Status::success();
}

Status KvCache::mapped_pages(uint32_t window, uint32_t &pages) const {
    Status status = check_window(window);
    if (status.ok())
        pages = static_cast<uint32_t>(windows_[window].pages.size());
    return status;
}

Status KvCache::grow(uint32_t window, uint32_t pages) {
    Status status = check_window(window);
    if (!status.ok())
        return status;
    if (pages > options_.window_pages)
        return invalid("pages", pages, "at most windowPages (" + std::to_string(options_.window_pages) + ")");
    const size_t mapped = windows_[window].pages.size();
    if (pages <= mapped)
        return Status::success();
    const uint32_t missing = pages - static_cast<uint32_t>(mapped);
    if (missing > pool_.free())
        return out_of_pages(missing);
    std::vector<uint32_t> fresh(missing);
    for (uint32_t &page : fresh)
        page = pool_.allocate();
    status = append(window, fresh);
    // The mapping holds its own reference; ours goes either way.
    for (auto page = fresh.rbegin(); page != fresh.rend(); ++page)
        pool_.release(*page);
    return status;
}

Status KvCache::map(uint32_t window, std::span<const int32_t> pages) {
    Status status = check_window(window);
    if (!status.ok())
        return status;
    const size_t mapped = windows_[window].pages.size();
    if (pages.size() > options_.window_pages - mapped)
        return invalid("pages.length", pages.size(),
                       "at most the window's " + std::to_string(options_.window_pages - mapped) + " pages left");
    for (int32_t page : pages)
        if (status = check_page(static_cast<uint32_t>(page), pool_, "page"); !status.ok())
            return status;
    scratch_.assign(pages.begin(), pages.end());
    return append(window, scratch_);
}

uint32_t KvCache::added_runs(const Window &window, std::span<const uint32_t> pages) const {
    uint32_t runs = 0;
    for (size_t i = 0; i < pages.size(); i++) {
        const bool first = i == 0 && window.pages.empty();
        const uint32_t previous = i > 0 ? pages[i - 1] : first ? 0 : window.pages.back();
        if (first || pages[i] != previous + 1)
            runs++;
    }
    return runs;
}

Status KvCache::append(uint32_t index, std::span<const uint32_t> pages) {
    Window &window = windows_[index];
    const uint32_t runs = added_runs(window, pages);
    // A window with mappings also splits the reservation: one area more for what is left of it.
    const size_t areas = runs + (window.pages.empty() && !pages.empty() ? 1 : 0);
    if (areas_ + areas > areas_limit_)
        return Status::error("KVPAGE_OUT_OF_AREAS",
                             "the mapping needs " + std::to_string(areas) + " more areas; " +
                                 std::to_string(areas_) + " of " + std::to_string(areas_limit_) +
                                 " are in use (raise vm.max_map_count, or use larger pages)");
    const size_t mapped = window.pages.size();
    for (size_t i = 0; i < pages.size();) {
        size_t end = i + 1;
        while (end < pages.size() && pages[end] == pages[end - 1] + 1)
            end++;
        Status status = memory_->map(address(index, mapped + i), pages[i] * options_.page_bytes,
                                     (end - i) * options_.page_bytes);
        if (!status.ok()) {
            if (i > 0)
                (void)memory_->unmap(address(index, mapped), i * options_.page_bytes);
            return status;
        }
        i = end;
    }
    for (uint32_t page : pages) {
        pool_.retain(page);
        mappings_[page]++;
        window.pages.push_back(page);
    }
    window.runs += runs;
    areas_ += areas;
    return Status::success();
}

Status KvCache::truncate(uint32_t index, uint32_t pages) {
    Status status = check_window(index);
    if (!status.ok())
        return status;
    Window &window = windows_[index];
    const size_t mapped = window.pages.size();
    if (pages >= mapped)
        return Status::success();
    for (size_t i = pages; i < mapped; i++)
        if (pool_.references(window.pages[i]) == 1 && in_flight_[window.pages[i]] > 0)
            return Status::error("KVPAGE_PAGE_IN_FLIGHT",
                                 "page " + std::to_string(window.pages[i]) + " is being copied");
    status = memory_->unmap(address(index, pages), (mapped - pages) * options_.page_bytes);
    if (!status.ok())
        return status;
    for (size_t i = mapped; i-- > pages;) {
        const bool starts_run = i == 0 || window.pages[i] != window.pages[i - 1] + 1;
        window.runs -= starts_run ? 1 : 0;
        areas_ -= starts_run ? 1 : 0;
        pool_.release(window.pages[i]);
        mappings_[window.pages[i]]--;
        window.pages.pop_back();
    }
    if (window.pages.empty())
        areas_--;
    return Status::success();
}

Status KvCache::page_at(uint32_t window, uint32_t index, uint32_t &page) const {
    Status status = check_window(window);
    if (!status.ok())
        return status;
    const auto &pages = windows_[window].pages;
    if (index >= pages.size())
        return invalid("index", index, "less than the " + std::to_string(pages.size()) + " mapped pages");
    page = pages[index];
    return Status::success();
}

Status KvCache::allocate(uint32_t &page) {
    if (pool_.free() == 0)
        return out_of_pages(1);
    page = pool_.allocate();
    return Status::success();
}

Status KvCache::retain(uint32_t page) {
    Status status = check_page(page, pool_, "page");
    if (status.ok())
        pool_.retain(page);
    return status;
}

Status KvCache::release(uint32_t page) {
    Status status = check_page(page, pool_, "page");
    if (!status.ok())
        return status;
    if (pool_.references(page) == 1 && in_flight_[page] > 0)
        return Status::error("KVPAGE_PAGE_IN_FLIGHT", "page " + std::to_string(page) + " is being copied");
    // What is left may be the mappings' own; those are dropped by truncate() alone.
    if (pool_.references(page) == mappings_[page])
        return Status::error("KVPAGE_PAGE_MAPPED",
                             "page " + std::to_string(page) + " has no reference but its mappings'");
    pool_.release(page);
    return Status::success();
}

Status KvCache::references(uint32_t page, uint32_t &count) const {
    if (page >= options_.pages)
        return invalid("page", page, "less than " + std::to_string(options_.pages));
    count = pool_.references(page);
    return Status::success();
}

Status KvCache::allocate_host(uint32_t &host_page) {
    if (host_pool_.free() == 0)
        return Status::error("KVPAGE_OUT_OF_HOST_PAGES",
                             "all " + std::to_string(options_.host_pages) + " host pages are in use");
    host_page = host_pool_.allocate();
    return Status::success();
}

Status KvCache::release_host(uint32_t host_page) {
    Status status = check_page(host_page, host_pool_, "hostPage");
    if (!status.ok())
        return status;
    if (host_in_flight_[host_page] > 0)
        return Status::error("KVPAGE_PAGE_IN_FLIGHT", "host page " + std::to_string(host_page) + " is being copied");
    host_pool_.release(host_page);
    return Status::success();
}

Status KvCache::begin_copy(Direction direction, std::span<const int32_t> pages, std::span<const int32_t> host_pages) {
    if (pages.size() != host_pages.size())
        return invalid("hostPages.length", host_pages.size(), "pages.length (" + std::to_string(pages.size()) + ")");
    for (int32_t page : pages)
        if (Status status = check_page(static_cast<uint32_t>(page), pool_, "page"); !status.ok())
            return status;
    for (int32_t page : host_pages)
        if (Status status = check_page(static_cast<uint32_t>(page), host_pool_, "hostPage"); !status.ok())
            return status;
    // What is written may not be part of another copy: the result would depend on the threads.
    const auto &written = direction == Direction::out ? host_pages : pages;
    auto &counts = direction == Direction::out ? host_in_flight_ : in_flight_;
    for (size_t i = 0; i < written.size(); i++) {
        if (counts[static_cast<size_t>(written[i])] > 0) {
            for (size_t k = 0; k < i; k++)
                counts[static_cast<size_t>(written[k])]--;
            return Status::error("KVPAGE_PAGE_IN_FLIGHT",
                                 std::string(direction == Direction::out ? "host page " : "page ") +
                                     std::to_string(written[i]) + " is being copied, or is named twice");
        }
        counts[static_cast<size_t>(written[i])]++;
    }
    auto &read_counts = direction == Direction::out ? in_flight_ : host_in_flight_;
    for (int32_t page : direction == Direction::out ? pages : host_pages)
        read_counts[static_cast<size_t>(page)]++;
    return Status::success();
}

void KvCache::run_copy(Direction direction, std::span<const int32_t> pages,
                       std::span<const int32_t> host_pages) const {
    for (size_t i = 0; i < pages.size(); i++) {
        std::byte *page = memory_->arena() + static_cast<size_t>(pages[i]) * options_.page_bytes;
        std::byte *host = host_ + static_cast<size_t>(host_pages[i]) * options_.page_bytes;
        if (direction == Direction::out)
            std::memcpy(host, page, options_.page_bytes);
        else
            std::memcpy(page, host, options_.page_bytes);
    }
}

void KvCache::end_copy(std::span<const int32_t> pages, std::span<const int32_t> host_pages) {
    for (int32_t page : pages)
        in_flight_[static_cast<size_t>(page)]--;
    for (int32_t page : host_pages)
        host_in_flight_[static_cast<size_t>(page)]--;
}

Status KvCache::page_bytes(uint32_t page, std::span<std::byte> &bytes) {
    Status status = check_page(page, pool_, "page");
    if (status.ok())
        bytes = {memory_->arena() + page * options_.page_bytes, options_.page_bytes};
    return status;
}

Status KvCache::host_page_bytes(uint32_t host_page, std::span<std::byte> &bytes) {
    Status status = check_page(host_page, host_pool_, "hostPage");
    if (status.ok())
        bytes = {host_ + host_page * options_.page_bytes, options_.page_bytes};
    return status;
}

Status KvCache::window_range(uint32_t window, size_t offset, size_t length, std::byte *&bytes) {
    Status status = check_window(window);
    if (!status.ok())
        return status;
    const size_t mapped = windows_[window].pages.size() * options_.page_bytes;
    if (offset > mapped || length > mapped - offset)
        return Status::error("KVPAGE_NOT_MAPPED", "bytes " + std::to_string(offset) + " to " +
                                                      std::to_string(offset + length) + " of window " +
                                                      std::to_string(window) + "; " + std::to_string(mapped) +
                                                      " are mapped");
    bytes = address(window, 0) + offset;
    return Status::success();
}

KvCacheStats KvCache::stats() const {
    size_t mapped = 0;
    size_t shared = 0;
    for (uint32_t mappings : mappings_) {
        mapped += mappings;
        shared += mappings > 1 ? 1 : 0;
    }
    const size_t page = options_.page_bytes;
    return {
        .virtual_bytes = reserved_bytes(),
        .physical_bytes = memory_->arena_bytes(),
        .allocated_bytes = (options_.pages - pool_.free()) * page,
        .mapped_bytes = mapped * page,
        .shared_bytes = shared * page,
        .host_bytes = host_bytes_,
        .host_allocated_bytes = (options_.host_pages - host_pool_.free()) * page,
        .areas = areas_,
    };
}

Status KvCache::check_integrity() const {
    auto broken = [](const std::string &what) { return Status::error("KVPAGE_INTEGRITY", what); };
    std::vector<uint32_t> mappings(options_.pages, 0);
    size_t areas = 0;
    size_t closed = 0;
    for (const Window &window : windows_) {
        closed += window.open ? 0 : 1;
        if (!window.open && !window.pages.empty())
            return broken("a closed window has mappings");
        if (window.pages.size() > options_.window_pages)
            return broken("a window has more mappings than pages");
        uint32_t runs = 0;
        for (size_t i = 0; i < window.pages.size(); i++) {
            mappings[window.pages[i]]++;
            runs += i == 0 || window.pages[i] != window.pages[i - 1] + 1 ? 1 : 0;
        }
        if (runs != window.runs)
            return broken("a window's runs are miscounted");
        areas += runs + (window.pages.empty() ? 0 : 1);
    }
    if (areas != areas_)
        return broken("the areas are miscounted");
    if (closed != free_windows_.size())
        return broken("a closed window is not free");
    for (const PagePool *pool : {&pool_, &host_pool_}) {
        std::vector<bool> free(pool->pages(), false);
        for (uint32_t page : pool->free_list()) {
            if (free[page])
                return broken("page " + std::to_string(page) + " is in the pool twice");
            free[page] = true;
        }
        for (uint32_t page = 0; page < pool->pages(); page++)
            if (free[page] != (pool->references(page) == 0))
                return broken("page " + std::to_string(page) + ": pool and references disagree");
    }
    for (uint32_t page = 0; page < options_.pages; page++) {
        if (mappings[page] != mappings_[page])
            return broken("page " + std::to_string(page) + ": its mappings are miscounted");
        if (mappings[page] > pool_.references(page))
            return broken("page " + std::to_string(page) + " has more mappings than references");
    }
    return Status::success();
}

} // namespace kvpage::vattention
