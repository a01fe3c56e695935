/**
 * What collection has written on something that it wants to delete. `candidate`: nobody refers to it; whoever asks for
 * it takes that away. `deleting`: it counts as absent, and whoever has just referred to it withdraws.
 */
export interface Mark {
  readonly state: "candidate" | "deleting";
  /** ISO 8601. */
  readonly since: string;
}

/** That a repository has a blob or a manifest, in one small object. */
export interface Link {
  readonly sizeBytes: number;
  /** Of manifests. */
  readonly mediaType?: string;
  readonly mark?: Mark;
}

export function encodeLink(link: Link): string {
  return JSON.stringify(link);
}

export function decodeLink(bytes: Buffer): Link {
  return JSON.parse(bytes.toString());
}
