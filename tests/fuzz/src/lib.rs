//! What the fuzz targets share: a meter of the memory that a parser takes, and a few comparisons.
//!
//! `-malloc_limit_mb` of libFuzzer needs a sanitizer, which stable Rust does not have, and could only tell a limit for
//! all inputs. So the targets have an allocator that counts, and hold each parser to so many bytes per byte of input.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// Bytes that any call may take, whatever its input: first allocations and the texts of errors.
const SLACK: usize = 8 << 10;

static LIVE: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

struct Metered;

#[global_allocator]
static ALLOCATOR: Metered = Metered;

fn taken(bytes: usize) {
    let live = LIVE.fetch_add(bytes, Relaxed) + bytes;
    PEAK.fetch_max(live, Relaxed);
}

// SAFETY: everything is handed on to the system's allocator as it came; beside it only counters change.
unsafe impl GlobalAlloc for Metered {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        taken(layout.size());
        // SAFETY: the caller keeps to the same contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        taken(layout.size());
        // SAFETY: the caller keeps to the same contract.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Relaxed);
        // SAFETY: the caller keeps to the same contract.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        taken(size);
        LIVE.fetch_sub(layout.size(), Relaxed);
        // SAFETY: the caller keeps to the same contract.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

/// Does the work and panics if it held more than `per_byte` bytes for each of `input` at any moment. One thread only.
pub fn bounded<T>(input: &[u8], per_byte: usize, work: impl FnOnce() -> T) -> T {
    let before = LIVE.load(Relaxed);
    PEAK.store(before, Relaxed);
    let result = work();
    let taken = PEAK.load(Relaxed).saturating_sub(before);
    assert!(taken <= input.len() * per_byte + SLACK, "{taken} bytes were taken for {} of input", input.len());
    result
}

/// Whether the same bytes are in both, in whatever order: what holds when something is written in sorted order.
pub fn permuted(one: &[u8], other: &[u8]) -> bool {
    let count = |bytes: &[u8]| {
        let mut counts = [0usize; 256];
        bytes.iter().for_each(|byte| counts[usize::from(*byte)] += 1);
        counts
    };
    count(one) == count(other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_is_seen_even_when_it_is_given_back() {
        let grow = |bytes: usize| bounded(&[0; 16], 64, || drop(std::hint::black_box(vec![1u8; bytes])));
        grow(16 * 64);
        assert!(std::panic::catch_unwind(|| grow(16 * 64 + 2 * SLACK)).is_err());
    }
}
