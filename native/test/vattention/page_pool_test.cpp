#include "vattention/page_pool.h"

#include "doctest/doctest.h"

using kvpage::vattention::PagePool;

TEST_CASE("a fresh pool hands out consecutive pages") {
    PagePool pool(4);
    for (uint32_t page = 0; page < 4; page++)
        CHECK(pool.allocate() == page);
    CHECK(pool.free() == 0);
}

TEST_CASE("a page returns to the pool with its last reference, and is the next one out") {
    PagePool pool(4);
    pool.allocate();
    const uint32_t page = pool.allocate();
    pool.retain(page);
    pool.release(page);
    CHECK(pool.free() == 2);
    CHECK(pool.references(page) == 1);
    pool.release(page);
    CHECK(pool.free() == 3);
    CHECK(pool.references(page) == 0);
    CHECK(pool.allocate() == page);
}
