interface Sample {
  readonly atMs: number;
  readonly bytes: number;
}

const WINDOW_MS = 3_600_000;
/** From less nothing is foretold: one large write is no trend. */
const SHORTEST_MS = 60_000;
const HOUR_MS = 3_600_000;

/** How fast a number of bytes grows, by what was seen in the last hour. */
export class Growth {
  #samples: Sample[] = [];

  add(atMs: number, bytes: number): void {
    this.#samples = [...this.#samples.filter((sample) => atMs - sample.atMs <= WINDOW_MS), { atMs, bytes }];
  }

  /** Less than 0 when it shrinks; 0 as long as too little was seen. */
  get bytesPerHour(): number {
    const [first] = this.#samples;
    const last = this.#samples.at(-1);
    if (first === undefined || last === undefined || last.atMs - first.atMs < SHORTEST_MS) return 0;
    return ((last.bytes - first.bytes) * HOUR_MS) / (last.atMs - first.atMs);
  }
}

/** Until the free space is used up at this pace; undefined when nothing takes it. */
export function secondsUntilFull(freeBytes: number, takenPerHour: number): number | undefined {
  return takenPerHour < 1 ? undefined : Math.round((freeBytes / takenPerHour) * 3_600);
}
