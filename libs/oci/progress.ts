/** How far a transfer is. */
export interface Progress {
  /** Of `totalBytes`; counts disk bytes (uncompressed), kernel and initrd. */
  readonly doneBytes: number;
  readonly totalBytes: number;
  /** Bytes that really crossed the wire so far. */
  readonly transferredBytes: number;
}
