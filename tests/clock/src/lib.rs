//! A wall clock that jumps. A program that loads it by `LD_PRELOAD` reads
//! `clock_gettime(CLOCK_REALTIME)` with an offset. Every other clock stays as it is, and so does
//! every timeout that is measured by the monotonic clock.
//!
//! The file that `TESTBED_CLOCK` names holds two numbers of 64 bits in the machine's order. The
//! test writes the first, the offset in seconds. This library counts in the second how often it
//! returned a time with an offset, so that a jump that no program read does not count as tested.

use std::{
    ptr::null_mut,
    sync::atomic::{AtomicI64, AtomicPtr, AtomicU64, Ordering},
};

use libc::{CLOCK_REALTIME, c_int, c_long, c_void, clockid_t, timespec};

/// The content of the file.
#[repr(C)]
struct Face {
    offset: AtomicI64,
    reads: AtomicU64,
}

/// The file in memory: null before the first look.
static FACE: AtomicPtr<Face> = AtomicPtr::new(null_mut());
/// The content that applies without a file.
static RIGHT: Face = Face { offset: AtomicI64::new(0), reads: AtomicU64::new(0) };

fn face() -> &'static Face {
    let mut known = FACE.load(Ordering::Acquire);
    if known.is_null() {
        known = open().unwrap_or_else(|| (&raw const RIGHT).cast_mut());
        FACE.store(known, Ordering::Release);
    }
    // SAFETY: either the static, or a mapping that is never taken away; both hold a Face of
    // atomics.
    unsafe { &*known }
}

fn open() -> Option<*mut Face> {
    // SAFETY: all three functions only get pointers to strings that end in zero, or from getenv.
    // They report failures by the values that are checked here. None of them reads the time.
    unsafe {
        let path = libc::getenv(c"TESTBED_CLOCK".as_ptr());
        if path.is_null() {
            return None;
        }
        let file = libc::open(path, libc::O_RDWR | libc::O_CLOEXEC);
        if file < 0 {
            return None;
        }
        let access = libc::PROT_READ | libc::PROT_WRITE;
        let mapped = libc::mmap(null_mut::<c_void>(), size_of::<Face>(), access, libc::MAP_SHARED, file, 0);
        libc::close(file);
        (mapped != libc::MAP_FAILED).then(|| mapped.cast())
    }
}

/// In place of the C library's.
///
/// # Safety
/// As for the C library's: `time` leads to a `timespec` that may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn clock_gettime(clock: clockid_t, time: *mut timespec) -> c_int {
    // SAFETY: the system call that the C library's function ends in, with the caller's own
    // arguments.
    let result = unsafe { libc::syscall(libc::SYS_clock_gettime, clock as c_long, time) };
    if result == 0 && clock == CLOCK_REALTIME {
        let face = face();
        let offset = face.offset.load(Ordering::Relaxed);
        if offset != 0 {
            face.reads.fetch_add(1, Ordering::Relaxed);
            // SAFETY: the kernel has just written there.
            unsafe { (*time).tv_sec += offset };
        }
    }
    result as c_int
}
