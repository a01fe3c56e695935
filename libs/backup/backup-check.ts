import { createHash, type Hash } from "node:crypto";
import type {
  BackupCount,
  BackupHeader,
  BackupItem,
  BackupMessage,
  BackupTrailer,
} from "#contracts/operation/v1/admin";
import { StillpointError } from "#libs/errors";

/** What the header says that it is. */
export const formatName = "stillpoint.backup.v1";

interface Running {
  messages: number;
  lastSequence: number;
  readonly hash: Hash;
}

/** What is in a backup so far: by it whoever writes the trailer and whoever checks it come to the same. */
export class BackupCounts {
  readonly #streams = new Map<string, Running>();

  /** @throws StillpointError BACKUP_DAMAGED for a message that is out of order */
  add({ stream, sequence, subject, data }: BackupMessage): void {
    const running = this.#of(stream);
    if (sequence <= running.lastSequence) throw damaged(`message ${sequence} of ${stream} is out of order`);
    running.messages += 1;
    running.lastSequence = sequence;
    for (const part of [`${sequence}`, subject, data]) digestPart(running.hash, part);
  }

  /** One for each stream, in order of their names. */
  counts(): BackupCount[] {
    const all = [...this.#streams].sort(([a], [b]) => (a < b ? -1 : 1));
    return all.map(([stream, { messages, lastSequence, hash }]) => ({
      ...{ stream, messages, lastSequence },
      digest: `sha256:${hash.copy().digest("hex")}`,
    }));
  }

  #of(stream: string): Running {
    const running = this.#streams.get(stream) ?? { messages: 0, lastSequence: 0, hash: createHash("sha256") };
    this.#streams.set(stream, running);
    return running;
  }
}

/** Takes a backup in item by item, and refuses all that is not one that was written to its end. */
export class BackupCheck {
  readonly #counts = new BackupCounts();
  #header: BackupHeader | undefined;
  #trailer: BackupTrailer | undefined;

  /** @throws StillpointError BACKUP_DAMAGED */
  add({ item }: BackupItem): void {
    if (this.#trailer !== undefined) throw damaged("something follows its end");
    if (item?.$case === "header") this.#begin(item.value);
    else if (this.#header === undefined) throw damaged("it does not begin with a header");
    else if (item?.$case === "message") this.#counts.add(item.value);
    else if (item?.$case === "trailer") this.#end(item.value);
    else throw damaged("it holds something that this version does not know");
  }

  /** What it is, once all is there. @throws StillpointError BACKUP_DAMAGED when its end is missing */
  whole(): { readonly header: BackupHeader; readonly counts: readonly BackupCount[] } {
    if (this.#header === undefined || this.#trailer === undefined) throw damaged("its end is missing");
    return { header: this.#header, counts: this.#trailer.counts };
  }

  #begin(header: BackupHeader): void {
    if (this.#header !== undefined) throw damaged("it has two headers");
    if (header.format !== formatName) throw damaged(`it is of the form ${JSON.stringify(header.format)}`);
    this.#header = header;
  }

  #end(trailer: BackupTrailer): void {
    const [said, found] = [trailer.counts, this.#counts.counts()].map((counts) => JSON.stringify(counts));
    if (said !== found) throw damaged("its messages are not those that were written");
    this.#trailer = trailer;
  }
}

export function damaged(why: string, cause?: unknown): StillpointError {
  return new StillpointError("BACKUP_DAMAGED", `this is no whole backup: ${why}`, { cause });
}

/** Lengths keep apart what is digested one after the other. */
function digestPart(hash: Hash, part: string | Uint8Array): void {
  const bytes = typeof part === "string" ? Buffer.from(part) : part;
  const length = Buffer.alloc(8);
  length.writeBigUInt64BE(BigInt(bytes.length));
  hash.update(length).update(bytes);
}
