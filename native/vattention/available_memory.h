// How many bytes this process can still have before the kernel starts to kill.
//
// Linux grants shared memory page by page until nothing is left and then kills a process, so an allocator
// that wants an error instead has to ask first. The answer is the least of what the machine has
// (MemAvailable) and what each control group above the process still allows (version 1 or 2; a group's
// reclaimable file cache counts as free, as in MemAvailable).
#pragma once

#include <cstddef>
#include <string>

namespace kvpage::vattention {

// `root` stands before /proc and /sys (tests put a made-up machine there). SIZE_MAX: nothing is known.
size_t available_memory(const std::string &root = "");

} // namespace kvpage::vattention
