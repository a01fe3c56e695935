import { uptime } from "node:os";

/** The clock that leases are counted on; two processes of a host read the same from it. */
export type BootClock = () => number;

/**
 * Milliseconds since the host booted, also while it slept, in steps of 10. Node's own monotonic clocks (`hrtime`,
 * `performance.now`, every timer) are CLOCK_MONOTONIC, which stands while a host is suspended: one that woke after an
 * hour would believe in its lease. `os.uptime` reads /proc/uptime, which the kernel fills from CLOCK_BOOTTIME
 * (proc(5), clock_gettime(2)). It rounds down: a lease that begins at a reading begins early, never late.
 *
 * A timer does not fire while the host sleeps. So nobody relies on one for a deadline: the guard looks at this clock
 * every 100 ms, and a guest may run for as long after a wake-up.
 */
export const bootClock: BootClock = () => uptime() * 1000;
