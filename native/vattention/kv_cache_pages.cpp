// Pages by number: references, copies between device and host, synchronous access.
#include <algorithm>
#include <limits>
#include <string>

#include "vattention/kv_cache.h"

namespace kvpage::vattention {

Status KvCache::check_page(int64_t page, const PagePool &pool, const char *what) {
    if (page < 0 || page >= pool.pages())
        return Status::invalid(what, page, "at least 0 and less than " + std::to_string(pool.pages()));
    if (pool.references(static_cast<uint32_t>(page)) == 0)
        return Status::error("KVPAGE_PAGE_FREE", std::string(what) + " " + std::to_string(page) + " is free");
    return Status::success();
}

Status KvCache::check_access(uint32_t page, Access access, const std::vector<int32_t> &in_flight,
                             const char *what) {
    if (in_flight[page] == 0 || (access == Access::read && in_flight[page] != kWriting))
        return Status::success();
    return Status::error("KVPAGE_PAGE_IN_FLIGHT", std::string(what) + " " + std::to_string(page) +
                                                      " is being copied, or is named twice");
}

Status KvCache::allocate(uint32_t &page) {
    if (pool_.free() == 0)
        return out_of_pages(1);
    page = pool_.allocate();
    return Status::success();
}

Status KvCache::retain(uint32_t page) {
    Status status = check_page(page);
    if (!status.ok())
        return status;
    // Half of the range is left to mappings, which cost memory each and cannot exhaust it.
    if (pool_.references(page) > std::numeric_limits<uint32_t>::max() / 2)
        return Status::invalid("references", pool_.references(page), "less than 2147483648");
    pool_.retain(page);
    return status;
}

Status KvCache::release(uint32_t page) {
    Status status = check_page(page);
    if (!status.ok())
        return status;
    // What is left may be the mappings' own; those are dropped by truncate() alone.
    if (pool_.references(page) == mappings_[page])
        return Status::error("KVPAGE_PAGE_MAPPED",
                             "page " + std::to_string(page) + " has no reference but its mappings'");
    if (pool_.references(page) == 1 && in_flight_[page] != 0)
        return Status::error("KVPAGE_PAGE_IN_FLIGHT",
                             "page " + std::to_string(page) + " is being copied and would be freed");
    pool_.release(page);
    return status;
}

Status KvCache::references(uint32_t page, uint32_t &count) const {
    if (page >= options_.pages)
        return Status::invalid("page", page, "less than " + std::to_string(options_.pages));
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
    Status status = check_host_page(host_page);
    if (status.ok())
        status = check_access(host_page, Access::write, host_in_flight_, "host page");
    if (status.ok())
        host_pool_.release(host_page);
    return status;
}

Status KvCache::begin_copy(Direction direction, std::span<const int32_t> pages,
                           std::span<const int32_t> host_pages) {
    if (pages.size() != host_pages.size())
        return Status::invalid("hostPages.length", static_cast<int64_t>(host_pages.size()),
                               "pages.length, " + std::to_string(pages.size()));
    const bool out = direction == Direction::out;
    Status status;
    size_t begun = 0;
    for (; begun < pages.size(); begun++) {
        if (status = check_page(pages[begun]); !status.ok())
            break;
        if (status = check_host_page(host_pages[begun]); !status.ok())
            break;
        const auto page = static_cast<uint32_t>(pages[begun]);
        const auto host_page = static_cast<uint32_t>(host_pages[begun]);
        if (status = check_access(page, out ? Access::read : Access::write, in_flight_, "page"); !status.ok())
            break;
        if (status =
                check_access(host_page, out ? Access::write : Access::read, host_in_flight_, "host page");
            !status.ok())
            break;
        in_flight_[page] = out ? in_flight_[page] + 1 : kWriting;
        host_in_flight_[host_page] = out ? kWriting : host_in_flight_[host_page] + 1;
    }
    if (!status.ok())
        end_copy(pages.first(begun), host_pages.first(begun));
    return status;
}

void KvCache::run_copy(Direction direction, std::span<const int32_t> pages,
                       std::span<const int32_t> host_pages) const {
    for (size_t i = 0; i < pages.size(); i++) {
        std::byte *page = page_address(static_cast<uint32_t>(pages[i]));
        std::byte *host = host_address(static_cast<uint32_t>(host_pages[i]));
        if (direction == Direction::out)
            memory_->copy_to_host(host, page, options_.page_bytes);
        else
            memory_->copy_to_device(page, host, options_.page_bytes);
    }
}

void KvCache::end_copy(std::span<const int32_t> pages, std::span<const int32_t> host_pages) {
    auto end = [](std::vector<int32_t> &in_flight, std::span<const int32_t> list) {
        for (int32_t page : list) {
            int32_t &copies = in_flight[static_cast<size_t>(page)];
            copies = copies == kWriting ? 0 : copies - 1;
        }
    };
    end(in_flight_, pages);
    end(host_in_flight_, host_pages);
}

Status KvCache::check_bytes(size_t bytes) const {
    if (bytes == options_.page_bytes)
        return Status::success();
    return Status::invalid("the array's bytes", static_cast<int64_t>(bytes),
                           "pageBytes, " + std::to_string(options_.page_bytes));
}

Status KvCache::read_page(uint32_t page, std::span<std::byte> into) const {
    Status status = check_page(page);
    if (status.ok())
        status = check_bytes(into.size());
    if (status.ok())
        status = check_access(page, Access::read, in_flight_, "page");
    if (status.ok())
        memory_->copy_to_host(into.data(), page_address(page), into.size());
    return status;
}

Status KvCache::write_page(uint32_t page, std::span<const std::byte> from) {
    Status status = check_page(page);
    if (status.ok())
        status = check_bytes(from.size());
    if (status.ok())
        status = check_access(page, Access::write, in_flight_, "page");
    if (status.ok())
        memory_->copy_to_device(page_address(page), from.data(), from.size());
    return status;
}

Status KvCache::zero_page(uint32_t page) {
    Status status = check_page(page);
    if (status.ok())
        status = check_access(page, Access::write, in_flight_, "page");
    if (status.ok())
        memory_->zero(page_address(page), options_.page_bytes);
    return status;
}

Status KvCache::read_host_page(uint32_t host_page, std::span<std::byte> into) const {
    Status status = check_host_page(host_page);
    if (status.ok())
        status = check_bytes(into.size());
    if (status.ok())
        status = check_access(host_page, Access::read, host_in_flight_, "host page");
    if (status.ok())
        std::copy_n(host_address(host_page), into.size(), into.data());
    return status;
}

Status KvCache::check_range(uint32_t window, size_t offset, size_t bytes, Access access) const {
    Status status = check_window(window);
    if (!status.ok())
        return status;
    const auto &pages = windows_[window].pages;
    const size_t mapped = pages.size() * options_.page_bytes;
    if (offset > mapped || bytes > mapped - offset)
        return Status::error("KVPAGE_NOT_MAPPED", std::to_string(bytes) + " bytes at offset " +
                                                      std::to_string(offset) + " of window " +
                                                      std::to_string(window) + "; " + std::to_string(mapped) +
                                                      " are mapped");
    for (size_t at = offset / options_.page_bytes; at * options_.page_bytes < offset + bytes; at++)
        if (status = check_access(pages[at], access, in_flight_, "page"); !status.ok())
            return status;
    return status;
}

Status KvCache::read_window(uint32_t window, size_t offset, std::span<std::byte> into) const {
    Status status = check_range(window, offset, into.size(), Access::read);
    // An empty span has no address to copy to, and an offset at the end of the mapping none to copy from.
    if (status.ok() && !into.empty())
        memory_->copy_to_host(into.data(), address(window, 0) + offset, into.size());
    return status;
}

Status KvCache::write_window(uint32_t window, size_t offset, std::span<const std::byte> from) {
    Status status = check_range(window, offset, from.size(), Access::write);
    if (status.ok() && !from.empty())
        memory_->copy_to_device(address(window, 0) + offset, from.data(), from.size());
    return status;
}

} // namespace kvpage::vattention
