/** What the demo shows: each step as it runs, and a table at the end. */
export class Report {
  readonly #rows: { title: string; seconds: number; detail: string }[] = [];
  readonly #startedMs = performance.now();

  /** Runs a step; `work` gives what there is to say of it. A failing step ends the demo. */
  async step(title: string, work: () => Promise<string>): Promise<void> {
    console.log(`\n${title}`);
    const startedMs = performance.now();
    const detail = await work();
    const seconds = (performance.now() - startedMs) / 1000;
    this.#rows.push({ title, seconds, detail });
    console.log(`  done in ${seconds.toFixed(1)} s: ${detail}`);
  }

  print(): void {
    const width = Math.max(...this.#rows.map(({ title }) => title.length));
    console.log(`\n${"step".padEnd(width)}  seconds  result`);
    for (const { title, seconds, detail } of this.#rows) {
      console.log(`${title.padEnd(width)}  ${seconds.toFixed(1).padStart(7)}  ${detail}`);
    }
    console.log(`${"total".padEnd(width)}  ${((performance.now() - this.#startedMs) / 1000).toFixed(1).padStart(7)}`);
  }
}

/** Fails the demo with a sentence that says what should have been so. */
export function expect(truth: boolean, otherwise: string): asserts truth {
  if (!truth) throw new Error(otherwise);
}
