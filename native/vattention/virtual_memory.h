// All that the allocator asks of an operating system or a driver.
//
// *Physical memory* is one arena of fixed size, addressed by byte offset. A *reservation* is a range of
// addresses that nothing backs: touching it faults. Mapping puts a range of the arena at an address of a
// reservation; one range may be mapped many times, and a write through one mapping shows through all.
// Offsets, addresses and sizes are multiples of granularity(). *Device addresses* (the arena's and the
// reservations') go to the copies below and to kernels; the allocator itself never dereferences one.
// Everything is released by the destructor.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "vattention/status.h"

namespace kvpage::vattention {

class VirtualMemory {
  public:
    virtual ~VirtualMemory() = default;

    virtual size_t granularity() const = 0;

    // Device address of the whole arena, mapped from the start and always: for copies that need no window.
    virtual std::byte *arena() const = 0;
    virtual size_t arena_bytes() const = 0;

    // Address space for `bytes`; the guard on either side belongs to it and is never mapped.
    virtual Status reserve(size_t bytes, std::byte *&address) = 0;

    // Replaces what is at [address, address + bytes), inside one reservation, by the arena's bytes at
    // `offset`.
    virtual Status map(std::byte *address, size_t offset, size_t bytes) = 0;

    // Makes the range fault again. Legal on a range that is not mapped.
    virtual Status unmap(std::byte *address, size_t bytes) = 0;

    // Ordinary memory that the device copies to and from at full speed; released with everything else.
    virtual Status allocate_host(size_t bytes, std::byte *&address) = 0;

    // Between mapped device addresses and ordinary memory; done on return. Any thread may copy.
    virtual void copy_to_host(std::byte *host, const std::byte *device, size_t bytes) const = 0;
    virtual void copy_to_device(std::byte *device, const std::byte *host, size_t bytes) const = 0;
    virtual void zero(std::byte *device, size_t bytes) const = 0;

    // Most areas (runs of mappings that the kernel keeps apart) that the process may hold.
    virtual size_t areas_limit() const = 0;
};

// POSIX: the arena is one memfd whose pages are all allocated here, so that want of memory is this error and
// not a kill later on; `host_bytes` that allocate_host() will be asked for must be available too, though they
// become resident only as they are written. Fails with KVPAGE_OUT_OF_MEMORY.
Status create_posix_memory(size_t arena_bytes, size_t host_bytes, std::unique_ptr<VirtualMemory> &out);
size_t posix_granularity();

} // namespace kvpage::vattention
