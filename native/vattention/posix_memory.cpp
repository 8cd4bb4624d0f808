#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fcntl.h>
#include <string>
#include <sys/mman.h>
#include <unistd.h>
#include <vector>

#include "vattention/virtual_memory.h"

namespace kvpage::vattention {
namespace {

constexpr size_t kGuardBytes = size_t{1} << 20;

Status system_error(const std::string &call, size_t bytes) {
    return Status::error("KVPAGE_OUT_OF_MEMORY",
                         call + " of " + std::to_string(bytes) + " bytes failed: " + std::strerror(errno));
}

class PosixMemory final : public VirtualMemory {
  public:
    ~PosixMemory() override {
        for (const Range &range : reservations_)
            ::munmap(range.address, range.bytes);
        if (arena_ != nullptr)
            ::munmap(arena_, arena_bytes_);
        if (fd_ >= 0)
            ::close(fd_);
    }

    Status create(size_t arena_bytes) {
        fd_ = ::memfd_create("kvpage", MFD_CLOEXEC);
        if (fd_ < 0)
            return system_error("memfd_create", arena_bytes);
        // posix_fallocate, not ftruncate: a hole would be filled, or refused with SIGBUS, at first touch.
        const int failed = ::posix_fallocate(fd_, 0, static_cast<off_t>(arena_bytes));
        if (failed != 0) {
            errno = failed;
            return system_error("allocating physical memory", arena_bytes);
        }
        void *address = ::mmap(nullptr, arena_bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd_, 0);
        if (address == MAP_FAILED)
            return system_error("mapping physical memory", arena_bytes);
        arena_ = static_cast<std::byte *>(address);
        arena_bytes_ = arena_bytes;
        return Status::success();
    }

    size_t granularity() const override { return posix_granularity(); }
    std::byte *arena() const override { return arena_; }
    size_t arena_bytes() const override { return arena_bytes_; }

    Status reserve(size_t bytes, std::byte *&address) override {
        const size_t total = bytes + 2 * kGuardBytes;
        void *start =
            total < bytes
                ? MAP_FAILED
                : ::mmap(nullptr, total, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (start == MAP_FAILED)
            return system_error("reserving address space", bytes);
        reservations_.push_back({start, total});
        address = static_cast<std::byte *>(start) + kGuardBytes;
        return Status::success();
    }

    Status map(std::byte *address, size_t offset, size_t bytes) override {
        // Populated now: a fault per 4 KiB page during the first attention costs several times as much.
        void *mapped = ::mmap(address, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED | MAP_POPULATE, fd_,
                              static_cast<off_t>(offset));
        return mapped == MAP_FAILED ? system_error("mmap", bytes) : Status::success();
    }

    Status unmap(std::byte *address, size_t bytes) override {
        // Mapped over, never munmap'ed: a hole in the reservation could be taken by another mmap of the process.
        void *mapped = ::mmap(address, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED,
                              -1, 0);
        return mapped == MAP_FAILED ? system_error("mmap PROT_NONE", bytes) : Status::success();
    }

    size_t areas_limit() const override {
        size_t limit = 65530;
        if (std::FILE *file = std::fopen("/proc/sys/vm/max_map_count", "r")) {
            if (std::fscanf(file, "%zu", &limit) != 1)
                limit = 65530;
            std::fclose(file);
        }
        return limit;
    }

  private:
    struct Range {
        void *address;
        size_t bytes;
    };

    int fd_ = -1;
    std::byte *arena_ = nullptr;
    size_t arena_bytes_ = 0;
    std::vector<Range> reservations_;
};

} // namespace

Status create_posix_memory(size_t arena_bytes, std::unique_ptr<VirtualMemory> &out) {
    auto memory = std::make_unique<PosixMemory>();
    Status status = memory->create(arena_bytes);
    if (status.ok())
        out = std::move(memory);
    return status;
}

size_t posix_granularity() { return static_cast<size_t>(::sysconf(_SC_PAGESIZE)); }

} // namespace kvpage::vattention
