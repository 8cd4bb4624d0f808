// What the cache says of itself: counters, and a walk of the whole state.
#include <string>

#include "vattention/kv_cache.h"

namespace kvpage::vattention {

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
        .host_bytes = options_.host_pages * page,
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
    std::vector<bool> free_windows(options_.windows, false);
    for (uint32_t window : free_windows_) {
        if (free_windows[window] || windows_[window].open)
            return broken("window " + std::to_string(window) + " is free twice, or open and free");
        free_windows[window] = true;
    }
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
        if (in_flight_[page] != 0 && pool_.references(page) == 0)
            return broken("page " + std::to_string(page) + " is in flight and free");
    }
    for (uint32_t page = 0; page < options_.host_pages; page++)
        if (host_pool_.references(page) > 1 ||
            (host_in_flight_[page] != 0 && host_pool_.references(page) == 0))
            return broken("host page " + std::to_string(page) + " is held twice, or in flight and free");
    return Status::success();
}

} // namespace kvpage::vattention
