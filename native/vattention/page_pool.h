// Pages of one size under a hard budget, counted by references and reused last in, first out: the page freed
// last is the one most likely still in a cache. Invariant: a page is in the pool exactly when its count is 0.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace kvpage::vattention {

class PagePool {
  public:
    explicit PagePool(uint32_t pages) : references_(pages, 0), free_(pages) {
        // Lowest page on top, so that a fresh pool hands out consecutive offsets, which map in one call.
        for (uint32_t i = 0; i < pages; i++)
            free_[i] = pages - 1 - i;
    }

    uint32_t pages() const { return static_cast<uint32_t>(references_.size()); }
    uint32_t free() const { return static_cast<uint32_t>(free_.size()); }
    uint32_t references(uint32_t page) const { return references_[page]; }

    // A page with one reference. Precondition: free() > 0.
    uint32_t allocate() {
        const uint32_t page = free_.back();
        free_.pop_back();
        references_[page] = 1;
        return page;
    }

    // Precondition of both: references(page) > 0.
    void retain(uint32_t page) { references_[page]++; }
    void release(uint32_t page) {
        if (--references_[page] == 0)
            free_.push_back(page);
    }

    const std::vector<uint32_t> &free_list() const { return free_; }

  private:
    std::vector<uint32_t> references_;
    std::vector<uint32_t> free_;
};

} // namespace kvpage::vattention
