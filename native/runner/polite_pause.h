// Forced into ggml-cpu's C files on x86. Its threads wait for one another by looping over _mm_pause: when
// another process takes a core, the waiting thread spins through its whole time slice while the one it waits
// for stands in the queue, hundreds of times per token. Giving the core away once in a while costs nothing on
// a quiet machine.
#pragma once

#include <immintrin.h>
#include <sched.h>

static inline void kvpage_polite_pause(void) {
    static _Thread_local unsigned pauses;
    _mm_pause();
    if ((++pauses & 1023U) == 0) // about every 20 to 40 microseconds
        sched_yield();
}

#define _mm_pause kvpage_polite_pause
