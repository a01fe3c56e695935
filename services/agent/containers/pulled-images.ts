import { readFile } from "node:fs/promises";
import { writeDurably } from "../durable-file.ts";

/** An image that this agent has pulled. */
interface PulledImage {
  /** With its layers, also those that others share; 0 as long as it is on its way. */
  readonly sizeBytes: number;
  /** When it was last wanted, or seen to be named by a container; milliseconds since 1970. */
  readonly usedMs: number;
}

/**
 * The images that this agent has had its engine pull, by what the engine calls them, in a file. Those that were in the
 * engine before are not in it: they are their owner's.
 */
export class PulledImages {
  readonly #path: string;
  readonly #images: Map<string, PulledImage>;
  /** What changed since is only who used what when: it need not survive a crash. */
  #isStale = false;

  private constructor(path: string, images: Map<string, PulledImage>) {
    this.#path = path;
    this.#images = images;
  }

  static async open(path: string): Promise<PulledImages> {
    const text = await readFile(path, "utf8").catch((error: NodeJS.ErrnoException) => {
      if (error.code === "ENOENT") return "{}";
      throw error;
    });
    return new PulledImages(path, new Map(Object.entries(JSON.parse(text) as Record<string, PulledImage>)));
  }

  /** Writes down that it is ours, before it is pulled. */
  async begin(image: string, nowMs: number): Promise<void> {
    await this.#set(image, { sizeBytes: 0, usedMs: nowMs });
  }

  /** The engine has it now. One that was not pulled by this agent stays unknown. */
  async has(image: string, sizeBytes: number): Promise<void> {
    const known = this.#images.get(image);
    if (known !== undefined && known.sizeBytes !== sizeBytes) await this.#set(image, { ...known, sizeBytes });
  }

  use(image: string, nowMs: number): void {
    const known = this.#images.get(image);
    if (known === undefined) return;
    this.#images.set(image, { ...known, usedMs: nowMs });
    this.#isStale = true;
  }

  /** The engine does not have it any more. */
  async forget(image: string): Promise<void> {
    if (this.#images.delete(image)) await this.#save();
  }

  /** Writes down who used what when. */
  async settle(): Promise<void> {
    if (this.#isStale) await this.#save();
  }

  get sizeBytes(): number {
    return [...this.#images.values()].reduce((bytes, image) => bytes + image.sizeBytes, 0);
  }

  /** Those that nobody has wanted since then, the one that was used last comes last. */
  unusedSince(ms: number): string[] {
    const unused = [...this.#images].filter(([, { usedMs }]) => usedMs <= ms);
    return unused.toSorted(([, a], [, b]) => a.usedMs - b.usedMs).map(([image]) => image);
  }

  async #set(image: string, pulled: PulledImage): Promise<void> {
    this.#images.set(image, pulled);
    await this.#save();
  }

  async #save(): Promise<void> {
    this.#isStale = false;
    await writeDurably(this.#path, JSON.stringify(Object.fromEntries(this.#images), null, 1));
  }
}
