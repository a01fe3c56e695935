/** Fourteen days: time for somebody to come back from a holiday. */
const renewBeforeMs = 14 * 86_400_000;

/** Whether a certificate that is valid until then is to be renewed, and people are to be told. */
export const expiresSoon = (until: Date, now: Date): boolean => until.getTime() - now.getTime() < renewBeforeMs;
