export const gib = 2 ** 30;
/** CPUs of every simulated host, and GiB of its memory. */
export const hostCpus = 4;
