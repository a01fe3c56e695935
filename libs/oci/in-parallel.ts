import { isStillpointError, StillpointError } from "#libs/errors";

/**
 * Works on the items, at most `limit` at a time, in their order. The first failure aborts the others' signal, waits
 * for them to end, and is thrown; so does an abort of `signal`.
 */
export async function inParallel<Item>(
  items: Iterable<Item>,
  { limit, signal }: { readonly limit: number; readonly signal?: AbortSignal | undefined },
  work: (item: Item, signal: AbortSignal) => Promise<void>,
): Promise<void> {
  const failed = new AbortController();
  const either = signal === undefined ? failed.signal : AbortSignal.any([signal, failed.signal]);
  const iterator = items[Symbol.iterator]();
  const worker = async () => {
    for (let next = iterator.next(); next.done !== true; next = iterator.next()) {
      either.throwIfAborted();
      await work(next.value, either);
    }
  };
  const workers = Array.from({ length: limit }, () =>
    worker().catch((error: unknown) => {
      if (!failed.signal.aborted) failed.abort(error);
    }),
  );
  await Promise.all(workers);
  signal?.throwIfAborted();
  failed.signal.throwIfAborted();
}

/** Does `work`; whatever an abort of `signal` makes it throw becomes a StillpointError CANCELLED. */
export async function cancellable<Result>(
  what: string,
  signal: AbortSignal | undefined,
  work: () => Promise<Result>,
): Promise<Result> {
  try {
    return await work();
  } catch (error) {
    if (isStillpointError(error) || signal?.aborted !== true) throw error;
    throw new StillpointError("CANCELLED", `${what} was cancelled`, { cause: error });
  }
}
