/** Counts each 200 ms; what it gives ends that, and tells the most that there were at once. */
export function watchMost(count: () => Promise<number>): () => Promise<number> {
  const stop = new AbortController();
  const watching = (async () => {
    let most = 0;
    while (!stop.signal.aborted) {
      most = Math.max(most, await count());
      await new Promise((resolve) => setTimeout(resolve, 200));
    }
    return most;
  })();
  return () => {
    stop.abort();
    return watching;
  };
}
