const zeros = Buffer.alloc(65_536);

/** Whether there is nothing but zeros. */
export function isZero(bytes: Buffer): boolean {
  for (let at = 0; at < bytes.length; at += zeros.length) {
    const piece = bytes.subarray(at, at + zeros.length);
    if (piece.compare(zeros, 0, piece.length) !== 0) return false;
  }
  return true;
}

/** The pieces of `bytes` that are not zeros, whole multiples of 64 KiB long but for the end. */
export function* dataPieces(bytes: Buffer): Generator<{ at: number; bytes: Buffer }> {
  let start: number | undefined;
  for (let at = 0; at < bytes.length; at += zeros.length) {
    const zero = isZero(bytes.subarray(at, at + zeros.length));
    if (zero && start !== undefined) yield { at: start, bytes: bytes.subarray(start, at) };
    start = zero ? undefined : (start ?? at);
  }
  if (start !== undefined) yield { at: start, bytes: bytes.subarray(start) };
}
