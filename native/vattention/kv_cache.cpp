// Creation, windows, and the mapping of pages into them.
#include "vattention/kv_cache.h"

#include <algorithm>
#include <atomic>
#include <limits>
#include <new>
#include <string>

namespace kvpage::vattention {
namespace {

// Areas that the process needs for everything else: libraries, stacks, V8's heap.
constexpr size_t kAreasReserve = 4096;

// Areas in use by all caches of the process: the kernel's bound is the process's, too.
std::atomic<size_t> process_areas{0};

bool product_fits(size_t a, size_t b) {
    return a == 0 || b <= std::numeric_limits<size_t>::max() / 4 / a;
}

// Room for `size` elements, growing geometrically; false where there is no memory for it.
bool make_room(std::vector<uint32_t> &list, size_t size) {
    try {
        if (list.capacity() < size)
            list.reserve(std::max(size, 2 * list.capacity()));
        return true;
    } catch (const std::bad_alloc &) {
        return false;
    }
}

Status no_room() {
    return Status::error("KVPAGE_OUT_OF_MEMORY", "no memory for the list of mappings");
}

} // namespace

KvCache::KvCache(const KvCacheOptions &options)
    : options_(options), pool_(options.pages), host_pool_(options.host_pages), mappings_(options.pages, 0),
      in_flight_(options.pages, 0), host_in_flight_(options.host_pages, 0), windows_(options.windows),
      free_windows_(options.windows) {
    for (uint32_t i = 0; i < options.windows; i++)
        free_windows_[i] = options.windows - 1 - i;
}

KvCache::~KvCache() {
    process_areas -= areas_;
}

Status KvCache::check_options(const KvCacheOptions &options) {
    if (options.pages == 0)
        return Status::invalid("pages", options.pages, "at least 1");
    if (options.windows == 0)
        return Status::invalid("windows", options.windows, "at least 1");
    if (options.window_pages == 0)
        return Status::invalid("windowPages", options.window_pages, "at least 1");
    const auto page_bytes = static_cast<int64_t>(options.page_bytes);
    if (page_bytes <= 0)
        return Status::invalid("pageBytes", page_bytes, "at least 1");
    if (!product_fits(options.page_bytes, size_t{options.pages} + options.host_pages) ||
        !product_fits(options.page_bytes, options.window_pages) ||
        !product_fits(options.page_bytes * options.window_pages, options.windows))
        return Status::invalid("pageBytes", page_bytes, "sizes that fit the address space");
    return Status::success();
}

Status KvCache::create(const KvCacheOptions &options, std::unique_ptr<KvCache> &out) {
    const size_t granularity = posix_granularity();
    if (options.page_bytes % granularity != 0)
        return Status::invalid("pageBytes", static_cast<int64_t>(options.page_bytes),
                               "a multiple of " + std::to_string(granularity));
    if (Status status = check_options(options); !status.ok())
        return status;
    std::unique_ptr<VirtualMemory> memory;
    Status status = create_posix_memory(options.page_bytes * options.pages,
                                        options.page_bytes * options.host_pages, memory);
    return status.ok() ? create(options, std::move(memory), out) : status;
}

Status KvCache::create(const KvCacheOptions &options, std::unique_ptr<VirtualMemory> memory,
                       std::unique_ptr<KvCache> &out) {
    if (Status status = check_options(options); !status.ok())
        return status;
    std::unique_ptr<KvCache> cache;
    try {
        cache.reset(new KvCache(options));
    } catch (const std::bad_alloc &) {
        return Status::error("KVPAGE_OUT_OF_MEMORY", "no memory for the lists of pages and windows");
    }
    cache->memory_ = std::move(memory);
    Status status = cache->memory_->reserve(cache->reserved_bytes(), cache->base_);
    if (status.ok() && options.host_pages > 0)
        status = cache->memory_->allocate_host(options.page_bytes * options.host_pages, cache->host_);
    if (!status.ok())
        return status;
    const size_t limit = cache->memory_->areas_limit();
    cache->areas_limit_ = limit > 2 * kAreasReserve ? limit - kAreasReserve : limit / 2;
    out = std::move(cache);
    return Status::success();
}

Status KvCache::check_window(uint32_t window) const {
    if (window >= options_.windows)
        return Status::invalid("window", window, "less than " + std::to_string(options_.windows));
    if (!windows_[window].open)
        return Status::error("KVPAGE_WINDOW_CLOSED", "window " + std::to_string(window) + " is not open");
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

Status KvCache::page_at(uint32_t window, uint32_t index, uint32_t &page) const {
    Status status = check_window(window);
    if (!status.ok())
        return status;
    const auto &pages = windows_[window].pages;
    if (index >= pages.size())
        return Status::error("KVPAGE_NOT_MAPPED", "index is " + std::to_string(index) +
                                                      "; expected less than the " +
                                                      std::to_string(pages.size()) + " mapped pages");
    page = pages[index];
    return Status::success();
}

Status KvCache::grow(uint32_t window, uint32_t pages) {
    Status status = check_window(window);
    if (!status.ok())
        return status;
    if (pages > options_.window_pages)
        return Status::invalid("pages", pages,
                               "at most windowPages, " + std::to_string(options_.window_pages));
    const size_t mapped = windows_[window].pages.size();
    if (pages <= mapped)
        return Status::success();
    const uint32_t missing = pages - static_cast<uint32_t>(mapped);
    if (missing > pool_.free())
        return out_of_pages(missing);
    if (!make_room(scratch_, missing))
        return no_room();
    scratch_.clear();
    for (uint32_t i = 0; i < missing; i++)
        scratch_.push_back(pool_.allocate());
    status = append(window, scratch_);
    // The mapping holds its own reference; ours goes either way, in the order that restores the pool.
    for (auto page = scratch_.rbegin(); page != scratch_.rend(); ++page)
        pool_.release(*page);
    return status;
}

Status KvCache::map(uint32_t window, std::span<const int32_t> pages) {
    Status status = check_window(window);
    if (!status.ok())
        return status;
    const size_t left = options_.window_pages - windows_[window].pages.size();
    if (pages.size() > left)
        return Status::invalid("pages.length", static_cast<int64_t>(pages.size()),
                               "at most what is left of the window, " + std::to_string(left));
    if (!make_room(scratch_, pages.size()))
        return no_room();
    // Copied, then checked: the caller's memory may be shared with another thread.
    scratch_.assign(pages.begin(), pages.end());
    for (uint32_t page : scratch_)
        if (status = check_page(static_cast<int32_t>(page)); !status.ok())
            return status;
    return append(window, scratch_);
}

uint32_t KvCache::added_runs(const Window &window, std::span<const uint32_t> pages) {
    uint32_t runs = 0;
    bool first = window.pages.empty();
    uint32_t previous = first ? 0 : window.pages.back();
    for (uint32_t page : pages) {
        runs += first || page != previous + 1 ? 1 : 0;
        first = false;
        previous = page;
    }
    return runs;
}

Status KvCache::append(uint32_t index, std::span<const uint32_t> pages) {
    if (pages.empty())
        return Status::success();
    Window &window = windows_[index];
    const size_t mapped = window.pages.size();
    if (!make_room(window.pages, mapped + pages.size()))
        return no_room();
    const uint32_t runs = added_runs(window, pages);
    // A window with mappings also splits the reservation: one area more for what is left of it.
    const size_t areas = runs + (mapped == 0 ? 1 : 0);
    const size_t in_use = process_areas.fetch_add(areas);
    if (in_use + areas > areas_limit_) {
        process_areas -= areas;
        return Status::error("KVPAGE_OUT_OF_AREAS",
                             "the mapping needs " + std::to_string(areas) + " more areas; " +
                                 std::to_string(in_use) + " of " + std::to_string(areas_limit_) +
                                 " are in use (raise vm.max_map_count, or use larger pages)");
    }
    for (size_t i = 0; i < pages.size();) {
        size_t end = i + 1;
        while (end < pages.size() && pages[end] == pages[end - 1] + 1)
            end++;
        Status status = memory_->map(address(index, mapped + i), pages[i] * options_.page_bytes,
                                     (end - i) * options_.page_bytes);
        if (!status.ok()) {
            // Including the run that failed: it may be mapped in part.
            (void)memory_->unmap(address(index, mapped), end * options_.page_bytes);
            process_areas -= areas;
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

// A page in flight may lose references but not its last one. It may be mapped several times in what goes
// away.
Status KvCache::check_last_references(const Window &window, size_t from) const {
    for (size_t i = from; i < window.pages.size(); i++) {
        const uint32_t page = window.pages[i];
        if (in_flight_[page] == 0)
            continue;
        const auto lost =
            std::count(window.pages.begin() + static_cast<ptrdiff_t>(from), window.pages.end(), page);
        if (static_cast<uint32_t>(lost) == pool_.references(page))
            return Status::error("KVPAGE_PAGE_IN_FLIGHT",
                                 "page " + std::to_string(page) + " is being copied and would be freed");
    }
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
    status = check_last_references(window, pages);
    if (status.ok())
        status = memory_->unmap(address(index, pages), (mapped - pages) * options_.page_bytes);
    if (!status.ok())
        return status;
    size_t areas = pages == 0 ? 1 : 0;
    for (size_t i = mapped; i-- > pages;) {
        const uint32_t page = window.pages[i];
        if (i == 0 || page != window.pages[i - 1] + 1) {
            window.runs--;
            areas++;
        }
        mappings_[page]--;
        pool_.release(page);
        window.pages.pop_back();
    }
    areas_ -= areas;
    process_areas -= areas;
    return Status::success();
}

} // namespace kvpage::vattention
