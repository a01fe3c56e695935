const codes = new Set(["EMFILE", "ENFILE", "ENOMEM", "EAGAIN"]);

/** True when a process had no file descriptor or memory left for something: another one, or this one later, may have. */
export function lacksResources(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  const { code } = error as NodeJS.ErrnoException;
  return (code !== undefined && codes.has(code)) || lacksResources(error.cause);
}
